//! How long does a server with 100 000 events take until it answers, and what does it need while nothing happens?
//!
//! Budget: `/health` says ok within a second after `sam serve` was started, so that a restart is no outage; at
//! most 60 MB resident, so that it fits beside anything.
//!
//! The log is written by the event log itself, and the read models have seen it: this is a restart. The baseline is
//! a log with nothing but the owner in it; both are started in turn.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use projections::{
    database::Database,
    event_log::{EventLog, Options},
};
use serde_json::Value;
use tests::{
    bench::{Figures, Folder, Goal, Samples, run, say},
    world::binary,
};
use tokio::process::{Child, Command};

#[path = "shared/history.rs"]
mod history;

const N_ROUNDS: usize = 7;
const N_EVENTS: usize = 100_000;
const START_MS_MAX: f64 = 1000.0;
const RESIDENT_MB_MAX: f64 = 60.0;
/// Between two looks at `/health`: what the measured time may be off by.
const GLANCE: Duration = Duration::from_millis(1);
/// Until a server counts as idle.
const CALM: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<()> {
    let folder = Folder::new("start")?;
    let (full, empty) = (folder.path().join("full"), folder.path().join("empty"));
    let begun = Instant::now();
    write(&full).await?;
    say(&format!("{N_EVENTS} events written in {:.1?}", begun.elapsed()));
    // Once, so that the read models have seen everything.
    let first = Started::start(&full).await?;
    first.until(|health| health["position"].as_u64() >= Some(N_EVENTS as u64)).await?;
    say(&format!("and projected after {:.1?}", begun.elapsed()));
    first.stop().await?;
    Started::start(&empty).await?.stop().await?;
    let [mut with, mut without, mut resident, mut resident_empty]: [Samples; 4] =
        Default::default();
    for round in 1..=N_ROUNDS {
        let (ms, mb) = measure(&full).await?;
        let (ms_empty, mb_empty) = measure(&empty).await?;
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

async fn measure(data_dir: &Path) -> Result<(f64, f64)> {
    let begun = Instant::now();
    let started = Started::start(data_dir).await?;
    let ms = begun.elapsed().as_secs_f64() * 1000.0;
    tokio::time::sleep(CALM).await;
    let resident = started.resident_mb()?;
    started.stop().await?;
    Ok((ms, resident))
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

/// A `sam serve` that answers.
struct Started {
    child: Child,
    client: reqwest::Client,
    address: SocketAddr,
}

impl Started {
    async fn start(data_dir: &Path) -> Result<Self> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new(binary("sam")?)
            .args(["serve", "--listen", &address.to_string(), "--data-dir"])
            .arg(data_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let started = Self { child, client, address };
        started.until(|health| health["status"] == "ok").await?;
        Ok(started)
    }

    async fn until(&self, is_met: impl Fn(&Value) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // Nobody listens yet, or it answers: only the document counts.
            if let Ok(response) =
                self.client.get(format!("http://{}/health", self.address)).send().await
                && let Ok(health) = response.text().await
                && serde_json::from_str(&health).is_ok_and(|health| is_met(&health))
            {
                return Ok(());
            }
            tokio::time::sleep(GLANCE).await;
        }
        bail!("the server never became healthy")
    }

    fn resident_mb(&self) -> Result<f64> {
        let id = self.child.id().context("it is running")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes: f64 = line
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .context("the kernel says how much is resident")?;
        Ok(kilobytes * 1024.0 / 1e6)
    }

    async fn stop(mut self) -> Result<()> {
        let id = self.child.id().context("it is running")?;
        run("kill", &[&id.to_string()])?;
        self.child.wait().await?;
        Ok(())
    }
}
