//! Once a project is erased, the replay of what was done in it says so in the place of every word, with a server
//! and without one. The destruction of its key is enough for that.

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tests::world::{PATIENCE, Store, World, random};
use tokio::time::{Duration, Instant};

use crate::command_line::{sam, text};

/// In the idea, and so in the branch, the commit and the prompt; in the plan, in a file's name and in the answer.
const SECRET: &str = "pelikan";
const GLANCE: Duration = Duration::from_millis(40);

/// A world in which the secret was told: the execution, and the position of its end.
async fn told(name: &str) -> Result<(World, String, String)> {
    let world = World::start(name, Store::Sqlite).await?;
    let wish = format!("plan: feed the {SECRET}; rest\nwrite {SECRET}.md: fed\nsay: The {SECRET}.");
    let execution = world.submit(random(), &wish).await?.to_string();
    let path = format!("executions/{execution}/timeline");
    let timeline = world.until(&path, |timeline| position_of(timeline, "done").is_some()).await?;
    let done = position_of(&timeline, "done").context("it is told")?.to_string();
    for told in replayed(&world, &execution, &done).await? {
        ensure!(told.contains(SECRET), "or there is nothing to erase: {told}");
    }
    Ok((world, execution, done))
}

#[tokio::test]
async fn an_execution_of_an_erased_project_is_replayed_without_a_word_of_it() -> Result<()> {
    let (mut world, execution, done) = told("without-words").await?;
    let project = world.project.to_string();
    let erased = sam(&world, &["projects", "erase", &project, "--confirm", "Story"]).await?;
    ensure!(erased.status.success(), "{}", text(&erased.stderr));
    is_without_words(&world, &execution, &done).await?;
    let told = world.server()?.get(&format!("executions/{execution}/timeline")).await?;
    ensure!(!told.to_string().contains(SECRET), "{told:#}");
    let told = world.server()?.get(&format!("executions/{execution}/at/{done}")).await?;
    ensure!(!told.to_string().contains(SECRET), "{told:#}");
    // What was decided is decided again without the words.
    let verified = sam(&world, &["replay", &execution, "--verify", "--json"]).await?;
    let said = text(&verified.stdout);
    ensure!(verified.status.success() && !said.contains(SECRET), "{said}");

    world.kill().await?;
    is_without_words(&world, &execution, &done).await?;
    world.resume().await?;
    world.end().await
}

/// The server is killed before it could tell its read models of it.
#[tokio::test]
async fn an_execution_is_replayed_without_a_word_as_soon_as_its_key_is_destroyed() -> Result<()> {
    let (mut world, execution, done) = told("without-key").await?;
    world.kill().await?;
    world.resume_with(&[("SAM_CRASH_POINT", "erasure.after_destroyed")]).await?;
    let project = format!("projects/{}", world.project);
    let confirm = json!({ "confirm": "Story" });
    // It may be cut off by the kill.
    let _ = world.server()?.ask(Method::DELETE, &project, Some(&confirm)).await;
    let deadline = Instant::now() + PATIENCE;
    while !world.server_mut()?.is_dead() {
        ensure!(Instant::now() < deadline, "it is not killed: {}", world.server()?.said());
        tokio::time::sleep(GLANCE).await;
    }
    is_without_words(&world, &execution, &done).await?;
    world.resume().await?;
    world.until(&project, |project| project["isErased"] == true).await?;
    is_without_words(&world, &execution, &done).await?;
    world.end().await
}

/// Where a timeline tells of an event.
fn position_of(timeline: &Value, event: &str) -> Option<u64> {
    let entries = timeline["entries"].as_array()?;
    entries.iter().find(|entry| entry["event"] == event)?["position"].as_u64()
}

/// What `sam replay` prints: the account and then the state at a position, each for people and as JSON.
async fn replayed(world: &World, execution: &str, position: &str) -> Result<Vec<String>> {
    let ways: [&[&str]; 4] = [&[], &["--json"], &["--at", position], &["--at", position, "--json"]];
    let mut told = Vec::new();
    for way in ways {
        let output = sam(world, &[&["replay", execution][..], way].concat()).await?;
        ensure!(output.status.success(), "{way:?}: {}", text(&output.stderr));
        told.push(text(&output.stdout));
    }
    Ok(told)
}

async fn is_without_words(world: &World, execution: &str, position: &str) -> Result<()> {
    let told = replayed(world, execution, position).await?;
    let repository = world.repository.path().display().to_string();
    for told in &told {
        ensure!(told.contains("erased"), "{told}");
        ensure!(!told.contains(SECRET) && !told.contains(&repository), "{told}");
    }
    let [_, account, _, state] = &told[..] else { bail!("there are four ways: {told:?}") };
    let account: Value = serde_json::from_str(account)?;
    let entries = account["entries"].as_array().context("entries")?;
    // The commits were one text, which is gone; all other events are told as ever.
    ensure!(
        position_of(&account, "done").is_some() && position_of(&account, "committed").is_none()
    );
    ensure!(entries.iter().all(|entry| entry["summary"] == "erased"), "{account:#}");
    let phases = account["phases"].as_array().context("phases")?;
    ensure!(phases.iter().all(|phase| phase["reason"].is_null()), "{account:#}");

    let state: Value = serde_json::from_str(state)?;
    let aggregates = state["aggregates"].as_array().context("aggregates")?;
    let is_erased = |one: &Value| one["isErased"] == true && one["state"] == "erased";
    // A machine has no texts.
    let mut of_project = aggregates.iter().filter(|one| one["kind"] != "node");
    ensure!(aggregates.len() > 1 && of_project.all(is_erased), "{state:#}");
    let items = state["chat"]["items"].as_array().context("items")?;
    let messages: Vec<_> = items.iter().filter(|item| item["item"] == "message").collect();
    let are_erased = messages.iter().all(|message| message["text"] == "erased");
    ensure!(messages.len() > 1 && are_erased, "the prompt and the answer: {state:#}");
    Ok(())
}
