//! How fast is the log, and how close to what the database and the disk can do at all?
//!
//! Ratios of one run: our appends beside unmodified postgres-es and sqlite-es, beside the event stores of npm and
//! PyPI, and beside the bare insert of the very same rows; and all of this once more with 2 ms added to every flush of
//! the disk, the server's and the peers' too. Then what depends on the log: the latency of an append at a steady rate
//! while all projections run, what a busy project does to a quiet one, making the read models again, a start, loading a
//! long stream, aggregates at rest, and the last page of a long conversation.
//!
//! Settings: `--quick` for small sizes, or a size of its own: `--events NUMBER` for the long log, `--messages NUMBER`
//! for the long conversation, `--aggregates NUMBER` for those only known, `--actors NUMBER` for those loaded.
//! `--only PART` measures one of `appends`, `slow-disk`, `latency`, `rebuild` (with the start on its log), `idle` and
//! `last-page`.

use anyhow::{Context as _, Result, bail};
use tests::{
    bench::{Figures, Folder},
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
#[path = "log/idle.rs"]
mod idle;
#[path = "log/last_page.rs"]
mod last_page;
#[path = "log/latency.rs"]
mod latency;
#[path = "log/peers.rs"]
mod peers;
#[path = "log/rebuild.rs"]
mod rebuild;
#[path = "shared/serve.rs"]
mod serve;
#[path = "log/slow_disk.rs"]
mod slow_disk;

/// As in `sam`; for the peers in this program too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTS: [&str; 6] = ["appends", "slow-disk", "latency", "rebuild", "idle", "last-page"];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) n_rounds: usize,
    /// Events of the log that the read models are made from, and that a server is started on.
    pub(crate) n_events: usize,
    /// Messages of one conversation.
    pub(crate) n_messages: usize,
    /// Aggregates that the log knows and nobody uses.
    pub(crate) n_known: usize,
    /// Of them, those that are loaded into memory.
    pub(crate) n_actors: usize,
    /// Seconds of the steady rate.
    pub(crate) n_seconds: u64,
}

const FULL: Sizes = Sizes {
    n_rounds: 5,
    n_events: 1_000_000,
    n_messages: 1_000_000,
    n_known: 100_000,
    n_actors: 20_000,
    n_seconds: 6,
};
/// As many aggregates as ever: less could not be told from what memory differs by in any two processes.
const QUICK: Sizes =
    Sizes { n_rounds: 3, n_events: 20_000, n_messages: 20_000, n_seconds: 3, ..FULL };

impl Sizes {
    fn of(words: &[String]) -> Result<Self> {
        let quick = words.iter().any(|word| word == "--quick");
        let mut sizes = if quick { QUICK } else { FULL };
        for (flag, size) in [
            ("--events", &mut sizes.n_events),
            ("--messages", &mut sizes.n_messages),
            ("--aggregates", &mut sizes.n_known),
            ("--actors", &mut sizes.n_actors),
        ] {
            if let Some(number) = after(words, flag) {
                *size =
                    number.first().with_context(|| format!("{flag} needs a number"))?.parse()?;
            }
        }
        Ok(sizes)
    }
}

/// The words after a flag, if it is there.
fn after<'w>(words: &'w [String], flag: &str) -> Option<&'w [String]> {
    words.iter().position(|word| word == flag).map(|at| &words[at + 1..])
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let sizes = Sizes::of(&words)?;
    if let Some(words) = after(&words, idle::LOAD_ACTORS) {
        return run(idle::load_actors(words));
    }
    if after(&words, slow_disk::ON_SLOW_DISK).is_some() {
        return run(appends(sizes, "slow_disk/"));
    }
    let only = match after(&words, "--only") {
        Some(words) => Some(words.first().context("--only needs a part")?.as_str()),
        None => None,
    };
    if let Some(part) = only
        && !PARTS.contains(&part)
    {
        bail!("there is no part {part}; there are: {}", PARTS.join(", "));
    }
    for part in PARTS.into_iter().filter(|part| only.is_none_or(|only| only == *part)) {
        match part {
            "appends" => run(appends(sizes, ""))?,
            "slow-disk" => slow_disk::again(&words)?,
            part => run(one(part, sizes))?,
        }
    }
    Ok(())
}

fn run(measuring: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measuring)
}

/// Each part says what it found before the next one begins, which may fail.
async fn one(part: &str, sizes: Sizes) -> Result<()> {
    let mut figures = Figures::default();
    match part {
        "latency" => latency::measure(&mut figures, sizes).await?,
        "rebuild" => {
            let folder = Folder::new("log-rebuild")?;
            let long_log = rebuild::measure(&mut figures, sizes, &folder).await?;
            at_rest::measure(&mut figures, sizes, &long_log).await?;
        }
        "idle" => idle::measure(&mut figures, sizes).await?,
        "last-page" => last_page::measure(&mut figures, sizes).await?,
        part => unreachable!("{part} is no part"),
    }
    figures.close()
}

async fn appends(sizes: Sizes, prefix: &str) -> Result<()> {
    let mut figures = Figures::default();
    let folder = Folder::new("log")?;
    let cluster = Cluster::start(&folder.path().join("postgres"), "")?;
    if !prefix.is_empty() {
        slow_disk::check(&folder, &cluster).await?;
    }
    appends::measure(&mut figures, sizes, prefix, &folder, &cluster).await?;
    peers::add_sqlite_es(&mut figures, prefix, &folder)?;
    figures.close()
}
