//! Makes the title of an idea: finds text and key, has a model make the title, and encrypts it.
//!
//! There is none where no model is set, the owner has no key for it, the text is short, or it was rewritten or
//! erased meanwhile; that is no failure. The title is content, written with the outcome; text and
//! title are in no log.
//!
//! Read next: `model/titles.rs`.

use domain::{
    agent_protocol::RefusalKind,
    credential::CredentialKind,
    idea::{Idea, title::is_too_long},
    ids::{AccountId, ContentId, IdeaId, ProjectId, derived},
    process::Outcome,
    project::Project,
    values::ContentRef,
};
use projections::event_log::NewContent;
use uuid::Uuid;

use crate::{
    credentials::Credentials,
    dispatcher::{DispatchError, Dispatcher},
    effects::{Performed, failed},
    model::{ModelError, titles::Titles},
    order::Refusal,
    sealing::Sealing,
};

/// What titles of ideas are made from. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct IdeaTitles {
    pub(crate) titles: Titles,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) sealing: Sealing,
    pub(crate) credentials: Credentials,
}

impl From<ModelError> for Refusal {
    fn from(error: ModelError) -> Self {
        Self { kind: RefusalKind::Machine, reason: error.to_string() }
    }
}

impl IdeaTitles {
    /// `key` names the intent: the title of a repeated one takes the same place.
    pub(crate) async fn perform(
        &self,
        key: Uuid,
        idea: IdeaId,
        description: &ContentRef,
    ) -> Performed {
        match self.make(key, idea, description).await {
            Ok(Some((title, row))) => {
                Performed { outcome: Outcome::Titled { title }, contents: vec![row] }
            }
            Ok(None) => Outcome::Done.into(),
            Err(Refusal { kind, reason }) => {
                tracing::info!(idea.id = %idea, reason, "an idea keeps the beginning of its text as title");
                failed(kind, reason).into()
            }
        }
    }

    async fn make(
        &self,
        key: Uuid,
        idea: IdeaId,
        description: &ContentRef,
    ) -> Result<Option<(ContentRef, NewContent)>, Refusal> {
        if !self.titles.is_on() {
            return Ok(None);
        }
        let Some((project, owner)) = self.owner(idea, description).await? else { return Ok(None) };
        let text = self.sealing.text(description).await?;
        if !is_too_long(&text) {
            return Ok(None);
        }
        let paid_by = CredentialKind::Anthropic;
        let Some(secret) = self.credentials.for_execution(None, owner, paid_by).await? else {
            return Ok(None);
        };
        let title = self.titles.title(&secret, &text).await?;
        let id = ContentId(derived(key, "title"));
        Ok(Some(self.sealing.seal(project, id, &title).await?))
    }

    /// Whose idea it is; none where this is not its text any more, or is being erased.
    async fn owner(
        &self,
        idea: IdeaId,
        text: &ContentRef,
    ) -> Result<Option<(ProjectId, AccountId)>, DispatchError> {
        let project = match &*self.dispatcher.state::<Idea>(idea.0).await? {
            Idea::Known { project, description, title: None, .. } if *description == text.id => {
                *project
            }
            Idea::Known { .. } | Idea::Unknown => return Ok(None),
        };
        Ok(match &*self.dispatcher.state::<Project>(project.0).await? {
            Project::Linked { owner, .. } => Some((project, *owner)),
            Project::Erasing { .. } | Project::Erased { .. } | Project::Unknown => None,
        })
    }
}
