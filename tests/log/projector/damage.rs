//! Read models that are damaged, of another log, locked by one who sleeps, or cannot be made again.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use projections::{
    checkpoint::{Checkpoint, Checkpoints},
    database::Database,
    event_log::EventLog,
    projection::{Projection, Recorded, Writes},
    projection_status::{Request, Requests},
    projector::Projector,
    sql::SqlPool,
};
use sqlx::Executor as _;

use super::{Counted, Lines, append, decode, decode_not_4, open, projector, rows, until};
use crate::support::{Place, Writer, on_both};

on_both! {
    read_models_of_a_longer_log_are_made_again
    what_cannot_be_made_again_is_parked_and_made_again_when_asked
}

const VIEWS_FILE: &str = "views.db";
/// Of SQLite, unless it is told otherwise.
const PAGE_BYTES: usize = 4096;
/// What a replica that was stopped may hold locked is free by then: PostgreSQL ends it after 5 s, and a busy
/// machine needs its time.
const FREE_WITHIN: Duration = Duration::from_secs(30);

async fn checkpoint(database: &Database, name: &str) -> Checkpoint {
    Checkpoints::new(database).get(name).await.unwrap().unwrap()
}

/// Closing alone may leave pages in the write-ahead log, which then stand before whatever is done to the file.
async fn close_with_all_in_the_file(database: &Database, log: &EventLog) {
    let SqlPool::Sqlite { writer, .. } = database.views() else { panic!("this is SQLite") };
    let bring_in = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)");
    let is_busy: i64 = bring_in.fetch_one(writer).await.unwrap();
    assert_eq!(is_busy, 0, "nobody reads meanwhile");
    log.close().await;
    database.close().await;
}

#[tokio::test]
async fn a_damaged_table_parks_its_projection_and_no_other() {
    let place = Place::sqlite();
    let (database, log) = open(&place).await;
    append(&log, &mut [Writer::new(1)], 9).await;
    projector(&database, &log).catch_up().await.unwrap();
    let root = "SELECT rootpage FROM sqlite_master WHERE name = 'lines'";
    let root = database.views().fetch_optional(root, ()).await.unwrap().unwrap();
    let root = root.count("rootpage").unwrap();
    close_with_all_in_the_file(&database, &log).await;
    let file = place.directory.path().join(VIEWS_FILE);
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(&[0xAA; PAGE_BYTES], (root - 1) * PAGE_BYTES as u64).unwrap();

    let (database, log) = place.open().await;
    let head = append(&log, &mut [Writer::new(2)], 3).await;
    assert_eq!(projector(&database, &log).catch_up().await.unwrap(), head);
    let lines = checkpoint(&database, "lines").await;
    let error = lines.parked.map(|parked| parked.error).unwrap_or_default();
    assert!(error.contains("malformed"), "{error}");
    let sums = checkpoint(&database, "sums").await;
    assert_eq!((sums.position, sums.parked), (head, None));
}

async fn read_models_of_a_longer_log_are_made_again(place: Place) {
    let (database, log) = open(&place).await;
    append(&log, &mut [Writer::new(1)], 9).await;
    projector(&database, &log).catch_up().await.unwrap();
    // As if the log had been put back by hand to what it was before.
    for cut in ["DELETE FROM events", "UPDATE log_head SET position = 0"] {
        database.log().execute(cut, ()).await.unwrap();
    }
    log.close().await;
    database.close().await;

    let (database, log) = open(&place).await;
    assert_eq!(Checkpoints::new(&database).list().await.unwrap(), []);
    append(&log, &mut [Writer::new(2)], 2).await;
    projector(&database, &log).catch_up().await.unwrap();
    let lines = rows(database.views()).await;
    assert_eq!(lines.iter().filter(|row| row.starts_with("line")).count(), 3);
}

#[tokio::test]
async fn a_file_that_holds_no_read_models_any_more_is_made_again() {
    let place = Place::sqlite();
    let (database, log) = open(&place).await;
    append(&log, &mut [Writer::new(1)], 9).await;
    projector(&database, &log).catch_up().await.unwrap();
    close_with_all_in_the_file(&database, &log).await;
    let file = place.directory.path().join(VIEWS_FILE);
    fs::OpenOptions::new().write(true).open(file).unwrap().write_all(&[0xAA; 4096]).unwrap();

    let database = place.database().await;
    assert_eq!(Checkpoints::new(&database).list().await.unwrap(), []);
}

async fn what_cannot_be_made_again_is_parked_and_made_again_when_asked(place: Place) {
    let (database, log) = open(&place).await;
    let head = append(&log, &mut [Writer::new(1)], 4).await;
    let fails_at_4 = Arc::new(AtomicBool::new(true));
    let projector = |decode| {
        let fragile = Fragile { fails_at_4: fails_at_4.clone() };
        Projector::new(&database, &log, decode).with(Lines).with(fragile)
    };
    projector(decode_not_4).catch_up().await.unwrap();
    let running = projector(decode).start();
    until(async || checkpoint(&database, "failing").await.parked.is_some()).await;
    until(async || passed_over(&database).await == 0).await;
    assert_eq!(
        checkpoint(&database, "failing").await.version,
        0,
        "the next start tries again, too"
    );
    assert_eq!(n_rows(&database, "lines").await, head);
    assert_eq!(n_rows(&database, "failing").await, head - 1, "the rows from before are left");

    fails_at_4.store(false, Ordering::SeqCst);
    Requests::new(&database).ask("failing", Request::Retry).await.unwrap();
    until(async || n_rows(&database, "failing").await == head).await;
    assert_eq!(checkpoint(&database, "failing").await.parked, None);
    running.close().await;
}

/// A replica that is stopped in the middle of a transaction keeps nobody waiting for long.
#[tokio::test]
async fn what_a_stopped_replica_has_locked_is_free_again() {
    let place = Place::postgres();
    let (database, log) = open(&place).await;
    append(&log, &mut [Writer::new(1)], 1).await;
    projector(&database, &log).catch_up().await.unwrap();
    let stopped = place.database().await;
    let (SqlPool::Postgres(log_pool), SqlPool::Postgres(views)) = (stopped.log(), stopped.views())
    else {
        panic!("this is PostgreSQL");
    };
    let mut head_lock = log_pool.begin().await.unwrap();
    head_lock.execute("SELECT epoch FROM log_head FOR UPDATE").await.unwrap();
    let mut checkpoints = views.begin().await.unwrap();
    checkpoints.execute("UPDATE checkpoints SET position = position").await.unwrap();
    let gone_on = async {
        let head = append(&log, &mut [Writer::new(2)], 1).await;
        assert_eq!(projector(&database, &log).catch_up().await.unwrap(), head);
    };
    tokio::time::timeout(FREE_WITHIN, gone_on).await.expect("others go on");
    assert!(checkpoints.commit().await.is_err(), "what it had begun has come to nothing");
}

async fn n_rows(database: &Database, table: &str) -> u64 {
    let count = format!("SELECT COUNT(*) AS n FROM {table}");
    database.views().fetch_optional(&count, ()).await.unwrap().unwrap().count("n").unwrap()
}

async fn passed_over(database: &Database) -> u64 {
    n_rows(database, "undecoded_events").await
}

/// One row per event, but none of number 4 as long as that fails.
struct Fragile {
    fails_at_4: Arc<AtomicBool>,
}

impl Projection<Counted> for Fragile {
    const NAME: &'static str = "failing";
    const TABLES: &'static [&'static str] = &["failing"];

    fn project(&self, recorded: &Recorded<Counted>, writes: &mut Writes) {
        assert!(recorded.event.n != 4 || !self.fails_at_4.load(Ordering::SeqCst), "at number 4");
        writes.add("INSERT INTO failing (position) VALUES ($1)", (recorded.position,));
    }
}
