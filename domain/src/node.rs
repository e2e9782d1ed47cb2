//! A node is one machine that carries workspaces of one owner.
//!
//! Its stream records who asked for the machine, which workspaces sit on it, and until when it is
//! kept warm. Whether the machine answers is not recorded here: heartbeats are never events, since
//! losing one of them loses no decision.
//!
//! Lifecycle: `Unknown` → `Requested` → `Running` (warm while empty) → `Stopping` → `Stopped`, or `Failed`. The local
//! node, whose id never changes, can be requested again from `Stopped` and `Failed`.
//!
//! Invariant: a running node carries at most `slots` workspaces, and is warm only while it carries none.
//!
//! Read next: `process/retire_node.rs` gives the machine back.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    event_sourced,
    ids::WorkspaceId,
    values::{NodeSpec, Timestamp, after},
};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Node {
    #[default]
    Unknown,
    Requested {
        spec: NodeSpec,
    },
    Running {
        spec: NodeSpec,
        slots: u8,
        placed: BTreeSet<WorkspaceId>,
        warm_until: Option<Timestamp>,
    },
    Stopping {
        spec: NodeSpec,
    },
    /// Stopped or failed.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeCommand {
    Request {
        spec: NodeSpec,
    },
    RecordStart {
        slots: u8,
        version: String,
    },
    PlaceWorkspace {
        workspace: WorkspaceId,
    },
    ReleaseWorkspace {
        workspace: WorkspaceId,
        now: Timestamp,
        warm_ms: u64,
    },
    /// Of an empty node: by a person, when it has been warm long enough, or when it did not start.
    Stop {
        reason: String,
    },
    RecordStop,
    /// The machine is gone without having been told to. Where it may still exist, it is stopped.
    RecordFailure {
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeEvent {
    Requested { spec: NodeSpec },
    Started { slots: u8, version: String },
    WorkspacePlaced { workspace: WorkspaceId },
    WorkspaceReleased { workspace: WorkspaceId },
    Warmed { until: Timestamp },
    StopRequested { spec: NodeSpec, reason: String },
    Stopped,
    Failed { reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum NodeError {
    #[error("the node is not running")]
    NotRunning,
    #[error("the node is full: it carries {slots} workspaces already")]
    Full { slots: u8 },
    #[error("the node carries {n_workspaces} workspaces: stop them first")]
    InUse { n_workspaces: usize },
    #[error("a node carries at least one workspace")]
    NoSlots,
}

impl Node {
    /// Answers a command with the events it causes. Reads the state and changes nothing.
    pub fn decide(&self, command: NodeCommand) -> Result<Vec<NodeEvent>, NodeError> {
        match (self, command) {
            (Self::Unknown | Self::Gone, NodeCommand::Request { spec }) => {
                Ok(vec![NodeEvent::Requested { spec }])
            }
            (Self::Requested { .. } | Self::Running { .. }, NodeCommand::Request { .. }) => {
                Ok(Vec::new())
            }
            (_, NodeCommand::RecordStart { slots: 0, .. }) => Err(NodeError::NoSlots),
            (Self::Requested { .. }, NodeCommand::RecordStart { slots, version }) => {
                Ok(vec![NodeEvent::Started { slots, version }])
            }
            (Self::Running { .. }, NodeCommand::RecordStart { .. }) => Ok(Vec::new()),
            (Self::Running { .. }, command) => self.decide_running(command),
            (Self::Requested { .. }, NodeCommand::RecordFailure { reason }) => {
                Ok(vec![NodeEvent::Failed { reason }])
            }
            (Self::Requested { spec }, NodeCommand::Stop { reason }) => {
                Ok(vec![NodeEvent::StopRequested { spec: spec.clone(), reason }])
            }
            (Self::Stopping { .. }, NodeCommand::RecordStop) => Ok(vec![NodeEvent::Stopped]),
            // Nothing is placed on a node that does not run, so there is nothing to release or stop.
            (Self::Stopping { .. } | Self::Gone, NodeCommand::Stop { .. })
            | (_, NodeCommand::ReleaseWorkspace { .. })
            | (Self::Gone, NodeCommand::RecordStop | NodeCommand::RecordFailure { .. }) => {
                Ok(Vec::new())
            }
            (_, _) => Err(NodeError::NotRunning),
        }
    }

    fn decide_running(&self, command: NodeCommand) -> Result<Vec<NodeEvent>, NodeError> {
        let Self::Running { spec, slots, placed, .. } = self else {
            return Err(NodeError::NotRunning);
        };
        match command {
            NodeCommand::PlaceWorkspace { workspace } => {
                if placed.contains(&workspace) {
                    return Ok(Vec::new()); // A repeated command changes nothing.
                }
                if placed.len() >= usize::from(*slots) {
                    return Err(NodeError::Full { slots: *slots });
                }
                Ok(vec![NodeEvent::WorkspacePlaced { workspace }])
            }
            NodeCommand::ReleaseWorkspace { workspace, now, warm_ms } => {
                if !placed.contains(&workspace) {
                    return Ok(Vec::new());
                }
                let mut events = vec![NodeEvent::WorkspaceReleased { workspace }];
                if placed.len() == 1 {
                    events.push(NodeEvent::Warmed { until: after(now, warm_ms) });
                }
                Ok(events)
            }
            NodeCommand::Stop { reason } => {
                if !placed.is_empty() {
                    return Err(NodeError::InUse { n_workspaces: placed.len() });
                }
                Ok(vec![NodeEvent::StopRequested { spec: spec.clone(), reason }])
            }
            NodeCommand::RecordFailure { reason } => Ok(vec![NodeEvent::Failed { reason }]),
            NodeCommand::RecordStop => Err(NodeError::NotRunning),
            NodeCommand::Request { .. } | NodeCommand::RecordStart { .. } => Ok(Vec::new()),
        }
    }

    /// A command that leads to these events from this state.
    pub fn command_of(&self, events: &[NodeEvent]) -> Option<NodeCommand> {
        Some(match events {
            [NodeEvent::Requested { spec }] => NodeCommand::Request { spec: spec.clone() },
            [NodeEvent::Started { slots, version }] => {
                NodeCommand::RecordStart { slots: *slots, version: version.clone() }
            }
            [NodeEvent::WorkspacePlaced { workspace }] => {
                NodeCommand::PlaceWorkspace { workspace: *workspace }
            }
            // The moment is not recorded, only until when it is warm. Where others stay, it does not matter.
            [NodeEvent::WorkspaceReleased { workspace }, rest @ ..] => {
                let now = match rest {
                    [] => Timestamp::default(),
                    [NodeEvent::Warmed { until }] => *until,
                    _ => return None,
                };
                NodeCommand::ReleaseWorkspace { workspace: *workspace, now, warm_ms: 0 }
            }
            [NodeEvent::StopRequested { reason, .. }] => {
                NodeCommand::Stop { reason: reason.clone() }
            }
            [NodeEvent::Stopped] => NodeCommand::RecordStop,
            [NodeEvent::Failed { reason }] => NodeCommand::RecordFailure { reason: reason.clone() },
            _ => return None,
        })
    }

    /// Folds one recorded event into the state. Decides nothing and never fails.
    pub fn evolve(&mut self, event: NodeEvent) {
        match (&mut *self, event) {
            (_, NodeEvent::Requested { spec }) => *self = Self::Requested { spec },
            (Self::Requested { spec }, NodeEvent::Started { slots, .. }) => {
                let (spec, placed) = (spec.clone(), BTreeSet::new());
                *self = Self::Running { spec, slots, placed, warm_until: None };
            }
            (
                Self::Running { slots, placed, warm_until, .. },
                NodeEvent::WorkspacePlaced { workspace },
            ) => {
                let is_new = placed.insert(workspace);
                assert!(is_new, "`decide` never places a workspace twice");
                assert!(placed.len() <= usize::from(*slots), "`decide` never overfills a node");
                *warm_until = None;
            }
            (Self::Running { placed, .. }, NodeEvent::WorkspaceReleased { workspace }) => {
                let was_placed = placed.remove(&workspace);
                assert!(was_placed, "`decide` releases only what was placed");
            }
            (Self::Running { placed, warm_until, .. }, NodeEvent::Warmed { until }) => {
                assert!(placed.is_empty(), "only an empty node is warm");
                *warm_until = Some(until);
            }
            (_, NodeEvent::StopRequested { spec, .. }) => *self = Self::Stopping { spec },
            (_, NodeEvent::Stopped | NodeEvent::Failed { .. }) => *self = Self::Gone,
            (state, event) => unreachable!("{state:?} never records {event:?}"),
        }
    }
}

event_sourced!(Node, "node", NodeCommand, NodeEvent, NodeError);

#[cfg(test)]
mod tests;
