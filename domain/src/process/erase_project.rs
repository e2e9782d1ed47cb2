//! Erases a project: its executions are ended, then its texts destroyed, then its streams named.
//!
//! One instance per project, under the project's id. It does not give up: what fails is tried again. The
//! order matters: as long as an execution runs, it writes texts; and only once the key is gone may the
//! read models be told that there is nothing to show.

use uuid::Uuid;

use crate::{
    event::Event,
    ids::ProjectId,
    process::{Effect, Intent, Outcome, Process, Reaction, Seen, What},
    project::{ProjectCommand, ProjectEvent},
    values::after,
};

/// Between two attempts at a step.
pub const RETRY_MS: u64 = 60_000;

/// How long one look at the executions waits for their end.
const END_MS_MAX: u64 = 10 * 60_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum EraseProject {
    #[default]
    Idle,
    /// Its executions and workspaces are being ended.
    Ending {
        project: ProjectId,
    },
    /// The key of its texts is being destroyed.
    Destroying {
        project: ProjectId,
    },
    /// Its streams are being named, so that read models forget what payloads say.
    Naming {
        project: ProjectId,
    },
    Over,
}

impl Process for EraseProject {
    const TYPE: &'static str = "erase_project";
    const CONCERNED_BY: &'static [&'static str] = &["project"];

    fn route(event: &Event) -> Option<Uuid> {
        match event {
            Event::Project(project, ProjectEvent::ErasureRequested) => Some(project.0),
            _ => None,
        }
    }

    fn react(&self, seen: Seen<'_>) -> Reaction {
        match (self, seen.what) {
            (
                Self::Idle,
                What::Happened(Event::Project(project, ProjectEvent::ErasureRequested)),
            ) => [end_executions(*project, &seen)].into(),
            (Self::Ending { project }, What::Ran(Effect::EndExecutions { .. }, Outcome::Done)) => {
                [Intent::run(Effect::DestroyTexts { project: *project })].into()
            }
            (
                Self::Destroying { project },
                What::Ran(Effect::DestroyTexts { .. }, Outcome::Done),
            ) => [Intent::run(Effect::NameErasedStreams { project: *project })].into(),
            (
                Self::Naming { project },
                What::Ran(Effect::NameErasedStreams { .. }, Outcome::Done),
            ) => [Intent::tell((*project, ProjectCommand::RecordErased))].into(),
            (
                Self::Ending { .. } | Self::Destroying { .. } | Self::Naming { .. },
                What::Ran(..),
            ) => [Intent::wake_at(after(seen.at, RETRY_MS), "again")].into(),
            (Self::Ending { project }, What::Woken(_)) => [end_executions(*project, &seen)].into(),
            (Self::Destroying { project }, What::Woken(_)) => {
                [Intent::run(Effect::DestroyTexts { project: *project })].into()
            }
            (Self::Naming { project }, What::Woken(_)) => {
                [Intent::run(Effect::NameErasedStreams { project: *project })].into()
            }
            // Late and repeated stimuli are normal after a restart; they ask for nothing.
            (_, _) => Reaction::none(),
        }
    }

    fn evolve(&mut self, seen: Seen<'_>, _intents: &[Intent]) {
        let next = match (&*self, seen.what) {
            (
                Self::Idle,
                What::Happened(Event::Project(project, ProjectEvent::ErasureRequested)),
            ) => Self::Ending { project: *project },
            (Self::Ending { project }, What::Ran(Effect::EndExecutions { .. }, Outcome::Done)) => {
                Self::Destroying { project: *project }
            }
            (
                Self::Destroying { project },
                What::Ran(Effect::DestroyTexts { .. }, Outcome::Done),
            ) => Self::Naming { project: *project },
            (Self::Naming { .. }, What::Told(..)) => Self::Over,
            (_, _) => return,
        };
        *self = next;
    }
}

fn end_executions(project: ProjectId, seen: &Seen<'_>) -> Intent {
    let until = after(seen.at, END_MS_MAX);
    Intent::run(Effect::EndExecutions { project, until })
}

#[cfg(test)]
mod tests;
