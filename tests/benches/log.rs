//! How fast is the log, and how close to what the database and the disk can do at all?
//!
//! Ratios of one run: our appends beside unmodified postgres-es, beside the event stores of npm and PyPI, and
//! beside the bare insert of the very same rows. Then what depends on the log: the latency of an append at a
//! steady rate while all projections run, what a busy project does to a quiet one, making the read models again,
//! loading a long stream, actors at rest, and a start. With `--slow-disk` the appends are measured once more with
//! 2 ms added to every fsync, of the server's too: the program starts itself under `strace`, which all its
//! children inherit.
//!
//! Settings: `--quick` for small sizes, `--slow-disk`, `--events NUMBER` for the size of the long log.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tests::{
    bench::{Figures, Folder, say},
    postgres::Cluster,
};

#[path = "log/appends.rs"]
mod appends;
#[path = "log/at_rest.rs"]
mod at_rest;
#[path = "log/bare.rs"]
mod bare;
#[path = "shared/dispatch.rs"]
mod dispatch;
#[path = "shared/history.rs"]
mod history;
#[path = "log/latency.rs"]
mod latency;
#[path = "log/peers.rs"]
mod peers;
#[path = "log/rebuild.rs"]
mod rebuild;

/// Said to the program by itself when it starts again under `strace`.
const UNDER_STRACE: &str = "--under-strace";
const FSYNC_DELAY_US: u32 = 2000;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) n_rounds: usize,
    /// Events of the log that the read models are made from.
    pub(crate) n_events: usize,
    pub(crate) n_actors: usize,
    /// Seconds of the steady rate.
    pub(crate) n_seconds: u64,
}

impl Sizes {
    fn of(words: &[String]) -> Result<Self> {
        let has = |flag: &str| words.iter().any(|word| word == flag);
        let mut sizes = match has("--quick") {
            true => Self { n_rounds: 3, n_events: 20_000, n_actors: 5_000, n_seconds: 5 },
            false => Self { n_rounds: 5, n_events: 1_000_000, n_actors: 20_000, n_seconds: 20 },
        };
        if let Some(at) = words.iter().position(|word| word == "--events") {
            sizes.n_events = words.get(at + 1).context("--events needs a number")?.parse()?;
        }
        Ok(sizes)
    }
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let sizes = Sizes::of(&words)?;
    let has = |flag: &str| words.iter().any(|word| word == flag);
    if has(UNDER_STRACE) {
        return run(appends_only(sizes, "slow_disk/"));
    }
    run(everything(sizes))?;
    match has("--slow-disk") {
        true => under_strace(&words),
        false => Ok(()),
    }
}

fn run(measuring: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measuring)
}

async fn everything(sizes: Sizes) -> Result<()> {
    appends_only(sizes, "").await?;
    let mut figures = Figures::default();
    latency::measure(&mut figures, sizes).await?;
    rebuild::measure(&mut figures, sizes).await?;
    at_rest::measure(&mut figures, sizes).await?;
    figures.close()
}

async fn appends_only(sizes: Sizes, prefix: &str) -> Result<()> {
    let mut figures = Figures::default();
    let folder = Folder::new("log")?;
    let cluster = Cluster::start(&folder.path().join("postgres"), "")?;
    appends::measure(&mut figures, sizes, prefix, &folder, &cluster).await?;
    figures.close()
}

/// Starts this program again so that each fsync of it and of its children takes longer.
fn under_strace(words: &[String]) -> Result<()> {
    say(&format!("the appends again, with {FSYNC_DELAY_US} us added to every fsync"));
    let status = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "--seccomp-bpf",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync,fdatasync",
            "-e",
        ])
        .arg(format!("inject=fsync,fdatasync:delay_exit={FSYNC_DELAY_US}"))
        .arg(std::env::current_exe()?)
        .args(words)
        .arg(UNDER_STRACE)
        .status()
        .context("strace cannot be started")?;
    ensure!(status.success(), "the run under strace failed");
    Ok(())
}
