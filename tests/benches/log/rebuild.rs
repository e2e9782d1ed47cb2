//! How fast all read models are made from the log, and how fast their rows could be written at most.

use std::{path::Path, time::Instant};

use anyhow::Result;
use projections::{
    database::Database,
    event_log::{EventLog, Options},
    read_models,
};
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, Row as _, SqliteConnection, TypeInfo as _,
    ValueRef as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous},
};
use tests::{
    bench::{Figures, Folder, Goal, say},
    postgres::Cluster,
};

use crate::{Sizes, history};

const EVENTS_A_SECOND_MIN: f64 = 30_000.0;
/// What the events of this log are projected into.
const TABLES: [&str; 3] = ["project_overview", "activity_feed", "event_index"];
const ROWS_PER_STATEMENT: usize = 256;
const ROWS_PER_TRANSACTION: usize = 2048;

pub(crate) async fn measure(figures: &mut Figures, sizes: Sizes) -> Result<()> {
    let folder = Folder::new("log-rebuild")?;
    let cluster = Cluster::start(&folder.path().join("postgres"), "")?;
    for (name, url) in [("sqlite", "sqlite:".to_owned()), ("postgres", cluster.database()?)] {
        let data_dir = folder.path().join(name);
        std::fs::create_dir_all(&data_dir)?;
        let database = Database::open(&url, &data_dir).await?;
        let log = EventLog::open(&database, Options::default()).await?;
        history::write(&log, sizes.n_events).await?;
        let begun = Instant::now();
        let n_events = read_models::projector(&database, &log).catch_up().await?;
        let seconds = begun.elapsed().as_secs_f64();
        say(&format!("{name}: all read models from {n_events} events in {seconds:.1} s"));
        let rate = n_events as f64 / seconds;
        let goal = Goal::AtLeast(EVENTS_A_SECOND_MIN);
        figures.add(&format!("log/{name}_rebuild"), rate, "events/s", goal);
        log.close().await;
        database.close().await;
        if name == "sqlite" {
            let bare = bare_seconds(&data_dir).await?;
            say(&format!("{name}: the same rows and nothing else in {bare:.1} s"));
            let ratio = bare / seconds;
            figures.add("log/sqlite_rebuild_to_bare", ratio, "times", Goal::AtLeast(0.5));
        }
    }
    Ok(())
}

async fn open(file: &Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    Ok(options.connect().await?)
}

/// How long it takes to write the rows of the read models into another file, with the same indexes.
async fn bare_seconds(data_dir: &Path) -> Result<f64> {
    let mut from = open(&data_dir.join("views.db")).await?;
    let mut to = open(&data_dir.join("bare.db")).await?;
    let mut seconds = 0.0;
    for table in TABLES {
        let made_by = "SELECT sql FROM sqlite_master WHERE tbl_name = $1 AND sql IS NOT NULL
            AND type IN ('table', 'index') ORDER BY type = 'table' DESC";
        for row in sqlx::query(made_by).bind(table).fetch_all(&mut from).await? {
            to.execute(row.try_get::<&str, _>(0)?).await?;
        }
        let rows = sqlx::query(&format!("SELECT * FROM {table}")).fetch_all(&mut from).await?;
        let begun = Instant::now();
        for rows in rows.chunks(ROWS_PER_TRANSACTION) {
            let mut transaction = to.begin().await?;
            for rows in rows.chunks(ROWS_PER_STATEMENT) {
                insert(&mut transaction, table, rows).await?;
            }
            transaction.commit().await?;
        }
        seconds += begun.elapsed().as_secs_f64();
    }
    Ok(seconds)
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
