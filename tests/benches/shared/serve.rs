//! A real `sam serve` in a process of its own: when it answers, and what it holds in memory.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tests::{bench::run, world::binary};
use tokio::process::{Child, Command};

/// Between two looks at `/health`: what the measured time may be off by.
const GLANCE: Duration = Duration::from_millis(1);
/// Until a server counts as idle.
const CALM: Duration = Duration::from_secs(3);
/// What a server that rests may use of a processor within a second.
const AT_REST_MAX: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(900);

/// A server that answers.
pub(crate) struct Served {
    child: Child,
    client: reqwest::Client,
    address: SocketAddr,
}

/// What a start cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// From the start of the program until `/health` said ok, with read models that have come this far.
    pub(crate) ms: f64,
    /// What was resident a while later.
    pub(crate) resident_kib: f64,
}

impl Served {
    /// Starts it, and waits until it is healthy.
    pub(crate) async fn start(data_dir: &Path) -> Result<Self> {
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
        let mut served = Self { child, client, address };
        served.until(|health| health["status"] == "ok").await?;
        Ok(served)
    }

    /// Waits until the read models have come so far.
    pub(crate) async fn projected(&mut self, position: u64) -> Result<()> {
        self.until(|health| health["position"].as_u64() >= Some(position)).await
    }

    /// Waits until it does nothing any more: read models, processes and the index of words have read the log.
    pub(crate) async fn at_rest(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let before = self.processor_time()?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.processor_time()? - before < AT_REST_MAX {
                return Ok(());
            }
        }
        bail!("the server never came to rest")
    }

    fn processor_time(&self) -> Result<Duration> {
        // A tick of the kernel's bookkeeping, as every Linux has it.
        const TICK: Duration = Duration::from_millis(10);
        let id = self.child.id().context("it is running")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The program's name, in parentheses, may hold spaces; what is wanted are fields 14 and 15.
        let (_, fields) = status.rsplit_once(')').context("a program has a name")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || -> Result<u32> { Ok(fields.next().context("a time")?.parse()?) };
        Ok(TICK * (ticks()? + ticks()?))
    }

    async fn until(&mut self, is_met: impl Fn(&Value) -> bool) -> Result<()> {
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
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended instead of becoming healthy: {status}");
            }
            tokio::time::sleep(GLANCE).await;
        }
        bail!("the server never became healthy")
    }

    fn resident_kib(&self) -> Result<f64> {
        let id = self.child.id().context("it is running")?;
        resident_kib(&id.to_string())
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        let id = self.child.id().context("it is running")?;
        run("kill", &[&id.to_string()])?;
        self.child.wait().await?;
        Ok(())
    }
}

/// Starts a server on a log whose head is known, lets it rest, and ends it.
pub(crate) async fn measure(data_dir: &Path, head: u64) -> Result<Start> {
    let begun = Instant::now();
    let mut served = Served::start(data_dir).await?;
    served.projected(head).await?;
    let ms = begun.elapsed().as_secs_f64() * 1000.0;
    tokio::time::sleep(CALM).await;
    let resident_kib = served.resident_kib()?;
    served.stop().await?;
    Ok(Start { ms, resident_kib })
}

/// What a process (its id, or `self`) has in memory.
pub(crate) fn resident_kib(process: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .context("the kernel says how much is resident")
}
