//! How many commands of projects a second get through unmodified cqrs-es and sqlite-es to disk?
//!
//! The commands are those of `tests/benches/shared/dispatch.rs`: link a project, rename it 19 times, and on to the
//! next one; one at a time per aggregate. The pool is the crate's own `default_sqlite_pool` but for
//! `synchronous=FULL`: an acknowledged command is on disk, as ours is. There are neither queries nor snapshots.
//!
//! Arguments: a file that does not exist, the number of aggregates, the number of connections, the number of
//! rounds, the length of a round in milliseconds. The last line printed is the median of commands a second.

use std::{
    str::FromStr as _,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use domain::{
    ids::AccountId,
    project::{Project, ProjectCommand},
};
use futures_util::future::join_all;
use sqlite_es::{SqliteCqrs, sqlite_cqrs};
use sqlx::{
    Executor as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

/// Events of one aggregate: the framework reads all of them again for each command.
const EVENTS_MAX: u32 = 20;

/// As its repository has it in `migrations`.
const TABLE: &str = "CREATE TABLE events (
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence integer CHECK (sequence >= 0) NOT NULL,
    event_type text NOT NULL,
    event_version text NOT NULL,
    payload text NOT NULL,
    metadata text NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
) STRICT";

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [file, n_aggregates, n_connections, n_rounds, period_ms] = words.as_slice() else {
        anyhow::bail!("the arguments are: FILE AGGREGATES CONNECTIONS ROUNDS MILLISECONDS");
    };
    let cqrs = open(file, n_connections.parse()?).await?;
    let (n_aggregates, period) = (n_aggregates.parse()?, Duration::from_millis(period_ms.parse()?));
    // Connections and plans are made; nothing is counted.
    rate(&cqrs, n_aggregates, period / 3).await?;
    let (mut rates, mut n_failed) = (Vec::new(), 0);
    for _ in 0..n_rounds.parse()? {
        let (rate, failed) = rate(&cqrs, n_aggregates, period).await?;
        rates.push(rate);
        n_failed += failed;
    }
    rates.sort_by(f64::total_cmp);
    println!("{n_failed} commands failed");
    println!("{}", rates.get(rates.len() / 2).context("at least one round")?);
    Ok(())
}

async fn open(file: &str, n_connections: u32) -> Result<SqliteCqrs<Project>> {
    let options = SqliteConnectOptions::from_str(&format!("sqlite:{file}"))?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true);
    let pool = SqlitePoolOptions::new().max_connections(n_connections);
    let pool = pool.connect_with(options).await?;
    pool.execute(TABLE).await?;
    Ok(sqlite_cqrs(pool, Vec::new(), ()))
}

/// Keeps so many aggregates busy for a while; tells how many commands a second were done, and how many failed.
async fn rate(
    cqrs: &SqliteCqrs<Project>,
    n_aggregates: usize,
    period: Duration,
) -> Result<(f64, u64)> {
    let (n_done, n_failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    let keep_busy = || async {
        while begun.elapsed() < period {
            let id = Uuid::now_v7().to_string();
            for number in 0..EVENTS_MAX {
                if cqrs.execute(&id, command(number)).await.is_err() {
                    // The database was locked for too long. The next aggregate may be luckier.
                    n_failed.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                n_done.fetch_add(1, Ordering::Relaxed);
                if begun.elapsed() >= period {
                    break;
                }
            }
        }
    };
    join_all((0..n_aggregates).map(|_| keep_busy())).await;
    Ok((n_done.into_inner() as f64 / begun.elapsed().as_secs_f64(), n_failed.into_inner()))
}

fn command(number: u32) -> ProjectCommand {
    let name = format!("project {number}");
    match number {
        0 => ProjectCommand::Link {
            owner: AccountId(Uuid::now_v7()),
            repository: "https://example.com/team/project.git".to_owned(),
            name,
        },
        _ => ProjectCommand::Rename { name },
    }
}
