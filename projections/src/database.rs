//! Opens the database that a URL names, and brings its tables up to date.
//!
//! `sqlite:` uses two files of the data directory: `log.db` (events, content, vault, tokens; every
//! commit is on disk before it is acknowledged) and `views.db` (read models and checkpoints, which can
//! be made again from the log). In one file they would fight for one write lock.
//!
//! `postgres:` uses one database with the schemas `sam_log` and `sam_views`.
//!
//! Read next: [`crate::event_log`].

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, Executor,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{error::DatabaseError, event_log::Position, sql::SqlPool};

mod beside;

pub(crate) use beside::Beside;

static SQLITE_LOG: Migrator = sqlx::migrate!("../migrations/sqlite/log");
static SQLITE_VIEWS: Migrator = sqlx::migrate!("../migrations/sqlite/views");
static POSTGRES_LOG: Migrator = sqlx::migrate!("../migrations/postgres/log");
static POSTGRES_VIEWS: Migrator = sqlx::migrate!("../migrations/postgres/views");

pub(crate) const LOG_SCHEMA: &str = "sam_log";
pub(crate) const VIEWS_SCHEMA: &str = "sam_views";
pub(crate) const NEXT_VIEWS_SCHEMA: &str = "sam_views_next";
/// The log's file in a directory of SQLite databases.
pub const LOG_FILE: &str = "log.db";
const VIEWS_FILE: &str = "views.db";
const NEXT_VIEWS_FILE: &str = "views.next.db";

const READERS_MAX: u32 = 4;
const POSTGRES_CONNECTIONS_MAX: u32 = 8;
/// Prepared statements of one connection: the projector's inserts come in several sizes each.
const STATEMENTS_MAX: usize = 512;
/// Pages of the write-ahead log, 64 MiB: a commit that makes it longer brings it into the file itself.
const LOG_WRITE_AHEAD_PAGES: &str = "16384";
/// 1 MiB, a quarter of what is usual: the disk does not take appends while it takes what is brought into the file,
/// so that is better little and often.
const VIEWS_WRITE_AHEAD_PAGES: &str = "250";
/// Less than a lease lasts: whoever has that next should find nothing locked.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "5s";
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// The two databases of one installation, open and migrated. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    log: SqlPool,
    views: SqlPool,
    place: Place,
}

/// Where the database is, to open further connections to it.
#[derive(Clone, Debug)]
enum Place {
    Sqlite { directory: PathBuf },
    Postgres { options: Box<PgConnectOptions> },
}

impl Place {
    fn named_by(url: &str, data_dir: &Path) -> Result<Self, DatabaseError> {
        if let Some(directory) = url.strip_prefix("sqlite:") {
            let directory = match directory.trim_start_matches("//") {
                "" => data_dir.to_path_buf(),
                directory => data_dir.join(directory),
            };
            return Ok(Self::Sqlite { directory });
        }
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            return Ok(Self::Postgres { options: Box::new(PgConnectOptions::from_str(url)?) });
        }
        Err(DatabaseError::failed("the database URL starts with neither sqlite: nor postgres:"))
    }
}

impl Database {
    /// Opens what `url` names: `sqlite:` (in `data_dir`), `sqlite:DIRECTORY`, or `postgres:…`.
    pub async fn open(url: &str, data_dir: &Path) -> Result<Self, DatabaseError> {
        match Place::named_by(url, data_dir)? {
            Place::Sqlite { directory } => Self::open_sqlite(directory).await,
            Place::Postgres { options } => Self::open_postgres(*options).await,
        }
    }

    /// Opens what is there already, to be read beside a running server or without one.
    ///
    /// Nothing is made and nothing is brought up to date; writing fails.
    pub async fn open_read_only(url: &str, data_dir: &Path) -> Result<Self, DatabaseError> {
        let place = Place::named_by(url, data_dir)?;
        let (log, views) = match &place {
            Place::Sqlite { directory } => (
                open_sqlite_file_read_only(&directory.join(LOG_FILE)).await?,
                open_sqlite_file_read_only(&directory.join(VIEWS_FILE)).await?,
            ),
            Place::Postgres { options } => {
                let read_only =
                    options.as_ref().clone().options([("default_transaction_read_only", "on")]);
                let log = connect_schema(&read_only, LOG_SCHEMA).await?;
                (log, connect_schema(&read_only, VIEWS_SCHEMA).await?)
            }
        };
        Ok(Self { log, views, place })
    }

    /// Read-model tables that live only as long as this does. There is no log in it.
    pub(crate) async fn in_memory() -> Result<Self, DatabaseError> {
        let options = SqliteConnectOptions::new().in_memory(true);
        let only = sqlite_pool().max_connections(1).connect_with(options).await?;
        let views = SqlPool::Sqlite { readers: only.clone(), writer: only };
        migrate(&views, &SQLITE_VIEWS, &POSTGRES_VIEWS).await?;
        let place = Place::Sqlite { directory: PathBuf::new() };
        Ok(Self { log: views.clone(), views, place })
    }

    /// Opens a log alone, such as that of a backup, to be read. It has no read models.
    pub async fn open_log_read_only(url: &str, data_dir: &Path) -> Result<Self, DatabaseError> {
        let place = Place::named_by(url, data_dir)?;
        let log = match &place {
            Place::Sqlite { directory } => {
                open_sqlite_file_read_only(&directory.join(LOG_FILE)).await?
            }
            Place::Postgres { options } => {
                let read_only =
                    options.as_ref().clone().options([("default_transaction_read_only", "on")]);
                connect_schema(&read_only, LOG_SCHEMA).await?
            }
        };
        Ok(Self { views: log.clone(), log, place })
    }

    /// The directory of the databases, where the URL means SQLite.
    #[must_use]
    pub fn sqlite_directory(url: &str, data_dir: &Path) -> Option<PathBuf> {
        match Place::named_by(url, data_dir).ok()? {
            Place::Sqlite { directory } => Some(directory),
            Place::Postgres { .. } => None,
        }
    }

    /// Writes the log as it is at this moment into a new file, while others go on appending. SQLite
    /// only: PostgreSQL has tools for it.
    pub async fn snapshot_log(&self, file: &Path) -> Result<(), DatabaseError> {
        let SqlPool::Sqlite { readers, .. } = &self.log else {
            return Err(DatabaseError::failed("PostgreSQL is backed up with its own tools"));
        };
        let path = file.to_str().ok_or_else(|| DatabaseError::failed("the path is no text"))?;
        sqlx::query("VACUUM INTO $1").bind(path).execute(readers).await?;
        let written = std::fs::File::open(file).and_then(|file| file.sync_all());
        written.map_err(|error| sqlx::Error::from(error).into())
    }

    async fn open_sqlite(directory: PathBuf) -> Result<Self, DatabaseError> {
        std::fs::create_dir_all(&directory).map_err(sqlx::Error::from)?;
        let log = open_sqlite_log(&directory.join(LOG_FILE)).await?;
        migrate_log(&log).await?;
        let views = open_sqlite_views(&directory.join(VIEWS_FILE), &log).await?;
        Ok(Self { log, views, place: Place::Sqlite { directory } })
    }

    async fn open_postgres(options: PgConnectOptions) -> Result<Self, DatabaseError> {
        let log = open_schema(&options, LOG_SCHEMA).await?;
        migrate_log(&log).await?;
        let views = open_postgres_views(&options, VIEWS_SCHEMA, &log).await?;
        Ok(Self { log, views, place: Place::Postgres { options: Box::new(options) } })
    }

    /// The log's side: events, content, vault, tokens, keys.
    #[must_use]
    pub fn log(&self) -> &SqlPool {
        &self.log
    }

    /// The read models' side.
    #[must_use]
    pub fn views(&self) -> &SqlPool {
        &self.views
    }

    /// Options for a connection of its own to the log, where the database is PostgreSQL.
    pub(crate) fn postgres_log_options(&self) -> Option<PgConnectOptions> {
        match &self.place {
            Place::Sqlite { .. } => None,
            Place::Postgres { options } => Some(with_schema(options, LOG_SCHEMA)),
        }
    }

    /// Opens a place for read-model tables beside the live ones, for a rebuild. It is empty.
    pub(crate) async fn open_next_views(&self) -> Result<SqlPool, DatabaseError> {
        self.remove_next_views().await?;
        match &self.place {
            Place::Sqlite { .. } => {
                open_sqlite_file(&self.next_views_file(), SqliteSynchronous::Normal).await
            }
            Place::Postgres { options } => open_schema(options, NEXT_VIEWS_SCHEMA).await,
        }
    }

    /// Removes what [`Self::open_next_views`] made.
    pub(crate) async fn remove_next_views(&self) -> Result<(), DatabaseError> {
        match &self.place {
            Place::Sqlite { .. } => remove_sqlite_file(&self.next_views_file()),
            Place::Postgres { options } => drop_schema(options, NEXT_VIEWS_SCHEMA).await,
        }
    }

    /// The file of a rebuild; empty where the database is PostgreSQL.
    pub(crate) fn next_views_file(&self) -> PathBuf {
        match &self.place {
            Place::Sqlite { directory } => directory.join(NEXT_VIEWS_FILE),
            Place::Postgres { .. } => PathBuf::new(),
        }
    }

    /// Closes all connections and waits until they are.
    pub async fn close(&self) {
        self.views.close().await;
        self.log.close().await;
    }
}

async fn open_sqlite_views(file: &Path, log: &SqlPool) -> Result<SqlPool, DatabaseError> {
    let reason = match open_sqlite_file(file, SqliteSynchronous::Normal).await {
        Ok(views) => {
            let migrated = migrate(&views, &SQLITE_VIEWS, &POSTGRES_VIEWS).await;
            let Some(reason) = why_useless(migrated, &views, log).await? else { return Ok(views) };
            views.close().await;
            reason
        }
        Err(error) => damaged(error)?,
    };
    tracing::warn!("the read models are {reason}, and are made again from the log");
    remove_sqlite_file(file)?;
    let views = open_sqlite_file(file, SqliteSynchronous::Normal).await?;
    migrate(&views, &SQLITE_VIEWS, &POSTGRES_VIEWS).await?;
    Ok(views)
}

async fn open_postgres_views(
    options: &PgConnectOptions,
    schema: &str,
    log: &SqlPool,
) -> Result<SqlPool, DatabaseError> {
    let views = open_schema(options, schema).await?;
    let migrated = migrate(&views, &SQLITE_VIEWS, &POSTGRES_VIEWS).await;
    let Some(reason) = why_useless(migrated, &views, log).await? else { return Ok(views) };
    tracing::warn!("the read models are {reason}, and are made again from the log");
    views.close().await;
    drop_schema(options, schema).await?;
    let views = open_schema(options, schema).await?;
    migrate(&views, &SQLITE_VIEWS, &POSTGRES_VIEWS).await?;
    Ok(views)
}

/// Why read models can go, if they cannot be used.
async fn why_useless(
    migrated: Result<(), MigrateError>,
    views: &SqlPool,
    log: &SqlPool,
) -> Result<Option<&'static str>, DatabaseError> {
    match migrated {
        Ok(()) => {
            // In this order: another server may be projecting what it appends.
            let (shown, head) = (shown(views).await?, head(log).await?);
            Ok((shown > head).then_some("of another log"))
        }
        Err(error) if is_disposable(&error) => Ok(Some("from another version")),
        Err(error) => damaged(error.into()).map(Some),
    }
}

/// That, and nothing else, is what the error says.
fn damaged(error: DatabaseError) -> Result<&'static str, DatabaseError> {
    if error.is_damage() { Ok("damaged") } else { Err(error) }
}

/// Up to where the read models show a log, and processes have read it.
async fn shown(views: &SqlPool) -> Result<Position, DatabaseError> {
    let newest = "SELECT MAX(position) AS position FROM checkpoints";
    newest_position(views, newest).await
}

async fn head(log: &SqlPool) -> Result<Position, DatabaseError> {
    newest_position(log, "SELECT MAX(position) AS position FROM events").await
}

async fn newest_position(pool: &SqlPool, newest: &str) -> Result<Position, DatabaseError> {
    let row = pool.fetch_optional(newest, ()).await?;
    Ok(row.map_or(Ok(None), |row| row.count_option("position"))?.unwrap_or_default())
}

/// Tells whether the tables were made by other migrations than ours. Read models may then go.
fn is_disposable(error: &MigrateError) -> bool {
    matches!(
        error,
        MigrateError::VersionMismatch(_)
            | MigrateError::VersionMissing(_)
            | MigrateError::VersionTooNew(..)
            | MigrateError::VersionTooOld(..)
            | MigrateError::Dirty(_)
    )
}

/// Brings the log's tables up to date, which nobody can make again: a newer log is left alone.
async fn migrate_log(log: &SqlPool) -> Result<(), DatabaseError> {
    migrate(log, &SQLITE_LOG, &POSTGRES_LOG).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => {
            let reason = format!(
                "the log is from a newer SAM (its tables are of version {version}): start that one"
            );
            DatabaseError::failed(reason)
        }
        other => other.into(),
    })
}

async fn migrate(
    pool: &SqlPool,
    sqlite: &Migrator,
    postgres: &Migrator,
) -> Result<(), MigrateError> {
    match pool {
        SqlPool::Sqlite { writer, .. } => sqlite.run(writer).await,
        SqlPool::Postgres(pool) => postgres.run(pool).await,
    }
}

async fn open_sqlite_log(file: &Path) -> Result<SqlPool, DatabaseError> {
    let options = sqlite_options(file, SqliteSynchronous::Full, LOG_WRITE_AHEAD_PAGES);
    // Else a commit of many rows makes and removes a file, in which SQLite notes how to undo a statement.
    open_sqlite(options.pragma("temp_store", "memory")).await
}

async fn open_sqlite_file(
    file: &Path,
    synchronous: SqliteSynchronous,
) -> Result<SqlPool, DatabaseError> {
    open_sqlite(sqlite_options(file, synchronous, VIEWS_WRITE_AHEAD_PAGES)).await
}

fn sqlite_options(
    file: &Path,
    synchronous: SqliteSynchronous,
    write_ahead_pages: &'static str,
) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(true)
        // What is deleted, such as the key of an erased project, is overwritten.
        .pragma("secure_delete", "fast")
        .pragma("wal_autocheckpoint", write_ahead_pages)
        .statement_cache_capacity(STATEMENTS_MAX)
        .busy_timeout(BUSY_TIMEOUT)
}

async fn open_sqlite(options: SqliteConnectOptions) -> Result<SqlPool, DatabaseError> {
    let writer = sqlite_pool().max_connections(1).connect_with(options.clone()).await?;
    let readers =
        sqlite_pool().max_connections(READERS_MAX).connect_lazy_with(options.read_only(true));
    Ok(SqlPool::Sqlite { readers, writer })
}

async fn open_sqlite_file_read_only(file: &Path) -> Result<SqlPool, DatabaseError> {
    let options =
        SqliteConnectOptions::new().filename(file).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let readers = sqlite_pool().max_connections(READERS_MAX).connect_with(options).await?;
    Ok(SqlPool::Sqlite { writer: readers.clone(), readers })
}

fn sqlite_pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        // SQLite itself takes a transaction back when the disk is full. The connection does not learn of it,
        // and would never begin another one: it is replaced.
        .before_acquire(|connection, _| {
            let is_usable = !connection.is_in_transaction();
            Box::pin(std::future::ready(Ok(is_usable)))
        })
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
}

fn remove_sqlite_file(file: &Path) -> Result<(), DatabaseError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(sqlx::Error::from(error).into());
            }
            _ => {}
        }
    }
    Ok(())
}

fn with_schema(options: &PgConnectOptions, schema: &str) -> PgConnectOptions {
    let options =
        options.clone().application_name("sam").statement_cache_capacity(STATEMENTS_MAX).options([
            ("search_path", schema),
            ("jit", "off"),
            // A replica that is stopped within its transaction loses it, and with it what others wait for.
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
        ]);
    match schema {
        LOG_SCHEMA => options,
        // Rows and checkpoint are lost together, if the machine is, and come again from the log.
        _ => options.options([("synchronous_commit", "off")]),
    }
}

async fn open_schema(options: &PgConnectOptions, schema: &str) -> Result<SqlPool, DatabaseError> {
    let mut connection = options.clone().connect().await?;
    let create = format!("CREATE SCHEMA IF NOT EXISTS {schema}");
    // Two replicas that start at once may both try; the one that loses finds it made.
    match connection.execute(create.as_str()).await {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    connection.close().await?;
    connect_schema(options, schema).await
}

async fn connect_schema(
    options: &PgConnectOptions,
    schema: &str,
) -> Result<SqlPool, DatabaseError> {
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(with_schema(options, schema))
        .await?;
    Ok(SqlPool::Postgres(pool))
}

async fn drop_schema(options: &PgConnectOptions, schema: &str) -> Result<(), DatabaseError> {
    let mut connection = options.clone().connect().await?;
    let drop = format!("DROP SCHEMA IF EXISTS {schema} CASCADE");
    connection.execute(drop.as_str()).await?;
    connection.close().await?;
    Ok(())
}
