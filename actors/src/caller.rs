//! Who sends a command, and under which id.

use domain::ids::{AccountId, CommandId};
use projections::event_log::Cause;
use uuid::Uuid;

/// The circumstances of a command; they are recorded with its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// A kind and an id, never a name: `account/…`, `process/…`, `agent/…`.
    pub actor: String,
    /// On whose behalf.
    pub account: AccountId,
    /// Sending the same command again under the same id gives the first answer again.
    pub command: CommandId,
    /// Shared by everything that follows from one wish of a person.
    pub correlation: Uuid,
    pub causation: Option<Cause>,
}

impl Caller {
    /// A person, whose wish this is.
    #[must_use]
    pub fn person(account: AccountId, command: CommandId) -> Self {
        Self {
            actor: format!("account/{account}"),
            account,
            command,
            correlation: command.0,
            causation: None,
        }
    }
}
