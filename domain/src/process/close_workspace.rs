//! Has a workspace removed by its node's agent, and gives its slot back.
//!
//! One instance per workspace, under the workspace's id. It does not give up: as long as the
//! removal of container and volume is not confirmed, the slot stays taken and it tries again.

use uuid::Uuid;

use crate::{
    event::Event,
    ids::WorkspaceId,
    node::NodeCommand,
    process::{Effect, Intent, OrderIntent, Outcome, Process, Reaction, Seen, What},
    values::{WorkspaceSpec, after},
    workspace::{WorkspaceCommand, WorkspaceEvent},
};

/// Between two attempts to have a workspace removed.
pub const RETRY_MS: u64 = 60_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum CloseWorkspace {
    #[default]
    Idle,
    Closing {
        workspace: WorkspaceId,
        spec: Box<WorkspaceSpec>,
    },
    Over,
}

impl Process for CloseWorkspace {
    const TYPE: &'static str = "close_workspace";
    const CONCERNED_BY: &'static [&'static str] = &["workspace"];

    fn route(event: &Event) -> Option<Uuid> {
        match event {
            Event::Workspace(workspace, WorkspaceEvent::StopRequested { .. }) => Some(workspace.0),
            _ => None,
        }
    }

    fn react(&self, seen: Seen<'_>) -> Reaction {
        match (self, seen.what) {
            (
                Self::Idle,
                What::Happened(Event::Workspace(
                    workspace,
                    WorkspaceEvent::StopRequested { spec, .. },
                )),
            ) => [close(*workspace, spec)].into(),
            (Self::Closing { workspace, spec }, What::Ran(Effect::Order { .. }, Outcome::Done)) => {
                let released = NodeCommand::ReleaseWorkspace {
                    workspace: *workspace,
                    now: seen.at,
                    warm_ms: spec.node_warm_ms,
                };
                [
                    Intent::tell((*workspace, WorkspaceCommand::RecordStop)),
                    Intent::tell((spec.node, released)),
                ]
                .into()
            }
            (Self::Closing { .. }, What::Ran(Effect::Order { .. }, _)) => {
                [Intent::wake_at(after(seen.at, RETRY_MS), "again")].into()
            }
            (Self::Closing { workspace, spec }, What::Woken(_)) => [close(*workspace, spec)].into(),
            // Late and repeated stimuli are normal after a restart; they ask for nothing.
            (_, _) => Reaction::none(),
        }
    }

    fn evolve(&mut self, seen: Seen<'_>, _intents: &[Intent]) {
        match (&*self, seen.what) {
            (
                Self::Idle,
                What::Happened(Event::Workspace(
                    workspace,
                    WorkspaceEvent::StopRequested { spec, .. },
                )),
            ) => *self = Self::Closing { workspace: *workspace, spec: spec.clone() },
            (Self::Closing { .. }, What::Ran(Effect::Order { .. }, Outcome::Done)) => {
                *self = Self::Over;
            }
            (_, _) => {}
        }
    }
}

fn close(workspace: WorkspaceId, spec: &WorkspaceSpec) -> Intent {
    Intent::order(spec.node, OrderIntent::CloseWorkspace { workspace })
}

#[cfg(test)]
mod tests;
