//! What is left after a crash, a cut connection, a full disk and a broken file.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use projections::{
    database::Database,
    error::DatabaseError,
    event_log::{AppendError, Appended, EventLog, Options},
    sql::SqlPool,
};
use sqlx::Executor as _;
use tests::postgres::Cluster;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
};

use crate::support::{Directory, Place, Writer, assert_each_once, assert_whole, id, rounds};

/// Appends in a runtime that is torn down in the middle of it, and returns what was acknowledged.
fn append_until_torn_down(place: &Place, n_acknowledged_min: usize) -> Vec<(u128, Appended)> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (acknowledged, mut receive) = tokio::sync::mpsc::channel(100_000);
    let writing = async {
        let (database, log) = place.open().await;
        let writing = (0..40).map(|n| {
            let (log, acknowledged) = (log.clone(), acknowledged.clone());
            async move {
                let mut writer = Writer::new(n);
                loop {
                    let appended = writer.append(&log, 2).await.unwrap();
                    acknowledged.try_send((n, appended)).unwrap();
                }
            }
        });
        let writing = futures_util::future::join_all(writing);
        let enough = async {
            let mut n_acknowledged = 0;
            let mut kept = Vec::new();
            while n_acknowledged < n_acknowledged_min {
                kept.push(receive.recv().await.unwrap());
                n_acknowledged += 1;
            }
            kept
        };
        let kept = tokio::select! {
            kept = enough => kept,
            _ = writing => unreachable!("the writers go on for ever"),
        };
        // Neither is closed: the process is gone.
        std::mem::forget(log);
        std::mem::forget(database);
        kept
    };
    let mut kept = runtime.block_on(writing);
    runtime.shutdown_background();
    while let Ok(acknowledged) = receive.try_recv() {
        kept.push(acknowledged);
    }
    kept
}

async fn assert_kept(log: &EventLog, acknowledged: &[(u128, Appended)]) {
    assert_whole(log).await;
    for (n, appended) in acknowledged {
        let stream = Writer::new(*n).stream;
        let events = log.read_stream(&stream, appended.sequence - 1, 1).await.unwrap();
        let event = events.first().expect("what was acknowledged is there");
        assert_eq!((event.position, event.hash), (appended.position, appended.hash));
    }
}

fn what_was_acknowledged_survives(place: &Place) {
    for round in 1..=4 {
        let acknowledged = append_until_torn_down(place, round * 37);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (_database, log) = place.open().await;
            assert_kept(&log, &acknowledged).await;
            log.close().await;
        });
        // The next round starts with streams that are there already.
        runtime.block_on(empty(place));
    }
}

async fn empty(place: &Place) {
    let database = place.database().await;
    database.log().execute("DELETE FROM events", ()).await.unwrap();
    database.log().execute("UPDATE log_head SET position = 0", ()).await.unwrap();
}

#[test]
fn what_was_acknowledged_survives_the_process_on_sqlite() {
    what_was_acknowledged_survives(&Place::sqlite());
}

#[test]
fn what_was_acknowledged_survives_the_process_on_postgres() {
    what_was_acknowledged_survives(&Place::postgres());
}

/// The server crashes under load, and every command is in the log once in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashing_server_loses_and_repeats_nothing() {
    const WRITERS: u128 = 8;
    let n_crashes = rounds(3, 20);
    let directory = Directory::new();
    let cluster = Cluster::start(&directory.path().join("cluster"), "").unwrap();
    let url = cluster.database().unwrap();
    let database = Database::open(&url, directory.path()).await.unwrap();
    let options = Options { retry_max: Duration::from_secs(60), ..Options::default() };
    let log = EventLog::open(&database, options).await.unwrap();
    let n_crashed = AtomicUsize::new(0);
    let n_answered = AtomicUsize::new(0);
    let writing = (0..WRITERS).map(|n| {
        let (log, n_crashed, n_answered) = (&log, &n_crashed, &n_answered);
        async move {
            let mut writer = Writer::new(n);
            let (mut n_after, mut acknowledged) = (0, Vec::new());
            while n_after < 5 {
                let command = writer.next_command();
                let appended = writer.append(log, 1).await.unwrap();
                assert!(!appended.is_repeat, "the own append is no repeat");
                acknowledged.push(command);
                n_answered.fetch_add(1, Ordering::SeqCst);
                n_after += usize::from(n_crashed.load(Ordering::SeqCst) == n_crashes);
            }
            acknowledged
        }
    });
    let crashing = async {
        for _ in 0..n_crashes {
            let enough = n_answered.load(Ordering::SeqCst) + 50;
            while n_answered.load(Ordering::SeqCst) < enough {
                tokio::task::yield_now().await;
            }
            cluster.crash_server().unwrap();
            cluster.start_server("").unwrap();
            n_crashed.fetch_add(1, Ordering::SeqCst);
        }
    };
    let (acknowledged, ()) =
        futures_util::future::join(futures_util::future::join_all(writing), crashing).await;
    let acknowledged = acknowledged.concat();
    let n_events = assert_whole(&log).await;
    assert_eq!(n_events, acknowledged.len() as u64, "nothing but what was acknowledged");
    assert_each_once(&log, &acknowledged).await;
    println!(
        "log: {n_crashes} crashes of the server, {} commands acknowledged, {n_events} events, \
         0 violations",
        acknowledged.len()
    );
}

/// Tells what on a connection ends a transaction that wrote events: a COMMIT, or outside of a transaction
/// the statement that is one by itself.
#[derive(Debug, Default)]
struct Commits {
    is_begun: bool,
}

impl Commits {
    fn are_in(&mut self, bytes: &[u8]) -> bool {
        let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        if has(b"BEGIN; SELECT position") {
            self.is_begun = true;
        }
        if has(b"COMMIT\0") || has(b"ROLLBACK\0") {
            self.is_begun = false;
            return has(b"COMMIT\0");
        }
        // The payloads of this test's events, handed to a statement.
        !self.is_begun && has(b"{\"n\":")
    }
}

/// Where the proxy cuts a connection, seen from a COMMIT.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// The server never hears it.
    Before,
    /// The server hears it; the answer is lost.
    After,
}

/// Passes bytes between the log and the server, and cuts `n_cuts` connections at their COMMIT.
async fn proxy(listener: TcpListener, socket: String, cut: Cut, n_cuts: Arc<AtomicU32>) {
    let mut connections = futures_util::stream::FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.unwrap();
                let server = UnixStream::connect(&socket).await.unwrap();
                connections.push(pass(client, server, cut, n_cuts.clone()));
            }
            Some(()) = futures_util::StreamExt::next(&mut connections) => {}
        }
    }
}

async fn pass(mut client: TcpStream, mut server: UnixStream, cut: Cut, n_cuts: Arc<AtomicU32>) {
    let (mut from_client, mut from_server) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut commits = Commits::default();
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(n @ 1..) = read else { return };
                let bytes = &from_client[..n];
                let is_commit = commits.are_in(bytes);
                let is_cut = is_commit && n_cuts
                    .try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
                    .is_ok();
                if is_cut && cut == Cut::Before {
                    return;
                }
                server.write_all(bytes).await.unwrap();
                if is_cut {
                    // Not before the server has carried it out, and the answer goes nowhere.
                    let _ = server.read(&mut from_server).await;
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(n @ 1..) = read else { return };
                if client.write_all(&from_server[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "how many were cut is for people to see")]
async fn append_through_cuts(cut: Cut) {
    let cuts = u32::try_from(rounds(5, 20)).unwrap();
    let n_appends = 2 * rounds(5, 20);
    let place = Place::postgres();
    let socket = place.url.split_once("host=").unwrap().1.to_string() + "/.s.PGSQL.5432";
    let database = place.url.split_once("localhost/").unwrap().1.split_once('?').unwrap().0;
    // The tables are made before, so that the cuts hit appends.
    place.open().await.1.close().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://sam@127.0.0.1:{port}/{database}?sslmode=disable");
    let n_cuts = Arc::new(AtomicU32::new(0));
    let proxied = proxy(listener, socket, cut, n_cuts.clone());
    let appending = async {
        let database = Database::open(&url, place.directory.path()).await.unwrap();
        // One batch may meet all of the cuts; when it is given up is not the question here.
        let options = Options { retry_max: Duration::from_secs(60), ..Options::default() };
        let log = EventLog::open(&database, options).await.unwrap();
        n_cuts.store(cuts, Ordering::SeqCst);
        let writing = (0..6).map(|n| {
            let log = &log;
            async move {
                let (mut writer, mut acknowledged) = (Writer::new(n), Vec::new());
                for _ in 0..n_appends {
                    acknowledged.push(writer.next_command());
                    let appended = writer.append(log, 2).await.unwrap();
                    assert!(!appended.is_repeat, "the own append is no repeat");
                }
                acknowledged
            }
        });
        let acknowledged = futures_util::future::join_all(writing).await.concat();
        let n_events = assert_whole(&log).await;
        assert_eq!(n_events, 2 * acknowledged.len() as u64);
        assert_each_once(&log, &acknowledged).await;
        println!(
            "log: {cuts} connections cut {cut:?} the COMMIT, {} commands acknowledged, \
             {n_events} events, 0 violations",
            acknowledged.len()
        );
    };
    tokio::select! {
        () = proxied => unreachable!("the proxy goes on for ever"),
        () = appending => {}
    }
    assert_eq!(n_cuts.load(Ordering::SeqCst), 0, "all cuts were made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_before_the_commit_repeats_it() {
    append_through_cuts(Cut::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_found_and_not_repeated() {
    append_through_cuts(Cut::After).await;
}

async fn sqlite_log(place: &Place, retry_max: Duration) -> (sqlx::SqlitePool, EventLog) {
    let database = place.database().await;
    let options = Options { retry_max, ..Options::default() };
    let log = EventLog::open(&database, options).await.unwrap();
    let SqlPool::Sqlite { writer, .. } = database.log() else { panic!("this is SQLite") };
    (writer.clone(), log)
}

#[tokio::test]
async fn a_transaction_that_sqlite_took_back_is_no_end() {
    let place = Place::sqlite();
    let (connection, log) = sqlite_log(&place, Duration::from_millis(50)).await;
    // What SQLite does by itself where a disk is full, behind the back of whoever began it.
    let mut transaction = connection.begin().await.unwrap();
    transaction.execute("ROLLBACK").await.unwrap();
    drop(transaction);
    let mut writer = Writer::new(1);
    writer.append(&log, 3).await.unwrap();
    assert_eq!(assert_whole(&log).await, 3);
}

#[tokio::test]
async fn a_full_disk_refuses_appends_and_heals() {
    let place = Place::sqlite();
    let (connection, log) = sqlite_log(&place, Duration::from_millis(50)).await;
    let mut writer = Writer::new(1);
    writer.append(&log, 10).await.unwrap();
    // A file that may not grow is SQLite's word for a full disk.
    connection.execute("PRAGMA max_page_count = 1").await.unwrap();
    let full = loop {
        if let Err(error) = writer.append(&log, 50).await {
            break error;
        }
    };
    let is_full =
        |error| matches!(error, AppendError::Unavailable { source: DatabaseError::Full { .. } });
    assert!(is_full(full));
    assert_eq!(
        assert_whole(&log).await,
        writer.sequence,
        "reading works, and nothing is half there"
    );
    connection.execute("PRAGMA max_page_count = 1000000").await.unwrap();
    writer.append(&log, 50).await.unwrap();
    assert_eq!(assert_whole(&log).await, writer.sequence);
    assert_eq!(*log.failure().borrow(), None);
}

#[tokio::test]
async fn a_broken_file_ends_all_acknowledgements() {
    let place = Place::sqlite();
    let (connection, log) = sqlite_log(&place, Duration::from_millis(50)).await;
    let mut writer = Writer::new(1);
    writer.append(&log, 500).await.unwrap();
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    connection.execute("PRAGMA shrink_memory").await.unwrap();
    let file = place.directory.path().join("log.db");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4096..].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    let broken = writer.append(&log, 1).await;
    assert!(matches!(broken, Err(AppendError::Failed { .. })), "{broken:?}");
    assert!(log.failure().borrow().is_some());
    let later = log.append(Writer::new(2).command(id(100), 1)).await;
    assert!(matches!(later, Err(AppendError::Failed { .. })), "{later:?}");
}
