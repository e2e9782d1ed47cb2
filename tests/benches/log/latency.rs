//! How long an append takes at a steady rate, and beside somebody who is busy.

use std::{
    fs::File,
    io::Write as _,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use actors::{caller::Caller, system::System};
use anyhow::{Result, anyhow};
use domain::{
    idea::IdeaCommand,
    ids::{CommandId, ContentId, IdeaId, ProjectId},
    values::ContentRef,
};
use futures_util::{StreamExt as _, future::try_join_all, stream::FuturesUnordered};
use tests::{
    bench::{Figures, Folder, Goal, Samples, say},
    postgres::Cluster,
    world::random,
};

use crate::{
    Sizes,
    dispatch::{ours, start},
};

const STEADY_RATE: u32 = 500;
const QUIET_RATE: u32 = 50;
const N_BUSY: usize = 64;
const P99_MS_MAX: f64 = 20.0;

pub(crate) async fn measure(figures: &mut Figures, sizes: Sizes) -> Result<()> {
    let folder = Folder::new("log-latency")?;
    let cluster = Cluster::start(&folder.path().join("postgres"), "")?;
    for (name, url) in [("sqlite", "sqlite:".to_owned()), ("postgres", cluster.database()?)] {
        let system = start(&folder, name, &url).await?;
        let [mut steady, mut ratios, mut disks]: [Samples; 3] = Default::default();
        for round in 0..=sizes.n_rounds {
            let disk = look_at_disk(folder.path().join("disk"), sizes.n_seconds);
            let p99 = latencies(&system, STEADY_RATE, sizes.n_seconds).await?.percentile(99.0);
            let disk = disk.join().map_err(|_| anyhow!("the disk was not looked at"))??;
            let alone = latencies(&system, QUIET_RATE, sizes.n_seconds).await?.percentile(99.0);
            let beside = beside_busy(&system, sizes.n_seconds).await?.percentile(99.0);
            if round == 0 {
                continue; // Connections and plans are made; nothing is counted.
            }
            say(&format!(
                "round {round}, {name}: p99 {p99:.1} ms at {STEADY_RATE}/s, while the disk's own was {:.1} ms; at \
                 {QUIET_RATE}/s {alone:.1} ms alone, {beside:.1} ms beside a busy project",
                disk.percentile(99.0)
            ));
            disks.push(disk.percentile(99.0));
            steady.push(p99);
            ratios.push(beside / alone);
        }
        let goal = Goal::AtMost(P99_MS_MAX);
        figures.add(&format!("log/{name}_p99_at_500"), steady.median(), "ms", goal);
        // What nobody can be quicker than: a stall of the disk is one of every append.
        figures.add(&format!("log/{name}_disk_p99"), disks.median(), "ms", Goal::None);
        let goal = Goal::AtMost(2.0);
        figures.add(&format!("log/{name}_quiet_beside_busy"), ratios.median(), "times", goal);
        system.stop().await;
    }
    Ok(())
}

/// How long the disk takes for a small write and its flush, now and then meanwhile.
#[expect(clippy::disallowed_methods, reason = "a thread of its own, which waits for the clock")]
fn look_at_disk(file: PathBuf, n_seconds: u64) -> JoinHandle<Result<Samples>> {
    thread::spawn(move || {
        let mut file = File::create(file)?;
        let mut samples = Samples::default();
        let end = Instant::now() + Duration::from_secs(n_seconds);
        while Instant::now() < end {
            let begun = Instant::now();
            file.write_all(&[1; 4096])?;
            file.sync_data()?;
            samples.push_ms(begun.elapsed());
            thread::sleep(Duration::from_secs(1) / QUIET_RATE);
        }
        Ok(samples)
    })
}

/// What others wait while one project is as busy as it can be.
async fn beside_busy(system: &System, n_seconds: u64) -> Result<Samples> {
    let stop = AtomicBool::new(false);
    // One project, many streams of it: all of its appends count against one share.
    let busy = async {
        let project = ProjectId(random());
        try_join_all((0..N_BUSY).map(|_| keep_busy(system, project, &stop))).await
    };
    let quiet = async {
        let beside = latencies(system, QUIET_RATE, n_seconds).await;
        stop.store(true, Ordering::Relaxed);
        beside
    };
    let (busy, beside) = futures_util::future::join(busy, quiet).await;
    busy?;
    let head = system.log.head().await?;
    system.projected().wait_for(|projected| *projected >= head).await?;
    beside
}

/// Sends a command every so often, whether or not the ones before were answered.
async fn latencies(system: &System, rate: u32, n_seconds: u64) -> Result<Samples> {
    let mut samples = Samples::default();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let end = Instant::now() + Duration::from_secs(n_seconds);
    let mut waiting = FuturesUnordered::new();
    while Instant::now() < end || !waiting.is_empty() {
        tokio::select! {
            _ = ticks.tick(), if Instant::now() < end => waiting.push(async {
                let begun = Instant::now();
                ours(system, ProjectId(random()), 0).await.map(|()| begun.elapsed())
            }),
            Some(done) = waiting.next(), if !waiting.is_empty() => samples.push_ms(done?),
        }
    }
    Ok(samples)
}

/// Ideas of one project, one after the other.
async fn keep_busy(system: &System, project: ProjectId, stop: &AtomicBool) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let caller = Caller::person(system.owner(), CommandId(random()));
        let description =
            ContentRef { id: ContentId(random()), length: 9, digest: "00".repeat(32) };
        let draft = IdeaCommand::Draft { project, description };
        system.dispatcher.send(&caller, (IdeaId(random()), draft), Vec::new()).await?;
    }
    Ok(())
}
