//! Which command a session's events follow from, so that it can be put to the session again.
//!
//! The last event says it; what was left open before it was closed by the session itself. Which project it
//! belongs to is recorded once, when it is opened.

use super::{Session, SessionCommand, SessionEvent};

impl Session {
    /// A command that leads to these events from this state.
    pub fn command_of(&self, events: &[SessionEvent]) -> Option<SessionCommand> {
        let (last, before) = events.split_last()?;
        Some(match (before, last.clone()) {
            (
                [opening @ .., SessionEvent::ExecutionBegun { idea, execution }],
                SessionEvent::MessagePosted { message, author, content, .. },
            ) => {
                let project = match opening {
                    [SessionEvent::Opened { project }] => *project,
                    _ => self.project?,
                };
                let (idea, execution) = (*idea, *execution);
                SessionCommand::Begin { project, idea, execution, message, author, content }
            }
            (_, SessionEvent::MessagePosted { message, author, content, .. }) => {
                SessionCommand::Post { message, author, content }
            }
            (_, SessionEvent::AttachmentBegun { execution, workspace, .. }) => {
                SessionCommand::BeginAttachment { execution, workspace }
            }
            (_, SessionEvent::ExecutionEnded { execution }) => {
                SessionCommand::EndExecution { execution }
            }
            (_, SessionEvent::PermissionAnswered { request, option, by, .. }) => {
                SessionCommand::AnswerPermission { request, option: option?, by }
            }
            (_, reported) => return reported_in(reported),
        })
    }
}

/// What an agent reported.
fn reported_in(event: SessionEvent) -> Option<SessionCommand> {
    Some(match event {
        SessionEvent::Attached { epoch, agent_name, agent_version } => {
            SessionCommand::RecordAttached { epoch, agent_name, agent_version }
        }
        SessionEvent::TurnStarted { epoch, message } => {
            SessionCommand::StartTurn { epoch, message }
        }
        SessionEvent::SegmentRecorded(segment) => SessionCommand::RecordSegment(segment),
        SessionEvent::ToolCallRecorded { epoch, call, kind, status, content } => {
            SessionCommand::RecordToolCall { epoch, call, kind, status, content }
        }
        SessionEvent::PlanRecorded { epoch, content } => {
            SessionCommand::RecordPlan { epoch, content }
        }
        SessionEvent::UsageRecorded { epoch, content } => {
            SessionCommand::RecordUsage { epoch, content }
        }
        SessionEvent::PermissionAsked { epoch, request, options, content, .. } => {
            SessionCommand::RecordPermissionAsked { epoch, request, options, content }
        }
        SessionEvent::PermissionSettled { epoch, request, option, content } => {
            SessionCommand::RecordPermissionSettled { epoch, request, option, content }
        }
        SessionEvent::TurnEnded { epoch, message, end, .. } => {
            SessionCommand::RecordTurnEnd { epoch, message, end }
        }
        SessionEvent::AttachmentLost { epoch, reason, prompt, .. } => {
            SessionCommand::RecordLoss { epoch, reason, prompt }
        }
        _ => return None,
    })
}
