//! Gives a machine back: when it has been empty for long enough, or when a person says so.
//!
//! One instance per node, under the node's id. Only the provider's confirmation ends a node; until then it
//! tries again. A node that does not start in time is given back too: its machine may exist all the same.

use uuid::Uuid;

use crate::{
    event::Event,
    ids::NodeId,
    node::{NodeCommand, NodeEvent},
    process::{Effect, Intent, Outcome, Process, Reaction, Seen, What},
    values::{NodeSpec, after},
};

/// Between two attempts to have a machine removed.
pub const RETRY_MS: u64 = 60_000;

/// How long a machine may take to start. Longer than any execution waits for it.
const START_MS_MAX: u64 = 15 * 60_000;

/// How long a machine is kept on which nothing was ever placed: who wanted it was cancelled.
const UNUSED_MS_MAX: u64 = 30 * 60_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum RetireNode {
    #[default]
    Unknown,
    Starting {
        node: NodeId,
        spec: NodeSpec,
    },
    /// Nothing to wait for.
    InUse {
        spec: NodeSpec,
    },
    Warm {
        node: NodeId,
        spec: NodeSpec,
    },
    Stopping {
        node: NodeId,
        spec: NodeSpec,
    },
}

impl Process for RetireNode {
    const TYPE: &'static str = "retire_node";
    const CONCERNED_BY: &'static [&'static str] = &["node"];

    fn route(event: &Event) -> Option<Uuid> {
        match event {
            Event::Node(
                node,
                NodeEvent::Requested { .. }
                | NodeEvent::Started { .. }
                | NodeEvent::Warmed { .. }
                | NodeEvent::WorkspacePlaced { .. }
                | NodeEvent::StopRequested { .. }
                | NodeEvent::Failed { .. },
            ) => Some(node.0),
            _ => None,
        }
    }

    fn react(&self, seen: Seen<'_>) -> Reaction {
        match (self, seen.what) {
            // The local node is requested again: it must not be stopped under its new workspaces.
            (_, What::Happened(Event::Node(_, NodeEvent::Requested { .. }))) => {
                Reaction::instead([Intent::wake_at(after(seen.at, START_MS_MAX), "start")])
            }
            (_, What::Happened(Event::Node(_, NodeEvent::Started { .. }))) => {
                Reaction::instead([Intent::wake_at(after(seen.at, UNUSED_MS_MAX), "warm")])
            }
            (Self::Starting { node, .. }, What::Woken("start")) => {
                let reason = "its agent did not call in time".to_owned();
                [Intent::tell((*node, NodeCommand::Stop { reason }))].into()
            }
            (_, What::Happened(Event::Node(_, NodeEvent::Warmed { until }))) => {
                Reaction::instead([Intent::wake_at(*until, "warm")])
            }
            (
                Self::Warm { .. },
                What::Happened(Event::Node(_, NodeEvent::WorkspacePlaced { .. })),
            ) => Reaction::instead([]),
            (_, What::Happened(Event::Node(node, NodeEvent::StopRequested { spec, .. }))) => {
                Reaction::instead([stop(*node, spec)])
            }
            (
                Self::Starting { .. } | Self::Warm { .. },
                What::Happened(Event::Node(_, NodeEvent::Failed { .. })),
            ) => Reaction::instead([]),
            (Self::Warm { node, .. }, What::Woken("warm")) => {
                let reason = "empty for longer than a node is kept warm".to_owned();
                [Intent::tell((*node, NodeCommand::Stop { reason }))].into()
            }
            (Self::Stopping { node, .. }, What::Ran(Effect::StopNode { .. }, Outcome::Done)) => {
                [Intent::tell((*node, NodeCommand::RecordStop))].into()
            }
            (Self::Stopping { .. }, What::Ran(Effect::StopNode { .. }, _)) => {
                [Intent::wake_at(after(seen.at, RETRY_MS), "again")].into()
            }
            (Self::Stopping { node, spec }, What::Woken("again")) => [stop(*node, spec)].into(),
            // Late and repeated stimuli are normal after a restart; they ask for nothing.
            (_, _) => Reaction::none(),
        }
    }

    fn evolve(&mut self, seen: Seen<'_>, _intents: &[Intent]) {
        let next = match (&*self, seen.what) {
            (_, What::Happened(Event::Node(node, NodeEvent::Requested { spec }))) => {
                Self::Starting { node: *node, spec: spec.clone() }
            }
            (_, What::Happened(Event::Node(node, NodeEvent::StopRequested { spec, .. }))) => {
                Self::Stopping { node: *node, spec: spec.clone() }
            }
            (
                Self::Starting { spec, .. } | Self::InUse { spec } | Self::Warm { spec, .. },
                What::Happened(Event::Node(node, event)),
            ) => {
                let (node, spec) = (*node, spec.clone());
                match event {
                    NodeEvent::Started { .. } | NodeEvent::Warmed { .. } => {
                        Self::Warm { node, spec }
                    }
                    NodeEvent::WorkspacePlaced { .. } | NodeEvent::Failed { .. } => {
                        Self::InUse { spec }
                    }
                    _ => return,
                }
            }
            (Self::Stopping { spec, .. }, What::Ran(Effect::StopNode { .. }, Outcome::Done)) => {
                Self::InUse { spec: spec.clone() }
            }
            (_, _) => return,
        };
        *self = next;
    }
}

fn stop(node: NodeId, spec: &NodeSpec) -> Intent {
    Intent::run(Effect::StopNode { node, spec: spec.clone() })
}

#[cfg(test)]
mod tests;
