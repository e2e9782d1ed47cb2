//! The log's rows as they are stored, none of them believed: for checking a log, and for moving one.
//!
//! Rows are read without being understood, so that one that was tampered with can be named. They are put
//! into another log as they are, with their positions, sequences and hashes.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::{
    database::Database,
    error::DatabaseError,
    event_log::{Hash, Position, StoredContent, reader},
    sql::{SqlPool, SqlRow, SqlTransaction, Value},
};

/// Rows in one insert statement.
const ROWS_PER_INSERT: usize = 64;
/// Ids in one question.
const IDS_PER_QUERY: usize = 100;
const EVENT_COLUMNS: usize = 11;
const CONTENT_COLUMNS: usize = 4;

/// A row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEvent {
    pub position: Position,
    /// The type of the aggregate or process.
    pub kind: String,
    /// Its id, if it is one.
    pub id: String,
    pub sequence: u64,
    pub event_type: String,
    pub event_version: String,
    pub payload: String,
    pub metadata: String,
    /// The command of the row. Its metadata should name the same.
    pub command: Uuid,
    /// Which of the command's events this is, from 0 on.
    pub ordinal: u64,
    pub hash: Hash,
}

/// Where a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// As the head row says.
    pub position: Position,
    /// Of the installation.
    pub epoch: u64,
    /// The highest position that there is a row for.
    pub last: Position,
}

/// The rows of a log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RawLog {
    pool: SqlPool,
}

/// In SQLite, the number of the stream of a row.
const STREAM_NUMBER: &str =
    ", (SELECT number FROM streams WHERE aggregate_type = $kind AND aggregate_id = $id)";

/// Events that are not among those of the stream that they name. PostgreSQL finds them by that name.
const MISPLACED: &str = "
    SELECT events.position FROM events LEFT JOIN streams ON streams.number = events.stream
    WHERE streams.number IS NULL OR streams.aggregate_type <> events.aggregate_type
        OR streams.aggregate_id <> events.aggregate_id
    ORDER BY events.position LIMIT $1";

const READ: &str = "
    SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version,
        CAST(payload AS TEXT) AS payload, CAST(metadata AS TEXT) AS metadata, command_id,
        command_ordinal, hash
    FROM events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3";

impl RawLog {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.log().clone() }
    }

    /// Where the log ends, in one look.
    pub async fn end(&self) -> Result<LogEnd, DatabaseError> {
        let end = "SELECT position, epoch, (SELECT COALESCE(MAX(position), 0) FROM events) AS last
            FROM log_head WHERE id = 1";
        let row = self.pool.fetch_optional(end, ()).await?;
        let row = row.ok_or_else(|| DatabaseError::failed("the log has no head row"))?;
        Ok(LogEnd {
            position: row.count("position")?,
            epoch: row.count("epoch")?,
            last: row.count("last")?,
        })
    }

    /// Rows behind `after` and up to `until`, in order of their positions.
    pub async fn events(
        &self,
        after: Position,
        until: Position,
        limit: usize,
    ) -> Result<Vec<RawEvent>, DatabaseError> {
        let rows = self.pool.fetch_all(READ, (after, until, limit)).await?;
        rows.iter().map(event).collect()
    }

    /// The next position that has a row, whatever is in it.
    pub async fn next_position(&self, after: Position) -> Result<Option<Position>, DatabaseError> {
        let next = "SELECT MIN(position) AS next FROM events WHERE position > $1";
        let row = self.pool.fetch_optional(next, (after,)).await?;
        row.map_or(Ok(None), |row| row.count_option("next"))
    }

    /// Events that would not be found by whoever reads their stream.
    pub async fn misplaced(&self, limit: usize) -> Result<Vec<Position>, DatabaseError> {
        // An old log that was not opened since streams have numbers.
        let has_numbers = "SELECT 1 FROM pragma_table_info('events') WHERE name = 'stream'";
        if self.pool.is_postgres() || self.pool.fetch_optional(has_numbers, ()).await?.is_none() {
            return Ok(Vec::new());
        }
        let rows = self.pool.fetch_all(MISPLACED, (limit,)).await?;
        rows.iter().map(|row| row.count("position")).collect()
    }

    /// Reads content rows; the ones that do not exist are missing in the answer.
    pub async fn contents(&self, ids: &[Uuid]) -> Result<Vec<StoredContent>, DatabaseError> {
        reader::contents(&self.pool, ids).await
    }

    /// Those of these texts that have no row, not even a tombstone.
    pub async fn missing_contents(&self, ids: &[Uuid]) -> Result<Vec<Uuid>, DatabaseError> {
        let mut missing: BTreeSet<Uuid> = ids.iter().copied().collect();
        for ids in ids.chunks(IDS_PER_QUERY) {
            let places: Vec<String> = (1..=ids.len()).map(|n| format!("${n}")).collect();
            let list = format!("SELECT id FROM contents WHERE id IN ({})", places.join(", "));
            let values: Vec<Value> = ids.iter().map(Into::into).collect();
            for row in self.pool.fetch_all(&list, values).await? {
                missing.remove(&row.uuid("id")?);
            }
        }
        Ok(missing.into_iter().collect())
    }

    /// Puts rows behind `after`, which has to be where the log ends. All of them, or none.
    pub async fn put(
        &self,
        after: Position,
        events: &[RawEvent],
        contents: &[StoredContent],
    ) -> Result<(), DatabaseError> {
        let Some(last) = events.last() else { return Ok(()) };
        let mut transaction = self.pool.begin().await?;
        let move_head = "UPDATE log_head SET position = $1 WHERE id = 1 AND position = $2";
        if transaction.execute(move_head, (last.position, after)).await? == 0 {
            return Err(DatabaseError::failed("somebody else writes into this log"));
        }
        for rows in events.chunks(ROWS_PER_INSERT) {
            if !self.pool.is_postgres() {
                insert_streams(&mut transaction, rows).await?;
            }
            self.insert_events(&mut transaction, rows).await?;
        }
        for rows in contents.chunks(ROWS_PER_INSERT) {
            insert_contents(&mut transaction, rows).await?;
        }
        transaction.commit().await
    }

    async fn insert_events(
        &self,
        transaction: &mut SqlTransaction,
        rows: &[RawEvent],
    ) -> Result<(), DatabaseError> {
        // SQLite keeps JSON as the text it is.
        let json = if self.pool.is_postgres() { "::json" } else { "" };
        let (of_stream, number) = match self.pool.is_postgres() {
            true => ("", ""),
            false => (", stream", STREAM_NUMBER),
        };
        let places = |row: usize| {
            let place = |column: usize| {
                let n = row * EVENT_COLUMNS + column;
                if matches!(column, 7 | 8) { format!("${n}{json}") } else { format!("${n}") }
            };
            let [kind, id] = [2, 3].map(place);
            let number = number.replace("$kind", &kind).replace("$id", &id);
            let places: Vec<String> = (1..=EVENT_COLUMNS).map(place).collect();
            format!("({}{number})", places.join(","))
        };
        let places: Vec<String> = (0..rows.len()).map(places).collect();
        let insert = format!(
            "INSERT INTO events (position, aggregate_type, aggregate_id, sequence, event_type,
                event_version, payload, metadata, command_id, command_ordinal, hash{of_stream})
             VALUES {}",
            places.join(",")
        );
        let mut values: Vec<Value> = Vec::with_capacity(rows.len() * EVENT_COLUMNS);
        for row in rows {
            values.extend([
                row.position.into(),
                (&row.kind).into(),
                (&row.id).into(),
                row.sequence.into(),
                (&row.event_type).into(),
                (&row.event_version).into(),
                (&row.payload).into(),
                (&row.metadata).into(),
                row.command.into(),
                row.ordinal.into(),
                row.hash.into(),
            ]);
        }
        transaction.execute(&insert, values).await.map(drop)
    }

    /// Sets the installation's epoch, for a log that is moved, or that goes on after a restore.
    pub async fn set_epoch(&self, epoch: u64) -> Result<(), DatabaseError> {
        self.pool.execute("UPDATE log_head SET epoch = $1 WHERE id = 1", (epoch,)).await.map(drop)
    }
}

/// The streams that SQLite has no number of yet. They are told by any of their rows: one that was tampered with may
/// lack the first.
async fn insert_streams(
    transaction: &mut SqlTransaction,
    rows: &[RawEvent],
) -> Result<(), DatabaseError> {
    let places: Vec<String> =
        (0..rows.len()).map(|row| format!("(${}, ${})", 2 * row + 1, 2 * row + 2)).collect();
    let insert = format!(
        "INSERT INTO streams (aggregate_type, aggregate_id) VALUES {} ON CONFLICT DO NOTHING",
        places.join(",")
    );
    let values: Vec<Value> =
        rows.iter().flat_map(|row| [(&row.kind).into(), (&row.id).into()]).collect();
    transaction.execute(&insert, values).await.map(drop)
}

async fn insert_contents(
    transaction: &mut SqlTransaction,
    rows: &[StoredContent],
) -> Result<(), DatabaseError> {
    let places = |row: usize| {
        let place = |column: usize| format!("${}", row * CONTENT_COLUMNS + column);
        let places: Vec<String> = (1..=CONTENT_COLUMNS).map(place).collect();
        format!("({})", places.join(","))
    };
    let places: Vec<String> = (0..rows.len()).map(places).collect();
    // Several events may refer to one text.
    let insert = format!(
        "INSERT INTO contents (id, project, nonce, ciphertext) VALUES {}
         ON CONFLICT (id) DO NOTHING",
        places.join(",")
    );
    let mut values: Vec<Value> = Vec::with_capacity(rows.len() * CONTENT_COLUMNS);
    for row in rows {
        let StoredContent { id, project, nonce, ciphertext } = row;
        values.extend([id.into(), project.into(), nonce.into(), ciphertext.into()]);
    }
    transaction.execute(&insert, values).await.map(drop)
}

fn event(row: &SqlRow) -> Result<RawEvent, DatabaseError> {
    Ok(RawEvent {
        position: row.count("position")?,
        kind: row.text("aggregate_type")?,
        id: row.text("aggregate_id")?,
        sequence: row.count("sequence")?,
        event_type: row.text("event_type")?,
        event_version: row.text("event_version")?,
        payload: row.text("payload")?,
        metadata: row.text("metadata")?,
        command: row.uuid("command_id")?,
        ordinal: row.count("command_ordinal")?,
        hash: reader::to_hash(row.bytes("hash")?)?,
    })
}
