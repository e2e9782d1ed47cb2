//! How far a reader of the log has come.
//!
//! A projection's checkpoint moves in the transaction of its rows. Other readers, such as processes,
//! keep theirs here too; they may see an event again after a crash, and skip it by its position.

use chrono::{DateTime, Utc};

use crate::{
    database::Database,
    error::DatabaseError,
    event_log::Position,
    sql::{SqlPool, SqlRow},
};

/// Where a reader is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub name: String,
    /// The version of the reader that got there.
    pub version: u32,
    /// The last event that is dealt with.
    pub position: Position,
    /// Set when an event could not be dealt with: the reader waits before it.
    pub parked: Option<Parked>,
    /// Since when it waits, by the database's clock.
    pub parked_since: Option<DateTime<Utc>>,
}

impl Checkpoint {
    /// Of a reader that has not begun.
    pub(crate) fn start(name: &str) -> Self {
        Self { name: name.to_owned(), version: 0, position: 0, parked: None, parked_since: None }
    }
}

/// Why a reader stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The event that could not be dealt with.
    pub position: Position,
    pub error: String,
}

/// The table of checkpoints. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    pool: SqlPool,
}

pub(crate) const COLUMNS: &str = "name, version, position, parked_at, parked_error, parked_since";

const SAVE: &str = "INSERT INTO checkpoints (name, version, position) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET version = excluded.version, position = excluded.position,
        parked_at = NULL, parked_error = NULL, parked_since = NULL";

impl Checkpoints {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self::on(database.views().clone())
    }

    pub(crate) fn on(pool: SqlPool) -> Self {
        Self { pool }
    }

    /// The position of a reader; 0 for one that never was.
    pub async fn position(&self, name: &str) -> Result<Position, DatabaseError> {
        Ok(self.get(name).await?.map_or(0, |checkpoint| checkpoint.position))
    }

    pub async fn get(&self, name: &str) -> Result<Option<Checkpoint>, DatabaseError> {
        let get = format!("SELECT {COLUMNS} FROM checkpoints WHERE name = $1");
        self.pool.fetch_optional(&get, (name,)).await?.as_ref().map(checkpoint).transpose()
    }

    /// All readers; parked ones show what they wait for.
    pub async fn list(&self) -> Result<Vec<Checkpoint>, DatabaseError> {
        let list = format!("SELECT {COLUMNS} FROM checkpoints ORDER BY name");
        self.pool.fetch_all(&list, ()).await?.iter().map(checkpoint).collect()
    }

    /// Moves a reader that keeps no rows.
    pub async fn save(
        &self,
        name: &str,
        version: u32,
        position: Position,
    ) -> Result<(), DatabaseError> {
        self.pool.execute(SAVE, (name, version, position)).await?;
        Ok(())
    }

    /// Lets a parked reader try again at its next start.
    pub async fn unpark(&self, name: &str) -> Result<bool, DatabaseError> {
        let unpark =
            "UPDATE checkpoints SET parked_at = NULL, parked_error = NULL, parked_since = NULL
            WHERE name = $1 AND parked_at IS NOT NULL";
        Ok(self.pool.execute(unpark, (name,)).await? > 0)
    }
}

pub(crate) fn checkpoint(row: &SqlRow) -> Result<Checkpoint, DatabaseError> {
    let parked = row.count_option("parked_at")?.zip(row.text_option("parked_error")?);
    Ok(Checkpoint {
        name: row.text("name")?,
        version: u32::try_from(row.int("version")?).unwrap_or_default(),
        position: row.count("position")?,
        parked: parked.map(|(position, error)| Parked { position, error }),
        parked_since: row.time_option("parked_since")?,
    })
}
