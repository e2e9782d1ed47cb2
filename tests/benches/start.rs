//! How long does a server with 100 000 events take until it answers, and what does it need while nothing happens?
//!
//! Budget: `/health` says ok within a second after `sam serve` was started, so that a restart is no outage; at
//! most 60 MB resident, so that it fits beside anything.
//!
//! The log is written by the event log itself, and the read models have seen it: this is a restart. The baseline is
//! a log with nothing but the owner in it; both are started in turn.

use std::{path::Path, time::Instant};

use anyhow::Result;
use projections::{
    database::Database,
    event_log::{EventLog, Options},
};
use tests::bench::{Figures, Folder, Goal, Samples, say};

use crate::serve::{Served, Start};

#[path = "shared/history.rs"]
mod history;
#[path = "shared/serve.rs"]
mod serve;

const N_ROUNDS: usize = 7;
const N_EVENTS: usize = 100_000;
const START_MS_MAX: f64 = 1000.0;
const RESIDENT_MB_MAX: f64 = 60.0;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = Folder::new("start")?;
    let (full, empty) = (folder.path().join("full"), folder.path().join("empty"));
    let begun = Instant::now();
    write(&full).await?;
    say(&format!("{N_EVENTS} events written in {:.1?}", begun.elapsed()));
    // Once, so that the read models and all other readers of the log have seen everything.
    let mut first = Served::start(&full).await?;
    first.projected(N_EVENTS as u64).await?;
    say(&format!("and projected after {:.1?}", begun.elapsed()));
    first.at_rest().await?;
    first.stop().await?;
    Served::start(&empty).await?.stop().await?;
    let [mut with, mut without, mut resident, mut resident_empty]: [Samples; 4] =
        Default::default();
    for round in 1..=N_ROUNDS {
        let (ms, mb) = measured(&full, N_EVENTS as u64).await?;
        let (ms_empty, mb_empty) = measured(&empty, 0).await?;
        say(&format!(
            "round {round}: {ms:.0} ms and {mb:.1} MB, empty {ms_empty:.0} ms and {mb_empty:.1} MB"
        ));
        with.push(ms);
        without.push(ms_empty);
        resident.push(mb);
        resident_empty.push(mb_empty);
    }
    let mut figures = Figures::default();
    figures.add("start/health_100k", with.median(), "ms", Goal::AtMost(START_MS_MAX));
    figures.add("start/health_empty", without.median(), "ms", Goal::None);
    figures.add("start/resident_100k", resident.median(), "MB", Goal::AtMost(RESIDENT_MB_MAX));
    figures.add("start/resident_empty", resident_empty.median(), "MB", Goal::None);
    figures.close()
}

/// Milliseconds and megabytes.
async fn measured(data_dir: &Path, head: u64) -> Result<(f64, f64)> {
    let Start { ms, resident_kib } = serve::measure(data_dir, head).await?;
    Ok((ms, resident_kib * 1024.0 / 1e6))
}

/// Projects that were linked and renamed again and again.
async fn write(data_dir: &Path) -> Result<()> {
    std::fs::create_dir_all(data_dir)?;
    let database = Database::open("sqlite:", data_dir).await?;
    let log = EventLog::open(&database, Options::default()).await?;
    history::write(&log, N_EVENTS).await?;
    log.close().await;
    database.close().await;
    Ok(())
}
