//! How long does it take, with a node at hand, from sending an idea until a coding agent is at it?
//!
//! Budget: at most 1.5 times what a plain `docker run` takes that clones the same repository from the same
//! image and starts the same agent; what SAM adds (a log on disk, a volume, a mirror, a holder, limits) has to
//! fit into the rest.
//!
//! SAM's time runs from the HTTP request until its log says that the coding agent is running, which is after
//! the agent took the prompt and after that was reported. The baseline's time runs from `docker run` until the
//! first update of the turn. The baseline has it easy: it clones from a bundle that was made before and lies in a
//! bind mount, as its agent does, it has no volume and no limits, and it keeps nothing. Both sides take turns; what a run leaves is removed before
//! the next one begins.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tests::{
    bench::{Figures, Folder, Goal, Samples, say, timed},
    plain_agent::Conversation,
    world::{Store, World, random},
};
use tokio::process::Command;
use uuid::Uuid;

const N_RUNS: usize = 20;
const RATIO_MAX: f64 = 1.5;
const IMAGE: &str = "sam-base:1";
const PROMPT: &str = "say: hello";

#[tokio::main]
async fn main() -> Result<()> {
    let world = World::start("bench-warm", Store::Sqlite).await?;
    let folder = Folder::new("warm")?;
    let holder = folder.path().join("holder");
    fs::write(&holder, agent::holder::BINARY)?;
    fs::set_permissions(&holder, fs::Permissions::from_mode(0o755))?;
    let bundle = folder.path().join("repository.bundle");
    let bundle_path = bundle.to_str().context("a readable path")?;
    world.repository.git(&["bundle", "create", "--quiet", bundle_path, "HEAD", "main"])?;
    let plain = Plain {
        holder: format!("{}:/holder:ro", holder.display()),
        repository: format!("{}:/repository.bundle:ro", bundle.display()),
    };
    let mut spent = Spent::default();
    // The first run starts the node and makes the mirror; it is not counted on either side.
    through_sam(&world, &mut Spent::default()).await?;
    plain.run().await?;
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for n in 1..=N_RUNS {
        let our = through_sam(&world, &mut spent).await?;
        let their = plain.run().await?;
        say(&format!("run {n}: sam {our:.0?}, docker run {their:.0?}"));
        ours.push_ms(our);
        theirs.push_ms(their);
    }
    world.end().await?;
    spent.print();
    let mut figures = Figures::default();
    figures.add("warm/sam_p50", ours.median(), "ms", Goal::None);
    figures.add("warm/sam_p95", ours.percentile(95.0), "ms", Goal::None);
    figures.add("warm/docker_run_p50", theirs.median(), "ms", Goal::None);
    figures.add("warm/docker_run_p95", theirs.percentile(95.0), "ms", Goal::None);
    let ratio = ours.median() / theirs.median();
    figures.add("warm/ratio_p50", ratio, "times", Goal::AtMost(RATIO_MAX));
    figures.close()
}

/// Submits an idea, and tells how long it took until the log says that its coding agent is running.
async fn through_sam(world: &World, spent: &mut Spent) -> Result<Duration> {
    let from = head(world).await?;
    let (period, (execution, entries)) = timed(async {
        let execution = world.submit(random(), PROMPT).await?;
        Ok((execution, until_running(world, execution, from).await?))
    })
    .await?;
    spent.add(&entries)?;
    world.ended(execution).await?;
    let is_stopped = |workspace: &Value| workspace["state"] == "stopped";
    let all_stopped = |all: &Value| all.as_array().is_some_and(|all| all.iter().all(is_stopped));
    world.until("workspaces", all_stopped).await?;
    Ok(period)
}

/// Reads the log as it grows, which needs no polling.
async fn until_running(world: &World, execution: Uuid, from: u64) -> Result<Vec<Value>> {
    let mut seen = Vec::new();
    let mut position = from;
    loop {
        let entries = log(world, position, 10).await?;
        if entries.is_empty() {
            bail!("nothing was recorded for 10 seconds");
        }
        for entry in entries {
            position = entry["position"].as_u64().context("an entry has a position")?;
            let is_running = entry["stream"] == json!(execution)
                && entry["event"] == "step_started"
                && entry["payload"]["step"] == "running";
            seen.push(entry);
            if is_running {
                return Ok(seen);
            }
        }
    }
}

async fn head(world: &World) -> Result<u64> {
    let mut position = 0;
    loop {
        let entries = log(world, position, 0).await?;
        let Some(last) = entries.last() else { return Ok(position) };
        position = last["position"].as_u64().context("an entry has a position")?;
    }
}

async fn log(world: &World, from: u64, wait_seconds: u64) -> Result<Vec<Value>> {
    let path = format!("log?from={from}&waitSeconds={wait_seconds}");
    let document = world.server()?.get(&path).await?;
    document.as_array().cloned().context("the log is a list")
}

/// When what was recorded, as medians over all runs: where the time goes.
#[derive(Default)]
struct Spent(BTreeMap<String, Samples>);

impl Spent {
    fn add(&mut self, entries: &[Value]) -> Result<()> {
        let at = |entry: &Value| -> Result<chrono::DateTime<chrono::Utc>> {
            Ok(entry["at"].as_str().context("an entry has a time")?.parse()?)
        };
        let Some(first) = entries.first() else { return Ok(()) };
        let begun = at(first)?;
        for entry in entries {
            let (kind, event) = (entry["kind"].as_str(), entry["event"].as_str());
            let payload = &entry["payload"];
            if event == Some("reacted") {
                continue;
            }
            let mut name = format!("{}/{}", kind.unwrap_or_default(), event.unwrap_or_default());
            for field in ["step", "state"] {
                if let Some(word) = payload[field].as_str() {
                    name = format!("{name} {word}");
                }
            }
            let period = (at(entry)? - begun).to_std().unwrap_or_default();
            self.0.entry(name).or_default().push_ms(period);
        }
        Ok(())
    }

    fn print(&self) {
        let mut medians: Vec<(f64, &String)> =
            self.0.iter().map(|(name, samples)| (samples.median(), name)).collect();
        medians.sort_by(|one, other| one.0.total_cmp(&other.0));
        say("recorded, ms after the request (medians):");
        for (median, name) in medians {
            say(&format!("  {median:7.1}  {name}"));
        }
    }
}

/// The baseline.
struct Plain {
    holder: String,
    repository: String,
}

impl Plain {
    async fn run(&self) -> Result<Duration> {
        const SCRIPT: &str = "git clone --quiet /repository.bundle /tmp/work \
            && cd /tmp/work && git checkout --quiet -b sam/branch && exec /holder demo-agent";
        let begun = Instant::now();
        let mut child = Command::new("docker")
            .args(["run", "--rm", "--interactive", "--env", "SAM_HOLDER_DIR=/tmp/holder"])
            .args(["--volume", &self.holder, "--volume", &self.repository])
            .args(["--entrypoint", "sh", IMAGE, "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut conversation = Conversation::with(&mut child)?;
        conversation.open("/tmp/work").await?;
        conversation.prompt(PROMPT).await?;
        conversation.hear(|said| said["method"] == "session/update").await?;
        let period = begun.elapsed();
        drop(conversation);
        // The agent ends with its stdin, and `--rm` removes the container before this returns.
        child.wait().await?;
        Ok(period)
    }
}
