//! What aggregates cost that nobody uses: known to the log only, and loaded but left alone.
//!
//! Known only: two data directories with as many events, in many streams and in few; `sam serve` is started on both
//! in turn. What the many cost more, in time and in resident memory, is theirs.
//!
//! Loaded: this program starts itself again, so that memory is that of a fresh process: in one that has written a
//! log, actors take memory that was freed before, and nothing seems to grow. It loads some actors first, so that pools
//! and caches are filled, and counts what the others add.

use std::{os::unix::fs::symlink, path::Path};

use anyhow::{Context as _, Result, ensure};
use domain::project::Project;
use projections::{
    database::Database,
    event_log::{EventLog, Options},
};
use tests::bench::{Figures, Folder, Goal, Samples, run, say};

use crate::{
    Sizes,
    dispatch::start,
    history,
    serve::{self, Served, resident_kib},
};

/// Said to the program by itself: a data directory and a number of actors follow.
pub(crate) const LOAD_ACTORS: &str = "--load-actors";
const DATA: &str = "data";
const FEW: usize = 1000;
const KNOWN_KIB_MAX: f64 = 0.1;
/// What a start may be off by without anything being wrong.
const KNOWN_MS_MAX: f64 = 50.0;
const ACTOR_KIB_MAX: f64 = 8.0;
/// One in so many actors is loaded before memory is looked at.
const WARM_UP: usize = 20;

pub(crate) async fn measure(figures: &mut Figures, sizes: Sizes) -> Result<()> {
    let folder = Folder::new("log-idle")?;
    let (many, few) = (folder.path().join("many"), folder.path().join("few"));
    write(&many, sizes.n_known, 1).await?;
    write(&few, FEW, sizes.n_known / FEW).await?;
    let [mut ms, mut kib, mut ms_few, mut kib_few]: [Samples; 4] = Default::default();
    let head = sizes.n_known as u64;
    for round in 1..=sizes.n_rounds {
        let (with, without) =
            (serve::measure(&many, head).await?, serve::measure(&few, head).await?);
        say(&format!(
            "start {round}: {:.0} ms and {:.0} KiB with {} aggregates, {:.0} ms and {:.0} KiB with {FEW}",
            with.ms, with.resident_kib, sizes.n_known, without.ms, without.resident_kib
        ));
        ms.push(with.ms);
        kib.push(with.resident_kib);
        ms_few.push(without.ms);
        kib_few.push(without.resident_kib);
    }
    let each = (kib.median() - kib_few.median()) / (sizes.n_known - FEW) as f64;
    figures.add("log/idle_aggregates_kib", each, "KiB each", Goal::AtMost(KNOWN_KIB_MAX));
    let later = ms.median() - ms_few.median();
    figures.add("log/idle_aggregates_start_ms", later, "ms", Goal::AtMost(KNOWN_MS_MAX));

    let own = std::env::current_exe()?.display().to_string();
    let data_dir = many.display().to_string();
    let printed = run(&own, &[LOAD_ACTORS, &data_dir, &sizes.n_actors.to_string()])?;
    let mut lines = printed.lines();
    let each: f64 = lines.next_back().context("it says what it found")?.parse()?;
    lines.for_each(say);
    figures.add("log/idle_actor", each, "KiB", Goal::AtMost(ACTOR_KIB_MAX));
    Ok(())
}

/// Writes projects, and lets a server see all of them.
async fn write(data_dir: &Path, n_streams: usize, n_events: usize) -> Result<()> {
    std::fs::create_dir_all(data_dir)?;
    let database = Database::open("sqlite:", data_dir).await?;
    let log = EventLog::open(&database, Options::default()).await?;
    history::write_streams(&log, n_streams, n_events).await?;
    let head = log.head().await?;
    log.close().await;
    database.close().await;
    let mut served = Served::start(data_dir).await?;
    served.projected(head).await?;
    served.at_rest().await?;
    served.stop().await
}

/// The other program: loads actors and prints what each of them takes, in KiB.
pub(crate) async fn load_actors(words: &[String]) -> Result<()> {
    let [data_dir, n_actors] = words else { anyhow::bail!("{LOAD_ACTORS} FOLDER NUMBER") };
    let n_actors: usize = n_actors.parse()?;
    let folder = Folder::new("log-actors")?;
    symlink(data_dir, folder.path().join(DATA))?;
    let system = start(&folder, DATA, "sqlite:").await?;
    let list = "SELECT project FROM project_overview ORDER BY project LIMIT $1";
    let rows = system.database.views().fetch_all(list, (n_actors,)).await?;
    ensure!(rows.len() == n_actors, "there are only {} projects", rows.len());
    let ids = rows.iter().map(|row| row.uuid("project")).collect::<Result<Vec<_>, _>>()?;
    drop(rows);
    let (first, others) = ids.split_at(n_actors / WARM_UP);
    for id in first {
        system.dispatcher.state::<Project>(*id).await?;
    }
    let before = resident_kib("self")?;
    for id in others {
        system.dispatcher.state::<Project>(*id).await?;
    }
    let after = resident_kib("self")?;
    ensure!(after > before, "nothing grew: {before} KiB before, {after} KiB after");
    say(&format!("{before:.0} KiB, and {after:.0} KiB with {} actors more", others.len()));
    say(&format!("{}", (after - before) / others.len() as f64));
    system.stop().await;
    Ok(())
}
