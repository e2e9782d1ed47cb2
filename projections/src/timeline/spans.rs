//! How long things took: from the event that began them to the one that ended them.

use std::collections::HashMap;

use domain::{
    agent_protocol::{StepState, ToolCallStatus},
    event::Event,
    execution::ExecutionEvent,
    idea::IdeaEvent,
    node::NodeEvent,
    session::SessionEvent,
    values::Timestamp,
    workspace::WorkspaceEvent,
};

use crate::timeline::millis;

/// What was begun and has not ended.
#[derive(Debug, Default)]
pub(super) struct Spans {
    begun: HashMap<String, Timestamp>,
}

/// What an event does to a span.
enum Edge {
    Begins(String),
    Ends(String),
}

impl Spans {
    /// Notes what an event begins; tells how long it took what the event ends.
    pub(super) fn of_event(&mut self, event: &Event, at: Timestamp) -> Option<u64> {
        match edge(event)? {
            Edge::Begins(what) => {
                self.begin(what, at);
                None
            }
            Edge::Ends(what) => self.end(&what, at),
        }
    }

    /// What has begun already goes on.
    pub(super) fn begin(&mut self, what: String, at: Timestamp) {
        self.begun.entry(what).or_insert(at);
    }

    pub(super) fn end(&mut self, what: &str, at: Timestamp) -> Option<u64> {
        self.begun.remove(what).map(|begun| millis(at - begun))
    }
}

fn edge(event: &Event) -> Option<Edge> {
    Some(match event {
        Event::Idea(_, event) => return of_idea(event),
        Event::Execution(id, event) => match event {
            ExecutionEvent::Requested { .. } => Edge::Begins(format!("execution {id}")),
            ExecutionEvent::Done
            | ExecutionEvent::Failed { .. }
            | ExecutionEvent::Cancelled { .. } => Edge::Ends(format!("execution {id}")),
            ExecutionEvent::InputAsked { .. } => Edge::Begins(format!("input {id}")),
            ExecutionEvent::InputAnswered { .. } => Edge::Ends(format!("input {id}")),
            ExecutionEvent::FinishBegun { .. } => Edge::Begins(format!("finish {id}")),
            ExecutionEvent::ResultRecorded { .. } => Edge::Ends(format!("finish {id}")),
            ExecutionEvent::Waited { .. } => Edge::Begins(format!("room {id}")),
            ExecutionEvent::Placed { .. } => Edge::Ends(format!("room {id}")),
            ExecutionEvent::StepStarted { .. } | ExecutionEvent::CancelRequested => return None,
        },
        Event::Node(id, event) => match event {
            NodeEvent::Requested { .. } => Edge::Begins(format!("node {id}")),
            NodeEvent::Started { .. } | NodeEvent::Failed { .. } => {
                Edge::Ends(format!("node {id}"))
            }
            NodeEvent::StopRequested { .. } => Edge::Begins(format!("stop {id}")),
            NodeEvent::Stopped => Edge::Ends(format!("stop {id}")),
            NodeEvent::WorkspacePlaced { workspace } => Edge::Begins(format!("slot {workspace}")),
            NodeEvent::WorkspaceReleased { workspace } => Edge::Ends(format!("slot {workspace}")),
            NodeEvent::Warmed { .. } => return None,
        },
        Event::Workspace(id, event) => match event {
            WorkspaceEvent::Requested { .. } => Edge::Begins(format!("workspace {id}")),
            WorkspaceEvent::Started { .. } | WorkspaceEvent::Failed { .. } => {
                Edge::Ends(format!("workspace {id}"))
            }
            WorkspaceEvent::StopRequested { .. } => Edge::Begins(format!("stop {id}")),
            WorkspaceEvent::Stopped => Edge::Ends(format!("stop {id}")),
            WorkspaceEvent::BootStepRecorded { step, state, .. } => match state {
                StepState::Started => Edge::Begins(format!("boot {id} {step}")),
                StepState::Completed | StepState::Failed => Edge::Ends(format!("boot {id} {step}")),
            },
        },
        Event::Session(id, event) => return of_session(&id.to_string(), event),
        Event::Account(..) | Event::Credential(..) | Event::Project(..) => return None,
    })
}

fn of_idea(event: &IdeaEvent) -> Option<Edge> {
    match event {
        IdeaEvent::ExecutionRequested { request, .. } => {
            Some(Edge::Begins(format!("idea {}", request.execution)))
        }
        IdeaEvent::Done { execution } | IdeaEvent::Parked { execution: Some(execution), .. } => {
            Some(Edge::Ends(format!("idea {execution}")))
        }
        IdeaEvent::Drafted { .. }
        | IdeaEvent::Described { .. }
        | IdeaEvent::Titled { .. }
        | IdeaEvent::MarkedExploring
        | IdeaEvent::MarkedReady
        | IdeaEvent::Parked { execution: None, .. } => None,
    }
}

fn of_session(id: &str, event: &SessionEvent) -> Option<Edge> {
    Some(match event {
        SessionEvent::ExecutionBegun { execution, .. } => {
            Edge::Begins(format!("session {execution}"))
        }
        SessionEvent::ExecutionEnded { execution } => Edge::Ends(format!("session {execution}")),
        SessionEvent::AttachmentBegun { epoch, .. } => Edge::Begins(format!("attach {id} {epoch}")),
        SessionEvent::Attached { epoch, .. } => Edge::Ends(format!("attach {id} {epoch}")),
        SessionEvent::TurnStarted { epoch, message } => {
            Edge::Begins(format!("turn {epoch} {message}"))
        }
        SessionEvent::TurnEnded { epoch, message, .. } => {
            Edge::Ends(format!("turn {epoch} {message}"))
        }
        SessionEvent::AttachmentLost { epoch, prompt, .. } => match prompt {
            Some(message) => Edge::Ends(format!("turn {epoch} {message}")),
            None => Edge::Ends(format!("attach {id} {epoch}")),
        },
        SessionEvent::ToolCallRecorded { epoch, call, status, .. } => {
            let what = format!("call {id} {epoch} {call}");
            match status {
                ToolCallStatus::Pending | ToolCallStatus::InProgress => Edge::Begins(what),
                ToolCallStatus::Completed | ToolCallStatus::Failed => Edge::Ends(what),
            }
        }
        SessionEvent::PermissionAsked { request, .. } => Edge::Begins(format!("ask {request}")),
        SessionEvent::PermissionAnswered { request, .. }
        | SessionEvent::PermissionWithdrawn { request } => Edge::Ends(format!("ask {request}")),
        SessionEvent::Opened { .. }
        | SessionEvent::MessagePosted { .. }
        | SessionEvent::SegmentRecorded(_)
        | SessionEvent::MessageTruncated { .. }
        | SessionEvent::PlanRecorded { .. }
        | SessionEvent::UsageRecorded { .. }
        | SessionEvent::PermissionSettled { .. } => return None,
    })
}
