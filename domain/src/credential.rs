//! A credential is a secret that its owner lent to SAM: a model key, later a cloud token.
//!
//! The stream says who stored what kind of secret and when. The secret itself is ciphertext in the
//! vault under the credential's id, written before the event; it is in no event, log or address.
//!
//! Lifecycle: `Absent` → `Stored` (replaced any number of times) → `Absent`.

use serde::{Deserialize, Serialize};

use crate::{event_sourced, ids::AccountId};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Credential {
    #[default]
    Absent,
    Stored {
        owner: AccountId,
        kind: CredentialKind,
    },
}

/// What a secret opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialKind {
    /// `ANTHROPIC_API_KEY`, for Claude Code.
    Anthropic,
}

impl CredentialKind {
    pub const ALL: [Self; 1] = [Self::Anthropic];

    /// As written in URLs and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialCommand {
    /// `last_four` lets a person recognise the key; nothing else of it leaves the vault.
    Store {
        owner: AccountId,
        kind: CredentialKind,
        last_four: String,
    },
    Remove {
        owner: AccountId,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialEvent {
    Stored { owner: AccountId, kind: CredentialKind, last_four: String },
    Removed { owner: AccountId, kind: CredentialKind },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CredentialError {
    #[error("this credential belongs to somebody else")]
    NotYours,
}

impl Credential {
    /// Answers a command with the events it causes.
    pub fn decide(
        &self,
        command: CredentialCommand,
    ) -> Result<Vec<CredentialEvent>, CredentialError> {
        let caller = match &command {
            CredentialCommand::Store { owner, .. } | CredentialCommand::Remove { owner } => *owner,
        };
        match (self, command) {
            (Self::Stored { owner, .. }, _) if *owner != caller => Err(CredentialError::NotYours),
            // Storing again is a replacement even with the same last characters: only the vault knows.
            (_, CredentialCommand::Store { owner, kind, last_four }) => {
                Ok(vec![CredentialEvent::Stored { owner, kind, last_four }])
            }
            (Self::Absent, CredentialCommand::Remove { .. }) => Ok(Vec::new()),
            (Self::Stored { owner, kind }, CredentialCommand::Remove { .. }) => {
                Ok(vec![CredentialEvent::Removed { owner: *owner, kind: *kind }])
            }
        }
    }

    /// A command that leads to these events from this state.
    pub fn command_of(&self, events: &[CredentialEvent]) -> Option<CredentialCommand> {
        let [event] = events else { return None };
        Some(match event.clone() {
            CredentialEvent::Stored { owner, kind, last_four } => {
                CredentialCommand::Store { owner, kind, last_four }
            }
            CredentialEvent::Removed { owner, .. } => CredentialCommand::Remove { owner },
        })
    }

    /// Folds one recorded event into the state.
    pub fn evolve(&mut self, event: CredentialEvent) {
        *self = match event {
            CredentialEvent::Stored { owner, kind, .. } => Self::Stored { owner, kind },
            CredentialEvent::Removed { .. } => Self::Absent,
        };
    }
}

event_sourced!(Credential, "credential", CredentialCommand, CredentialEvent, CredentialError);

#[cfg(test)]
mod tests;
