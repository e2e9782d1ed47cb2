//! `sam run --ask`: a person at a terminal answers; where there is none, the answer is no.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::world::{PATIENCE, Store, World, binary};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    time::timeout,
};

/// The permission of the only execution there is, and the tool call that it was about.
async fn asked_and_answered(world: &World) -> Result<(Value, Value)> {
    let ideas = world.server()?.get(&format!("projects/{}/ideas", world.project)).await?;
    let idea = ideas[0]["id"].as_str().context("there is one idea")?;
    let idea = world.server()?.get(&format!("ideas/{idea}")).await?;
    let session = idea["session"].as_str().with_context(|| format!("it has one: {idea}"))?;
    let items = world.conversation(session).await?;
    let find = |kind: &str| {
        let found = items.iter().find(|item| item["item"] == kind).cloned();
        found.with_context(|| format!("no {kind} in {items:#?}"))
    };
    Ok((find("permission")?, find("tool_call")?))
}

#[tokio::test]
async fn without_a_terminal_the_answer_is_no() {
    let world = World::start("ask-nobody", Store::Sqlite).await.unwrap();
    let repository = world.repository.path().to_str().unwrap();
    let words = ["run", "--agent", "demo", "--ask", "--repo", repository, "ask: May I?\nsay: so"];
    let mut command = Command::new(binary("sam").unwrap());
    command.args(words).arg("--data-dir").arg(world.data_dir()).stdin(Stdio::null());
    let output = timeout(PATIENCE, command.output()).await.expect("it asks nobody").unwrap();
    let progress = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "a no is an answer, and the turn went on: {progress}");
    assert!(progress.contains("May I?: Reject"), "the answer is shown: {progress}");
    let (permission, call) = asked_and_answered(&world).await.unwrap();
    assert_eq!(permission["answer"]["name"], "Reject", "{permission:#}");
    assert_eq!(permission["answer"]["option"], "no", "{permission:#}");
    assert_eq!(call["status"], "failed", "the coding agent took it as a no: {call:#}");
    world.end().await.unwrap();
}

/// `sam` at a terminal of its own.
struct Terminal {
    pty: pty_process::Pty,
    child: tokio::process::Child,
    shown: String,
}

impl Terminal {
    fn start(world: &World, words: &[&str]) -> Result<Self> {
        let (pty, pts) = pty_process::open()?;
        pty.resize(pty_process::Size::new(24, 100))?;
        let command = pty_process::Command::new(binary("sam")?).args(words);
        let command = command.arg("--data-dir").arg(world.data_dir()).kill_on_drop(true);
        Ok(Self { pty, child: command.spawn(pts)?, shown: String::new() })
    }

    /// Reads what is shown until it contains some words; None at its end.
    async fn until(&mut self, words: Option<&str>) -> Result<()> {
        let mut piece = [0; 4096];
        while words.is_none_or(|words| !self.shown.contains(words)) {
            let read = timeout(PATIENCE, self.pty.read(&mut piece)).await;
            // A terminal that nobody holds any more is closed with an error.
            let n_bytes = read.context("it says nothing more")?.unwrap_or_default();
            if n_bytes == 0 {
                ensure!(words.is_none(), "it ended before {words:?}: {}", self.shown);
                return Ok(());
            }
            self.shown.push_str(&String::from_utf8_lossy(&piece[..n_bytes]));
        }
        Ok(())
    }
}

async fn answers_at_a_terminal(number: &str, name: &str, status: &str) -> Result<()> {
    let world = World::start("ask-terminal", Store::Sqlite).await?;
    let repository = world.repository.path().to_str().context("a readable path")?;
    let words = ["run", "--agent", "demo", "--ask", "--repo", repository, "ask: May I?"];
    let mut terminal = Terminal::start(&world, &words)?;
    terminal.until(Some("? May I?")).await?;
    terminal.until(Some("3) Reject")).await?;
    terminal.until(Some("1–3: ")).await?;
    // What is none of the numbers is asked again.
    terminal.pty.write_all(b"maybe\n").await?;
    terminal.pty.write_all(format!("{number}\n").as_bytes()).await?;
    terminal.until(None).await?;
    let ended = terminal.child.wait().await?;
    ensure!(ended.success(), "{ended}: {}", terminal.shown);
    let (permission, call) = asked_and_answered(&world).await?;
    ensure!(permission["answer"]["name"] == name, "{permission:#}");
    ensure!(call["status"] == status, "{call:#}");
    world.end().await
}

#[tokio::test]
async fn a_person_at_a_terminal_allows() {
    answers_at_a_terminal("1", "Allow", "completed").await.unwrap();
}

#[tokio::test]
async fn a_person_at_a_terminal_refuses() {
    answers_at_a_terminal("3", "Reject", "failed").await.unwrap();
}
