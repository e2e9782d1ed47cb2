//! A message in a conversation that exists already.
//!
//! While an execution is under way it waits for the turn to end. After the idea is done it starts a new
//! idea on the same branch; after the idea was parked it executes that idea again, there too.

use domain::{
    idea::{ExecutionRequest, Idea, IdeaCommand, Stage},
    ids::{ExecutionId, IdeaId, MessageId, SessionId, derived},
    session::{Session, SessionCommand},
};
use projections::event_log::Position;

use super::{Choices, Ideas, check_text, history::History, refused};
use crate::{caller::Caller, dispatcher::DispatchError};

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    pub position: Position,
    /// Set when the message started an execution.
    pub started: Option<(IdeaId, ExecutionId)>,
}

/// The execution that a message starts if none is under way.
#[must_use]
pub fn execution_of(message: MessageId) -> ExecutionId {
    ExecutionId(derived(message.0, "execution"))
}

impl Ideas {
    /// Posts a message. Repeating it under the same message id changes nothing.
    pub async fn post(
        &self,
        caller: &Caller,
        session: SessionId,
        message: MessageId,
        text: &str,
    ) -> Result<Posted, DispatchError> {
        check_text(text)?;
        let project = match self.dispatcher.state::<Session>(session.0).await?.project() {
            Some(project) => project,
            None => return Err(refused("not_found", "there is no such session")),
        };
        self.linked(caller, project).await?;
        let (content, row) = self.seal(project, text).await?;
        let post = SessionCommand::Post { message, author: caller.account, content };
        match self.dispatcher.send(caller, (session, post), vec![row]).await {
            Ok(position) => Ok(Posted { position, started: None }),
            Err(DispatchError::Refused { code, .. }) if code == "not_working" => {
                self.start_over(caller, session, message, text).await
            }
            Err(error) => Err(error),
        }
    }

    async fn start_over(
        &self,
        caller: &Caller,
        session: SessionId,
        message: MessageId,
        text: &str,
    ) -> Result<Posted, DispatchError> {
        let execution = execution_of(message);
        let last = self.last_idea(session).await?;
        let History { project, last_request, .. } = self.history(last).await?;
        let Some(last_request) = last_request else {
            return Err(refused("not_found", "nothing was executed in this session"));
        };
        if last_request.execution == execution {
            // The same message from a second tab: the first one has started this execution.
            return self.answer_again(caller, last, *last_request).await;
        }
        let linked = self.linked(caller, project).await?;
        let (prompt, row) = self.seal(project, text).await?;
        let before = last_request.settings;
        let choices = Choices {
            coding_agent: Some(before.coding_agent),
            profile: Some(before.profile),
            base_branch: before.base_branch,
            permissions: Some(before.permissions),
            provider: Some(before.provider),
        };
        let settings = self.settings(linked, before.branch, &choices).await?;
        let description = prompt.clone();
        let request = Box::new(ExecutionRequest { execution, session, message, prompt, settings });
        let is_parked = matches!(
            &*self.dispatcher.state::<Idea>(last.0).await?,
            Idea::Known { stage: Stage::Parked, .. }
        );
        let (idea, command) = if is_parked {
            (last, IdeaCommand::Execute { request })
        } else {
            let idea = IdeaId(derived(message.0, "idea"));
            (idea, IdeaCommand::Submit { project, description, request })
        };
        let position = self.dispatcher.send(caller, (idea, command), vec![row]).await?;
        Ok(Posted { position, started: Some((idea, execution)) })
    }

    async fn answer_again(
        &self,
        caller: &Caller,
        idea: IdeaId,
        request: ExecutionRequest,
    ) -> Result<Posted, DispatchError> {
        let execution = request.execution;
        let command = IdeaCommand::Execute { request: Box::new(request) };
        let position = self.dispatcher.send(caller, (idea, command), Vec::new()).await?;
        Ok(Posted { position, started: Some((idea, execution)) })
    }
}
