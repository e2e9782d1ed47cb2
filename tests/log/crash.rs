//! What is left after a crash, a cut connection, a full disk and a broken file.
//!
//! A crash of the server and a cut COMMIT each come twice: upon counters, where nothing stands between the
//! test and the log, and upon a whole control plane (`crash/control_plane.rs`). The oracle judges both.

use std::{sync::Arc, time::Duration};

use projections::{
    database::Database,
    error::DatabaseError,
    event_log::{AppendError, Appended, EventLog, Options, Position},
    sql::SqlPool,
};
use sqlx::Executor as _;
use tests::{
    oracle::{Acknowledged, Oracle},
    postgres::Cluster,
};
use tokio::{net::TcpListener, sync::watch};

use crate::support::{Directory, Place, Writer, assert_each_once, assert_whole, id, rounds};

mod control_plane;
mod proxy;

use proxy::{Cut, Cuts};

/// Until somebody who found the database away asks again.
const RETRY_PERIOD: Duration = Duration::from_millis(50);

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

/// One batch may meet all of what happens; when it is given up is not the question here.
fn patient() -> Options {
    Options { retry_max: Duration::from_secs(60), ..Options::default() }
}

async fn append(writer: &mut Writer, log: &EventLog, n_events: u64) -> Acknowledged {
    let (stream, command) = writer.next_command();
    let appended = writer.append(log, n_events).await.unwrap();
    assert!(!appended.is_repeat, "the own append is no repeat");
    Acknowledged { stream, command, position: appended.position }
}

/// Reads what is appended as it comes, until all is written; tells the positions in the order in which it saw them.
async fn read_beside(log: &EventLog, mut is_written: watch::Receiver<bool>) -> Vec<Position> {
    let (mut head, mut seen) = (log.watch(), Vec::new());
    loop {
        head.mark_unchanged();
        let is_last = *is_written.borrow_and_update();
        let page = match log.read_all(seen.last().copied().unwrap_or(0), 50).await {
            Ok(page) => page,
            Err(error) => {
                assert!(error.is_temporary(), "{error}");
                tokio::time::sleep(RETRY_PERIOD).await;
                continue;
            }
        };
        if page.is_empty() {
            if is_last {
                return seen;
            }
            tokio::select! {
                changed = head.changed() => changed.unwrap(),
                changed = is_written.changed() => changed.unwrap(),
            }
        }
        seen.extend(page.iter().map(|event| event.position));
    }
}

/// Asks the oracle about a log of counters, and tells how many events it has.
///
/// Counters are no aggregates: no process sees them and no read model shows them. Of them S5 and S14 say
/// nothing, and S4 only what the reader beside them saw; the control plane's log is for those.
async fn assert_promises(
    url: &str,
    directory: &Directory,
    log: &EventLog,
    acknowledged: &[Acknowledged],
    seen: &[Position],
) -> u64 {
    let oracle = Oracle::open(url, directory.path()).await.unwrap();
    let mut violations = oracle.check_log(acknowledged);
    violations.extend(oracle.check_reader("the reader", seen));
    assert!(violations.is_empty(), "{violations:?}");
    // The oracle reads with statements of its own. The log's own reader tells the same.
    let n_events = assert_whole(log).await;
    assert_eq!(n_events, oracle.entries().len() as u64);
    assert_eq!(n_events, seen.len() as u64, "the reader beside the writers saw all of it");
    let commands: Vec<_> =
        acknowledged.iter().map(|told| (told.stream.clone(), told.command)).collect();
    assert_each_once(log, &commands).await;
    n_events
}

/// Has the server crash again and again, each time after so many more answers.
async fn crash(
    cluster: &Arc<Cluster>,
    n_crashes: usize,
    n_between: usize,
    mut n_answered: watch::Receiver<usize>,
) {
    for _ in 0..n_crashes {
        let enough = *n_answered.borrow() + n_between;
        n_answered.wait_for(|n_answered| *n_answered >= enough).await.unwrap();
        let cluster = Arc::clone(cluster);
        // On a thread of its own: who writes goes on, and finds the server away.
        let crash = move || cluster.crash_server().and_then(|()| cluster.start_server(""));
        tokio::task::spawn_blocking(crash).await.unwrap().unwrap();
    }
}

/// The server crashes under load, and every command is in the log once in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashing_server_loses_and_repeats_nothing() {
    const WRITERS: u128 = 8;
    let n_crashes = rounds(3, 20);
    let directory = Directory::new();
    let cluster = Arc::new(Cluster::start(&directory.path().join("cluster"), "").unwrap());
    let url = cluster.database().unwrap();
    let database = Database::open(&url, directory.path()).await.unwrap();
    let log = EventLog::open(&database, patient()).await.unwrap();
    let n_answered = watch::Sender::new(0);
    let (is_over, is_written) = (watch::Sender::new(false), watch::Sender::new(false));
    let writing = (0..WRITERS).map(|n| {
        let (log, n_answered, is_over) = (&log, &n_answered, &is_over);
        async move {
            let mut writer = Writer::new(n);
            let (mut n_after, mut acknowledged) = (0, Vec::new());
            while n_after < 5 {
                acknowledged.push(append(&mut writer, log, 1).await);
                n_answered.send_modify(|n_answered| *n_answered += 1);
                n_after += usize::from(*is_over.borrow());
            }
            acknowledged
        }
    });
    let writing = async {
        let acknowledged = futures_util::future::join_all(writing).await.concat();
        is_written.send_replace(true);
        acknowledged
    };
    let crashing = async {
        crash(&cluster, n_crashes, 50, n_answered.subscribe()).await;
        is_over.send_replace(true);
    };
    let reading = read_beside(&log, is_written.subscribe());
    let (acknowledged, seen, ()) = futures_util::future::join3(writing, reading, crashing).await;
    let n_events = assert_promises(&url, &directory, &log, &acknowledged, &seen).await;
    assert_eq!(n_events, acknowledged.len() as u64, "nothing but what was acknowledged");
    println!(
        "log: {n_crashes} crashes of the server, {} commands acknowledged, {n_events} events, \
         0 violations",
        acknowledged.len()
    );
}

/// The same happens to a control plane, with all that follows the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_keeps_its_promises_when_its_server_crashes() {
    let n_crashes = rounds(3, 20);
    let directory = Directory::new();
    let cluster = Arc::new(Cluster::start(&directory.path().join("cluster"), "").unwrap());
    let (url, data_dir) = (cluster.database().unwrap(), directory.path().join("data"));
    let living = control_plane::live(&url, &data_dir, async |n_answered| {
        crash(&cluster, n_crashes, 200, n_answered).await;
    });
    let told = living.await.judge(&url, &data_dir).await;
    println!("control plane: {n_crashes} crashes of the server, {told}");
}

/// A database that is reached through a proxy on a port.
struct Proxied {
    place: Place,
    listener: TcpListener,
    /// Through the proxy.
    url: String,
    /// What the proxy passes to.
    socket: String,
}

impl Proxied {
    async fn new() -> Self {
        let place = Place::postgres();
        let socket = place.url.split_once("host=").unwrap().1.to_owned() + "/.s.PGSQL.5432";
        let database = place.url.split_once("localhost/").unwrap().1.split_once('?').unwrap().0;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("postgres://sam@127.0.0.1:{port}/{database}?sslmode=disable");
        Self { place, listener, url, socket }
    }
}

#[expect(clippy::print_stdout, reason = "how many were cut is for people to see")]
async fn append_through_cuts(cut: Cut) {
    let n_cuts = rounds(5, 20);
    let n_appends = 2 * n_cuts;
    let Proxied { place, listener, url, socket } = Proxied::new().await;
    // The tables are made before, so that the cuts hit appends.
    place.open().await.1.close().await;
    let cuts = Cuts::default();
    let appending = async {
        let database = Database::open(&url, place.directory.path()).await.unwrap();
        let log = EventLog::open(&database, patient()).await.unwrap();
        cuts.begin(n_cuts, 0);
        let is_written = watch::Sender::new(false);
        let writing = (0..6).map(|n| {
            let log = &log;
            async move {
                let (mut writer, mut acknowledged) = (Writer::new(n), Vec::new());
                for _ in 0..n_appends {
                    acknowledged.push(append(&mut writer, log, 2).await);
                }
                acknowledged
            }
        });
        let writing = async {
            let acknowledged = futures_util::future::join_all(writing).await.concat();
            is_written.send_replace(true);
            acknowledged
        };
        let reading = read_beside(&log, is_written.subscribe());
        let (acknowledged, seen) = futures_util::future::join(writing, reading).await;
        assert!(cuts.are_made(), "all cuts were made");
        let n_events =
            assert_promises(&place.url, &place.directory, &log, &acknowledged, &seen).await;
        assert_eq!(n_events, 2 * acknowledged.len() as u64);
        println!(
            "log: {n_cuts} connections cut {cut:?} the COMMIT, {} commands acknowledged, \
             {n_events} events, 0 violations",
            acknowledged.len()
        );
    };
    tokio::select! {
        () = proxy::run(listener, socket, cut, &cuts) => unreachable!("it goes on for ever"),
        () = appending => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_cut_before_the_commit_repeats_it() {
    append_through_cuts(Cut::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_found_and_not_repeated() {
    append_through_cuts(Cut::After).await;
}

/// The same happens to a control plane: connections of its log are cut, and as many of its read models.
#[expect(clippy::print_stdout, reason = "how many were cut is for people to see")]
async fn live_through_cuts(cut: Cut) {
    let n_cuts = rounds(5, 20);
    let Proxied { place, listener, url, socket } = Proxied::new().await;
    let (cuts, data_dir) = (Cuts::default(), place.directory.path().join("data"));
    let living = control_plane::live(&url, &data_dir, async |_| {
        cuts.begin(n_cuts, n_cuts);
        cuts.all_made().await;
    });
    let lived = tokio::select! {
        () = proxy::run(listener, socket, cut, &cuts) => unreachable!("it goes on for ever"),
        lived = living => lived,
    };
    let told = lived.judge(&place.url, &data_dir).await;
    println!("control plane: 2 × {n_cuts} connections cut {cut:?} the COMMIT, {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_keeps_its_promises_when_it_is_cut_off_before_the_commit() {
    live_through_cuts(Cut::Before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_keeps_its_promises_when_answers_to_its_commits_are_lost() {
    live_through_cuts(Cut::After).await;
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
