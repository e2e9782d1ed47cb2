//! Who caused an event, by which command, and when.
//!
//! Stored as JSON text with its keys in order and all values strings, which is also what cqrs-es
//! reads as the metadata of an event.

use std::{collections::BTreeMap, str::FromStr};

use chrono::{DateTime, SecondsFormat, Utc};
use uuid::Uuid;

use crate::{error::DatabaseError, event_log::Position};

/// What a command was sent because of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Another command, for example the one that a process recorded its intents under.
    Command(Uuid),
    /// An event in the log.
    Event(Position),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command(id) => id.fmt(formatter),
            Self::Event(position) => position.fmt(formatter),
        }
    }
}

impl FromStr for Cause {
    type Err = DatabaseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(position) = text.parse() {
            return Ok(Self::Event(position));
        }
        Uuid::parse_str(text)
            .map(Self::Command)
            .map_err(|_| DatabaseError::failed("a causation is neither an id nor a position"))
    }
}

/// The circumstances of a command, recorded with each of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Who sent it: an account, a process, an agent. An id, never a name.
    pub actor: String,
    pub command: Uuid,
    pub causation: Option<Cause>,
    /// Shared by everything that follows from one wish of a person.
    pub correlation: Uuid,
    /// When it was sent, to the microsecond.
    pub at: DateTime<Utc>,
}

impl Metadata {
    /// The text that is stored and hashed.
    #[must_use]
    pub fn to_canonical_json(&self) -> String {
        let fields: BTreeMap<&str, String> = [
            ("actor", Some(self.actor.clone())),
            ("at", Some(self.at.to_rfc3339_opts(SecondsFormat::Micros, true))),
            ("causation", self.causation.map(|cause| cause.to_string())),
            ("command", Some(self.command.to_string())),
            ("correlation", Some(self.correlation.to_string())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
        serde_json::to_string(&fields).expect("a map of strings is always JSON")
    }

    /// What stands in for a text that cannot be read.
    pub(crate) fn unreadable() -> Self {
        Self {
            actor: "unknown".to_owned(),
            command: Uuid::nil(),
            causation: None,
            correlation: Uuid::nil(),
            at: DateTime::UNIX_EPOCH,
        }
    }

    /// Reads the stored text.
    pub fn from_json(text: &str) -> Result<Self, DatabaseError> {
        let mut fields: BTreeMap<String, String> = serde_json::from_str(text)
            .map_err(|error| DatabaseError::failed(format!("metadata is malformed: {error}")))?;
        let mut take = |name: &str| {
            fields
                .remove(name)
                .ok_or_else(|| DatabaseError::failed(format!("metadata has no {name}")))
        };
        let id = |text: String| {
            Uuid::parse_str(&text)
                .map_err(|error| DatabaseError::failed(format!("metadata is malformed: {error}")))
        };
        let at = DateTime::parse_from_rfc3339(&take("at")?)
            .map_err(|error| DatabaseError::failed(format!("metadata is malformed: {error}")))?;
        Ok(Self {
            actor: take("actor")?,
            command: id(take("command")?)?,
            correlation: id(take("correlation")?)?,
            at: at.with_timezone(&Utc),
            causation: fields.remove("causation").map(|text| text.parse()).transpose()?,
        })
    }
}
