//! Makes ready what a node on this machine needs, by the scripts of `ops/`, which are part of the binary.
//!
//! Both scripts leave alone what is there; they are asked only when the engine or the image is missing.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    process::Command,
    time::{Duration, timeout},
};

use crate::cli::console;

const ENGINE: &str = include_str!("../../../ops/setup/engine.sh");
const BASE_IMAGE: &str = include_str!("../../../ops/base-image/build.sh");
const CODING_AGENT: &str = include_str!("../../../ops/base-image/coding-agent.sh");

const IMAGE: &str = "sam-base:1";
const ENGINE_ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Everything, with progress on stderr.
pub async fn all() -> anyhow::Result<()> {
    console::progress("container engine …");
    run_script("engine.sh", ENGINE, &[]).await?;
    console::progress("base image …");
    let tag = run_script("build.sh", BASE_IMAGE, &[]).await?;
    console::result(&tag);
    Ok(())
}

/// What is missing, if anything is; at once if nothing is.
pub(super) async fn on_first_need() -> anyhow::Result<()> {
    if has_image().await {
        return Ok(());
    }
    console::progress("this machine is made ready for its first workspace (sam setup)");
    console::progress("container engine …");
    run_script("engine.sh", ENGINE, &[]).await?;
    console::progress("base image …");
    run_script("build.sh", BASE_IMAGE, &[]).await?;
    Ok(())
}

/// The image with a real coding agent in it; fetched only once a key for it is there.
pub(crate) async fn coding_agent(name: &str) -> anyhow::Result<String> {
    run_script("coding-agent.sh", CODING_AGENT, &[name]).await
}

/// Runs a script; its stdout is the result, its stderr is for people.
async fn run_script(name: &str, script: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(script).arg(name).args(arguments);
    // Whoever stops waiting stops the script.
    bash.kill_on_drop(true);
    bash.stdin(Stdio::inherit()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let output = bash.output().await.context("bash cannot be started")?;
    if !output.status.success() {
        bail!("this machine could not be made ready: what went wrong is said above");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().last().unwrap_or_default().trim().to_owned())
}

/// Asks the engine itself: a few milliseconds, where its command line takes ten times as long.
async fn has_image() -> bool {
    let asked = async {
        let mut engine = UnixStream::connect(engine_socket()?).await.ok()?;
        let request = format!("GET /images/{IMAGE}/json HTTP/1.0\r\nHost: engine\r\n\r\n");
        engine.write_all(request.as_bytes()).await.ok()?;
        let mut status = [0; 12];
        engine.read_exact(&mut status).await.ok()?;
        Some(status.ends_with(b" 200"))
    };
    matches!(timeout(ENGINE_ANSWERS_WITHIN, asked).await, Ok(Some(true)))
}

fn engine_socket() -> Option<PathBuf> {
    match std::env::var("DOCKER_HOST") {
        Ok(host) if !host.is_empty() => host.strip_prefix("unix://").map(PathBuf::from),
        _ => Some(PathBuf::from("/var/run/docker.sock")),
    }
}
