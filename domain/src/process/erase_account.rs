//! Erases an account: it is signed out, its projects are erased, then its secrets destroyed.
//!
//! One instance per account, under the account's id. It does not give up: what fails is tried again. The
//! order matters: as long as somebody is signed in, projects and credentials may come; and only once all of
//! them are gone may the account say that it is erased.
//!
//! What was recorded in the same moment as the request, behind the look at what there is, is still seen here: it
//! is in the log, however late.

use uuid::Uuid;

use crate::{
    account::{AccountCommand, AccountEvent},
    credential::{CredentialCommand, CredentialEvent},
    event::Event,
    ids::AccountId,
    process::{Effect, Intent, Outcome, Process, Reaction, Seen, What},
    project::{ProjectCommand, ProjectEvent},
    values::after,
};

/// Between two attempts at a step.
pub const RETRY_MS: u64 = 60_000;

/// How long one look at the projects waits for their end. Each has its executions to end first.
const ERASE_MS_MAX: u64 = 10 * 60_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub enum EraseAccount {
    #[default]
    Idle,
    /// Its cookies and links are being ended.
    SigningOut {
        account: AccountId,
    },
    /// Its projects are being erased.
    Emptying {
        account: AccountId,
    },
    /// Its secrets are being destroyed.
    Destroying {
        account: AccountId,
    },
    Over,
}

impl Process for EraseAccount {
    const TYPE: &'static str = "erase_account";
    const CONCERNED_BY: &'static [&'static str] = &["account", "project", "credential"];

    fn route(event: &Event) -> Option<Uuid> {
        match event {
            Event::Account(account, AccountEvent::ErasureRequested) => Some(account.0),
            Event::Project(_, ProjectEvent::Linked { owner, .. })
            | Event::Credential(_, CredentialEvent::Stored { owner, .. }) => Some(owner.0),
            _ => None,
        }
    }

    fn react(&self, seen: Seen<'_>) -> Reaction {
        match (self, seen.what) {
            (
                Self::Idle,
                What::Happened(Event::Account(account, AccountEvent::ErasureRequested)),
            ) => [end_sign_ins(*account)].into(),
            // As long as nobody asked, these are no concern.
            (Self::Idle, _) => Reaction::none(),
            (_, What::Happened(Event::Project(project, ProjectEvent::Linked { .. }))) => {
                [Intent::tell((*project, ProjectCommand::Erase)).beside()].into()
            }
            (
                _,
                What::Happened(Event::Credential(
                    credential,
                    CredentialEvent::Stored { owner, .. },
                )),
            ) => {
                let remove = CredentialCommand::Remove { owner: *owner };
                [Intent::tell((*credential, remove)).beside()].into()
            }
            (Self::SigningOut { account }, What::Ran(Effect::EndSignIns { .. }, Outcome::Done)) => {
                [erase_projects(*account, &seen)].into()
            }
            (
                Self::Emptying { account },
                What::Ran(Effect::EraseProjects { .. }, Outcome::Done),
            ) => [destroy_secrets(*account)].into(),
            (
                Self::Destroying { account },
                What::Ran(Effect::DestroySecrets { .. }, Outcome::Done),
            ) => [Intent::tell((*account, AccountCommand::RecordErased))].into(),
            (
                Self::SigningOut { .. } | Self::Emptying { .. } | Self::Destroying { .. },
                What::Ran(..),
            ) => [Intent::wake_at(after(seen.at, RETRY_MS), "again")].into(),
            (Self::SigningOut { account }, What::Woken(_)) => [end_sign_ins(*account)].into(),
            (Self::Emptying { account }, What::Woken(_)) => {
                [erase_projects(*account, &seen)].into()
            }
            (Self::Destroying { account }, What::Woken(_)) => [destroy_secrets(*account)].into(),
            // Late and repeated stimuli are normal after a restart; they ask for nothing.
            (_, _) => Reaction::none(),
        }
    }

    fn evolve(&mut self, seen: Seen<'_>, _intents: &[Intent]) {
        let next = match (&*self, seen.what) {
            (
                Self::Idle,
                What::Happened(Event::Account(account, AccountEvent::ErasureRequested)),
            ) => Self::SigningOut { account: *account },
            (Self::SigningOut { account }, What::Ran(Effect::EndSignIns { .. }, Outcome::Done)) => {
                Self::Emptying { account: *account }
            }
            (
                Self::Emptying { account },
                What::Ran(Effect::EraseProjects { .. }, Outcome::Done),
            ) => Self::Destroying { account: *account },
            (Self::Destroying { .. }, What::Ran(Effect::DestroySecrets { .. }, Outcome::Done)) => {
                Self::Over
            }
            (_, _) => return,
        };
        *self = next;
    }
}

fn end_sign_ins(account: AccountId) -> Intent {
    Intent::run(Effect::EndSignIns { account })
}

fn erase_projects(account: AccountId, seen: &Seen<'_>) -> Intent {
    let until = after(seen.at, ERASE_MS_MAX);
    Intent::run(Effect::EraseProjects { account, until })
}

fn destroy_secrets(account: AccountId) -> Intent {
    Intent::run(Effect::DestroySecrets { account })
}

#[cfg(test)]
mod tests;
