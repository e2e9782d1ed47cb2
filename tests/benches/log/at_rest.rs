//! What aggregates cost that nobody uses: to start with, to keep in memory, to load.

use std::time::Instant;

use anyhow::{Context as _, Result};
use domain::project::Project;
use projections::event_log::{FIRST_HASH, StreamId};
use tests::{
    bench::{Figures, Folder, Goal, Samples, say},
    world::random,
};
use uuid::Uuid;

use crate::{Sizes, dispatch::start, history};
use actors::system::System;

const LONG_STREAM_EVENTS: usize = 10_000;
const EVENTS_PER_APPEND: usize = 500;
const EVENTS_PER_READ: usize = 512;
const LOAD_MS_MAX: f64 = 10.0;
const ACTOR_KIB_MAX: f64 = 8.0;
const START_MS_MAX: f64 = 1000.0;

pub(crate) async fn measure(figures: &mut Figures, sizes: Sizes) -> Result<()> {
    let folder = Folder::new("log-at-rest")?;
    let system = start(&folder, "sqlite", "sqlite:").await?;
    let known = history::write(&system.log, sizes.n_events).await?;
    let mut long = Vec::new();
    for _ in 0..sizes.n_rounds {
        long.push(long_stream(&system).await?);
    }
    let head = system.log.head().await?;
    system.projected().wait_for(|projected| *projected >= head).await?;
    system.stop().await;

    let begun = Instant::now();
    let system = start(&folder, "sqlite", "sqlite:").await?;
    let ms = begun.elapsed().as_secs_f64() * 1000.0;
    say(&format!("a start with {head} events and {} aggregates took {ms:.0} ms", known.len()));
    figures.add("log/start", ms, "ms", Goal::AtMost(START_MS_MAX));

    let [mut loads, mut reads]: [Samples; 2] = Default::default();
    for id in long {
        let begun = Instant::now();
        system.dispatcher.state::<Project>(id).await?;
        loads.push_ms(begun.elapsed());
        let begun = Instant::now();
        read(&system, id).await?;
        reads.push_ms(begun.elapsed());
    }
    let over = loads.median() - reads.median();
    figures.add("log/load_10k_over_read", over, "ms", Goal::AtMost(LOAD_MS_MAX));

    let chosen = &known[..sizes.n_actors.min(known.len())];
    let before = resident_kib()?;
    for id in chosen {
        system.dispatcher.state::<Project>(*id).await?;
    }
    let each = (resident_kib()? - before) / chosen.len() as f64;
    // What was freed by the writing before is used again: where nothing grew, nothing was measured.
    if each > 0.0 {
        figures.add("log/idle_actor", each, "KiB", Goal::AtMost(ACTOR_KIB_MAX));
    } else {
        say("the memory of an idle actor could not be told from memory that was free already");
    }
    system.stop().await;
    Ok(())
}

async fn long_stream(system: &System) -> Result<Uuid> {
    let project = random();
    let (mut expected, mut previous_hash) = (0, FIRST_HASH);
    for _ in 0..LONG_STREAM_EVENTS / EVENTS_PER_APPEND {
        let mut append = history::history(project, EVENTS_PER_APPEND);
        if expected > 0 {
            // A project is linked once.
            append.events.remove(0);
        }
        (append.expected, append.previous_hash) = (expected, previous_hash);
        let appended = system.log.append(append).await?;
        (expected, previous_hash) = (appended.sequence, appended.hash);
    }
    Ok(project)
}

/// Only reads the stream.
async fn read(system: &System, id: Uuid) -> Result<()> {
    let stream = StreamId::new("project", id);
    let mut after = 0;
    loop {
        let page = system.log.read_stream(&stream, after, EVENTS_PER_READ).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.sequence;
    }
}

fn resident_kib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .context("the kernel says how much is resident")
}
