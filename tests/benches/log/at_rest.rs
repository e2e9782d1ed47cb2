//! What a long log costs whoever only starts, and a long stream whoever only loads it.
//!
//! The start is what a person meets: from the start of `sam serve`, a process of its own, until `/health` says ok
//! with read models that show the whole log. It is a restart: all readers of the log had seen it. (Measured within
//! this program it left out the program's own start and its listening, and found the log in memory.)

use std::{path::Path, time::Instant};

use anyhow::Result;
use domain::project::Project;
use projections::event_log::{EventLog, FIRST_HASH, StreamId};
use tests::{
    bench::{Figures, Folder, Goal, Samples, say},
    world::random,
};
use uuid::Uuid;

use crate::{
    Sizes,
    dispatch::Alone,
    history,
    serve::{self, Served},
};

const LONG_STREAM_EVENTS: usize = 10_000;
const EVENTS_PER_APPEND: usize = 500;
const EVENTS_PER_READ: usize = 512;
const LOAD_MS_MAX: f64 = 10.0;
const START_MS_MAX: f64 = 1000.0;

/// In a data directory whose log has been projected.
pub(crate) async fn measure(figures: &mut Figures, sizes: Sizes, long_log: &Path) -> Result<()> {
    starts(figures, sizes, long_log).await?;
    loads(figures, sizes).await
}

async fn starts(figures: &mut Figures, sizes: Sizes, data_dir: &Path) -> Result<()> {
    let begun = Instant::now();
    let mut first = Served::start(data_dir).await?;
    let first_ms = begun.elapsed().as_secs_f64() * 1000.0;
    first.at_rest().await?;
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!("the first start took {first_ms:.0} ms; {seconds:.0} s later nothing was unread"));
    first.stop().await?;
    let mut samples = Samples::default();
    for round in 1..=sizes.n_rounds {
        let start = serve::measure(data_dir, sizes.n_events as u64).await?;
        let (ms, mib) = (start.ms, start.resident_kib / 1024.0);
        say(&format!("start {round} with {} events: {ms:.0} ms, {mib:.1} MiB", sizes.n_events));
        samples.push(ms);
    }
    figures.add("log/start", samples.median(), "ms", Goal::AtMost(START_MS_MAX));
    Ok(())
}

/// By the log and its actors alone: what follows a log, and reads on after a start, would be measured as well.
async fn loads(figures: &mut Figures, sizes: Sizes) -> Result<()> {
    let folder = Folder::new("log-load")?;
    let alone = Alone::start(&folder, "sqlite", "sqlite:").await?;
    let mut long = Vec::new();
    for _ in 0..sizes.n_rounds {
        long.push(long_stream(&alone.write_side.log).await?);
    }
    alone.stop().await;

    let alone = Alone::start(&folder, "sqlite", "sqlite:").await?;
    let mut over = Samples::default();
    for id in long {
        let begun = Instant::now();
        alone.write_side.dispatcher.state::<Project>(id).await?;
        let load = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        read(&alone.write_side.log, id).await?;
        let read = begun.elapsed().as_secs_f64();
        say(&format!(
            "{LONG_STREAM_EVENTS} events: loaded in {:.1} ms, read in {:.1} ms",
            load * 1e3,
            read * 1e3
        ));
        over.push((load - read) * 1e3);
    }
    figures.add("log/load_10k_over_read", over.median(), "ms", Goal::AtMost(LOAD_MS_MAX));
    alone.stop().await;
    Ok(())
}

async fn long_stream(log: &EventLog) -> Result<Uuid> {
    let project = random();
    let (mut expected, mut previous_hash) = (0, FIRST_HASH);
    for _ in 0..LONG_STREAM_EVENTS / EVENTS_PER_APPEND {
        let mut append = history::history(project, EVENTS_PER_APPEND);
        if expected > 0 {
            // A project is linked once.
            append.events.remove(0);
        }
        (append.expected, append.previous_hash) = (expected, previous_hash);
        let appended = log.append(append).await?;
        (expected, previous_hash) = (appended.sequence, appended.hash);
    }
    Ok(project)
}

/// Only reads the stream.
async fn read(log: &EventLog, id: Uuid) -> Result<()> {
    let stream = StreamId::new("project", id);
    let mut after = 0;
    loop {
        let page = log.read_stream(&stream, after, EVENTS_PER_READ).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.sequence;
    }
}
