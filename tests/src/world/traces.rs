//! What a SAM could leave behind on a machine: containers, volumes, processes.
//!
//! All of them name the data folder or the installation, so a test looks only at its own.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::process::Command;

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

/// What is left of this installation, as people would name it.
pub(super) async fn left(data_dir: &Path) -> Result<Vec<String>> {
    let mut left = Vec::new();
    if let Some(installation) = installation(data_dir) {
        for (what, words) in [("container", ["ps", "-aq"]), ("volume", ["volume", "ls"])] {
            let filter = format!("label=sam.installation={installation}");
            let mut command = Command::new("docker");
            command.args(words).args(["--filter", &filter]);
            if what == "volume" {
                command.arg("-q");
            }
            let output = command.output().await?;
            let listed = String::from_utf8_lossy(&output.stdout).into_owned();
            left.extend(listed.lines().map(|id| format!("{what} {id}")));
        }
    }
    left.extend(processes(data_dir).into_iter().map(|(id, line)| format!("process {id}: {line}")));
    Ok(left)
}

/// Removes all of it.
pub(super) async fn remove(data_dir: &Path) {
    let data_dir = data_dir.to_path_buf();
    let removed = tokio::task::spawn_blocking(move || remove_now(&data_dir)).await;
    drop(removed);
}

/// The same, where nothing can be awaited.
pub(super) fn remove_now(data_dir: &Path) {
    for (id, _) in processes(data_dir) {
        run("kill", &["-9", &id.to_string()]);
    }
    let Some(installation) = installation(data_dir) else { return };
    let filter = format!("label=sam.installation={installation}");
    for id in run("docker", &["ps", "-aq", "--filter", &filter]).lines() {
        run("docker", &["rm", "-f", id]);
    }
    for id in run("docker", &["volume", "ls", "-q", "--filter", &filter]).lines() {
        run("docker", &["volume", "rm", "-f", id]);
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
