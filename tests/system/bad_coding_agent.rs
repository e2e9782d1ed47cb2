//! Coding agents that are missing, exit, flood their output or speak no JSON: the idea is parked with a
//! plain reason, what they did before is kept, and nothing is left behind.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tests::world::{Store, World, id_in, random};

/// The branch of the work so far, and the reason for which it went no further.
async fn breaks(world: &World, text: &str) -> Result<Value> {
    let execution = world.submit(random(), text).await?;
    let ended = world.ended(execution).await?;
    ensure!(ended["state"] == "failed", "{ended:#}");
    Ok(ended)
}

fn reason(ended: &Value) -> &str {
    ended["reason"].as_str().unwrap_or_default()
}

fn is_kept(world: &World, ended: &Value) -> Result<()> {
    let checkpoint = ended["checkpoint"].as_str().context("the work is saved")?;
    let kept = world.repository.file(checkpoint, "kept.txt")?;
    ensure!(kept == "kept\n", "{kept:?}");
    Ok(())
}

#[tokio::test]
async fn a_coding_agent_that_exits_in_its_turn_parks_the_idea_and_its_work_is_kept() {
    let world = World::start("exits", Store::Sqlite).await.unwrap();
    let ended = breaks(&world, "write kept.txt: kept\nrun: kill -9 $PPID").await.unwrap();
    assert!(reason(&ended).contains("the coding agent was ended by signal 9"), "{ended:#}");
    is_kept(&world, &ended).unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_coding_agent_that_sends_malformed_json_is_stopped() {
    let world = World::start("malformed", Store::Sqlite).await.unwrap();
    let text = "write kept.txt: kept\n\
        run: yes '{\"jsonrpc\": \"2.0\", \"method\"' | head -n 200 > /proc/$PPID/fd/1; sleep 600";
    let ended = breaks(&world, text).await.unwrap();
    assert!(reason(&ended).contains("does not speak JSON-RPC"), "{ended:#}");
    is_kept(&world, &ended).unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_few_lines_that_are_no_json_are_no_reason_to_stop() {
    let world = World::start("noise", Store::Sqlite).await.unwrap();
    let text = "run: echo 'Warning: {' > /proc/$PPID/fd/1\nwrite a.txt: done\nsay: done";
    let execution = world.submit(random(), text).await.unwrap();
    let ended = world.ended(execution).await.unwrap();
    assert_eq!(ended["state"], "done", "{ended:#}");
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_coding_agent_that_floods_its_output_is_stopped() {
    let world = World::start("floods", Store::Sqlite).await.unwrap();
    // One line without an end, and 70 MB that are never read as a message.
    let text = "write kept.txt: kept\n\
        run: head -c 70000000 /dev/zero | tr '\\0' x > /proc/$PPID/fd/1; sleep 600";
    let ended = breaks(&world, text).await.unwrap();
    let told = reason(&ended);
    let is_plain = told.contains("flooded its output") || told.contains("more than 8 MiB");
    assert!(is_plain, "{ended:#}");
    is_kept(&world, &ended).unwrap();
    world.end().await.unwrap();
}

/// Submits an idea for Claude Code, which an image without it cannot carry out.
async fn refused(world: &World) -> Result<Value> {
    let server = world.server()?;
    let secret = json!({ "secret": "sk-ant-a-key-of-the-test" });
    let stored = server.ask(Method::PUT, "credentials/anthropic", Some(&secret)).await?;
    ensure!(stored.0 == 202, "{stored:?}");
    let idea = json!({
        "idea": random(), "description": "hello", "stage": "executing", "codingAgent": "claude-code",
    });
    let accepted = server.post(&format!("projects/{}/ideas", world.project), &idea).await?;
    let ended = world.ended(id_in(&accepted, "execution")?).await?;
    ensure!(ended["state"] == "failed", "{ended:#}");
    ensure!(ended["step"] == "agent_session", "{ended:#}");
    Ok(ended)
}

#[tokio::test]
async fn a_coding_agent_that_is_missing_in_the_image_is_named() {
    let settings = [("SAM_CLAUDE_IMAGE", "sam-base:1")];
    let world = World::start_with("missing", Store::Sqlite, &settings).await.unwrap();
    let ended = refused(&world).await.unwrap();
    let told = reason(&ended);
    assert!(told.contains("cannot be started") && told.contains("claude-agent-acp"), "{told}");
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_coding_agent_that_exits_at_once_is_refused_with_its_last_words() {
    let image = BrokenImage::make("echo 'no licence' >&2; exit 3").unwrap();
    let settings = [("SAM_CLAUDE_IMAGE", image.name.as_str())];
    let world = World::start_with("at-once", Store::Sqlite, &settings).await.unwrap();
    let ended = refused(&world).await.unwrap();
    let told = reason(&ended);
    assert!(told.contains("the coding agent exited with code 3: no licence"), "{told}");
    world.end().await.unwrap();
}

/// An image whose coding agent is a few words of shell. It goes with the test, and what was made of it.
struct BrokenImage {
    name: String,
}

impl BrokenImage {
    fn make(script: &str) -> Result<Self> {
        let name = format!("sam-broken:{}", random().simple());
        let program = "/usr/local/bin/claude-agent-acp";
        let recipe = format!(
            "FROM sam-base:1\nUSER root\n\
             RUN printf '%s\\n' '#!/bin/sh' \"{script}\" > {program} && chmod 755 {program}\n\
             USER dev\n"
        );
        let mut build = Command::new("docker")
            .args(["build", "--quiet", "--tag", &name, "-"])
            .env("DOCKER_BUILDKIT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let image = Self { name };
        let mut stdin = build.stdin.take().context("it is piped")?;
        std::io::Write::write_all(&mut stdin, recipe.as_bytes())?;
        drop(stdin);
        let built = build.wait()?;
        ensure!(built.success(), "docker build: {built}");
        Ok(image)
    }
}

impl Drop for BrokenImage {
    fn drop(&mut self) {
        let label = format!("label=sam.base={}", self.name);
        let words = ["images", "--quiet", "--filter", &label];
        let made = Command::new("docker").args(words).output();
        let made = made.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let made = made.unwrap_or_default();
        let images = made.lines().chain([self.name.as_str()]);
        let removed = Command::new("docker").args(["rmi", "--force"]).args(images).output();
        drop(removed);
    }
}
