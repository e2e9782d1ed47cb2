//! Streams whose events cannot be folded, so that people see them. All others go on.
//!
//! The list is no projection: whoever meets such a stream notes it, and whoever can fold it again,
//! for example a later program, takes it off.

use uuid::Uuid;

use crate::{
    database::Database,
    error::DatabaseError,
    event_log::StreamId,
    sql::{SqlPool, SqlRow},
};

/// A stream that stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedStream {
    pub stream: StreamId,
    /// Of the event that cannot be folded; 0 where it is not known.
    pub sequence: u64,
    pub reason: String,
}

/// The table of damaged streams. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DamagedStreams {
    pool: SqlPool,
}

impl DamagedStreams {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.views().clone() }
    }

    /// Puts a stream on the list, or says anew why it is there.
    pub async fn note(&self, damaged: &DamagedStream) -> Result<(), DatabaseError> {
        let note = "INSERT INTO damaged_streams (kind, stream, sequence, reason)
            VALUES ($1, $2, $3, $4)
            ON CONFLICT (kind, stream) DO UPDATE SET sequence = excluded.sequence,
                reason = excluded.reason";
        let DamagedStream { stream, sequence, reason } = damaged;
        let values = (stream.kind.as_str(), stream.id, *sequence, reason.as_str());
        self.pool.execute(note, values).await?;
        Ok(())
    }

    /// Takes a stream off the list.
    pub async fn clear(&self, stream: &StreamId) -> Result<(), DatabaseError> {
        let clear = "DELETE FROM damaged_streams WHERE kind = $1 AND stream = $2";
        self.pool.execute(clear, (stream.kind.as_str(), stream.id)).await?;
        Ok(())
    }

    /// All damaged streams that anybody met.
    pub async fn list(&self) -> Result<Vec<DamagedStream>, DatabaseError> {
        let list = "SELECT kind, stream, sequence, reason FROM damaged_streams
            ORDER BY kind, stream";
        self.pool.fetch_all(list, ()).await?.iter().map(damaged_stream).collect()
    }
}

fn damaged_stream(row: &SqlRow) -> Result<DamagedStream, DatabaseError> {
    let id: Uuid = row.uuid("stream")?;
    Ok(DamagedStream {
        stream: StreamId::new(row.text("kind")?, id),
        sequence: row.count("sequence")?,
        reason: row.text("reason")?,
    })
}
