//! An execution is one attempt at an idea by a coding agent.
//!
//! Its stream is the account of the attempt that people read: each step with its reason, what it
//! waits for, how it ended and what it brought about. What is said meanwhile belongs to the session.
//!
//! Lifecycle: `Requested` → the seven steps, forward only → `Finishing` → `Done`, `Failed` or `Cancelled`. It can
//! need a person's input on the way. A cancel wins over everything but an end: a late success changes nothing.
//!
//! Read next: `process/run_execution.rs` decides what happens in which step.

use serde::{Deserialize, Serialize};

use crate::{
    event_sourced,
    ids::{IdeaId, NodeId, ProjectId, SessionId, WorkspaceId},
    values::{ExecutionResult, ExecutionSettings, Step, Timestamp},
};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Execution {
    #[default]
    Unknown,
    UnderWay {
        step: Option<Step>,
        is_cancelled: bool,
        needs_input: bool,
        waiting: Option<String>,
        ending: Option<Ending>,
        has_result: bool,
    },
    Ended,
}

/// What the end will be once the work is safe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Complete,
    Fail { reason: String },
    Cancel,
}

/// What a person says to an execution that cannot go on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputChoice {
    Continue,
    Park,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionCommand {
    Request {
        idea: IdeaId,
        project: ProjectId,
        session: SessionId,
        settings: Box<ExecutionSettings>,
    },
    StartStep {
        step: Step,
        reason: String,
    },
    RecordWaiting {
        reason: String,
    },
    RecordPlacement {
        node: NodeId,
        workspace: WorkspaceId,
    },
    Cancel,
    AskInput {
        reason: String,
        until: Timestamp,
    },
    AnswerInput {
        choice: InputChoice,
    },
    /// The work is being brought out of the container.
    Finish {
        ending: Ending,
    },
    RecordResult {
        result: Box<ExecutionResult>,
    },
    Complete,
    Fail {
        reason: String,
        checkpoint: Option<String>,
    },
    RecordCancelled {
        checkpoint: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionEvent {
    Requested {
        idea: IdeaId,
        project: ProjectId,
        session: SessionId,
        settings: Box<ExecutionSettings>,
    },
    StepStarted {
        step: Step,
        reason: String,
    },
    /// It stays in its step until something changes; people read the reason.
    Waited {
        reason: String,
    },
    Placed {
        node: NodeId,
        workspace: WorkspaceId,
    },
    CancelRequested,
    InputAsked {
        reason: String,
        until: Timestamp,
    },
    InputAnswered {
        choice: InputChoice,
    },
    FinishBegun {
        ending: Ending,
    },
    ResultRecorded {
        result: Box<ExecutionResult>,
    },
    Done,
    Failed {
        reason: String,
        checkpoint: Option<String>,
    },
    Cancelled {
        checkpoint: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionError {
    #[error("there is no such execution")]
    NotFound,
    #[error("this execution has ended")]
    Ended,
    #[error("this execution is being cancelled")]
    Cancelled,
    #[error("this execution has not asked for input")]
    NothingAsked,
}

impl Execution {
    /// Answers a command with the events it causes.
    pub fn decide(&self, command: ExecutionCommand) -> Result<Vec<ExecutionEvent>, ExecutionError> {
        match (self, command) {
            (Self::Unknown, ExecutionCommand::Request { idea, project, session, settings }) => {
                Ok(vec![ExecutionEvent::Requested { idea, project, session, settings }])
            }
            (_, ExecutionCommand::Request { .. }) => Ok(Vec::new()),
            (Self::Unknown, _) => Err(ExecutionError::NotFound),
            (
                Self::Ended,
                ExecutionCommand::Complete
                | ExecutionCommand::Fail { .. }
                | ExecutionCommand::RecordCancelled { .. },
            ) => Ok(Vec::new()),
            (Self::Ended, _) => Err(ExecutionError::Ended),
            (Self::UnderWay { .. }, command) => self.decide_under_way(command),
        }
    }

    fn decide_under_way(
        &self,
        command: ExecutionCommand,
    ) -> Result<Vec<ExecutionEvent>, ExecutionError> {
        let Self::UnderWay { step, is_cancelled, needs_input, waiting, ending, has_result } = self
        else {
            return Err(ExecutionError::NotFound);
        };
        match command {
            ExecutionCommand::Cancel if *is_cancelled => Ok(Vec::new()),
            ExecutionCommand::Cancel => Ok(vec![ExecutionEvent::CancelRequested]),
            ExecutionCommand::RecordCancelled { checkpoint } => {
                Ok(vec![ExecutionEvent::Cancelled { checkpoint }])
            }
            ExecutionCommand::Finish { ending: wanted } => {
                if *is_cancelled && wanted != Ending::Cancel {
                    return Err(ExecutionError::Cancelled);
                }
                if ending.as_ref() == Some(&wanted) {
                    return Ok(Vec::new());
                }
                Ok(vec![ExecutionEvent::FinishBegun { ending: wanted }])
            }
            // From here on a cancel has won: what arrives now is late.
            _ if *is_cancelled => Err(ExecutionError::Cancelled),
            ExecutionCommand::StartStep { step: next, reason } => {
                if step.is_some_and(|step| step >= next) {
                    return Ok(Vec::new()); // Forward only; the same step again is a repeat.
                }
                Ok(vec![ExecutionEvent::StepStarted { step: next, reason }])
            }
            ExecutionCommand::RecordWaiting { reason } => {
                if waiting.as_ref() == Some(&reason) {
                    return Ok(Vec::new());
                }
                Ok(vec![ExecutionEvent::Waited { reason }])
            }
            ExecutionCommand::RecordPlacement { node, workspace } => {
                Ok(vec![ExecutionEvent::Placed { node, workspace }])
            }
            ExecutionCommand::AskInput { reason, until } => {
                if *needs_input {
                    return Ok(Vec::new());
                }
                Ok(vec![ExecutionEvent::InputAsked { reason, until }])
            }
            ExecutionCommand::AnswerInput { choice } => {
                if !*needs_input {
                    return Err(ExecutionError::NothingAsked);
                }
                Ok(vec![ExecutionEvent::InputAnswered { choice }])
            }
            ExecutionCommand::RecordResult { .. } if *has_result => Ok(Vec::new()),
            ExecutionCommand::RecordResult { result } => {
                Ok(vec![ExecutionEvent::ResultRecorded { result }])
            }
            ExecutionCommand::Complete => Ok(vec![ExecutionEvent::Done]),
            ExecutionCommand::Fail { reason, checkpoint } => {
                Ok(vec![ExecutionEvent::Failed { reason, checkpoint }])
            }
            ExecutionCommand::Request { .. } => Ok(Vec::new()),
        }
    }

    /// A command that leads to these events from this state.
    pub fn command_of(&self, events: &[ExecutionEvent]) -> Option<ExecutionCommand> {
        let [event] = events else { return None };
        Some(match event.clone() {
            ExecutionEvent::Requested { idea, project, session, settings } => {
                ExecutionCommand::Request { idea, project, session, settings }
            }
            ExecutionEvent::StepStarted { step, reason } => {
                ExecutionCommand::StartStep { step, reason }
            }
            ExecutionEvent::Waited { reason } => ExecutionCommand::RecordWaiting { reason },
            ExecutionEvent::Placed { node, workspace } => {
                ExecutionCommand::RecordPlacement { node, workspace }
            }
            ExecutionEvent::CancelRequested => ExecutionCommand::Cancel,
            ExecutionEvent::InputAsked { reason, until } => {
                ExecutionCommand::AskInput { reason, until }
            }
            ExecutionEvent::InputAnswered { choice } => ExecutionCommand::AnswerInput { choice },
            ExecutionEvent::FinishBegun { ending } => ExecutionCommand::Finish { ending },
            ExecutionEvent::ResultRecorded { result } => ExecutionCommand::RecordResult { result },
            ExecutionEvent::Done => ExecutionCommand::Complete,
            ExecutionEvent::Failed { reason, checkpoint } => {
                ExecutionCommand::Fail { reason, checkpoint }
            }
            ExecutionEvent::Cancelled { checkpoint } => {
                ExecutionCommand::RecordCancelled { checkpoint }
            }
        })
    }

    /// Folds one recorded event into the state.
    pub fn evolve(&mut self, event: ExecutionEvent) {
        if let ExecutionEvent::Requested { .. } = event {
            *self = Self::UnderWay {
                step: None,
                is_cancelled: false,
                needs_input: false,
                waiting: None,
                ending: None,
                has_result: false,
            };
            return;
        }
        let Self::UnderWay { step, is_cancelled, needs_input, waiting, ending, has_result } = self
        else {
            unreachable!("only an execution under way records {event:?}");
        };
        match event {
            ExecutionEvent::Requested { .. } => unreachable!("handled above"),
            ExecutionEvent::StepStarted { step: next, .. } => {
                assert!(step.is_none_or(|step| step < next), "steps only go forward");
                *step = Some(next);
                *waiting = None;
            }
            ExecutionEvent::Waited { reason } => *waiting = Some(reason),
            ExecutionEvent::Placed { .. } => *waiting = None,
            ExecutionEvent::CancelRequested => {
                *is_cancelled = true;
                *needs_input = false;
            }
            ExecutionEvent::InputAsked { .. } => *needs_input = true,
            ExecutionEvent::InputAnswered { .. } => *needs_input = false,
            ExecutionEvent::FinishBegun { ending: begun } => {
                *ending = Some(begun);
                *needs_input = false;
            }
            ExecutionEvent::ResultRecorded { .. } => *has_result = true,
            ExecutionEvent::Done
            | ExecutionEvent::Failed { .. }
            | ExecutionEvent::Cancelled { .. } => *self = Self::Ended,
        }
    }
}

event_sourced!(Execution, "execution", ExecutionCommand, ExecutionEvent, ExecutionError);

#[cfg(test)]
mod tests;
