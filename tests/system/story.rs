//! An idea becomes a branch, in the browser.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::world::{PATIENCE, Store, World, id_in, random};

use crate::browser::Browser;

const IDEA: &str = "plan: write; run\n\
    write NOTES.md: from the test\n\
    run: echo made > made.txt\n\
    stream: 20 40\n\
    say: finished";

#[tokio::test]
async fn an_idea_becomes_a_branch_on_sqlite() {
    becomes_a_branch(Store::Sqlite).await.unwrap();
}

#[tokio::test]
async fn an_idea_becomes_a_branch_on_postgres() {
    becomes_a_branch(Store::Postgres).await.unwrap();
}

async fn becomes_a_branch(store: Store) -> Result<()> {
    let world = World::start("story", store).await?;
    let browser = Browser::signed_in(&world).await?;
    let mut feed = browser.feed(None, &browser.origin()).await?;
    assert_eq!(feed.next().await?["type"], "hello");
    let idea = random();
    let body = json!({
        "idea": idea, "description": IDEA, "stage": "executing", "codingAgent": "demo",
    });
    let path = format!("/api/projects/{}/ideas", world.project);
    let submitted = browser.post(&path, &body).await?;
    assert_eq!(submitted.status, 202, "{submitted:?}");
    let session = id_in(&submitted.body, "session")?;
    let execution = id_in(&submitted.body, "execution")?;

    // Whoever submitted it sees it at once.
    let own = format!("{path}?after={}", submitted.body["position"]);
    assert_eq!(browser.get(&own).await?.body[0]["id"], json!(idea));

    feed.send(&json!({ "type": "follow", "session": session })).await?;
    let frames = feed
        .until(|frame| frame["event"] == "execution/done" && frame["execution"] == json!(execution))
        .await?;
    let streamed = merged(&frames);
    assert!(streamed.contains("finished"), "{streamed}");
    assert!(frames.iter().any(|frame| frame["type"] == "chunk"), "text is streamed as it comes");

    let document = world.ended(execution).await?;
    assert_eq!(document["state"], "done", "{document:#}");
    let steps = document["steps"].as_array().context("it has steps")?;
    assert_eq!(steps.len(), 7);
    assert!(steps.iter().all(|step| step["state"] == "done" || step["state"] == "skipped"));
    let reference = document["result"]["reference"].as_str().context("it pushed")?;
    assert_eq!(world.repository.file(reference, "NOTES.md")?.trim(), "from the test");
    assert_eq!(world.repository.file(reference, "made.txt")?, "made\n");
    let diff = browser.get(&format!("/api/executions/{execution}/diff")).await?;
    assert!(diff.body.as_str().context("a text")?.contains("+from the test"), "{diff:?}");
    told_in_full(&browser, execution).await?;

    // The conversation is there once more from the beginning, the streamed text once.
    let items = world.conversation(&session.to_string()).await?;
    let whole: String = answers(&items).collect();
    assert_eq!(whole.matches("finished").count(), 1, "{whole}");
    assert!(items.iter().any(|item| item["item"] == "tool_call"));
    assert!(items.iter().any(|item| item["item"] == "plan"));

    follow_up(&world, &browser, session).await?;
    world.end().await
}

/// Everything that the execution involved is in one account, in order.
async fn told_in_full(browser: &Browser, execution: uuid::Uuid) -> Result<()> {
    let path = format!("/api/executions/{execution}/timeline");
    let timeline = browser.get(&path).await?.body;
    let entries = timeline["entries"].as_array().context("it has entries")?;
    let kinds: std::collections::BTreeSet<_> =
        entries.iter().filter_map(|entry| entry["kind"].as_str()).collect();
    let all = ["execution", "git", "idea", "node", "process", "session", "workspace"];
    assert_eq!(kinds, all.into(), "{timeline:#}");
    let positions: Vec<_> = entries.iter().map(|entry| entry["position"].as_u64()).collect();
    assert!(positions.is_sorted(), "{positions:?}");
    assert!(timeline["position"].as_u64() >= positions.last().copied().flatten());
    let begun = entries.iter().find(|entry| entry["event"] == "requested").context("it began")?;
    let cause = begun["cause"]["position"].as_u64();
    assert!(cause.is_some() && cause < begun["position"].as_u64(), "an event led to it: {begun}");

    let phases = timeline["phases"].as_array().context("it has phases")?;
    let named = |name: &str| phases.iter().find(|phase| phase["phase"] == name);
    for name in ["node_selection", "workspace_creation", "running", "finishing", "push"] {
        let phase = named(name).with_context(|| format!("{name} is missing: {phases:#?}"))?;
        assert_eq!((&phase["state"], &phase["attempt"]), (&json!("done"), &json!(1)), "{phase}");
    }
    let running = named("running").and_then(|phase| phase["elapsedMs"].as_u64());
    assert!(running > Some(0), "it took a while: {phases:#?}");

    let git = browser.get(&format!("{path}?kind=git")).await?.body;
    let git = git["entries"].as_array().context("it has entries")?;
    let events: Vec<_> = git.iter().filter_map(|entry| entry["event"].as_str()).collect();
    assert_eq!(events, ["committed", "result_recorded"], "{git:#?}");
    browser.get(&format!("{path}?kind=gut")).await?.is_problem(400, "malformed")
}

/// A message after the end starts a new idea on the same branch.
async fn follow_up(world: &World, browser: &Browser, session: uuid::Uuid) -> Result<()> {
    let message = random();
    let body = json!({ "message": message, "text": "write MORE.md: and more" });
    let path = format!("/api/sessions/{session}/messages");
    let posted = browser.post(&path, &body).await?;
    assert_eq!(posted.status, 202, "{posted:?}");
    let again = browser.post(&path, &body).await?;
    assert_eq!(again.body["execution"], posted.body["execution"], "a repeat is the same message");
    let document = world.ended(id_in(&posted.body, "execution")?).await?;
    assert_eq!(document["state"], "done", "{document:#}");
    let branches = world.repository.references()?;
    assert_eq!(branches.len(), 1, "the same branch: {branches:?}");
    assert_eq!(world.repository.file(&branches[0], "MORE.md")?.trim(), "and more");
    assert_eq!(world.repository.file(&branches[0], "NOTES.md")?.trim(), "from the test");
    Ok(())
}

fn answers(items: &[Value]) -> impl Iterator<Item = &str> {
    let is_answer = |item: &&Value| item["author"] == "agent" && item["kind"] == "answer";
    items.iter().filter(is_answer).filter_map(|item| item["text"].as_str())
}

/// What a browser has on its screen: chunks merged by their numbers, items in place of both.
fn merged(frames: &[Value]) -> String {
    let mut texts: std::collections::BTreeMap<String, (String, u64)> = Default::default();
    for frame in frames {
        match frame["type"].as_str() {
            Some("chunk") => {
                let key = frame["message"].as_str().unwrap_or_default().to_owned();
                let (text, next) = texts.entry(key).or_default();
                if frame["chunk"].as_u64() == Some(*next) {
                    text.push_str(frame["text"].as_str().unwrap_or_default());
                    *next += 1;
                }
            }
            Some("item") if frame["item"]["item"] == "message" => {
                let item = &frame["item"];
                let key = item["key"].as_str().unwrap_or_default();
                let key = key.rsplit('/').next().unwrap_or_default().to_owned();
                let text = item["text"].as_str().unwrap_or_default().to_owned();
                let known = texts.entry(key).or_default();
                if item["nChunks"].as_u64() >= Some(known.1) {
                    *known = (text, item["nChunks"].as_u64().unwrap_or_default());
                }
            }
            _ => {}
        }
    }
    texts.into_values().map(|(text, _)| text).collect()
}

#[tokio::test]
async fn a_fourth_idea_waits_for_room_and_says_so() {
    let world = World::start("full", Store::Sqlite).await.unwrap();
    let mut first = Vec::new();
    for _ in 0..3 {
        first.push(world.submit(random(), "sleep: 600").await.unwrap());
    }
    for execution in &first {
        let path = format!("executions/{execution}");
        world.until(&path, |document| document["step"] == "running").await.unwrap();
    }
    let fourth = world.submit(random(), "say: at last").await.unwrap();
    let path = format!("executions/{fourth}");
    let waiting = world.until(&path, |document| document["state"] == "waiting").await.unwrap();
    assert_eq!(waiting["step"], "node_selection");
    let reason = waiting["reason"].as_str().unwrap_or_default();
    assert!(reason.len() > 10, "it says why: {waiting:#}");
    let server = world.server().unwrap();
    let started = tokio::time::Instant::now();
    server.post(&format!("executions/{}/cancel", first[0]), &json!({})).await.unwrap();
    assert_eq!(world.ended(first[0]).await.unwrap()["state"], "cancelled");
    assert_eq!(world.ended(fourth).await.unwrap()["state"], "done");
    assert!(started.elapsed() < PATIENCE);
    for execution in &first[1..] {
        server.post(&format!("executions/{execution}/cancel"), &json!({})).await.unwrap();
        assert_eq!(world.ended(*execution).await.unwrap()["state"], "cancelled");
    }
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_person_is_asked_and_answers() {
    let world = World::start("ask", Store::Sqlite).await.unwrap();
    let browser = Browser::signed_in(&world).await.unwrap();
    let body = json!({
        "idea": random(), "description": "ask: May I?\nsay: thank you", "stage": "executing",
        "codingAgent": "demo", "permissions": "ask",
    });
    let path = format!("/api/projects/{}/ideas", world.project);
    let submitted = browser.post(&path, &body).await.unwrap();
    let session = id_in(&submitted.body, "session").unwrap();
    let is_asked = |item: &&Value| item["item"] == "permission";
    let items = format!("sessions/{session}/items");
    world
        .until(&format!("sessions/{session}"), |document| document["state"] == "needs_input")
        .await
        .unwrap();
    let page = world.server().unwrap().get(&items).await.unwrap();
    let asked = page["items"].as_array().unwrap().iter().find(is_asked).unwrap().clone();
    assert!(asked["answer"].is_null(), "{asked}");
    let answer =
        format!("/api/sessions/{session}/permissions/{}", asked["request"].as_str().unwrap());
    let wrong = browser.post(&answer, &json!({ "option": "whatever" })).await.unwrap();
    wrong.is_problem(422, "no_such_option").unwrap();
    let option = &asked["options"][0]["id"];
    let right = browser.post(&answer, &json!({ "option": option })).await.unwrap();
    assert_eq!(right.status, 202, "{right:?}");
    let execution = id_in(&submitted.body, "execution").unwrap();
    assert_eq!(world.ended(execution).await.unwrap()["state"], "done");
    let late = browser.post(&answer, &json!({ "option": option })).await.unwrap();
    assert_eq!(late.status, 409, "{late:?}");
    world.end().await.unwrap();
}
