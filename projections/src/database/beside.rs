//! A place for read-model tables beside the live ones that sees both: to compare them.
//!
//! SQLite: a file of its own with the live one attached. PostgreSQL: a schema of its own. There is one at a
//! time, kept by a lock that ends with its process; what a killed one left is removed by the next.

use std::{
    fs::{File, TryLockError},
    path::PathBuf,
};

use sqlx::{
    postgres::PgPoolOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

use crate::{
    checkpoint::{self, Checkpoint},
    database::{
        Database, Place, VIEWS_FILE, VIEWS_SCHEMA, remove_sqlite_file, sqlite_pool, with_schema,
    },
    error::DatabaseError,
    sql::{SqlPool, SqlTransaction},
};

const FILE: &str = "views.check.db";
const LOCK: &str = "views.check.lock";
const SCHEMA: &str = "sam_views_check";
const ATTACHED: &str = "live";
/// Any number that nobody else uses as the key of an advisory lock: "sam check".
const ADVISORY_LOCK: i64 = 0x0073_616d_6368_6563;

/// The place, and the right to use it.
#[derive(Debug)]
pub(crate) struct Beside {
    pool: SqlPool,
    directory: Option<(PathBuf, File)>,
}

impl Database {
    /// Opens an empty place beside the live read models.
    pub(crate) async fn open_beside(&self) -> Result<Beside, DatabaseError> {
        match &self.place {
            Place::Sqlite { directory } => open_file(directory).await,
            Place::Postgres { options } => {
                // One connection only: the lock is its.
                let options = with_schema(options, SCHEMA);
                let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
                let pool = SqlPool::Postgres(pool);
                let lock = "SELECT pg_try_advisory_lock($1) AS is_ours";
                let locked = pool.fetch_optional(lock, (ADVISORY_LOCK,)).await?;
                if !locked.map_or(Ok(false), |row| row.bool("is_ours"))? {
                    return Err(busy());
                }
                pool.execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"), ()).await?;
                pool.execute(&format!("CREATE SCHEMA {SCHEMA}"), ()).await?;
                Ok(Beside { pool, directory: None })
            }
        }
    }
}

async fn open_file(directory: &std::path::Path) -> Result<Beside, DatabaseError> {
    let lock = File::options().create(true).truncate(false).write(true).open(directory.join(LOCK));
    let lock = lock.map_err(sqlx::Error::from)?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => busy(),
        TryLockError::Error(error) => sqlx::Error::from(error).into(),
    })?;
    let file = directory.join(FILE);
    remove_sqlite_file(&file)?;
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let only = sqlite_pool().max_connections(1).connect_with(options).await?;
    let pool = SqlPool::Sqlite { readers: only.clone(), writer: only };
    Ok(Beside { pool, directory: Some((directory.to_path_buf(), lock)) })
}

fn busy() -> DatabaseError {
    DatabaseError::failed("another check is under way: wait until it has ended")
}

impl Beside {
    pub(crate) fn pool(&self) -> &SqlPool {
        &self.pool
    }

    /// The name of a live table.
    pub(crate) fn live(&self, table: &str) -> String {
        let schema = if self.pool.is_postgres() { VIEWS_SCHEMA } else { ATTACHED };
        format!("{schema}.{table}")
    }

    /// The name of a table that was made again.
    pub(crate) fn rebuilt(&self, table: &str) -> String {
        let schema = if self.pool.is_postgres() { SCHEMA } else { "main" };
        format!("{schema}.{table}")
    }

    /// Starts a transaction for which the live side stands still from its first look on. It locks
    /// nobody out: the live file is attached only now, for a transaction that writes to the other one.
    pub(crate) async fn begin(&self) -> Result<SqlTransaction, DatabaseError> {
        if let Some((directory, _)) = &self.directory {
            let live = directory.join(VIEWS_FILE).to_string_lossy().into_owned();
            self.pool.execute(&format!("ATTACH DATABASE $1 AS {ATTACHED}"), (live,)).await?;
        }
        Ok(match &self.pool {
            SqlPool::Sqlite { writer, .. } => SqlTransaction::Sqlite(writer.begin().await?),
            SqlPool::Postgres(pool) => {
                let repeatable = "BEGIN ISOLATION LEVEL REPEATABLE READ";
                SqlTransaction::Postgres(pool.begin_with(repeatable).await?)
            }
        })
    }

    /// How far the live projections have come.
    pub(crate) async fn live_checkpoints(
        &self,
        transaction: &mut SqlTransaction,
    ) -> Result<Vec<Checkpoint>, DatabaseError> {
        let list = format!("SELECT {} FROM {}", checkpoint::COLUMNS, self.live("checkpoints"));
        transaction.fetch_all(&list, ()).await?.iter().map(checkpoint::checkpoint).collect()
    }

    /// The columns of a table that are written, and whether each belongs to its primary key.
    pub(crate) async fn columns(
        &self,
        transaction: &mut SqlTransaction,
        table: &str,
    ) -> Result<Vec<(String, bool)>, DatabaseError> {
        let rows = if self.pool.is_postgres() {
            let of_table = "
                SELECT a.attname::TEXT AS name, COALESCE(a.attnum = ANY(i.indkey), FALSE) AS is_key
                FROM pg_attribute a
                LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
                WHERE a.attrelid = $1::TEXT::REGCLASS AND a.attnum > 0 AND NOT a.attisdropped
                    AND a.attgenerated = ''
                ORDER BY a.attnum";
            transaction.fetch_all(of_table, (self.live(table),)).await?
        } else {
            let of_table = "SELECT name, pk > 0 AS is_key FROM pragma_table_info($1) ORDER BY cid";
            transaction.fetch_all(of_table, (table,)).await?
        };
        rows.iter().map(|row| Ok((row.text("name")?, row.bool("is_key")?))).collect()
    }

    /// Removes the place.
    pub(crate) async fn remove(self) -> Result<(), DatabaseError> {
        match self.directory {
            None => {
                self.pool.execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"), ()).await?;
                // A server notices the end of a connection a moment later.
                let unlock = "SELECT pg_advisory_unlock($1)";
                self.pool.fetch_all(unlock, (ADVISORY_LOCK,)).await?;
                self.pool.close().await;
                Ok(())
            }
            Some((directory, _lock)) => {
                self.pool.close().await;
                remove_sqlite_file(&directory.join(FILE))
            }
        }
    }
}
