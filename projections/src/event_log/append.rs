//! What is handed to the log, and what it answers.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    error::DatabaseError,
    event_log::{Hash, Metadata, Position},
};

/// How many events one append may carry.
pub const APPEND_EVENTS_MAX: usize = 512;

/// How many bytes of events and content one append may carry: a diff of 1 MiB and room around it.
pub const APPEND_BYTES_MAX: usize = 4 << 20;

/// Names a stream: the events of one aggregate or process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// The type of the aggregate or process, for example `node`.
    pub kind: String,
    pub id: Uuid,
}

impl StreamId {
    pub fn new(kind: impl Into<String>, id: Uuid) -> Self {
        Self { kind: kind.into(), id }
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.kind, self.id)
    }
}

/// An event to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    pub event_type: String,
    pub event_version: String,
    /// JSON text. It is stored and hashed as given, byte for byte.
    pub payload: String,
}

/// Encrypted text that an event refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewContent {
    pub id: Uuid,
    /// The scope of the key it is encrypted under.
    pub project: Uuid,
    pub nonce: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

/// The events of one command on one stream.
#[derive(Clone, Debug)]
pub struct Append {
    pub stream: StreamId,
    /// The last sequence that the caller has seen of this stream; 0 for a new one.
    pub expected: u64,
    /// The hash of that event; [`super::FIRST_HASH`] for a new stream.
    pub previous_hash: Hash,
    /// Whose share of each commit this append counts against.
    pub project: Option<Uuid>,
    /// The epoch of the lease under which this is written, where it needs one.
    pub epoch: Option<u64>,
    pub metadata: Metadata,
    pub events: Vec<NewEvent>,
    pub contents: Vec<NewContent>,
}

/// The answer to an append: where its last event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub position: Position,
    pub sequence: u64,
    pub hash: Hash,
    /// The command had been recorded before; this is the answer it got then.
    pub is_repeat: bool,
}

/// Why events were not appended. Variants tell the caller what to do next.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody was faster. Read the tail of the stream, decide again, and append again.
    #[error("the stream is at sequence {actual} already")]
    Conflict { actual: u64 },
    /// The lease has passed to another holder. Stop acting under it.
    #[error("the lease under which this was written has passed on")]
    Fenced,
    /// Split it, or refuse the command.
    #[error("the append has {n_bytes} bytes and {n_events} events, more than is allowed")]
    TooLarge { n_bytes: usize, n_events: usize },
    /// Whether it was recorded is not known. Send it again under the same command id, later.
    #[error("the log is not available")]
    Unavailable {
        #[source]
        source: DatabaseError,
    },
    /// Trying again cannot help: the append is malformed, or the storage has failed.
    #[error("the log refused: {reason}")]
    Failed { reason: String },
}

impl From<DatabaseError> for AppendError {
    fn from(source: DatabaseError) -> Self {
        match source {
            DatabaseError::Unavailable { .. } | DatabaseError::Full { .. } => {
                Self::Unavailable { source }
            }
            other => Self::Failed { reason: describe(&other) },
        }
    }
}

/// The words of an error and of everything below it.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    words
}

/// Cuts a time to what the log keeps of it.
#[must_use]
pub(super) fn to_micros(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
}
