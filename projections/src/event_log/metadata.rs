//! Who caused an event, by which command, and when.
//!
//! Stored as JSON text with its keys in order and all values strings, which is also what cqrs-es
//! reads as the metadata of an event.

use std::{borrow::Cow, str::FromStr};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
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

/// The fields as they are stored: all texts, in the order of their names.
#[derive(Deserialize, Serialize)]
struct Stored<'a> {
    #[serde(borrow)]
    actor: Cow<'a, str>,
    #[serde(borrow)]
    at: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    causation: Option<Cow<'a, str>>,
    command: Uuid,
    correlation: Uuid,
}

impl Metadata {
    /// The text that is stored and hashed.
    #[must_use]
    pub fn to_canonical_json(&self) -> String {
        let stored = Stored {
            actor: Cow::Borrowed(&self.actor),
            at: self.at.to_rfc3339_opts(SecondsFormat::Micros, true).into(),
            causation: self.causation.map(|cause| cause.to_string().into()),
            command: self.command,
            correlation: self.correlation,
        };
        serde_json::to_string(&stored).expect("texts and ids are always JSON")
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
        let malformed = |error: &dyn std::fmt::Display| {
            DatabaseError::failed(format!("metadata is malformed: {error}"))
        };
        let stored: Stored<'_> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        let at = DateTime::parse_from_rfc3339(&stored.at).map_err(|error| malformed(&error))?;
        Ok(Self {
            actor: stored.actor.into_owned(),
            command: stored.command,
            correlation: stored.correlation,
            at: at.with_timezone(&Utc),
            causation: stored.causation.map(|text| text.parse()).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::{Cause, Metadata};

    #[test]
    fn the_text_is_for_ever_the_same() {
        let mut metadata = Metadata {
            actor: "account \"a\"".into(),
            command: Uuid::from_u128(1),
            causation: None,
            correlation: Uuid::from_u128(2),
            at: "2026-01-01T12:00:00.123456Z".parse().unwrap(),
        };
        let without_cause = r#"{"actor":"account \"a\"","at":"2026-01-01T12:00:00.123456Z","command":"00000000-0000-0000-0000-000000000001","correlation":"00000000-0000-0000-0000-000000000002"}"#;
        assert_eq!(metadata.to_canonical_json(), without_cause);
        assert_eq!(Metadata::from_json(without_cause).unwrap(), metadata);
        metadata.causation = Some(Cause::Event(7));
        let text = metadata.to_canonical_json();
        assert!(text.contains(r#"Z","causation":"7","command""#), "{text}");
        assert_eq!(Metadata::from_json(&text).unwrap(), metadata);
    }
}
