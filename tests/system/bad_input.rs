//! Bad input: each has a plain reason, the right status, and leaves nothing behind.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, header};
use serde_json::{Value, json};
use tests::world::{Repository, Store, World, id_in, random};

use crate::browser::{Browser, answer};

#[tokio::test]
async fn what_cannot_be_understood_is_refused_with_a_reason() {
    let world = World::start("input", Store::Sqlite).await.unwrap();
    let browser = Browser::signed_in(&world).await.unwrap();
    let ideas = format!("/api/projects/{}/ideas", world.project);
    let submit = |description: String| json!({ "idea": random(), "description": description, "stage": "executing" });
    for empty in ["", " \n\t "] {
        let refused = browser.post(&ideas, &submit(empty.to_owned())).await.unwrap();
        refused.is_problem(422, "empty_message").unwrap();
    }
    for n_bytes in [65_537, 1_000_000] {
        let refused = browser.post(&ideas, &submit("x".repeat(n_bytes))).await.unwrap();
        refused.is_problem(413, "too_large").unwrap();
        assert_eq!(refused.body["limit"], 65_536);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("MESSAGE_BYTES_MAX"), "{detail}");
    }
    let draft =
        json!({ "idea": random(), "description": "x".repeat(65_536), "stage": "exploring" });
    let good = browser.post(&ideas, &draft).await.unwrap();
    assert_eq!(good.status, 202, "the limit itself is good");
    for (body, media_type) in [("{", "application/json"), ("idea=1", "text/plain")] {
        let request = browser.request(Method::POST, &ideas).body(body);
        let request = request.header(header::ORIGIN, browser.origin());
        let refused = answer(request.header(header::CONTENT_TYPE, media_type)).await.unwrap();
        refused.is_problem(400, "malformed").unwrap();
    }
    let no_stage = json!({ "idea": random(), "description": "x", "stage": "flying" });
    browser.post(&ideas, &no_stage).await.unwrap().is_problem(400, "malformed").unwrap();
    let path = format!("{ideas}?after={}", good.body["position"]);
    let listed = browser.get(&path).await.unwrap();
    assert_eq!(
        listed.body.as_array().unwrap().len(),
        1,
        "what was refused is not there: {listed:?}"
    );
    world.end().await.unwrap();
}

#[tokio::test]
async fn unknown_and_malformed_ids_name_nothing() {
    let world = World::start("ids", Store::Sqlite).await.unwrap();
    let browser = Browser::signed_in(&world).await.unwrap();
    for id in [random().to_string(), "nonsense".to_owned(), "..%2f".to_owned()] {
        for path in [
            format!("/api/projects/{id}"),
            format!("/api/projects/{id}/ideas"),
            format!("/api/projects/{id}/sessions"),
            format!("/api/ideas/{id}"),
            format!("/api/executions/{id}"),
            format!("/api/executions/{id}/diff"),
            format!("/api/executions/{id}/timeline"),
            format!("/api/sessions/{id}"),
            format!("/api/sessions/{id}/items"),
            format!("/api/nodes/{id}"),
            format!("/api/workspaces/{id}"),
            format!("/api/{id}"),
        ] {
            browser.get(&path).await.unwrap().is_problem(404, "not_found").unwrap();
        }
        let execute = json!({ "execution": random() });
        let message = json!({ "message": random(), "text": "hello" });
        let idea = json!({ "idea": random(), "description": "x", "stage": "ready" });
        for (path, body) in [
            (format!("/api/projects/{id}/ideas"), &idea),
            (format!("/api/ideas/{id}/executions"), &execute),
            (format!("/api/executions/{id}/cancel"), &json!({})),
            (format!("/api/executions/{id}/input"), &json!({ "choice": "park" })),
            (format!("/api/sessions/{id}/messages"), &message),
            (format!("/api/nodes/{id}/stop"), &json!({})),
        ] {
            browser.post(&path, body).await.unwrap().is_problem(404, "not_found").unwrap();
        }
    }
    world.end().await.unwrap();
}

#[tokio::test]
async fn one_idea_id_from_two_tabs_is_one_idea_and_two_ids_are_two() {
    let world = World::start("tabs", Store::Sqlite).await.unwrap();
    let browser = Browser::signed_in(&world).await.unwrap();
    let ideas = format!("/api/projects/{}/ideas", world.project);
    let submit = |idea: uuid::Uuid| json!({ "idea": idea, "description": "say: hello", "stage": "executing" });
    let (same, other) = (random(), random());
    let (body, other_body) = (submit(same), submit(other));
    let (first, second, third) = tokio::join!(
        browser.post(&ideas, &body),
        browser.post(&ideas, &body),
        browser.post(&ideas, &other_body),
    );
    let (first, second, third) = (first.unwrap(), second.unwrap(), third.unwrap());
    assert_eq!((first.status, second.status, third.status), (202, 202, 202));
    assert_eq!(first.body, second.body, "both tabs get one answer");
    let last = first.body["position"].as_u64().max(third.body["position"].as_u64()).unwrap();
    let path = format!("{ideas}?after={last}");
    let listed = browser.get(&path).await.unwrap();
    assert_eq!(listed.body.as_array().unwrap().len(), 2, "{listed:?}");
    for answer in [&first, &third] {
        let execution = id_in(&answer.body, "execution").unwrap();
        assert_eq!(world.ended(execution).await.unwrap()["state"], "done");
    }
    world.end().await.unwrap();
}

#[tokio::test]
async fn addresses_that_are_none_are_refused_before_anything_is_linked() {
    let world = World::start("address", Store::Sqlite).await.unwrap();
    let browser = Browser::signed_in(&world).await.unwrap();
    for repository in ["", "relative/path", "ext::sh -c id", "--upload-pack=x", "https://a:b@c/d"] {
        let body = json!({ "id": random(), "repository": repository });
        let refused = browser.post("/api/projects", &body).await.unwrap();
        refused.is_problem(422, "bad_repository").unwrap();
    }
    let taken = json!({ "id": world.project, "repository": "/elsewhere" });
    let refused = browser.post("/api/projects", &taken).await.unwrap();
    refused.is_problem(409, "linked_elsewhere").unwrap();
    assert_eq!(browser.get("/api/projects").await.unwrap().body.as_array().unwrap().len(), 1);
    world.end().await.unwrap();
}

/// Submits an idea for a repository of its own and gives back the ended execution.
async fn fails_on(world: &World, repository: &Path, more: Value) -> Result<Value> {
    let repository = repository.to_str().context("a readable path")?;
    let (project, server) = (random(), world.server()?);
    server.post("projects", &json!({ "id": project, "repository": repository })).await?;
    let mut idea = json!({
        "idea": random(), "description": "say: hello", "stage": "executing", "codingAgent": "demo",
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        idea[name] = value.clone();
    }
    let accepted = server.post(&format!("projects/{project}/ideas"), &idea).await?;
    let ended = world.ended(id_in(&accepted, "execution")?).await?;
    ensure!(ended["state"] == "failed", "{ended:#}");
    let reason = ended["reason"].as_str().unwrap_or_default();
    ensure!(reason.len() > 10, "a reason for people: {ended:#}");
    let idea = format!("ideas/{}", id_in(&ended, "idea")?);
    let parked = world.until(&idea, |idea| idea["stage"] == "parked").await?;
    ensure!(parked["parkedReason"] == ended["reason"], "{parked:#}");
    Ok(ended)
}

fn empty_repository(path: &Path) -> Result<()> {
    let made = Command::new("git").args(["init", "-q", "--bare"]).arg(path).status()?;
    ensure!(made.success(), "git init: {made}");
    Ok(())
}

#[tokio::test]
async fn a_repository_that_cannot_be_used_parks_the_idea_with_the_reason() {
    let world = World::start("repos", Store::Sqlite).await.unwrap();
    let missing = world.folder().join("missing.git");
    fails_on(&world, &missing, json!({})).await.unwrap();
    let empty = world.folder().join("empty.git");
    empty_repository(&empty).unwrap();
    fails_on(&world, &empty, json!({})).await.unwrap();
    let good = Repository::create(&world.folder().join("good.git")).unwrap();
    let no_branch = json!({ "baseBranch": "no-such-branch" });
    let ended = fails_on(&world, good.path(), no_branch).await.unwrap();
    assert!(ended["reason"].as_str().unwrap().contains("no-such-branch"), "{}", ended["reason"]);
    assert!(good.references().unwrap().is_empty(), "nothing was pushed");
    let unreachable = Path::new("http://127.0.0.1:9/private.git");
    fails_on(&world, unreachable, json!({})).await.unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_push_that_is_rejected_keeps_the_work() {
    let world = World::start("push", Store::Sqlite).await.unwrap();
    let hook = world.repository.path().join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\necho 'no pushes today' >&2\nexit 1\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&hook, mode).unwrap();
    let execution = world.submit(random(), "write a.txt: kept").await.unwrap();
    let ended = world.ended(execution).await.unwrap();
    assert_eq!(ended["state"], "failed", "{ended:#}");
    let checkpoint = ended["checkpoint"].as_str().unwrap_or_default();
    assert!(checkpoint.contains("refs/sam/checkpoints/"), "{ended:#}");
    assert!(world.repository.references().unwrap().is_empty(), "the remote took nothing");
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_coding_agent_that_fails_or_hangs_ends_with_a_reason_or_a_cancel() {
    let world = World::start("agent", Store::Sqlite).await.unwrap();
    let failed = world.submit(random(), "write a.txt: kept\nfail: out of ideas").await.unwrap();
    let ended = world.ended(failed).await.unwrap();
    assert_eq!(ended["state"], "failed", "{ended:#}");
    assert!(ended["reason"].as_str().unwrap().contains("out of ideas"), "{ended:#}");
    let hanging = world.submit(random(), "hang").await.unwrap();
    let path = format!("executions/{hanging}");
    world.until(&path, |document| document["step"] == "running").await.unwrap();
    let server = world.server().unwrap();
    let cancel = format!("executions/{hanging}/cancel");
    server.post(&cancel, &json!({})).await.unwrap();
    let ended = world.ended(hanging).await.unwrap();
    assert_eq!(ended["state"], "cancelled", "{ended:#}");
    let late = server.ask(Method::POST, &cancel, Some(&json!({}))).await.unwrap();
    assert_eq!(late.0, 409, "{late:?}");
    world.end().await.unwrap();
}
