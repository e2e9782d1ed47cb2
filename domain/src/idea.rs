//! An idea is what a person wants, with its stage on the board.
//!
//! Carrying it out is an execution with a stream of its own; the idea only remembers the newest
//! one. The text is content: the idea holds references. The title is not recorded while it is only
//! the beginning of the text; a better one that somebody thought of later is content too, and belongs
//! to the text that it was made of.
//!
//! Lifecycle: `Exploring` ⇄ `Ready` → `Executing` → `Done`, or `Parked`, which can become ready or be
//! executed again. Done is final.
//!
//! Invariant: at most one execution is under way; only its own end moves the stage.
//!
//! Read next: `process/run_execution.rs` carries out [`IdeaEvent::ExecutionRequested`]; `idea/title.rs` is
//! how a title is cut.

use serde::{Deserialize, Serialize};

use crate::{
    event_sourced,
    ids::{ContentId, ExecutionId, MessageId, ProjectId, SessionId},
    values::{ContentRef, ExecutionSettings},
};

pub mod title;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Idea {
    #[default]
    Unknown,
    Known {
        project: ProjectId,
        stage: Stage,
        /// The newest execution.
        execution: Option<ExecutionId>,
        /// What is wanted.
        description: ContentId,
        /// The title that was made of it, if any was.
        title: Option<ContentId>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Exploring,
    Ready,
    Executing,
    Done,
    Parked,
}

/// A wish to carry the idea out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecutionRequest {
    pub execution: ExecutionId,
    /// The conversation in which it happens.
    pub session: SessionId,
    /// Id of the message that will carry the prompt.
    pub message: MessageId,
    /// The prompt.
    pub prompt: ContentRef,
    pub settings: ExecutionSettings,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdeaCommand {
    Draft {
        project: ProjectId,
        description: ContentRef,
    },
    Describe {
        description: ContentRef,
    },
    MarkExploring,
    MarkReady,
    /// Creates and executes in one step.
    Submit {
        project: ProjectId,
        description: ContentRef,
        request: Box<ExecutionRequest>,
    },
    /// Executes a draft, or a parked idea again.
    Execute {
        request: Box<ExecutionRequest>,
    },
    /// Puts an idea aside that is not being executed.
    Park,
    RecordDone {
        execution: ExecutionId,
    },
    RecordParked {
        execution: ExecutionId,
        reason: String,
    },
    /// Takes a better title than the beginning of the text.
    RecordTitle {
        /// The text of which it was made.
        description: ContentId,
        title: ContentRef,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdeaEvent {
    Drafted {
        project: ProjectId,
        description: ContentRef,
    },
    Described {
        description: ContentRef,
    },
    MarkedExploring,
    MarkedReady,
    ExecutionRequested {
        project: ProjectId,
        request: Box<ExecutionRequest>,
    },
    Done {
        execution: ExecutionId,
    },
    /// `execution` is absent when a person put the idea aside.
    Parked {
        execution: Option<ExecutionId>,
        reason: String,
    },
    /// It has a better title than the beginning of its text.
    Titled {
        title: ContentRef,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum IdeaError {
    #[error("there is no such idea")]
    NotFound,
    #[error("an idea with this id exists in another project")]
    ElsewhereAlready,
    #[error("this idea is being executed: cancel the execution first")]
    Executing,
    #[error("this idea is done: write a new one, or a follow-up in its conversation")]
    Done,
    #[error("this execution is not the idea's current one")]
    NotCurrent,
    #[error("this idea was rewritten meanwhile: the title is one of its older text")]
    Rewritten,
}

impl Idea {
    /// Answers a command with the events it causes.
    pub fn decide(&self, command: IdeaCommand) -> Result<Vec<IdeaEvent>, IdeaError> {
        let Self::Known { project, stage, execution, .. } = self else {
            return Self::decide_unknown(command);
        };
        match command {
            IdeaCommand::Draft { project: wanted, .. } => {
                if *project == wanted {
                    Ok(Vec::new())
                } else {
                    Err(IdeaError::ElsewhereAlready)
                }
            }
            // The same idea from two tabs is one idea; the second answer is the first one's.
            IdeaCommand::Submit { project: wanted, request, .. } => {
                if *project != wanted {
                    return Err(IdeaError::ElsewhereAlready);
                }
                self.decide_execute(request)
            }
            IdeaCommand::Execute { request } => self.decide_execute(request),
            IdeaCommand::Describe { description } => {
                self.check_idle()?;
                Ok(vec![IdeaEvent::Described { description }])
            }
            IdeaCommand::MarkExploring => {
                self.decide_stage(Stage::Exploring, IdeaEvent::MarkedExploring)
            }
            IdeaCommand::MarkReady => self.decide_stage(Stage::Ready, IdeaEvent::MarkedReady),
            IdeaCommand::Park => {
                let reason = "put aside".to_owned();
                self.decide_stage(Stage::Parked, IdeaEvent::Parked { execution: None, reason })
            }
            IdeaCommand::RecordDone { execution: ended } => match (stage, execution) {
                (Stage::Executing, Some(current)) if *current == ended => {
                    Ok(vec![IdeaEvent::Done { execution: ended }])
                }
                (_, Some(current)) if *current == ended => Ok(Vec::new()),
                _ => Err(IdeaError::NotCurrent),
            },
            IdeaCommand::RecordParked { execution: ended, reason } => match (stage, execution) {
                (Stage::Executing, Some(current)) if *current == ended => {
                    Ok(vec![IdeaEvent::Parked { execution: Some(ended), reason }])
                }
                (_, Some(current)) if *current == ended => Ok(Vec::new()),
                _ => Err(IdeaError::NotCurrent),
            },
            IdeaCommand::RecordTitle { description, title } => {
                self.decide_title(description, title)
            }
        }
    }

    fn decide_unknown(command: IdeaCommand) -> Result<Vec<IdeaEvent>, IdeaError> {
        match command {
            IdeaCommand::Draft { project, description } => {
                Ok(vec![IdeaEvent::Drafted { project, description }])
            }
            IdeaCommand::Submit { project, description, request } => Ok(vec![
                IdeaEvent::Drafted { project, description },
                IdeaEvent::ExecutionRequested { project, request },
            ]),
            _ => Err(IdeaError::NotFound),
        }
    }

    fn decide_execute(&self, request: Box<ExecutionRequest>) -> Result<Vec<IdeaEvent>, IdeaError> {
        let Self::Known { project, stage, execution, .. } = self else {
            return Err(IdeaError::NotFound);
        };
        if *execution == Some(request.execution) {
            return Ok(Vec::new()); // A repeated request changes nothing.
        }
        match stage {
            Stage::Executing => Err(IdeaError::Executing),
            Stage::Done => Err(IdeaError::Done),
            Stage::Exploring | Stage::Ready | Stage::Parked => {
                Ok(vec![IdeaEvent::ExecutionRequested { project: *project, request }])
            }
        }
    }

    /// Possible at any stage: who carries the idea out takes no notice of it.
    fn decide_title(&self, of: ContentId, title: ContentRef) -> Result<Vec<IdeaEvent>, IdeaError> {
        match self {
            Self::Unknown => Err(IdeaError::NotFound),
            Self::Known { description, .. } if *description != of => Err(IdeaError::Rewritten),
            // The first one stays: nobody's card changes its name again and again.
            Self::Known { title: Some(_), .. } => Ok(Vec::new()),
            Self::Known { title: None, .. } => Ok(vec![IdeaEvent::Titled { title }]),
        }
    }

    fn decide_stage(&self, wanted: Stage, event: IdeaEvent) -> Result<Vec<IdeaEvent>, IdeaError> {
        self.check_idle()?;
        let is_there = matches!(self, Self::Known { stage, .. } if *stage == wanted);
        Ok(if is_there { Vec::new() } else { vec![event] })
    }

    fn check_idle(&self) -> Result<(), IdeaError> {
        match self {
            Self::Unknown => Err(IdeaError::NotFound),
            Self::Known { stage: Stage::Executing, .. } => Err(IdeaError::Executing),
            Self::Known { stage: Stage::Done, .. } => Err(IdeaError::Done),
            Self::Known { .. } => Ok(()),
        }
    }

    /// A command that leads to these events from this state.
    pub fn command_of(&self, events: &[IdeaEvent]) -> Option<IdeaCommand> {
        Some(match events {
            [IdeaEvent::Drafted { project, description }] => {
                IdeaCommand::Draft { project: *project, description: description.clone() }
            }
            [
                IdeaEvent::Drafted { project, description },
                IdeaEvent::ExecutionRequested { request, .. },
            ] => IdeaCommand::Submit {
                project: *project,
                description: description.clone(),
                request: request.clone(),
            },
            [IdeaEvent::ExecutionRequested { request, .. }] => {
                IdeaCommand::Execute { request: request.clone() }
            }
            [IdeaEvent::Described { description }] => {
                IdeaCommand::Describe { description: description.clone() }
            }
            [IdeaEvent::MarkedExploring] => IdeaCommand::MarkExploring,
            [IdeaEvent::MarkedReady] => IdeaCommand::MarkReady,
            [IdeaEvent::Done { execution }] => IdeaCommand::RecordDone { execution: *execution },
            [IdeaEvent::Parked { execution: None, .. }] => IdeaCommand::Park,
            [IdeaEvent::Parked { execution: Some(execution), reason }] => {
                IdeaCommand::RecordParked { execution: *execution, reason: reason.clone() }
            }
            [IdeaEvent::Titled { title }] => {
                let Self::Known { description, .. } = self else { return None };
                IdeaCommand::RecordTitle { description: *description, title: title.clone() }
            }
            _ => return None,
        })
    }

    /// Folds one recorded event into the state.
    pub fn evolve(&mut self, event: IdeaEvent) {
        if let IdeaEvent::Drafted { project, description } = event {
            let (stage, description) = (Stage::Exploring, description.id);
            *self = Self::Known { project, stage, execution: None, description, title: None };
            return;
        }
        let Self::Known { stage, execution, description, title, .. } = self else {
            unreachable!("only a known idea records {event:?}");
        };
        *stage = match event {
            IdeaEvent::Drafted { .. } => unreachable!("handled above"),
            IdeaEvent::Described { description: newer } => {
                (*description, *title) = (newer.id, None);
                *stage
            }
            IdeaEvent::Titled { title: better } => {
                assert!(title.is_none(), "`decide` titles a text once");
                *title = Some(better.id);
                *stage
            }
            IdeaEvent::MarkedExploring => Stage::Exploring,
            IdeaEvent::MarkedReady => Stage::Ready,
            IdeaEvent::ExecutionRequested { request, .. } => {
                assert!(*stage != Stage::Executing, "`decide` never starts a second execution");
                *execution = Some(request.execution);
                Stage::Executing
            }
            IdeaEvent::Done { .. } => Stage::Done,
            IdeaEvent::Parked { .. } => Stage::Parked,
        };
    }
}

event_sourced!(Idea, "idea", IdeaCommand, IdeaEvent, IdeaError);

#[cfg(test)]
mod tests;
