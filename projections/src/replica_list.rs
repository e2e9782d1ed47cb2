//! The running servers of one database: each says where the others reach it, again and again.
//!
//! Times are the database's own. A server that stopped saying so is not listed any more; whether it is
//! dead, stopped or cut off does not matter here.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    database::Database,
    error::DatabaseError,
    sql::{SqlPool, SqlRow},
};

/// A running server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Of its data directory.
    pub id: Uuid,
    /// Where other replicas call it: `address:port`.
    pub address: String,
    /// The agent of this installation's machine calls there.
    pub carries_node: bool,
}

/// The table of running servers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReplicaList {
    pool: SqlPool,
}

impl ReplicaList {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.log().clone() }
    }

    /// Says that a server runs; good for `period`.
    pub async fn announce(&self, replica: &Replica, period: Duration) -> Result<(), DatabaseError> {
        let now = self.pool.now();
        let announce = format!(
            "INSERT INTO replicas (id, address, carries_node, held_until)
             VALUES ($1, $2, $3, {now} + $4)
             ON CONFLICT (id) DO UPDATE SET address = excluded.address,
                carries_node = excluded.carries_node, held_until = excluded.held_until"
        );
        let Replica { id, address, carries_node } = replica;
        let micros = i64::try_from(period.as_micros()).unwrap_or(i64::MAX);
        self.pool.execute(&announce, (*id, address.as_str(), *carries_node, micros)).await?;
        Ok(())
    }

    /// Says that a server is leaving.
    pub async fn leave(&self, id: Uuid) -> Result<(), DatabaseError> {
        self.pool.execute("DELETE FROM replicas WHERE id = $1", (id,)).await?;
        Ok(())
    }

    /// The running servers but one's own.
    pub async fn others(&self, own: Uuid) -> Result<Vec<Replica>, DatabaseError> {
        let now = self.pool.now();
        let others = format!(
            "SELECT id, address, carries_node FROM replicas
             WHERE id <> $1 AND held_until > {now} ORDER BY id"
        );
        self.pool.fetch_all(&others, (own,)).await?.iter().map(replica).collect()
    }
}

fn replica(row: &SqlRow) -> Result<Replica, DatabaseError> {
    Ok(Replica {
        id: row.uuid("id")?,
        address: row.text("address")?,
        carries_node: row.bool("carries_node")?,
    })
}
