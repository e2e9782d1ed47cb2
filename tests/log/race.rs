//! Why the log takes a head row: two readers that are known to be wrong, and ours beside them.
//!
//! A reader by identity column loses events, because numbers are handed out before commits. A reader
//! below the transaction horizon loses none, and hangs on any open transaction in the whole cluster.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use sqlx::{Executor as _, PgPool, Row as _};

use crate::support::{Place, Writer, assert_whole};

const MAKE_TABLE: &str = "CREATE TABLE IF NOT EXISTS public.numbered (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tx XID8 NOT NULL DEFAULT pg_current_xact_id())";
const INSERT: &str = "INSERT INTO public.numbered DEFAULT VALUES";

async fn numbered(place: &Place) -> PgPool {
    let pool = PgPool::connect(&place.url).await.unwrap();
    pool.execute(MAKE_TABLE).await.unwrap();
    pool
}

/// Known-bad: whatever commits below `last` after it was read is never seen.
async fn read_by_identity(pool: &PgPool, last: i64) -> Vec<i64> {
    let query = sqlx::query("SELECT number FROM public.numbered WHERE number > $1 ORDER BY number");
    query.bind(last).fetch_all(pool).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Known-bad: nothing is shown while any older transaction is open, whatever it does.
async fn read_below_horizon(pool: &PgPool) -> Vec<i64> {
    let query = sqlx::query(
        "SELECT number FROM public.numbered WHERE tx < pg_snapshot_xmin(pg_current_snapshot())",
    );
    query.fetch_all(pool).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_reader_by_identity_column_loses_an_event() {
    let place = Place::postgres();
    let pool = numbered(&place).await;
    let mut slow = pool.begin().await.unwrap();
    slow.execute(INSERT).await.unwrap();
    pool.execute(INSERT).await.unwrap();
    let seen = read_by_identity(&pool, 0).await;
    assert_eq!(seen, [2], "the second number is committed first");
    slow.commit().await.unwrap();
    let seen = read_by_identity(&pool, 2).await;
    assert!(seen.is_empty(), "the first one is never seen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_by_identity_column_loses_events_among_many_writers() {
    const WRITERS: usize = 8;
    const INSERTS: usize = 60;
    let place = Place::postgres();
    let pool = numbered(&place).await;
    let n_running = AtomicUsize::new(WRITERS);
    let writing = (0..WRITERS).map(|n| {
        let (pool, n_running) = (&pool, &n_running);
        async move {
            for k in 0..INSERTS {
                let mut transaction = pool.begin().await.unwrap();
                transaction.execute(INSERT).await.unwrap();
                // Transactions last unequally long.
                let pause = format!("SELECT pg_sleep({})", ((n * 7 + k * 3) % 5) as f64 / 1000.0);
                transaction.execute(pause.as_str()).await.unwrap();
                transaction.commit().await.unwrap();
            }
            n_running.fetch_sub(1, Ordering::SeqCst);
        }
    });
    let reading = async {
        let mut seen = Vec::new();
        loop {
            let is_last = n_running.load(Ordering::SeqCst) == 0;
            seen.extend(read_by_identity(&pool, seen.last().copied().unwrap_or(0)).await);
            if is_last {
                return seen.len();
            }
        }
    };
    let (_, n_seen) =
        futures_util::future::join(futures_util::future::join_all(writing), reading).await;
    let n_lost = WRITERS * INSERTS - n_seen;
    println!("the reader by identity column lost {n_lost} of {} events", WRITERS * INSERTS);
    assert!(n_lost > 0);
}

#[tokio::test]
async fn a_reader_below_the_horizon_hangs_on_a_foreign_transaction_and_ours_does_not() {
    let place = Place::postgres();
    let pool = numbered(&place).await;
    let (_database, log) = place.open().await;
    // A transaction of somebody else, in another database of the cluster.
    let foreign = PgPool::connect(&tests::postgres::database().unwrap()).await.unwrap();
    let mut open = foreign.begin().await.unwrap();
    open.execute("SELECT pg_current_xact_id()").await.unwrap();
    for _ in 0..3 {
        pool.execute(INSERT).await.unwrap();
    }
    Writer::new(1).append(&log, 3).await.unwrap();
    assert!(read_below_horizon(&pool).await.is_empty(), "it waits for a stranger");
    assert_eq!(log.read_all(0, 10).await.unwrap().len(), 3);
    open.commit().await.unwrap();
    // Tests beside this one share the cluster, and hold the horizon back for a moment too.
    while read_below_horizon(&pool).await.len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_reader_loses_nothing_among_many_writers_of_two_processes() {
    const WRITERS: usize = 16;
    const APPENDS: usize = 60;
    let place = Place::postgres();
    let logs = [place.open().await.1, place.open().await.1];
    let n_running = AtomicUsize::new(WRITERS);
    let writing = (0..WRITERS).map(|n| {
        let (log, n_running) = (&logs[n % 2], &n_running);
        async move {
            let mut writer = Writer::new(n as u128);
            for _ in 0..APPENDS {
                writer.append(log, 1).await.unwrap();
            }
            n_running.fetch_sub(1, Ordering::SeqCst);
        }
    });
    let reading = async {
        let mut seen: Vec<u64> = Vec::new();
        loop {
            let is_last = n_running.load(Ordering::SeqCst) == 0;
            let page = logs[0].read_all(seen.last().copied().unwrap_or(0), 1000).await.unwrap();
            seen.extend(page.iter().map(|event| event.position));
            if is_last {
                return seen;
            }
        }
    };
    let (_, seen) =
        futures_util::future::join(futures_util::future::join_all(writing), reading).await;
    assert_eq!(seen, (1..=(WRITERS * APPENDS) as u64).collect::<Vec<_>>(), "in order, each once");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), WRITERS * APPENDS);
    assert_whole(&logs[0]).await;
}
