//! Facts about this installation: its id, and its epoch, which a restore raises.
//!
//! The id is in the name of every server that is rented, so that two installations in one cloud
//! account never touch each other's. The epoch is checked by every append under the head lock, so a
//! process that still runs on the state before a restore is fenced.

use uuid::Uuid;

use crate::{database::Database, error::DatabaseError, sql::SqlPool};

const INSTALLATION: &str = "installation";

/// The table of facts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Meta {
    pool: SqlPool,
}

impl Meta {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.log().clone() }
    }

    /// The id of this installation. The first call ever settles it as `proposed`.
    pub async fn installation(&self, proposed: Uuid) -> Result<Uuid, DatabaseError> {
        self.set_if_absent(INSTALLATION, &proposed.to_string()).await?;
        let text = self.get(INSTALLATION).await?.unwrap_or_default();
        Uuid::parse_str(&text).map_err(|_| DatabaseError::failed("the installation id is no UUID"))
    }

    /// The epoch of this installation: 1, and one more after each restore.
    pub async fn epoch(&self) -> Result<u64, DatabaseError> {
        let row = self.pool.fetch_optional("SELECT epoch FROM log_head WHERE id = 1", ()).await?;
        row.ok_or_else(|| DatabaseError::failed("the log has no head row"))?.count("epoch")
    }

    /// Raises the epoch; every log that is open now is fenced from here on.
    pub async fn raise_epoch(&self) -> Result<u64, DatabaseError> {
        let raise = "UPDATE log_head SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch";
        let row = self.pool.execute_returning(raise, ()).await?;
        row.ok_or_else(|| DatabaseError::failed("the log has no head row"))?.count("epoch")
    }

    pub async fn get(&self, name: &str) -> Result<Option<String>, DatabaseError> {
        let get = "SELECT value FROM meta WHERE name = $1";
        self.pool.fetch_optional(get, (name,)).await?.map(|row| row.text("value")).transpose()
    }

    pub async fn set(&self, name: &str, value: &str) -> Result<(), DatabaseError> {
        let set = "INSERT INTO meta (name, value) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.pool.execute(set, (name, value)).await?;
        Ok(())
    }

    /// Sets a fact that nobody has set yet; tells whether that was so.
    pub async fn set_if_absent(&self, name: &str, value: &str) -> Result<bool, DatabaseError> {
        let set = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        Ok(self.pool.execute(set, (name, value)).await? > 0)
    }
}
