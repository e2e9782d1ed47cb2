//! Reads events and content.
//!
//! Commit order is position order, so a reader is `position > n`: whatever it sees, nothing below it
//! can still appear.

use uuid::Uuid;

use crate::{
    error::DatabaseError,
    event_log::{Appended, FIRST_HASH, Hash, Metadata, Position, StreamId},
    sql::{SqlPool, SqlRow, Value},
};

/// An event as it is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    pub position: Position,
    pub stream: StreamId,
    pub sequence: u64,
    pub event_type: String,
    pub event_version: String,
    /// The payload as stored, byte for byte.
    pub payload: String,
    pub metadata: Metadata,
    /// The metadata as stored, byte for byte; the hash covers this.
    pub metadata_text: String,
    pub hash: Hash,
    /// Why the row cannot be what was recorded, if it cannot: somebody else has written to it. What could
    /// not be read is empty then. Whoever needs this event stops at it; everybody else goes on.
    pub damage: Option<String>,
}

/// A content row as it is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredContent {
    pub id: Uuid,
    pub project: Uuid,
    pub nonce: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

/// The columns of an event, for [`recorded`].
pub(crate) const COLUMNS: &str =
    "position, aggregate_type, aggregate_id, sequence, event_type, event_version,
        CAST(payload AS TEXT) AS payload, CAST(metadata AS TEXT) AS metadata, hash";

pub(super) async fn head(pool: &SqlPool) -> Result<Position, DatabaseError> {
    let row = pool.fetch_optional("SELECT position FROM log_head WHERE id = 1", ()).await?;
    row.ok_or_else(|| DatabaseError::failed("the log has no head row"))?.count("position")
}

pub(super) async fn read_stream(
    pool: &SqlPool,
    stream: &StreamId,
    after: u64,
    limit: usize,
) -> Result<Vec<RecordedEvent>, DatabaseError> {
    let read = format!(
        "SELECT {COLUMNS} FROM events WHERE {} AND sequence > $3 ORDER BY sequence LIMIT $4",
        pool.of_stream()
    );
    let values = (stream.kind.as_str(), stream.id.to_string(), after, limit);
    recorded(&pool.fetch_all(&read, values).await?)
}

pub(super) async fn read_all(
    pool: &SqlPool,
    after: Position,
    limit: usize,
) -> Result<Vec<RecordedEvent>, DatabaseError> {
    let read =
        format!("SELECT {COLUMNS} FROM events WHERE position > $1 ORDER BY position LIMIT $2");
    let mut events = recorded(&pool.fetch_all(&read, (after, limit)).await?)?;
    if planted_bug::is_planted("order_by_timestamp") {
        events.sort_by_key(|event| event.metadata.at);
    }
    Ok(events)
}

/// Reads events of one stream and type, from the newest on.
pub(super) async fn read_newest(
    pool: &SqlPool,
    stream: &StreamId,
    event_type: &str,
    before: u64,
    limit: usize,
) -> Result<Vec<RecordedEvent>, DatabaseError> {
    let read = format!(
        "SELECT {COLUMNS} FROM events WHERE {} AND event_type = $3 AND sequence < $4
         ORDER BY sequence DESC LIMIT $5",
        pool.of_stream()
    );
    let values = (stream.kind.as_str(), stream.id.to_string(), event_type, before, limit);
    recorded(&pool.fetch_all(&read, values).await?)
}

/// Reads the events of all streams of one kind.
pub(super) async fn read_kind(
    pool: &SqlPool,
    kind: &str,
    after: Position,
    limit: usize,
) -> Result<Vec<RecordedEvent>, DatabaseError> {
    let read = format!(
        "SELECT {COLUMNS} FROM events WHERE {} AND position > $2 ORDER BY position LIMIT $3",
        pool.of_streams("aggregate_type = $1")
    );
    recorded(&pool.fetch_all(&read, (kind, after, limit)).await?)
}

/// Reads the events at these positions, in order. Those that do not exist are missing in the answer.
pub(super) async fn read_positions(
    pool: &SqlPool,
    positions: &[Position],
) -> Result<Vec<RecordedEvent>, DatabaseError> {
    const POSITIONS_PER_QUERY: usize = 500;
    let mut sorted = positions.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut found = Vec::with_capacity(sorted.len());
    for positions in sorted.chunks(POSITIONS_PER_QUERY) {
        let places: Vec<String> = (1..=positions.len()).map(|n| format!("${n}")).collect();
        let read = format!(
            "SELECT {COLUMNS} FROM events WHERE position IN ({}) ORDER BY position",
            places.join(", ")
        );
        let values: Vec<Value> = positions.iter().map(|position| (*position).into()).collect();
        found.extend(recorded(&pool.fetch_all(&read, values).await?)?);
    }
    Ok(found)
}

pub(super) async fn find_command(
    pool: &SqlPool,
    stream: &StreamId,
    command: Uuid,
) -> Result<Option<Appended>, DatabaseError> {
    let find = format!(
        "SELECT position, sequence, hash FROM events WHERE {} AND command_id = $3
         ORDER BY command_ordinal DESC LIMIT 1",
        pool.of_stream()
    );
    let values = (stream.kind.as_str(), stream.id.to_string(), command);
    let Some(row) = pool.fetch_optional(&find, values).await? else { return Ok(None) };
    Ok(Some(Appended {
        position: row.count("position")?,
        sequence: row.count("sequence")?,
        hash: to_hash(row.bytes("hash")?)?,
        is_repeat: true,
    }))
}

pub(super) async fn contents(
    pool: &SqlPool,
    ids: &[Uuid],
) -> Result<Vec<StoredContent>, DatabaseError> {
    const IDS_PER_QUERY: usize = 100;
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(IDS_PER_QUERY) {
        let places: Vec<String> = (1..=ids.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT id, project, nonce, ciphertext FROM contents WHERE id IN ({})",
            places.join(", ")
        );
        let values: Vec<_> = ids.iter().map(Into::into).collect();
        for row in pool.fetch_all(&sql, values).await? {
            found.push(StoredContent {
                id: row.uuid("id")?,
                project: row.uuid("project")?,
                nonce: row.bytes("nonce")?,
                ciphertext: row.bytes("ciphertext")?,
            });
        }
    }
    Ok(found)
}

pub(crate) fn recorded(rows: &[SqlRow]) -> Result<Vec<RecordedEvent>, DatabaseError> {
    rows.iter().map(recorded_event).collect()
}

/// A damaged row is no reason to refuse those around it.
fn recorded_event(row: &SqlRow) -> Result<RecordedEvent, DatabaseError> {
    let mut damage = None;
    let mut note = |what: &str, error: DatabaseError| {
        damage.get_or_insert_with(|| format!("{what}: {error}"));
    };
    let mut text = |column: &str| {
        row.text(column).unwrap_or_else(|error| {
            note(column, error);
            String::new()
        })
    };
    let (kind, id) = (text("aggregate_type"), text("aggregate_id"));
    let (event_type, event_version) = (text("event_type"), text("event_version"));
    let (payload, metadata_text) = (text("payload"), text("metadata"));
    let id = Uuid::parse_str(&id).unwrap_or_else(|_| {
        note("aggregate_id", DatabaseError::failed("it is no UUID"));
        Uuid::nil()
    });
    let metadata = Metadata::from_json(&metadata_text).unwrap_or_else(|error| {
        note("metadata", error);
        Metadata::unreadable()
    });
    let hash = row.bytes("hash").and_then(to_hash).unwrap_or_else(|error| {
        note("hash", error);
        FIRST_HASH
    });
    Ok(RecordedEvent {
        position: row.count("position")?,
        stream: StreamId { kind, id },
        sequence: row.count("sequence")?,
        event_type,
        event_version,
        payload,
        metadata,
        metadata_text,
        hash,
        damage,
    })
}

pub(super) fn to_hash(bytes: Vec<u8>) -> Result<Hash, DatabaseError> {
    bytes.try_into().map_err(|_| DatabaseError::failed("a stored hash has not 32 bytes"))
}
