//! Bad luck with the machine: no engine, an old one, a missing image or program, a full disk. Each parks the
//! idea with a reason that says what is wrong, and leaves nothing behind.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::world::{Repository, Store, World, binary, id_in, random};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

/// A file or folder of a test that goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("sam-{name}-{}", random())))
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Submits an idea that has to fail; gives back its execution.
async fn fails(world: &World, text: &str, more: Value) -> Result<Value> {
    let mut idea = json!({
        "idea": random(), "description": text, "stage": "executing", "codingAgent": "demo",
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        idea[name] = value.clone();
    }
    let path = format!("projects/{}/ideas", world.project);
    let accepted = world.server()?.post(&path, &idea).await?;
    let ended = world.ended(id_in(&accepted, "execution")?).await?;
    ensure!(ended["state"] == "failed", "{ended:#}");
    let idea = format!("ideas/{}", id_in(&ended, "idea")?);
    let parked = world.until(&idea, |idea| idea["stage"] == "parked").await?;
    ensure!(parked["parkedReason"] == ended["reason"], "{parked:#}");
    Ok(ended)
}

/// The reason of an ended execution, which has to contain some words.
fn says(ended: &Value, words: &[&str]) -> Result<()> {
    let reason = ended["reason"].as_str().context("it has a reason")?;
    let missing: Vec<_> = words.iter().filter(|word| !reason.contains(**word)).collect();
    ensure!(missing.is_empty(), "{reason:?} does not say {missing:?}");
    ensure!(!reason.contains('\n') && reason.len() < 500, "one plain sentence: {reason:?}");
    Ok(())
}

/// A program in place of the agent that sets one variable before it becomes the agent.
fn agent_with(scratch: &Scratch, setting: &str) -> Result<()> {
    let agent = binary("sam-agent")?;
    let text = format!("#!/bin/sh\nexport {setting}\nexec '{}' \"$@\"\n", agent.display());
    std::fs::write(&scratch.0, text)?;
    std::fs::set_permissions(&scratch.0, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[test]
fn a_server_on_a_machine_without_an_engine_says_so_and_leaves() {
    let folder = Scratch::new("engineless");
    let output = Command::new(binary("sam").unwrap())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", folder.text()])
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let reason = "no container engine answers at DOCKER_HOST=unix:///nowhere/docker.sock";
    assert!(said.contains(reason), "{said}");
    assert!(!folder.0.join("server.json").exists(), "it announced nothing");
    assert!(tests::world::processes(&folder.0).is_empty(), "nothing runs");
}

#[tokio::test]
async fn without_an_engine_an_idea_is_parked_and_the_machine_is_free_again() {
    let agent = Scratch::new("agent-without-engine");
    agent_with(&agent, "DOCKER_HOST=unix:///nowhere/docker.sock").unwrap();
    let settings = [("SAM_AGENT_PROGRAM", agent.text()), ("SAM_NODE_SLOTS", "1")];
    let world = World::start_with("no-engine", Store::Sqlite, &settings).await.unwrap();
    // The second one finds the only slot free: the first gave it back without an engine.
    for _ in 0..2 {
        let ended = fails(&world, "say: hello", json!({})).await.unwrap();
        says(&ended, &["no container engine answers on this machine"]).unwrap();
    }
    world.end().await.unwrap();
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_named_with_what_is_needed() {
    let socket = Scratch::new("old-engine");
    let mut engine = JoinSet::new();
    engine.spawn(old_engine(UnixListener::bind(&socket.0).unwrap()));
    let host = format!("unix://{}", socket.text());
    let settings = [("DOCKER_HOST", host.as_str())];
    let world = World::start_with("old-engine", Store::Sqlite, &settings).await.unwrap();
    let ended = fails(&world, "say: hello", json!({})).await.unwrap();
    says(&ended, &["too old", "1.24", "1.41", "Docker 20.10"]).unwrap();
    world.end().await.unwrap();
    engine.shutdown().await;
}

/// Answers as an engine of 2016 does, and has every image.
async fn old_engine(listener: UnixListener) -> Result<()> {
    let mut answers = JoinSet::new();
    loop {
        let (connection, _) = listener.accept().await?;
        answers.spawn(answer_as_of_2016(connection));
    }
}

async fn answer_as_of_2016(mut connection: UnixStream) -> Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).await?;
        request.push(byte[0]);
    }
    let body = json!({ "Version": "1.12.6", "ApiVersion": "1.24", "MinAPIVersion": "1.12" });
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(answer.as_bytes()).await?;
    connection.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_missing_image_is_named() {
    let settings = [("SAM_WORKSPACE_IMAGE", "sam-no-such-image:1")];
    let world = World::start_with("no-image", Store::Sqlite, &settings).await.unwrap();
    let ended = fails(&world, "say: hello", json!({})).await.unwrap();
    says(&ended, &["the image sam-no-such-image:1 is not on this machine"]).unwrap();
    assert_eq!(ended["step"], "workspace_creation", "{ended:#}");
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_missing_agent_is_named() {
    let settings = [("SAM_AGENT_PROGRAM", "/nowhere/sam-agent")];
    let world = World::start_with("no-agent", Store::Sqlite, &settings).await.unwrap();
    let ended = fails(&world, "say: hello", json!({})).await.unwrap();
    says(&ended, &["the agent's program /nowhere/sam-agent is missing"]).unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_the_coding_agent_fills_parks_the_idea_and_its_work_is_saved() {
    let settings = [("SAM_WORKSPACE_DISK_BYTES", "4194304")];
    let world = World::start_with("full-disk", Store::Sqlite, &settings).await.unwrap();
    let text = "write kept.txt: kept\nrun: head -c 20000000 /dev/urandom > big.bin";
    let ended = fails(&world, text, json!({})).await.unwrap();
    says(&ended, &["the workspace's disk is full"]).unwrap();
    let checkpoint = ended["checkpoint"].as_str().unwrap_or_default();
    assert!(checkpoint.starts_with("refs/sam/checkpoints/"), "{ended:#}");
    assert_eq!(world.repository.file(checkpoint, "kept.txt").unwrap(), "kept\n");
    assert_eq!(world.repository.references().unwrap(), [checkpoint], "and no branch");
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_repository_that_does_not_fit_is_refused_before_any_work() {
    let settings = [("SAM_WORKSPACE_DISK_BYTES", "2097152")];
    let world = World::start_with("small-disk", Store::Sqlite, &settings).await.unwrap();
    grow(&world.repository, world.folder()).unwrap();
    let ended = fails(&world, "say: hello", json!({})).await.unwrap();
    says(&ended, &["the workspace's disk is full"]).unwrap();
    assert_eq!(ended["step"], "workspace_creation", "{ended:#}");
    assert!(world.repository.references().unwrap().is_empty(), "nothing was pushed");
    world.end().await.unwrap();
}

/// Commits a file of 8 MiB that does not compress.
fn grow(repository: &Repository, folder: &Path) -> Result<()> {
    let words = (0..2_097_152_u32).map(|n| n.wrapping_mul(2_654_435_761).rotate_left(n % 31));
    let noise: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    let file = folder.join("big.bin");
    std::fs::write(&file, noise)?;
    let file = file.to_str().context("a readable path")?;
    let blob = repository.git(&["hash-object", "-w", file])?;
    repository.git(&["read-tree", "main"])?;
    let entry = format!("100644,{},big.bin", blob.trim());
    repository.git(&["update-index", "--add", "--cacheinfo", &entry])?;
    let tree = repository.git(&["write-tree"])?;
    let author = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
    let commit = ["commit-tree", tree.trim(), "-p", "main", "-m", "Grow"];
    let commit = repository.git(&[&author[..], &commit[..]].concat())?;
    repository.git(&["update-ref", "refs/heads/main", commit.trim()])?;
    Ok(())
}
