//! An idea becomes a branch by the hand of Claude Code: stored key, real container, real remote.
//!
//! Its requests go from the container over the engine's bridge to the agent's proxy, which puts the
//! key in and hands them to the scripted model.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::{
    scripted_model::{ScriptedModel, Step},
    world::{Store, World, id_in, random},
};

/// Where every workspace has its repository.
const DIRECTORY: &str = "/workspace";
/// What the model must get, and nobody in the container.
const KEY: &str = "sk-ant-a-key-of-the-test";

#[tokio::test]
async fn an_idea_becomes_a_branch_by_claude_code() {
    becomes_a_branch().await.unwrap();
}

async fn becomes_a_branch() -> Result<()> {
    let mut steps = ScriptedModel::hello(DIRECTORY);
    let look = "env | grep -c sk-ant > key.txt; true";
    let input = json!({ "command": look, "description": "Look for the key" });
    steps.insert(2, Step::Tool { name: "Bash".to_owned(), input });
    let model = ScriptedModel::start("127.0.0.1", steps).await?;
    let base_url = format!("http://{}", model.address);
    let settings = [("SAM_ANTHROPIC_BASE_URL", base_url.as_str())];
    let world = World::start_with("claude", Store::Sqlite, &settings).await?;
    let server = world.server()?;
    let secret = json!({ "secret": KEY });
    let (status, stored) =
        server.ask(reqwest::Method::PUT, "credentials/anthropic", Some(&secret)).await?;
    assert_eq!(status, 202, "{stored}");

    let idea = json!({
        "idea": random(), "description": "Write hello.txt and copy it.", "stage": "executing",
        "codingAgent": "claude-code",
    });
    let submitted = server.post(&format!("projects/{}/ideas", world.project), &idea).await?;
    let document = world.ended(id_in(&submitted, "execution")?).await?;
    assert_eq!(document["state"], "done", "{document:#}\n{:#?}\n{}", model.seen(), server.said());
    let branch = document["result"]["reference"].as_str().context("it pushed")?;
    assert_eq!(world.repository.file(branch, "hello.txt")?, "hello\n");
    assert_eq!(world.repository.file(branch, "copy.txt")?, "hello\n");
    assert_eq!(world.repository.file(branch, "key.txt")?, "0\n", "the key stays on the node");

    let session = id_in(&submitted, "session")?;
    let items = world.conversation(&session.to_string()).await?;
    let is_answer = |item: &&Value| item["author"] == "agent" && item["kind"] == "answer";
    let answers = items.iter().filter(is_answer).filter_map(|item| item["text"].as_str());
    let answer: String = answers.collect();
    assert_eq!(answer.matches("I wrote hello.txt and copied it.").count(), 1, "{items:#?}");
    let calls = items.iter().filter(|item| item["item"] == "tool_call");
    assert_eq!(calls.count(), 3, "{items:#?}");

    let seen = model.seen();
    let mut asked = seen.iter().filter(|seen| seen.line.contains("/messages")).peekable();
    assert!(asked.peek().is_some(), "the model was asked");
    assert!(asked.all(|seen| seen.key.as_deref() == Some(KEY)), "{seen:#?}");
    world.end().await
}
