//! An account is a person who owns projects, nodes and credentials.
//!
//! A new installation has one: its owner, who signs in with the link that the server prints.
//! Cookies and links are not here: they are rows of the token table, where one use can be atomic.
//!
//! Erasing an account erases its projects, destroys its secrets and ends whatever it was signed in by. Its id
//! is used up then: who comes next is another account. The process `process/erase_account.rs` does it.
//!
//! Lifecycle: `Unknown` → `Registered` → `Erasing` → `Erased`.

use serde::{Deserialize, Serialize};

use crate::event_sourced;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Account {
    #[default]
    Unknown,
    Registered {
        name: String,
    },
    /// Asked for; its projects are being erased and its secrets destroyed. Nothing new begins.
    Erasing,
    Erased,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountCommand {
    Register {
        name: String,
    },
    Rename {
        name: String,
    },
    /// Erases its projects and destroys its secrets, for ever.
    RequestErasure,
    RecordErased,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountEvent {
    Registered {
        name: String,
    },
    Renamed {
        name: String,
    },
    ErasureRequested,
    /// From here on nothing is left of it but what the log says.
    Erased,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum AccountError {
    #[error("there is no such account")]
    NotFound,
    #[error("a name has 1 to {max} characters")]
    BadName { max: usize },
    #[error("this account was erased: make a new sign-in link, and go on as a new account")]
    Erased,
    #[error("nobody asked for this account to be erased")]
    NotErasing,
}

const NAME_CHARS_MAX: usize = 100;

impl Account {
    /// Tells whether it is gone, or is about to be: nothing new begins in its name.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Erasing | Self::Erased)
    }

    /// Answers a command with the events it causes.
    pub fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        match (self, command) {
            (Self::Unknown, AccountCommand::Register { name }) => {
                check_name(&name)?;
                Ok(vec![AccountEvent::Registered { name }])
            }
            (Self::Unknown, _) => Err(AccountError::NotFound),
            (Self::Registered { .. }, AccountCommand::Register { name }) => {
                check_name(&name)?;
                Ok(Vec::new())
            }
            (Self::Registered { name: old }, AccountCommand::Rename { name }) => {
                check_name(&name)?;
                if *old == name {
                    return Ok(Vec::new());
                }
                Ok(vec![AccountEvent::Renamed { name }])
            }
            (Self::Registered { .. }, AccountCommand::RequestErasure) => {
                Ok(vec![AccountEvent::ErasureRequested])
            }
            (Self::Registered { .. }, AccountCommand::RecordErased) => {
                Err(AccountError::NotErasing)
            }
            (
                Self::Erasing | Self::Erased,
                AccountCommand::Register { .. } | AccountCommand::Rename { .. },
            ) => Err(AccountError::Erased),
            (Self::Erasing, AccountCommand::RecordErased) => Ok(vec![AccountEvent::Erased]),
            (Self::Erasing, AccountCommand::RequestErasure)
            | (Self::Erased, AccountCommand::RequestErasure | AccountCommand::RecordErased) => {
                Ok(Vec::new())
            }
        }
    }

    /// A command that leads to these events from this state.
    pub fn command_of(&self, events: &[AccountEvent]) -> Option<AccountCommand> {
        let [event] = events else { return None };
        Some(match event.clone() {
            AccountEvent::Registered { name } => AccountCommand::Register { name },
            AccountEvent::Renamed { name } => AccountCommand::Rename { name },
            AccountEvent::ErasureRequested => AccountCommand::RequestErasure,
            AccountEvent::Erased => AccountCommand::RecordErased,
        })
    }

    /// Folds one recorded event into the state.
    pub fn evolve(&mut self, event: AccountEvent) {
        match (&mut *self, event) {
            (Self::Unknown, AccountEvent::Registered { name }) => {
                *self = Self::Registered { name };
            }
            (Self::Registered { name: old }, AccountEvent::Renamed { name }) => *old = name,
            (Self::Registered { .. }, AccountEvent::ErasureRequested) => *self = Self::Erasing,
            (Self::Erasing, AccountEvent::Erased) => *self = Self::Erased,
            (
                Self::Unknown | Self::Registered { .. } | Self::Erasing | Self::Erased,
                AccountEvent::Registered { .. }
                | AccountEvent::Renamed { .. }
                | AccountEvent::ErasureRequested
                | AccountEvent::Erased,
            ) => unreachable!("`decide` guards the order of an account's events"),
        }
    }
}

fn check_name(name: &str) -> Result<(), AccountError> {
    if name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX {
        return Err(AccountError::BadName { max: NAME_CHARS_MAX });
    }
    Ok(())
}

event_sourced!(Account, "account", AccountCommand, AccountEvent, AccountError);

#[cfg(test)]
mod tests;
