//! A session is one conversation. It belongs to the project and outlives every workspace.
//!
//! Its stream records who said what in which order; the texts are content. It may be attached to a coding agent in
//! a workspace; each attachment has an epoch, and reports of an older one are stale. The state holds no text: only
//! what is needed to refuse repeats and to know what is open.
//!
//! Lifecycle: `Unknown` → `Open`, with an execution at times, a turn at times, a queue of prompts.
//!
//! Invariant: chunks of a message are recorded once, in order, without a gap.

mod command_of;
mod events;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

pub use events::{RecordedSegment, SessionCommand, SessionError, SessionEvent};

use crate::{
    event_sourced,
    ids::{ExecutionId, MessageId, PermissionId, ProjectId, WorkspaceId},
};

/// Prompts that may wait behind a turn.
pub const QUEUE_LENGTH_MAX: usize = 20;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    project: Option<ProjectId>,
    /// The execution that happens in it now.
    execution: Option<ExecutionId>,
    /// Of the newest attachment; 0 before the first.
    epoch: u32,
    /// Of the newest attachment.
    workspace: Option<WorkspaceId>,
    turn: Option<MessageId>,
    /// The last turn has ended with nothing queued: what is posted now would never be asked.
    is_ending: bool,
    queue: VecDeque<MessageId>,
    messages: BTreeSet<MessageId>,
    /// Messages of the coding agent that are being written, with the next chunk's number.
    open_messages: BTreeMap<MessageId, u32>,
    open_permissions: BTreeMap<PermissionId, BTreeSet<String>>,
}

impl Session {
    /// The execution that happens in it now.
    pub fn execution(&self) -> Option<ExecutionId> {
        self.execution
    }

    /// Whose conversation it is; None while nobody has begun it.
    pub fn project(&self) -> Option<ProjectId> {
        self.project
    }

    /// Where the newest attachment is.
    pub fn workspace(&self) -> Option<WorkspaceId> {
        self.workspace
    }

    /// The number of the newest attachment; 0 before the first.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The prompt of the turn under way, or of one whose end is not known.
    pub fn turn(&self) -> Option<MessageId> {
        self.turn
    }

    /// Answers a command with the events it causes.
    pub fn decide(&self, command: SessionCommand) -> Result<Vec<SessionEvent>, SessionError> {
        match command {
            SessionCommand::Begin { project, idea, execution, message, author, content } => {
                if self.execution == Some(execution) || self.messages.contains(&message) {
                    return Ok(Vec::new());
                }
                if self.project.is_some_and(|own| own != project) {
                    return Err(SessionError::ElsewhereAlready);
                }
                if self.execution.is_some() {
                    return Err(SessionError::Working);
                }
                let mut events = Vec::new();
                if self.project.is_none() {
                    events.push(SessionEvent::Opened { project });
                }
                events.push(SessionEvent::ExecutionBegun { idea, execution });
                events.push(SessionEvent::MessagePosted { execution, message, author, content });
                Ok(events)
            }
            _ if self.project.is_none() => Err(SessionError::NotFound),
            SessionCommand::Post { message, author, content } => {
                if self.messages.contains(&message) {
                    return Ok(Vec::new());
                }
                let Some(execution) = self.execution else { return Err(SessionError::NotWorking) };
                if self.is_ending {
                    return Err(SessionError::Ending);
                }
                if self.queue.len() >= QUEUE_LENGTH_MAX {
                    return Err(SessionError::QueueFull { max: QUEUE_LENGTH_MAX });
                }
                Ok(vec![SessionEvent::MessagePosted { execution, message, author, content }])
            }
            SessionCommand::BeginAttachment { execution, workspace } => {
                if self.execution != Some(execution) {
                    return Err(SessionError::NotWorking);
                }
                let mut events = self.close_what_is_open();
                events.push(SessionEvent::AttachmentBegun {
                    execution,
                    workspace,
                    epoch: self.epoch + 1,
                    message: self.turn.or_else(|| self.queue.front().copied()),
                });
                Ok(events)
            }
            SessionCommand::EndExecution { execution } => {
                if self.execution != Some(execution) {
                    return Ok(Vec::new());
                }
                let mut events = self.close_what_is_open();
                events.push(SessionEvent::ExecutionEnded { execution });
                Ok(events)
            }
            SessionCommand::AnswerPermission { request, option, by } => {
                let Some(execution) = self.execution else { return Err(SessionError::NotWorking) };
                let Some(options) = self.open_permissions.get(&request) else {
                    return Err(SessionError::NothingAsked);
                };
                if !options.contains(&option) {
                    return Err(SessionError::NoSuchOption);
                }
                let option = Some(option);
                Ok(vec![SessionEvent::PermissionAnswered { execution, request, option, by }])
            }
            reported => self.decide_reported(reported),
        }
    }

    /// Answers what the agent reported. Each names the epoch of its attachment.
    fn decide_reported(&self, command: SessionCommand) -> Result<Vec<SessionEvent>, SessionError> {
        let (epoch, events) = match command {
            SessionCommand::RecordAttached { epoch, agent_name, agent_version } => {
                (epoch, vec![SessionEvent::Attached { epoch, agent_name, agent_version }])
            }
            SessionCommand::StartTurn { epoch, message } => {
                let is_started = self.turn == Some(message);
                let event = SessionEvent::TurnStarted { epoch, message };
                (epoch, if is_started { Vec::new() } else { vec![event] })
            }
            SessionCommand::RecordSegment(segment) => {
                let expected = self.open_messages.get(&segment.message).copied().unwrap_or(0);
                let is_known = self.messages.contains(&segment.message)
                    && !self.open_messages.contains_key(&segment.message);
                // An older agent journal may send what is there already; never what skips a chunk.
                if is_known || segment.first_chunk < expected {
                    return Ok(Vec::new());
                }
                if segment.first_chunk > expected {
                    return Err(SessionError::Gap { expected });
                }
                (segment.epoch, vec![SessionEvent::SegmentRecorded(segment)])
            }
            SessionCommand::RecordToolCall { epoch, call, kind, status, content } => {
                (epoch, vec![SessionEvent::ToolCallRecorded { epoch, call, kind, status, content }])
            }
            SessionCommand::RecordPlan { epoch, content } => {
                (epoch, vec![SessionEvent::PlanRecorded { epoch, content }])
            }
            SessionCommand::RecordUsage { epoch, content } => {
                (epoch, vec![SessionEvent::UsageRecorded { epoch, content }])
            }
            SessionCommand::RecordPermissionAsked { epoch, request, options, content } => {
                if self.open_permissions.contains_key(&request) {
                    return Ok(Vec::new());
                }
                let execution = self.execution.ok_or(SessionError::NotWorking)?;
                let event =
                    SessionEvent::PermissionAsked { execution, epoch, request, options, content };
                (epoch, vec![event])
            }
            SessionCommand::RecordPermissionSettled { epoch, request, option, content } => {
                let event = SessionEvent::PermissionSettled { epoch, request, option, content };
                (epoch, vec![event])
            }
            SessionCommand::RecordTurnEnd { epoch, message, end } => {
                if self.turn != Some(message) {
                    return Ok(Vec::new());
                }
                let execution = self.execution.ok_or(SessionError::NotWorking)?;
                let next = self.queue.iter().copied().find(|next| *next != message);
                let mut events = self.close_what_is_open();
                events.push(SessionEvent::TurnEnded { execution, epoch, message, end, next });
                (epoch, events)
            }
            SessionCommand::RecordLoss { epoch, reason, prompt } => {
                let execution = self.execution.ok_or(SessionError::NotWorking)?;
                let mut events = self.close_what_is_open();
                events.push(SessionEvent::AttachmentLost { execution, epoch, reason, prompt });
                (epoch, events)
            }
            other => unreachable!("{other:?} is answered by `decide`"),
        };
        if epoch != self.epoch {
            return Err(SessionError::Stale { epoch: self.epoch });
        }
        Ok(events)
    }

    /// What a coding agent left open when it went.
    fn close_what_is_open(&self) -> Vec<SessionEvent> {
        let truncated = self
            .open_messages
            .keys()
            .map(|message| SessionEvent::MessageTruncated { message: *message });
        let unanswered = self
            .open_permissions
            .keys()
            .map(|request| SessionEvent::PermissionWithdrawn { request: *request });
        truncated.chain(unanswered).collect()
    }

    /// Folds one recorded event into the state.
    pub fn evolve(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Opened { project } => self.project = Some(project),
            SessionEvent::ExecutionBegun { execution, .. } => {
                assert!(self.execution.is_none(), "one execution at a time");
                self.execution = Some(execution);
                self.is_ending = false;
            }
            SessionEvent::MessagePosted { message, .. } => {
                self.messages.insert(message);
                self.queue.push_back(message);
            }
            SessionEvent::AttachmentBegun { workspace, epoch, message, .. } => {
                assert!(epoch > self.epoch, "epochs only rise");
                self.epoch = epoch;
                self.workspace = Some(workspace);
                self.turn = None;
                // A prompt whose turn was cut off is asked again, first, by the person's decision.
                if let Some(message) = message.filter(|message| !self.queue.contains(message)) {
                    self.queue.push_front(message);
                }
            }
            SessionEvent::Attached { .. }
            | SessionEvent::ToolCallRecorded { .. }
            | SessionEvent::PlanRecorded { .. }
            | SessionEvent::UsageRecorded { .. }
            | SessionEvent::PermissionSettled { .. } => {}
            SessionEvent::TurnStarted { message, .. } => {
                self.queue.retain(|queued| *queued != message);
                self.turn = Some(message);
            }
            SessionEvent::SegmentRecorded(segment) => {
                self.messages.insert(segment.message);
                if segment.is_last {
                    self.open_messages.remove(&segment.message);
                } else {
                    let next = segment.first_chunk + segment.n_chunks;
                    self.open_messages.insert(segment.message, next);
                }
            }
            SessionEvent::MessageTruncated { message } => {
                self.open_messages.remove(&message);
            }
            SessionEvent::PermissionAsked { request, options, .. } => {
                self.open_permissions.insert(request, options);
            }
            SessionEvent::PermissionAnswered { request, .. }
            | SessionEvent::PermissionWithdrawn { request } => {
                self.open_permissions.remove(&request);
            }
            SessionEvent::TurnEnded { next, .. } => {
                self.turn = None;
                self.is_ending = next.is_none();
            }
            // The turn stays known: a person decides whether its prompt is asked again.
            SessionEvent::AttachmentLost { .. } => {}
            SessionEvent::ExecutionEnded { .. } => {
                self.execution = None;
                self.turn = None;
                self.queue.clear();
            }
        }
    }
}

event_sourced!(Session, "session", SessionCommand, SessionEvent, SessionError);
