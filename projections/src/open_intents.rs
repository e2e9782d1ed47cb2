//! Which processes still want something: what a start would otherwise read all their streams for.
//!
//! Kept by whoever reads the log for a kind of process, as far as it has read; the rest is read from
//! the log. What the rows say of an intent is the reader's business.

use uuid::Uuid;

use crate::{database::Database, error::DatabaseError, event_log::Position, sql::SqlPool};

/// A process that wants something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanting {
    pub process: Uuid,
    pub correlation: Uuid,
    /// What it wants, as its reader wrote it.
    pub intents: String,
}

/// The table of open intents. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OpenIntents {
    pool: SqlPool,
}

impl OpenIntents {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.views().clone() }
    }

    /// The processes of one kind that wanted something, and up to which position that is so.
    pub async fn load(&self, kind: &str) -> Result<(Position, Vec<Wanting>), DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        let at = "SELECT position FROM checkpoints WHERE name = $1";
        let at = transaction.fetch_optional(at, (reader(kind),)).await?;
        let position = at.map(|row| row.count("position")).transpose()?.unwrap_or(0);
        let rows = "SELECT process, correlation, intents FROM open_intents WHERE kind = $1";
        let rows = transaction.fetch_all(rows, (kind,)).await?;
        let wanting = rows.iter().map(|row| {
            Ok(Wanting {
                process: row.uuid("process")?,
                correlation: row.uuid("correlation")?,
                intents: row.text("intents")?,
            })
        });
        Ok((position, wanting.collect::<Result<_, DatabaseError>>()?))
    }

    /// Moves the rows from one position to another: each named process has these intents now, or none.
    /// False, and nothing is changed, where the rows are not at `from`: somebody else keeps them by now.
    pub async fn save(
        &self,
        kind: &str,
        from: Position,
        to: Position,
        changed: &[(Uuid, Option<Wanting>)],
    ) -> Result<bool, DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        let begin = "INSERT INTO checkpoints (name, version, position) VALUES ($1, 1, 0)
            ON CONFLICT (name) DO NOTHING";
        transaction.execute(begin, (reader(kind),)).await?;
        let advance = "UPDATE checkpoints SET position = $3 WHERE name = $1 AND position = $2";
        if transaction.execute(advance, (reader(kind), from, to)).await? == 0 {
            return Ok(false);
        }
        for (process, wanting) in changed {
            let remove = "DELETE FROM open_intents WHERE kind = $1 AND process = $2";
            transaction.execute(remove, (kind, *process)).await?;
            let Some(Wanting { correlation, intents, .. }) = wanting else { continue };
            let insert = "INSERT INTO open_intents (kind, process, correlation, intents)
                VALUES ($1, $2, $3, $4)";
            let values = (kind, *process, *correlation, intents.as_str());
            transaction.execute(insert, values).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }
}

fn reader(kind: &str) -> String {
    format!("open intents {kind}")
}
