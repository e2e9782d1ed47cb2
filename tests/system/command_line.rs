//! The `sam` command without a browser.

use std::process::{Output, Stdio};

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use tests::world::{Store, World};
use tokio::process::Command;

/// Runs `sam` on the data directory of a world.
pub(crate) async fn sam(world: &World, words: &[&str]) -> Result<Output> {
    let mut command = Command::new(tests::world::binary("sam")?);
    command.args(words).arg("--data-dir").arg(world.data_dir()).env_remove("ANTHROPIC_API_KEY");
    Ok(command.stdin(Stdio::null()).output().await?)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn run_prints_the_branch_last_whether_a_server_runs_or_not() {
    let mut world = World::start("run", Store::Sqlite).await.unwrap();
    let repository = world.repository.path().to_str().unwrap().to_owned();
    let run =
        ["run", "--agent", "demo", "--repo", &repository, "write A.md: one\nsay: hello there"];
    let output = sam(&world, &run).await.unwrap();
    let (results, progress) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{progress}");
    let branch = results.lines().last().unwrap().to_owned();
    assert!(branch.starts_with("sam/"), "{results}");
    assert_eq!(world.repository.file(&branch, "A.md").unwrap().trim(), "one");
    assert_eq!(progress.matches("hello there").count(), 1, "the answer, once: {progress}");
    assert!(progress.contains("choosing a machine"), "the steps are shown: {progress}");

    world.kill().await.unwrap();
    let output = sam(&world, &run).await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let second = text(&output.stdout).lines().last().unwrap().to_owned();
    assert_ne!(second, branch, "an idea of its own");
    assert_eq!(world.repository.file(&second, "A.md").unwrap().trim(), "one");

    let ideas = sam(&world, &["ideas", "--json"]).await.unwrap();
    let ideas: Value = serde_json::from_slice(&ideas.stdout).unwrap();
    assert_eq!(ideas.as_array().unwrap().len(), 2, "read without a server: {ideas:#}");
    world.resume().await.unwrap();
    // What a run without a server leaves undone is done at the next start.
    for idea in ideas.as_array().unwrap() {
        let path = format!("ideas/{}", idea["id"].as_str().unwrap());
        world.until(&path, |idea| idea["stage"] == "done").await.unwrap();
    }
    let ideas = sam(&world, &["ideas", "--json"]).await.unwrap();
    let ideas: Value = serde_json::from_slice(&ideas.stdout).unwrap();
    assert!(ideas.as_array().unwrap().iter().all(|idea| idea["stage"] == "done"), "{ideas:#}");
    world.end().await.unwrap();
}

#[tokio::test]
async fn what_was_said_is_found_with_a_server_and_without() {
    let mut world = World::start("search", Store::Sqlite).await.unwrap();
    let idea = tests::world::random();
    let execution = world.submit(idea, "say: The needle_count is in `src/main.rs`.").await.unwrap();
    world.ended(execution).await.unwrap();
    let is_whole = |page: &Value| page["hits"].as_array().is_some_and(|hits| hits.len() == 2);
    let page = world.until("search?q=needle%20main", is_whole).await.unwrap();
    let newest = &page["hits"][0];
    assert_eq!((&newest["role"], &newest["idea"]), (&json!("agent"), &json!(idea)), "{page:#}");
    let snippet: Vec<_> = newest["snippet"].as_array().unwrap().iter().collect();
    assert!(
        snippet.iter().any(|part| part["text"] == "needle" && part["isHit"] == true),
        "{page:#}"
    );
    let words = ["search", "--json", "NEEDLE", "main"];
    let with_server = sam(&world, &words).await.unwrap();
    let hits: Value = serde_json::from_slice(&with_server.stdout).unwrap();
    assert_eq!(hits, page["hits"]);
    let asked = sam(&world, &["projections", "rebuild", "chat_search"]).await.unwrap();
    assert!(asked.status.success(), "{}", text(&asked.stderr));
    let again = world.until("search?q=needle%20main", is_whole).await.unwrap();
    assert_eq!(again["hits"], page["hits"], "the index is made again from the log");
    let nothing = sam(&world, &["search", "?!"]).await.unwrap();
    assert!(!nothing.status.success() && text(&nothing.stderr).contains("at least one word"));
    world.kill().await.unwrap();
    let without = sam(&world, &words).await.unwrap();
    assert_eq!(text(&without.stdout), text(&with_server.stdout), "{}", text(&without.stderr));
    world.resume().await.unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn run_fails_with_the_reason() {
    let world = World::start("run-fail", Store::Sqlite).await.unwrap();
    let repository = world.repository.path().to_str().unwrap();
    let failing = ["run", "--agent", "demo", "--repo", repository, "fail: no luck"];
    let output = sam(&world, &failing).await.unwrap();
    assert!(!output.status.success());
    assert_eq!(text(&output.stdout), "", "no branch");
    assert!(text(&output.stderr).contains("no luck"), "{}", text(&output.stderr));
    // Nobody can be asked here, so the answer is no.
    let asking = ["run", "--agent", "demo", "--ask", "--repo", repository, "ask: May I?"];
    let output = sam(&world, &asking).await.unwrap();
    let progress = text(&output.stderr);
    assert!(output.status.code().is_some(), "it ends by itself: {progress}");
    assert!(progress.contains("May I?"), "{progress}");
    world.end().await.unwrap();
}

#[tokio::test]
async fn listings_and_the_log_are_json_for_scripts() {
    let mut world = World::start("listings", Store::Postgres).await.unwrap();
    let projects = sam(&world, &["projects", "--json"]).await.unwrap();
    let projects: Value = serde_json::from_slice(&projects.stdout).unwrap();
    assert_eq!(projects[0]["name"], "Story");
    for listing in ["nodes", "workspaces", "ideas"] {
        let listed = sam(&world, &[listing, "--json"]).await.unwrap();
        assert!(serde_json::from_slice::<Vec<Value>>(&listed.stdout).is_ok(), "{listing}");
    }
    let tail = sam(&world, &["log", "tail", "--json"]).await.unwrap();
    let entries = text(&tail.stdout);
    let positions: Vec<u64> = entries
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["position"].as_u64().unwrap())
        .collect();
    let whole: Vec<u64> = (1..).take(positions.len()).collect();
    assert_eq!(positions, whole, "every event once, in order");
    let later = sam(&world, &["log", "tail", "--json", "--after", "1"]).await.unwrap();
    assert_eq!(text(&later.stdout).lines().count(), positions.len() - 1);
    world.kill().await.unwrap();
    world.resume().await.unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_second_server_names_the_first_and_leaves() {
    let world = World::start("second", Store::Sqlite).await.unwrap();
    let second = sam(&world, &["serve", "--listen", "127.0.0.1:0"]).await.unwrap();
    assert!(!second.status.success());
    let said = text(&second.stderr);
    let port = world.server().unwrap().address.port();
    assert!(said.contains(&format!("http://app.sam.localhost:{port}")), "{said}");
    assert_eq!(world.server().unwrap().get("projects").await.unwrap()[0]["name"], "Story");
    let link = sam(&world, &["sign-in"]).await.unwrap();
    assert!(text(&link.stdout).contains("/sign-in#"), "{}", text(&link.stderr));
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_listener_that_others_can_reach_is_refused_without_tls() {
    let world = World::start("listen", Store::Sqlite).await.unwrap();
    let refused = sam(&world, &["serve", "--listen", "0.0.0.0:0"]).await.unwrap();
    assert!(!refused.status.success());
    let said = text(&refused.stderr);
    assert!(said.contains("no TLS") && said.trim().lines().count() == 1, "one sentence: {said}");
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_project_is_erased_by_its_name_only() {
    let world = World::start("erase-cli", Store::Sqlite).await.unwrap();
    let (project, idea) = (world.project.to_string(), tests::world::random());
    let server = world.server().unwrap();
    let body = json!({ "idea": idea, "description": "between us", "stage": "exploring" });
    server.post(&format!("projects/{project}/ideas"), &body).await.unwrap();

    let wrong = sam(&world, &["projects", "erase", &project, "--confirm", "Tale"]).await.unwrap();
    assert!(!wrong.status.success());
    let said = text(&wrong.stderr);
    assert!(said.contains("confirm it with its name, Story"), "{said}");
    let body = json!({ "confirm": "Tale" });
    let path = format!("projects/{project}");
    let (status, problem) = server.ask(Method::DELETE, &path, Some(&body)).await.unwrap();
    assert_eq!((status, &problem["code"]), (422, &json!("not_confirmed")), "{problem}");

    let erased = sam(&world, &["projects", "erase", &project, "--confirm", "Story"]).await.unwrap();
    assert!(erased.status.success(), "{}", text(&erased.stderr));
    assert_eq!(text(&erased.stdout).trim(), project);
    let listed = sam(&world, &["projects", "--json"]).await.unwrap();
    assert_eq!(text(&listed.stdout).trim(), "[]");
    let idea = server.get(&format!("ideas/{idea}")).await.unwrap();
    assert_eq!(idea["description"], "erased", "{idea}");
    let more = json!({ "idea": tests::world::random(), "description": "x", "stage": "exploring" });
    let path = format!("projects/{project}/ideas");
    let (status, problem) = server.ask(Method::POST, &path, Some(&more)).await.unwrap();
    assert_eq!((status, &problem["code"]), (409, &json!("erased")), "{problem}");
    // Asked for again, it is still erased, whatever the name was.
    let path = format!("projects/{project}");
    let (status, again) = server.ask(Method::DELETE, &path, Some(&body)).await.unwrap();
    assert_eq!(status, 202, "{again}");
    world.end().await.unwrap();
}

#[tokio::test]
async fn an_account_is_erased_by_its_name_only_and_the_next_link_is_for_a_new_one() {
    let world = World::start("erase-account-cli", Store::Sqlite).await.unwrap();
    let server = world.server().unwrap();
    let idea = tests::world::random();
    let body = json!({ "idea": idea, "description": "between us", "stage": "exploring" });
    server.post(&format!("projects/{}/ideas", world.project), &body).await.unwrap();
    let old = server.get("account").await.unwrap();
    let (id, name) = (old["id"].as_str().unwrap(), old["name"].as_str().unwrap());
    assert_eq!((&old["isErasing"], &old["isErased"]), (&json!(false), &json!(false)));

    let wrong = sam(&world, &["account", "erase", "--confirm", "nobody"]).await.unwrap();
    assert!(!wrong.status.success());
    let said = text(&wrong.stderr);
    assert!(said.contains(&format!("confirm it with its name, {name}")), "{said}");
    let body = json!({ "confirm": "nobody" });
    let (status, problem) = server.ask(Method::DELETE, "account", Some(&body)).await.unwrap();
    assert_eq!((status, &problem["code"]), (422, &json!("not_confirmed")), "{problem}");

    let erased = sam(&world, &["account", "erase", "--confirm", name]).await.unwrap();
    assert!(erased.status.success(), "{}", text(&erased.stderr));
    assert_eq!(text(&erased.stdout).trim(), id);
    let gone = server.get(&format!("accounts/{id}")).await.unwrap();
    assert_eq!((&gone["name"], &gone["isErased"]), (&json!("erased"), &json!(true)));
    // Asked for again, it is still erased, whatever the name was.
    let (status, again) = server.ask(Method::DELETE, "account", Some(&body)).await.unwrap();
    assert_eq!(status, 202, "{again}");
    let link = |id: uuid::Uuid| json!({ "id": id, "repository": world.repository.path() });
    let body = link(tests::world::random());
    let (status, problem) = server.ask(Method::POST, "projects", Some(&body)).await.unwrap();
    assert_eq!((status, &problem["code"]), (409, &json!("erased")), "{problem}");

    let signed = sam(&world, &["sign-in"]).await.unwrap();
    assert!(text(&signed.stdout).contains("/sign-in#"), "{}", text(&signed.stderr));
    let new = server.get("account").await.unwrap();
    assert_ne!(new["id"], old["id"]);
    assert_eq!(new["isErased"], json!(false));
    assert_eq!(server.get("projects").await.unwrap(), json!([]));
    server.post("projects", &link(tests::world::random())).await.unwrap();
    let (status, _) = server.ask(Method::GET, &format!("ideas/{idea}"), None).await.unwrap();
    assert_eq!(status, 404, "it is nobody's any more");
    let checked = sam(&world, &["audit", "verify"]).await.unwrap();
    assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));
    world.end().await.unwrap();
}

#[tokio::test]
async fn retention_is_told_without_a_server() {
    let mut command = Command::new(tests::world::binary("sam").unwrap());
    let rules = command.args(["log", "retention", "--json"]).output().await.unwrap();
    let rules: Value = serde_json::from_slice(&rules.stdout).unwrap();
    let session = rules.as_array().unwrap().iter().find(|rule| rule["kind"] == "session").unwrap();
    assert_eq!(session["keep"], "forever_without_erased_texts");
}
