//! Which command a report becomes, and which of its text is sealed.

use std::collections::BTreeSet;

use domain::{
    agent_protocol::{PermissionRequest, Report, Segment, ToolCall},
    event::Command,
    ids::{SessionId, WorkspaceId},
    session::{RecordedSegment, SessionCommand},
    values::ContentRef,
    workspace::WorkspaceCommand,
};
use serde::Serialize;
use uuid::Uuid;

/// What a report is about; it also says which reports have to stay in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum About {
    Workspace(WorkspaceId),
    Session(SessionId),
}

impl About {
    pub(super) fn uuid(self) -> Uuid {
        match self {
            Self::Workspace(workspace) => workspace.0,
            Self::Session(session) => session.0,
        }
    }
}

/// A command that is complete once its text is sealed.
pub(super) struct Translated<'a> {
    pub(super) sealed: Option<String>,
    pub(super) command: Box<dyn FnOnce(Option<ContentRef>) -> Option<Command> + Send + 'a>,
}

pub(super) fn about(report: &Report) -> About {
    match report {
        Report::BootStep { workspace, .. } => About::Workspace(*workspace),
        Report::Segment(Segment { session, .. })
        | Report::ToolCall(ToolCall { session, .. })
        | Report::Plan { session, .. }
        | Report::Usage { session, .. }
        | Report::PermissionAsked(PermissionRequest { session, .. })
        | Report::PermissionSettled { request: PermissionRequest { session, .. }, .. }
        | Report::TurnEnded { session, .. }
        | Report::SessionLost { session, .. } => About::Session(*session),
        Report::OrderSettled { key, .. } => unreachable!("order {key} is settled, not recorded"),
    }
}

pub(super) fn translated(report: &Report) -> Translated<'_> {
    match report {
        Report::BootStep { workspace, step, state, detail } => {
            let (step, detail) = (step.clone(), detail.clone());
            let command = WorkspaceCommand::RecordBootStep { step, state: *state, detail };
            plain(Command::Workspace(*workspace, command))
        }
        Report::Segment(segment) => sealed(segment.text.clone(), segment.session, |content| {
            SessionCommand::RecordSegment(RecordedSegment {
                epoch: segment.epoch,
                message: segment.message,
                kind: segment.kind,
                first_chunk: segment.first_chunk,
                n_chunks: segment.n_chunks,
                content,
                is_last: segment.is_last,
            })
        }),
        Report::ToolCall(call) => sealed(json(&call.detail), call.session, |content| {
            let ToolCall { epoch, status, .. } = *call;
            let (call, kind) = (call.call.clone(), call.kind.clone());
            SessionCommand::RecordToolCall { epoch, call, kind, status, content }
        }),
        Report::Plan { session, epoch, entries } => sealed(json(entries), *session, |content| {
            SessionCommand::RecordPlan { epoch: *epoch, content }
        }),
        Report::Usage { session, epoch, usage } => sealed(json(usage), *session, |content| {
            SessionCommand::RecordUsage { epoch: *epoch, content }
        }),
        Report::PermissionAsked(asked) => sealed(json(asked), asked.session, |content| {
            let PermissionRequest { epoch, request, .. } = *asked;
            let options: BTreeSet<_> =
                asked.options.iter().map(|option| option.id.clone()).collect();
            SessionCommand::RecordPermissionAsked { epoch, request, options, content }
        }),
        Report::PermissionSettled { request: asked, option } => {
            sealed(json(asked), asked.session, |content| {
                let PermissionRequest { epoch, request, .. } = *asked;
                let option = option.clone();
                SessionCommand::RecordPermissionSettled { epoch, request, option, content }
            })
        }
        Report::TurnEnded { session, epoch, message, end } => {
            let (epoch, message, end) = (*epoch, *message, end.clone());
            plain(Command::Session(*session, SessionCommand::RecordTurnEnd { epoch, message, end }))
        }
        Report::SessionLost { session, epoch, reason, prompt } => {
            let (epoch, reason, prompt) = (*epoch, reason.clone(), *prompt);
            plain(Command::Session(*session, SessionCommand::RecordLoss { epoch, reason, prompt }))
        }
        Report::OrderSettled { key, .. } => unreachable!("order {key} is settled, not recorded"),
    }
}

fn plain<'a>(command: Command) -> Translated<'a> {
    Translated { sealed: None, command: Box::new(|_| Some(command)) }
}

fn sealed<'a>(
    text: String,
    session: SessionId,
    command: impl FnOnce(ContentRef) -> SessionCommand + Send + 'a,
) -> Translated<'a> {
    let command = move |content: Option<ContentRef>| Some((session, command(content?)).into());
    Translated { sealed: Some(text), command: Box::new(command) }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
