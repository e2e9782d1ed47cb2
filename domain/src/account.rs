//! An account is a person who owns projects, nodes and credentials.
//!
//! A new installation has one: its owner, who signs in with the link that the server prints.
//! Cookies and links are not here: they are rows of the token table, where one use can be atomic.
//!
//! Lifecycle: `Unknown` → `Registered`.

use serde::{Deserialize, Serialize};

use crate::event_sourced;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Account {
    #[default]
    Unknown,
    Registered {
        name: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountCommand {
    Register { name: String },
    Rename { name: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountEvent {
    Registered { name: String },
    Renamed { name: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum AccountError {
    #[error("there is no such account")]
    NotFound,
    #[error("a name has 1 to {max} characters")]
    BadName { max: usize },
}

const NAME_CHARS_MAX: usize = 100;

impl Account {
    /// Answers a command with the events it causes.
    pub fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountError> {
        let (AccountCommand::Register { name } | AccountCommand::Rename { name }) = &command;
        if name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX {
            return Err(AccountError::BadName { max: NAME_CHARS_MAX });
        }
        match (self, command) {
            (Self::Unknown, AccountCommand::Register { name }) => {
                Ok(vec![AccountEvent::Registered { name }])
            }
            (Self::Registered { .. }, AccountCommand::Register { .. }) => Ok(Vec::new()),
            (Self::Unknown, AccountCommand::Rename { .. }) => Err(AccountError::NotFound),
            (Self::Registered { name: old }, AccountCommand::Rename { name }) => {
                if *old == name {
                    return Ok(Vec::new());
                }
                Ok(vec![AccountEvent::Renamed { name }])
            }
        }
    }

    /// A command that leads to these events from this state.
    pub fn command_of(&self, events: &[AccountEvent]) -> Option<AccountCommand> {
        let [event] = events else { return None };
        Some(match event.clone() {
            AccountEvent::Registered { name } => AccountCommand::Register { name },
            AccountEvent::Renamed { name } => AccountCommand::Rename { name },
        })
    }

    /// Folds one recorded event into the state.
    pub fn evolve(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Registered { name } | AccountEvent::Renamed { name } => {
                *self = Self::Registered { name };
            }
        }
    }
}

event_sourced!(Account, "account", AccountCommand, AccountEvent, AccountError);

#[cfg(test)]
mod tests;
