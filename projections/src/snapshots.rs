//! States of aggregates, kept so that a long stream need not be folded from its beginning.
//!
//! Only a cache, and treated as one: whoever loads a snapshot compares its hash with the event at its
//! sequence and its fingerprint with its own, and folds from the beginning where either differs. A snapshot that
//! cannot be written is no harm.

use crate::{
    error::DatabaseError,
    event_log::{EventLog, Hash, StreamId},
    sql::SqlRow,
};

/// The state of an aggregate after an event of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Of the last event that is folded into it.
    pub sequence: u64,
    /// Of that event.
    pub hash: Hash,
    /// Of the rules by which it was folded.
    pub fingerprint: String,
    /// JSON text.
    pub state: String,
}

const GET: &str = "SELECT sequence, hash, fingerprint, state FROM snapshots
    WHERE aggregate_type = $1 AND aggregate_id = $2";
// An older one never replaces a newer one, unless that is of other rules.
const PUT: &str = "INSERT INTO snapshots
        (aggregate_type, aggregate_id, sequence, hash, fingerprint, state)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE SET sequence = excluded.sequence,
        hash = excluded.hash, fingerprint = excluded.fingerprint, state = excluded.state
    WHERE snapshots.sequence < excluded.sequence OR snapshots.fingerprint <> excluded.fingerprint";
const DELETE: &str = "DELETE FROM snapshots WHERE aggregate_type = $1 AND aggregate_id = $2";

impl EventLog {
    /// The kept state of a stream, if there is one. Whether it may be used its reader decides.
    pub async fn snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, DatabaseError> {
        let values = (stream.kind.as_str(), stream.id.to_string());
        self.pool().fetch_optional(GET, values).await?.as_ref().map(snapshot).transpose()
    }

    /// Keeps a state in the place of an older one.
    pub async fn put_snapshot(
        &self,
        stream: &StreamId,
        snapshot: &Snapshot,
    ) -> Result<(), DatabaseError> {
        let Snapshot { sequence, hash, fingerprint, state } = snapshot;
        let id = stream.id.to_string();
        let values = (stream.kind.as_str(), id, *sequence, *hash, fingerprint, state);
        self.pool().execute(PUT, values).await?;
        Ok(())
    }

    /// Forgets the kept state of a stream.
    pub async fn delete_snapshot(&self, stream: &StreamId) -> Result<(), DatabaseError> {
        self.pool().execute(DELETE, (stream.kind.as_str(), stream.id.to_string())).await?;
        Ok(())
    }
}

fn snapshot(row: &SqlRow) -> Result<Snapshot, DatabaseError> {
    let hash = row.bytes("hash")?;
    Ok(Snapshot {
        sequence: row.count("sequence")?,
        hash: hash
            .try_into()
            .map_err(|_| DatabaseError::failed("a snapshot's hash is too short"))?,
        fingerprint: row.text("fingerprint")?,
        state: row.text("state")?,
    })
}
