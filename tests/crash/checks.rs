//! What must be true at the end of a round, whatever was killed.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tests::{
    oracle::{Entry, Oracle},
    world::World,
};
use tokio::{process::Command, time::Instant};
use uuid::Uuid;

use crate::story::{IDEA, same};

/// The numbers that the coding agent streams.
const N_STREAMED: usize = 30;

/// Holds the end of an execution against an undisturbed one.
pub(crate) async fn hold(world: &World, execution: Uuid, was_continued: bool) -> Result<()> {
    let document = world.server()?.get(&format!("executions/{execution}")).await?;
    if document["state"] != "done" {
        bail!("it did not end Done: {document:#}");
    }
    branch(world, &document)?;
    let session = document["session"].as_str().context("it has a session")?;
    conversation(&world.conversation(session).await?, was_continued)?;
    // A server that was started a moment ago may still have to tell the idea.
    let is_done = |ideas: &Value| {
        ideas.as_array().is_some_and(|ideas| ideas.len() == 1 && ideas[0]["stage"] == "done")
    };
    world.until(&format!("projects/{}/ideas", world.project), is_done).await?;
    decisions(world, execution).await?;
    log(world).await
}

/// What was decided before and after it is decided again.
async fn decisions(world: &World, execution: Uuid) -> Result<()> {
    let path = format!("executions/{execution}/verification");
    let verified = world.server()?.get(&path).await?;
    if verified["isSame"] != true || verified["notDecided"] != serde_json::json!([]) {
        bail!("it is not decided again: {verified:#}");
    }
    Ok(())
}

/// The log is what was recorded, and its heads are one chain, in the database and outside.
async fn log(world: &World) -> Result<()> {
    let mut verify = Command::new(tests::world::binary("sam")?);
    verify.args(["audit", "verify", "--data-dir"]).arg(world.data_dir());
    if let Some(url) = world.setting("SAM_DATABASE_URL") {
        verify.args(["--database-url", url]);
    }
    let output = verify.stdin(Stdio::null()).output().await?;
    if !output.status.success() {
        bail!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// How long the read side may take to show everything, after the last event.
const READ_SIDE: Duration = Duration::from_secs(60);

/// The log and all that was made of it keep their promises: see [`tests::oracle`].
pub(crate) async fn promises(world: &World, idea: Uuid, answer: u64) -> Result<()> {
    let deadline = Instant::now() + READ_SIDE;
    loop {
        let oracle = Oracle::open(world.database_url(), &world.data_dir()).await?;
        let is_there = |entry: &&Entry| entry.position == answer && entry.stream.id == idea;
        oracle.entries().iter().find(is_there).context("the accepted idea is in the log")?;
        match oracle.check(&[]).await {
            Err(violation) if Instant::now() > deadline => return Err(violation),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            Ok(()) => return Ok(()),
        }
    }
}

/// The remote has this one branch, with the very files that were asked for.
fn branch(world: &World, document: &Value) -> Result<()> {
    let reference = document["result"]["reference"].as_str().context("it pushed a branch")?;
    let reference = format!("refs/heads/{}", reference.trim_start_matches("refs/heads/"));
    let references = world.repository.references()?;
    let branches: Vec<&String> =
        references.iter().filter(|name| name.starts_with("refs/heads/")).collect();
    same("the branches", &branches, &vec![&reference])?;
    let tree = world.repository.git(&["ls-tree", "-r", "--name-only", &reference])?;
    same("the files", &tree.as_str(), &"README.md\nmade.txt\nnotes.txt\n")?;
    same("made.txt", &world.repository.file(&reference, "made.txt")?.as_str(), &"made\n")?;
    let notes = world.repository.file(&reference, "notes.txt")?;
    same("notes.txt", &notes.trim_end(), &"kept")
}

/// Every message is there once, whole and in order.
fn conversation(items: &[Value], was_continued: bool) -> Result<()> {
    let keys: BTreeSet<&str> = items.iter().filter_map(|item| item["key"].as_str()).collect();
    same("the number of items with a key of their own", &keys.len(), &items.len())?;
    let messages = |author: &'static str| {
        items.iter().filter(move |item| item["item"] == "message" && item["author"] == author)
    };
    let asked: Vec<&str> = messages("person").filter_map(|item| item["text"].as_str()).collect();
    same("what the person wrote", &asked, &vec![IDEA])?;
    let answers: Vec<&Value> = messages("agent").filter(|item| item["kind"] == "answer").collect();
    for answer in &answers {
        let is_whole = answer["isComplete"] == true || answer["isTruncated"] == true;
        same("a message is complete or says that it was cut off", &is_whole, &true)?;
    }
    // After a "continue" the first attempt's messages stay in the chat, and the second's are whole.
    let text: String = answers.iter().filter_map(|answer| answer["text"].as_str()).collect();
    let numbers: Vec<usize> =
        text.lines().filter_map(|line| line.split_once(' ')?.0.parse().ok()).collect();
    let whole: Vec<usize> = (0..N_STREAMED).collect();
    let counted = if was_continued { last_run(&numbers) } else { numbers };
    same("the streamed numbers", &counted, &whole)?;
    let n_finished = text.matches("finished").count();
    if n_finished != 1 && !(was_continued && n_finished == 2) {
        bail!("the last sentence stands there {n_finished} times");
    }
    Ok(())
}

/// The numbers from the last 0 on.
fn last_run(numbers: &[usize]) -> Vec<usize> {
    let begin = numbers.iter().rposition(|number| *number == 0).unwrap_or(0);
    numbers[begin..].to_vec()
}
