//! A workspace is one container on a node, with the repository checked out on a branch.
//!
//! Its stream records what it was made for, its boot log, and how it ended. What happens inside is
//! the session's matter.
//!
//! Lifecycle: `Requested` → `Running` → `Stopping` → `Stopped`, or `Failed` → `Stopping` → `Stopped`. It can be stopped
//! from every state; only a confirmed removal of container and volume ends it.
//!
//! Read next: `process/open_workspace.rs` and `process/close_workspace.rs`.

use serde::{Deserialize, Serialize};

use crate::{agent_protocol::StepState, event_sourced, ids::ExecutionId, values::WorkspaceSpec};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Workspace {
    #[default]
    Unknown,
    Known {
        spec: WorkspaceSpec,
        execution: Option<ExecutionId>,
        phase: Phase,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Creating,
    Running,
    Failed,
    Stopping,
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceCommand {
    Request { execution: Option<ExecutionId>, spec: Box<WorkspaceSpec> },
    RecordBootStep { step: String, state: StepState, detail: String },
    RecordStart { base_branch: String, base_commit: String },
    RecordFailure { reason: String },
    Stop { reason: String },
    RecordStop,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceEvent {
    Requested { execution: Option<ExecutionId>, spec: Box<WorkspaceSpec> },
    BootStepRecorded { step: String, state: StepState, detail: String },
    Started { execution: Option<ExecutionId>, base_branch: String, base_commit: String },
    Failed { execution: Option<ExecutionId>, reason: String },
    StopRequested { execution: Option<ExecutionId>, spec: Box<WorkspaceSpec>, reason: String },
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceError {
    #[error("there is no such workspace")]
    NotFound,
    #[error("the workspace is stopping or stopped")]
    Stopped,
}

impl Workspace {
    /// Answers a command with the events it causes.
    pub fn decide(&self, command: WorkspaceCommand) -> Result<Vec<WorkspaceEvent>, WorkspaceError> {
        let Self::Known { spec, execution, phase } = self else {
            return match command {
                WorkspaceCommand::Request { execution, spec } => {
                    Ok(vec![WorkspaceEvent::Requested { execution, spec }])
                }
                _ => Err(WorkspaceError::NotFound),
            };
        };
        let execution = *execution;
        let is_ending = matches!(phase, Phase::Stopping | Phase::Stopped);
        match command {
            WorkspaceCommand::Request { .. } => Ok(Vec::new()),
            WorkspaceCommand::Stop { .. } | WorkspaceCommand::RecordStop
                if *phase == Phase::Stopped =>
            {
                Ok(Vec::new())
            }
            WorkspaceCommand::Stop { .. } if *phase == Phase::Stopping => Ok(Vec::new()),
            WorkspaceCommand::Stop { reason } => {
                let spec = Box::new(spec.clone());
                Ok(vec![WorkspaceEvent::StopRequested { execution, spec, reason }])
            }
            WorkspaceCommand::RecordStop if *phase == Phase::Stopping => {
                Ok(vec![WorkspaceEvent::Stopped])
            }
            // A late report of a workspace that is on its way out changes nothing.
            _ if is_ending => Err(WorkspaceError::Stopped),
            WorkspaceCommand::RecordStop => Err(WorkspaceError::Stopped),
            WorkspaceCommand::RecordBootStep { step, state, detail } => {
                Ok(vec![WorkspaceEvent::BootStepRecorded { step, state, detail }])
            }
            WorkspaceCommand::RecordStart { base_branch, base_commit } => {
                if *phase == Phase::Running {
                    return Ok(Vec::new());
                }
                Ok(vec![WorkspaceEvent::Started { execution, base_branch, base_commit }])
            }
            WorkspaceCommand::RecordFailure { reason } => {
                if *phase == Phase::Failed {
                    return Ok(Vec::new());
                }
                Ok(vec![WorkspaceEvent::Failed { execution, reason }])
            }
        }
    }

    /// A command that leads to these events from this state.
    pub fn command_of(&self, events: &[WorkspaceEvent]) -> Option<WorkspaceCommand> {
        let [event] = events else { return None };
        Some(match event.clone() {
            WorkspaceEvent::Requested { execution, spec } => {
                WorkspaceCommand::Request { execution, spec }
            }
            WorkspaceEvent::BootStepRecorded { step, state, detail } => {
                WorkspaceCommand::RecordBootStep { step, state, detail }
            }
            WorkspaceEvent::Started { base_branch, base_commit, .. } => {
                WorkspaceCommand::RecordStart { base_branch, base_commit }
            }
            WorkspaceEvent::Failed { reason, .. } => WorkspaceCommand::RecordFailure { reason },
            WorkspaceEvent::StopRequested { reason, .. } => WorkspaceCommand::Stop { reason },
            WorkspaceEvent::Stopped => WorkspaceCommand::RecordStop,
        })
    }

    /// Folds one recorded event into the state.
    pub fn evolve(&mut self, event: WorkspaceEvent) {
        if let WorkspaceEvent::Requested { execution, spec } = event {
            *self = Self::Known { spec: *spec, execution, phase: Phase::Creating };
            return;
        }
        let Self::Known { phase, .. } = self else {
            unreachable!("only a known workspace records {event:?}");
        };
        *phase = match event {
            WorkspaceEvent::Requested { .. } => unreachable!("handled above"),
            WorkspaceEvent::BootStepRecorded { .. } => *phase,
            WorkspaceEvent::Started { .. } => Phase::Running,
            WorkspaceEvent::Failed { .. } => Phase::Failed,
            WorkspaceEvent::StopRequested { .. } => Phase::Stopping,
            WorkspaceEvent::Stopped => {
                assert!(*phase == Phase::Stopping, "a workspace is told to stop before it stops");
                Phase::Stopped
            }
        };
    }
}

event_sourced!(Workspace, "workspace", WorkspaceCommand, WorkspaceEvent, WorkspaceError);

#[cfg(test)]
mod tests;
