//! Makes ready what a node on this machine needs, by the scripts of `ops/`, which are part of the binary.
//!
//! Both scripts leave alone what is there; they are asked only when the engine or the image is missing.

use std::{path::PathBuf, process::Stdio, sync::Arc};

use actors::{
    preparation::{ImageMaker, NothingToMake, Tell},
    settings::WorkspaceSettings,
};
use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    process::Command,
    time::{Duration, timeout},
};

use domain::agent_protocol::CodingAgentKind;
use futures_util::future::BoxFuture;

use crate::{cli::console, config::Settings};

const ENGINE: &str = include_str!("../../../ops/setup/engine.sh");
const BASE_IMAGE: &str = include_str!("../../../ops/base-image/build.sh");
const CODING_AGENT: &str = include_str!("../../../ops/base-image/coding-agent.sh");

/// The image that the script makes. Others are the business of whoever named them.
const OWN_IMAGE: &str = "sam-base:1";
const ENGINE_ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// Everything, with progress on stderr.
pub async fn all() -> anyhow::Result<()> {
    console::progress("container engine …");
    run_script("engine.sh", ENGINE, &[], &console::progress).await?;
    console::progress("base image …");
    let tag = run_script("build.sh", BASE_IMAGE, &[], &console::progress).await?;
    console::result(&tag);
    Ok(())
}

/// What is missing, if anything is; at once if nothing is.
pub(super) async fn on_first_need(image: &str) -> anyhow::Result<()> {
    if has_image(image).await {
        return Ok(());
    }
    console::progress("this machine is made ready for its first workspace (sam setup)");
    console::progress("container engine …");
    run_script("engine.sh", ENGINE, &[], &console::progress).await?;
    if image != OWN_IMAGE {
        console::progress(&format!(
            "the image {image} is not here yet: the engine is asked to fetch it"
        ));
        return Ok(());
    }
    console::progress("base image …");
    run_script("build.sh", BASE_IMAGE, &[], &console::progress).await?;
    Ok(())
}

/// The image with a real coding agent in it; fetched only once a key for it is there.
pub(crate) async fn coding_agent(name: &str) -> anyhow::Result<String> {
    run_script("coding-agent.sh", CODING_AGENT, &[name], &console::progress).await
}

/// Makes the images of coding agents on this machine.
#[derive(Debug)]
struct Scripts;

impl ImageMaker for Scripts {
    fn make(&self, coding_agent: CodingAgentKind, tell: Tell) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let name = coding_agent.name();
            let told = move |line: &str| {
                console::progress(line);
                tell(line.trim_start_matches("coding agent: "));
            };
            let made = run_script("coding-agent.sh", CODING_AGENT, &[name], &told).await;
            made.map(drop).map_err(|error| format!("{error:#}"))
        })
    }
}

/// Who makes the images of coding agents. One that somebody else named is somebody else's to make.
pub(super) fn image_maker(settings: &Settings) -> Arc<dyn ImageMaker> {
    let is_own = settings.claude_image == WorkspaceSettings::default().claude_image;
    match is_own && !settings.no_local_node {
        true => Arc::new(Scripts),
        false => Arc::new(NothingToMake),
    }
}

/// Runs a script; its stdout is the result, its stderr is for people, and `tell` gets each line of it.
async fn run_script(
    name: &str,
    script: &str,
    arguments: &[&str],
    tell: &(dyn Fn(&str) + Send + Sync),
) -> anyhow::Result<String> {
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(script).arg(name).args(arguments);
    // Whoever stops waiting stops the script.
    bash.kill_on_drop(true);
    bash.stdin(Stdio::inherit()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = bash.spawn().context("bash cannot be started")?;
    let (stdout, stderr) = (running.stdout.take(), running.stderr.take());
    let listening = async {
        let mut last = String::new();
        let Some(stderr) = stderr else { return last };
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            tell(&line);
            last = line;
        }
        last
    };
    let collecting = async {
        let mut text = String::new();
        if let Some(mut stdout) = stdout {
            stdout.read_to_string(&mut text).await?;
        }
        Ok::<_, std::io::Error>(text)
    };
    let (last, text) = tokio::join!(listening, collecting);
    if !running.wait().await?.success() {
        bail!("this machine could not be made ready: {}", last.trim_start_matches("error: "));
    }
    Ok(text?.lines().last().unwrap_or_default().trim().to_owned())
}

/// Asks the engine itself: a few milliseconds, where its command line takes ten times as long.
async fn has_image(image: &str) -> bool {
    let asked = async {
        let mut engine = UnixStream::connect(engine_socket()?).await.ok()?;
        let request = format!("GET /images/{image}/json HTTP/1.0\r\nHost: engine\r\n\r\n");
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
