//! What a SAM could leave behind on a machine: containers, volumes, processes.
//!
//! All of them name the data folder or the installation, so a test looks only at its own.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::World;

/// Stops the node, as a person would before leaving.
pub(super) async fn stop_node(world: &World) -> Result<()> {
    // A node gives a slot back a moment after the workspace on it has stopped.
    let is_empty = |node: &Value| node["placed"].as_array().is_none_or(Vec::is_empty);
    let are_empty =
        |nodes: &Value| nodes.as_array().is_some_and(|nodes| nodes.iter().all(is_empty));
    let nodes = world.until("nodes", are_empty).await?;
    for node in nodes.as_array().context("nodes are a list")? {
        if node["state"] != "running" {
            continue;
        }
        let id = node["id"].as_str().context("a node has an id")?;
        world.server()?.post(&format!("nodes/{id}/stop"), &json!({})).await?;
    }
    let is_gone = |nodes: &Value| {
        let is_over = |node: &Value| node["state"] != "running" && node["state"] != "stopping";
        nodes.as_array().is_some_and(|nodes| nodes.iter().all(is_over))
    };
    world.until("nodes", is_gone).await?;
    Ok(())
}

/// Whose traces these are: processes name the folder, containers and volumes the installation.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) data_dir: PathBuf,
    /// None while no server has said which it is; then there is no container either.
    pub(super) installation: Option<String>,
}

/// What is looked for at the engine, and how it is listed.
const AT_ENGINE: [(&str, &[&str]); 2] =
    [("container", &["ps", "-aq"]), ("volume", &["volume", "ls", "-q"])];
/// Something that was on its way when its maker was killed may appear a moment later.
const QUIET_LOOKS: u32 = 2;
const LOOKS_MAX: u32 = 100;
const LOOK_PERIOD: Duration = Duration::from_millis(100);

impl Owner {
    /// What is left, as people would name it.
    pub(super) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        if let Some(installation) = &self.installation {
            let filter = format!("label=sam.installation={installation}");
            for (what, words) in AT_ENGINE {
                let listed = run("docker", &[words, &["--filter", &filter]].concat());
                left.extend(listed.lines().map(|id| format!("{what} {id}")));
            }
        }
        let processes = processes(&self.data_dir).into_iter();
        left.extend(processes.map(|(id, line)| format!("process {id}: {line}")));
        left
    }

    /// Removes all of it, until nothing comes back: a server that is killed second starts the agent
    /// that was killed first once more, and the engine finishes what it was asked.
    #[expect(
        clippy::disallowed_methods,
        reason = "a world is dropped where nothing can be awaited"
    )]
    pub(super) fn remove(&self) {
        let mut n_quiet = 0;
        for _ in 0..LOOKS_MAX {
            let left = self.left();
            n_quiet = if left.is_empty() { n_quiet + 1 } else { 0 };
            if n_quiet == QUIET_LOOKS {
                return;
            }
            for trace in &left {
                match trace.split([' ', ':']).collect::<Vec<_>>()[..] {
                    ["process", id, ..] => drop(run("kill", &["-9", id])),
                    ["container", id, ..] => drop(run("docker", &["rm", "-f", "-v", id])),
                    ["volume", id, ..] => drop(run("docker", &["volume", "rm", "-f", id])),
                    _ => {}
                }
            }
            std::thread::sleep(LOOK_PERIOD);
        }
    }
}

/// Processes whose command line names the data folder.
pub fn processes(data_dir: &Path) -> Vec<(u32, String)> {
    let Some(wanted) = data_dir.to_str() else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let lines = ids.filter_map(|id: u32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (line.contains(wanted) && id != std::process::id()).then_some((id, line))
    });
    lines.collect()
}

/// The installation's id, which the server writes beside its address.
pub(super) fn installation(data_dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data_dir.join("server.json")).ok()?;
    let said: Value = serde_json::from_str(&text).ok()?;
    said["installation"].as_str().map(str::to_owned)
}

fn run(program: &str, words: &[&str]) -> String {
    let output = std::process::Command::new(program).args(words).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
