//! How fast all read models are made from the log, and how fast their rows could be written at most.
//!
//! The limit is that of a bulk write: every row that the projector wrote, into empty tables with the same indexes, in
//! transactions as large as its own, and nothing else. SQLite takes several rows in a statement, PostgreSQL takes `COPY`,
//! each the quickest way there is. Reading the rows is not counted.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Result;
use futures_util::TryStreamExt as _;
use projections::{
    database::Database,
    event_log::{EventLog, Options},
    read_models,
};
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection,
    TypeInfo as _, ValueRef as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous},
};
use tests::{
    bench::{Figures, Folder, Goal, say},
    postgres::Cluster,
};

use crate::{Sizes, history};

const EVENTS_A_SECOND_MIN: f64 = 30_000.0;
const BARE_RATIO_MIN: f64 = 0.5;
const ROWS_PER_STATEMENT: usize = 256;
const ROWS_PER_TRANSACTION: usize = 2048;
const SQLITE: &str = "sqlite";

/// Leaves a log in SQLite behind whose read models are made.
pub(crate) async fn measure(
    figures: &mut Figures,
    sizes: Sizes,
    folder: &Folder,
) -> Result<PathBuf> {
    let cluster = Cluster::start(&folder.path().join("postgres"), "")?;
    for (name, url) in [(SQLITE, "sqlite:".to_owned()), ("postgres", cluster.database()?)] {
        let data_dir = folder.path().join(name);
        std::fs::create_dir_all(&data_dir)?;
        let database = Database::open(&url, &data_dir).await?;
        let log = EventLog::open(&database, Options::default()).await?;
        history::write(&log, sizes.n_events).await?;
        let projector = read_models::projector(&database, &log);
        let tables: Vec<&str> =
            projector.tables().into_iter().flat_map(|(_, tables)| tables).copied().collect();
        let begun = Instant::now();
        let n_events = projector.catch_up().await?;
        let seconds = begun.elapsed().as_secs_f64();
        say(&format!("{name}: all read models from {n_events} events in {seconds:.1} s"));
        let rate = n_events as f64 / seconds;
        let goal = Goal::AtLeast(EVENTS_A_SECOND_MIN);
        figures.add(&format!("log/{name}_rebuild"), rate, "events/s", goal);
        log.close().await;
        database.close().await;
        let (n_rows, bare) = match name {
            SQLITE => bare_sqlite(&data_dir, &tables).await?,
            _ => bare_postgres(&url, &tables).await?,
        };
        say(&format!("{name}: their {n_rows} rows and nothing else in {bare:.1} s"));
        let goal = Goal::AtLeast(BARE_RATIO_MIN);
        figures.add(&format!("log/{name}_rebuild_to_bare"), bare / seconds, "times", goal);
    }
    Ok(folder.path().join(SQLITE))
}

async fn open(file: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    Ok(options.connect().await?)
}

/// Into another file. Tells how many rows, and in how many seconds.
async fn bare_sqlite(data_dir: &Path, tables: &[&str]) -> Result<(usize, f64)> {
    let mut from = open(&data_dir.join("views.db")).await?;
    let file = data_dir.join("bare.db");
    let mut to = open(&file).await?;
    let (mut n_rows, mut seconds) = (0, 0.0);
    for table in tables {
        let made_by = "SELECT sql FROM sqlite_master WHERE tbl_name = $1 AND sql IS NOT NULL
            AND type IN ('table', 'index') ORDER BY type = 'table' DESC";
        for row in sqlx::query(made_by).bind(table).fetch_all(&mut from).await? {
            to.execute(row.try_get::<&str, _>(0)?).await?;
        }
        let select = format!("SELECT * FROM {table}");
        let mut chunks = sqlx::query(&select).fetch(&mut from).try_chunks(ROWS_PER_TRANSACTION);
        while let Some(rows) = chunks.try_next().await.map_err(|error| error.1)? {
            let begun = Instant::now();
            let mut transaction = to.begin().await?;
            for rows in rows.chunks(ROWS_PER_STATEMENT) {
                insert(&mut transaction, table, rows).await?;
            }
            transaction.commit().await?;
            seconds += begun.elapsed().as_secs_f64();
            n_rows += rows.len();
        }
    }
    to.close().await?;
    std::fs::remove_file(file)?;
    Ok((n_rows, seconds))
}

async fn insert(to: &mut SqliteConnection, table: &str, rows: &[SqliteRow]) -> Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let row = format!("({})", vec!["?"; first.len()].join(","));
    let insert = format!("INSERT INTO {table} VALUES {}", vec![row; rows.len()].join(","));
    let mut query = sqlx::query(&insert);
    for row in rows {
        for n in 0..row.len() {
            let kind = row.try_get_raw(n)?.type_info().name().to_owned();
            query = match kind.as_str() {
                "NULL" => query.bind(None::<i64>),
                "INTEGER" | "BOOLEAN" => query.bind(row.try_get_unchecked::<i64, _>(n)?),
                "REAL" => query.bind(row.try_get_unchecked::<f64, _>(n)?),
                "BLOB" => query.bind(row.try_get_unchecked::<Vec<u8>, _>(n)?),
                _ => query.bind(row.try_get_unchecked::<String, _>(n)?),
            };
        }
    }
    query.execute(to).await?;
    Ok(())
}

/// Into another schema, whose commits wait for the disk no more than those of the read models.
async fn bare_postgres(url: &str, tables: &[&str]) -> Result<(usize, f64)> {
    let mut from = PgConnection::connect(url).await?;
    let mut to = PgConnection::connect(url).await?;
    to.execute("SET synchronous_commit TO off").await?;
    to.execute("CREATE SCHEMA bare").await?;
    let (mut n_rows, mut seconds) = (0, 0.0);
    for table in tables {
        let like = format!("CREATE TABLE bare.{table} (LIKE sam_views.{table} INCLUDING ALL)");
        to.execute(like.as_str()).await?;
        let copied = from.copy_out_raw(&format!("COPY sam_views.{table} TO STDOUT")).await?;
        // The server sends each row, with its line's end, in a message of its own.
        let mut chunks = copied.try_chunks(ROWS_PER_TRANSACTION);
        while let Some(rows) = chunks.try_next().await.map_err(|error| error.1)? {
            let begun = Instant::now();
            let mut copy = to.copy_in_raw(&format!("COPY bare.{table} FROM STDIN")).await?;
            copy.send(rows.concat()).await?;
            n_rows += usize::try_from(copy.finish().await?)?;
            seconds += begun.elapsed().as_secs_f64();
        }
    }
    to.execute("DROP SCHEMA bare CASCADE").await?;
    Ok((n_rows, seconds))
}
