//! Turns what a person wrote into an idea, and an idea into an execution.
//!
//! Everything that an execution depends on is resolved here, once, and recorded with the request:
//! explicit choices first, then the project's defaults, then the platform's. Ids that the client does
//! not give follow from those that it does, so repeating a request never makes a second idea.
//!
//! Read next: `submit_idea/follow_up.rs` for messages in a conversation that exists already.

use std::time::Duration;

use domain::{
    agent_protocol::{CodingAgentKind, PermissionPolicy},
    execution::ExecutionCommand,
    idea::{ExecutionRequest, IdeaCommand},
    ids::{CommandId, ContentId, ExecutionId, IdeaId, MessageId, ProjectId, SessionId, derived},
    project::{Project, ProjectDefaults},
    values::{ContentRef, ExecutionSettings, Periods, Profile, ProviderKind},
};
use projections::event_log::{EventLog, NewContent, Position};
use tokio::time::Instant;

use crate::{
    branch_name::branch_name,
    caller::Caller,
    credentials::{Credentials, needed_by},
    dispatcher::{DispatchError, Dispatcher},
    random,
    sealing::Sealing,
};

mod follow_up;
mod history;

pub use follow_up::{Posted, execution_of};

/// How much text one message or description may have.
pub const TEXT_BYTES_MAX: usize = 128 * 1024;
/// How long a requested execution may be without a stream.
const STREAM_PERIOD_MAX: Duration = Duration::from_secs(5);
const STREAM_LOOK_PERIOD: Duration = Duration::from_millis(20);

/// What a person leaves open (None) or asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    pub coding_agent: Option<CodingAgentKind>,
    pub profile: Option<Profile>,
    pub base_branch: Option<String>,
    pub permissions: Option<PermissionPolicy>,
    pub provider: Option<ProviderKind>,
}

/// What should become of a new idea.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    Explore,
    Ready,
    /// Ids that are not given follow from the idea's.
    Execute {
        execution: Option<ExecutionId>,
        session: Option<SessionId>,
        choices: Choices,
    },
}

/// An idea as a person writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIdea {
    pub project: ProjectId,
    pub idea: IdeaId,
    pub description: String,
    pub wish: Wish,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    pub position: Position,
    pub idea: IdeaId,
    pub execution: Option<ExecutionId>,
    pub session: Option<SessionId>,
    pub branch: Option<String>,
}

/// What the platform takes where neither person nor project says anything.
#[derive(Clone, Debug)]
pub struct PlatformDefaults {
    pub provider: ProviderKind,
    pub periods: Periods,
}

/// Submits ideas and follow-ups. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ideas {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) sealing: Sealing,
    pub(crate) credentials: Credentials,
    pub(crate) log: EventLog,
    pub(crate) defaults: PlatformDefaults,
}

/// A project as far as an execution depends on it.
struct Linked {
    owner: domain::ids::AccountId,
    repository: String,
    defaults: ProjectDefaults,
}

impl Ideas {
    /// Creates an idea, and executes it if that is wished.
    pub async fn submit(&self, caller: &Caller, new: NewIdea) -> Result<Submitted, DispatchError> {
        let NewIdea { project, idea, description, wish } = new;
        check_text(&description)?;
        let linked = self.linked(caller, project).await?;
        let (reference, content) = self.seal(project, &description).await?;
        let draft = IdeaCommand::Draft { project, description: reference.clone() };
        let drafted =
            |position| Submitted { position, idea, execution: None, session: None, branch: None };
        match wish {
            Wish::Explore => {
                Ok(drafted(self.dispatcher.send(caller, (idea, draft), vec![content]).await?))
            }
            Wish::Ready => {
                self.dispatcher.send(caller, (idea, draft), vec![content]).await?;
                let command = CommandId(derived(caller.command.0, "ready"));
                let caller = Caller { command, ..caller.clone() };
                let ready = (idea, IdeaCommand::MarkReady);
                Ok(drafted(self.dispatcher.send(&caller, ready, Vec::new()).await?))
            }
            Wish::Execute { execution, session, choices } => {
                let execution = execution.unwrap_or(ExecutionId(derived(idea.0, "execution")));
                let session = session.unwrap_or(SessionId(derived(idea.0, "session")));
                let branch = branch_name(&description, execution);
                let settings = self.settings(linked, branch, &choices).await?;
                let message = MessageId(derived(execution.0, "message"));
                let prompt = reference.clone();
                let request = ExecutionRequest { execution, session, message, prompt, settings };
                let submit = IdeaCommand::Submit {
                    project,
                    description: reference,
                    request: Box::new(request.clone()),
                };
                let position = self.dispatcher.send(caller, (idea, submit), vec![content]).await?;
                Ok(requested(position, idea, request))
            }
        }
    }

    /// Executes a draft, or a parked idea again, in the conversation that it has or in a new one.
    pub async fn execute(
        &self,
        caller: &Caller,
        idea: IdeaId,
        execution: ExecutionId,
        choices: &Choices,
    ) -> Result<Submitted, DispatchError> {
        let history = self.history(idea).await?;
        let linked = self.linked(caller, history.project).await?;
        let description = self.sealing.text(&history.description).await?;
        let last = history.last_request;
        let session = last.map_or(SessionId(derived(idea.0, "session")), |last| last.session);
        let branch = branch_name(&description, execution);
        let settings = self.settings(linked, branch, choices).await?;
        let message = MessageId(derived(execution.0, "message"));
        let prompt = history.description;
        let request = ExecutionRequest { execution, session, message, prompt, settings };
        let execute = IdeaCommand::Execute { request: Box::new(request.clone()) };
        let position = self.dispatcher.send(caller, (idea, execute), Vec::new()).await?;
        Ok(requested(position, idea, request))
    }

    /// Cancels an execution. One that was requested a moment ago may have no stream yet; it gets one
    /// before long, and a person must not be told meanwhile that there is no such thing.
    pub async fn cancel(
        &self,
        caller: &Caller,
        execution: ExecutionId,
    ) -> Result<Position, DispatchError> {
        let until = Instant::now() + STREAM_PERIOD_MAX;
        loop {
            let cancel = (execution, ExecutionCommand::Cancel);
            match self.dispatcher.send(caller, cancel, Vec::new()).await {
                Err(DispatchError::Refused { code, .. })
                    if code == "not_found" && Instant::now() < until =>
                {
                    tokio::time::sleep(STREAM_LOOK_PERIOD).await;
                }
                answer => return answer,
            }
        }
    }

    /// Replaces the description of an idea that is not being executed.
    pub async fn describe(
        &self,
        caller: &Caller,
        idea: IdeaId,
        description: &str,
    ) -> Result<Position, DispatchError> {
        check_text(description)?;
        let history = self.history(idea).await?;
        self.linked(caller, history.project).await?;
        let (reference, content) = self.seal(history.project, description).await?;
        let describe = IdeaCommand::Describe { description: reference };
        self.dispatcher.send(caller, (idea, describe), vec![content]).await
    }

    async fn linked(&self, caller: &Caller, project: ProjectId) -> Result<Linked, DispatchError> {
        match &*self.dispatcher.state::<Project>(project.0).await? {
            Project::Linked { owner, repository, defaults, .. } if *owner == caller.account => {
                let (repository, defaults) = (repository.clone(), defaults.clone());
                Ok(Linked { owner: *owner, repository, defaults })
            }
            Project::Erasing { owner, .. } | Project::Erased { owner }
                if *owner == caller.account =>
            {
                Err(refused(
                    "erased",
                    "this project was erased: link the repository as a new project",
                ))
            }
            // What belongs to somebody else is not even confirmed to exist.
            Project::Linked { .. }
            | Project::Erasing { .. }
            | Project::Erased { .. }
            | Project::Unknown => Err(refused("not_found", "there is no such project")),
        }
    }

    async fn seal(
        &self,
        project: ProjectId,
        text: &str,
    ) -> Result<(ContentRef, NewContent), DispatchError> {
        Ok(self.sealing.seal(project, ContentId(random::uuid()), text).await?)
    }

    async fn settings(
        &self,
        linked: Linked,
        branch: String,
        choices: &Choices,
    ) -> Result<ExecutionSettings, DispatchError> {
        let Linked { owner, repository, defaults } = linked;
        let coding_agent = match choices.coding_agent.or(defaults.coding_agent) {
            Some(kind) => kind,
            None => self.first_available(owner).await?,
        };
        Ok(ExecutionSettings {
            owner,
            repository,
            base_branch: choices.base_branch.clone().filter(|name| !name.is_empty()),
            branch,
            coding_agent,
            profile: choices.profile.or(defaults.profile).unwrap_or_default(),
            provider: choices.provider.or(defaults.provider).unwrap_or(self.defaults.provider),
            permissions: choices
                .permissions
                .or(defaults.permissions)
                .unwrap_or(PermissionPolicy::Allow),
            periods: self.defaults.periods,
        })
    }

    /// A real coding agent where there is a key for one, else the demo.
    async fn first_available(
        &self,
        owner: domain::ids::AccountId,
    ) -> Result<CodingAgentKind, DispatchError> {
        for kind in CodingAgentKind::ALL {
            if let Some(needed) = needed_by(kind)
                && self.credentials.has(owner, needed).await?
            {
                return Ok(kind);
            }
        }
        Ok(CodingAgentKind::Demo)
    }
}

fn requested(position: Position, idea: IdeaId, request: ExecutionRequest) -> Submitted {
    Submitted {
        position,
        idea,
        execution: Some(request.execution),
        session: Some(request.session),
        branch: Some(request.settings.branch),
    }
}

fn check_text(text: &str) -> Result<(), DispatchError> {
    if text.trim().is_empty() {
        return Err(refused("empty_message", "write what you want first: the message is empty"));
    }
    if text.len() > TEXT_BYTES_MAX {
        let reason = format!(
            "the message has {} KiB, more than {} KiB: put long material into a file of the repository",
            text.len() / 1024,
            TEXT_BYTES_MAX / 1024
        );
        return Err(refused("message_too_long", &reason));
    }
    Ok(())
}

fn refused(code: &str, reason: &str) -> DispatchError {
    DispatchError::Refused { code: code.to_owned(), reason: reason.to_owned() }
}
