//! Has a requested workspace made by its node's agent, and records how that went.
//!
//! One instance per workspace, under the workspace's id. A stop in between gives it up. Closing may have
//! been quicker than the order that was given up, so the removal is ordered here too: it comes last.

use uuid::Uuid;

use crate::{
    event::Event,
    ids::{NodeId, WorkspaceId},
    process::{Effect, Intent, OrderIntent, Outcome, Process, Reaction, Seen, What},
    values::after,
    workspace::{WorkspaceCommand, WorkspaceEvent},
};

/// Between two attempts to have a workspace removed.
const RETRY_MS: u64 = 60_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum OpenWorkspace {
    #[default]
    Idle,
    Opening,
    /// The workspace is being told what came of it.
    Telling {
        workspace: WorkspaceId,
        node: NodeId,
    },
    /// Given up in between.
    Removing {
        workspace: WorkspaceId,
        node: NodeId,
    },
    Over,
}

impl Process for OpenWorkspace {
    const TYPE: &'static str = "open_workspace";
    const CONCERNED_BY: &'static [&'static str] = &["workspace"];

    fn route(event: &Event) -> Option<Uuid> {
        match event {
            Event::Workspace(
                workspace,
                WorkspaceEvent::Requested { .. } | WorkspaceEvent::StopRequested { .. },
            ) => Some(workspace.0),
            _ => None,
        }
    }

    fn react(&self, seen: Seen<'_>) -> Reaction {
        match (self, seen.what) {
            (
                Self::Idle,
                What::Happened(Event::Workspace(
                    workspace,
                    WorkspaceEvent::Requested { execution, spec },
                )),
            ) => {
                let order = OrderIntent::OpenWorkspace {
                    workspace: *workspace,
                    execution: *execution,
                    spec: spec.as_ref().clone(),
                };
                [Intent::order(spec.node, order)].into()
            }
            (
                Self::Opening,
                What::Happened(Event::Workspace(
                    workspace,
                    WorkspaceEvent::StopRequested { spec, .. },
                )),
            ) => Reaction::instead([remove(*workspace, spec.node)]),
            // It was told to stop meanwhile, and may have been closed before it was opened.
            (Self::Telling { workspace, node }, What::Told(_, Outcome::Refused { .. })) => {
                [remove(*workspace, *node)].into()
            }
            (Self::Removing { .. }, What::Ran(_, outcome)) if *outcome != Outcome::Done => {
                [Intent::wake_at(after(seen.at, RETRY_MS), "again")].into()
            }
            (Self::Removing { workspace, node }, What::Woken(_)) => {
                [remove(*workspace, *node)].into()
            }
            (Self::Opening, What::Ran(Effect::Order { order, .. }, outcome)) => {
                let OrderIntent::OpenWorkspace { workspace, .. } = order else {
                    return Reaction::none();
                };
                [Intent::tell((*workspace, recorded(outcome)))].into()
            }
            // Late and repeated stimuli are normal after a restart; they ask for nothing.
            (_, _) => Reaction::none(),
        }
    }

    fn evolve(&mut self, seen: Seen<'_>, _intents: &[Intent]) {
        *self = match (&*self, seen.what) {
            (Self::Idle, What::Happened(Event::Workspace(_, WorkspaceEvent::Requested { .. }))) => {
                Self::Opening
            }
            (
                Self::Opening,
                What::Happened(Event::Workspace(
                    workspace,
                    WorkspaceEvent::StopRequested { spec, .. },
                )),
            ) => Self::Removing { workspace: *workspace, node: spec.node },
            (Self::Opening, What::Ran(Effect::Order { node, order }, _)) => match order {
                OrderIntent::OpenWorkspace { workspace, .. } => {
                    Self::Telling { workspace: *workspace, node: *node }
                }
                _ => Self::Over,
            },
            (Self::Telling { workspace, node }, What::Told(_, Outcome::Refused { .. })) => {
                Self::Removing { workspace: *workspace, node: *node }
            }
            (Self::Telling { .. }, What::Told(..))
            | (Self::Removing { .. }, What::Ran(_, Outcome::Done)) => Self::Over,
            (state, _) => state.clone(),
        };
    }
}

fn remove(workspace: WorkspaceId, node: NodeId) -> Intent {
    Intent::order(node, OrderIntent::CloseWorkspace { workspace })
}

fn recorded(outcome: &Outcome) -> WorkspaceCommand {
    match outcome {
        Outcome::WorkspaceOpened { base_branch, base_commit } => WorkspaceCommand::RecordStart {
            base_branch: base_branch.clone(),
            base_commit: base_commit.clone(),
        },
        Outcome::Failed { reason, .. } | Outcome::Refused { reason, .. } => {
            WorkspaceCommand::RecordFailure { reason: reason.clone() }
        }
        other => WorkspaceCommand::RecordFailure { reason: format!("unexpected answer {other:?}") },
    }
}

#[cfg(test)]
mod tests;
