//! Carries an execution from the request to its end: machine, container, coding agent, branch.
//!
//! One instance per execution, under the execution's id. It coordinates the idea, the execution, a node, a workspace
//! and a session, none of which knows the others. Opening and closing the workspace and retiring the node are
//! processes of their own; this one hears of them by their events.
//!
//! Whatever happens, it ends: every wait has a deadline, and every end saves unpushed work before the container goes.
//!
//! Read next: `finish.rs` for how it ends, `work.rs` for the way to a running coding agent.

mod finish;
mod work;

use uuid::Uuid;

use crate::{
    event::Event,
    execution::{Ending, ExecutionEvent},
    idea::{ExecutionRequest, IdeaEvent},
    ids::{ExecutionId, IdeaId, MessageId, NodeId, PermissionId, ProjectId, WorkspaceId, derived},
    process::{Intent, Process, Reaction, Seen, What},
    session::SessionEvent,
    values::Timestamp,
    workspace::WorkspaceEvent,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub enum RunExecution {
    #[default]
    Idle,
    /// Boxed: most instances are idle or over.
    Going(Box<Going>),
    Over,
}

/// What an execution under way remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct Going {
    idea: IdeaId,
    project: ProjectId,
    request: ExecutionRequest,
    since: Timestamp,
    phase: Phase,
    node: Option<NodeId>,
    /// Of the newest attachment. A session counts over all its executions.
    epoch: u32,
    n_attachments: u32,
    /// The prompt of the turn in flight.
    message: Option<MessageId>,
    /// Permission requests that a person has to answer.
    asked: Vec<PermissionId>,
    ending: Option<Ending>,
    /// The execution was told its end. The streams around it follow when it has accepted it.
    is_ending: bool,
    /// Its work could not be saved: the container stays.
    keeps_workspace: bool,
    is_over: bool,
}

/// How far it has come. What is known to exist at the node grows with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Looking for a node, or waiting for one.
    Selecting,
    /// A slot is taken.
    Placed,
    /// The workspace's stream exists, so its own processes open and close it.
    Opening,
    /// The container is usable.
    Open,
    /// A coding agent may be running.
    Attached,
    /// A person has to decide how to go on.
    NeedsInput,
    /// Work is being brought out of the container.
    Finishing,
}

/// How long an image may take to be made. Fetching a coding agent over a slow line takes minutes.
const IMAGE_MS_MAX: u64 = 30 * 60_000;

/// Attachments per execution. A coding agent that goes away again and again is given up.
const ATTACHMENTS_MAX: u32 = 10;

impl Going {
    fn new(idea: IdeaId, project: ProjectId, request: &ExecutionRequest, since: Timestamp) -> Self {
        Self {
            idea,
            project,
            request: request.clone(),
            since,
            phase: Phase::Selecting,
            node: None,
            epoch: 0,
            n_attachments: 0,
            message: None,
            asked: Vec::new(),
            ending: None,
            is_ending: false,
            keeps_workspace: false,
            is_over: false,
        }
    }

    fn execution(&self) -> ExecutionId {
        self.request.execution
    }

    /// One workspace per execution: a retry is another execution.
    fn workspace(&self) -> WorkspaceId {
        workspace_of(self.execution())
    }
}

/// The id of an execution's workspace.
pub fn workspace_of(execution: ExecutionId) -> WorkspaceId {
    WorkspaceId(derived(execution.0, "workspace"))
}

impl Process for RunExecution {
    const TYPE: &'static str = "run_execution";
    const CONCERNED_BY: &'static [&'static str] = &["idea", "execution", "workspace", "session"];

    fn route(event: &Event) -> Option<Uuid> {
        let execution = match event {
            Event::Idea(_, IdeaEvent::ExecutionRequested { request, .. }) => request.execution,
            Event::Execution(
                execution,
                ExecutionEvent::CancelRequested | ExecutionEvent::InputAnswered { .. },
            ) => *execution,
            Event::Workspace(
                _,
                WorkspaceEvent::Started { execution: Some(execution), .. }
                | WorkspaceEvent::Failed { execution: Some(execution), .. }
                | WorkspaceEvent::StopRequested { execution: Some(execution), .. },
            ) => *execution,
            Event::Session(
                _,
                SessionEvent::AttachmentBegun { execution, .. }
                | SessionEvent::PermissionAsked { execution, .. }
                | SessionEvent::PermissionAnswered { execution, .. }
                | SessionEvent::TurnEnded { execution, .. }
                | SessionEvent::AttachmentLost { execution, .. },
            ) => *execution,
            _ => return None,
        };
        Some(execution.0)
    }

    fn react(&self, seen: Seen<'_>) -> Reaction {
        match (self, seen.what) {
            (
                Self::Idle,
                What::Happened(Event::Idea(
                    idea,
                    IdeaEvent::ExecutionRequested { project, request },
                )),
            ) => Going::new(*idea, *project, request, seen.at).begin(),
            (Self::Going(going), What::Happened(event)) => going.on_event(event, seen.at),
            (Self::Going(going), What::Told(command, outcome)) => {
                going.on_answer(command, outcome, seen.at)
            }
            (Self::Going(going), What::Ran(effect, outcome)) => {
                going.on_effect(effect, outcome, seen.at)
            }
            (Self::Going(going), What::Woken(label)) => going.on_woken(label),
            // Late and repeated stimuli are normal after a restart; they ask for nothing.
            (_, _) => Reaction::none(),
        }
    }

    fn evolve(&mut self, seen: Seen<'_>, intents: &[Intent]) {
        if let (
            Self::Idle,
            What::Happened(Event::Idea(idea, IdeaEvent::ExecutionRequested { project, request })),
        ) = (&*self, seen.what)
        {
            *self = Self::Going(Box::new(Going::new(*idea, *project, request, seen.at)));
        }
        let Self::Going(going) = self else { return };
        going.remember(seen.what);
        for intent in intents {
            going.remember_wanted(intent);
        }
        if going.is_over {
            *self = Self::Over;
        }
    }
}

#[cfg(test)]
mod tests;
