//! A project's variables: set in the browser and on the command line, seen by programs in containers.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tests::world::{Store, World, random};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    browser::Browser,
    command_line::{sam, text},
};

const SECRET: &str = "pelikan-4711 and more";

#[tokio::test]
async fn a_coding_agent_sees_the_variables_of_its_project_on_sqlite() {
    sees_the_variables(Store::Sqlite).await.unwrap();
}

#[tokio::test]
async fn a_coding_agent_sees_the_variables_of_its_project_on_postgres() {
    sees_the_variables(Store::Postgres).await.unwrap();
}

async fn sees_the_variables(store: Store) -> Result<()> {
    let world = World::start("variables", store).await?;
    let browser = Browser::signed_in(&world).await?;
    let path = format!("/api/projects/{}/variables", world.project);
    refusals(&browser, &path).await?;
    set(&browser, &path, "COLOUR", "red\nand blue", false).await?;
    set(&browser, &path, "PASSWORD", SECRET, true).await?;

    // What is pushed would be in the diff, so of the password only its length is.
    let project = world.project;
    let idea = random();
    let execution = world
        .submit(
            idea,
            "run: printenv COLOUR > colour.txt\n\
             run: printenv PASSWORD | wc -c > length.txt\n\
             run: printenv SAM_PROJECT_ID SAM_IDEA_ID > ids.txt\n\
             run: printenv SAM_NODE_ID SAM_WORKSPACE_ID SAM_SESSION_ID | wc -l > more.txt",
        )
        .await?;
    let document = world.ended(execution).await?;
    ensure!(document["state"] == "done", "{document:#}");
    let branch = document["result"]["reference"].as_str().context("it pushed")?;
    let file = |name| world.repository.file(branch, name);
    ensure!(file("colour.txt")? == "red\nand blue\n", "{:?}", file("colour.txt"));
    ensure!(file("length.txt")?.trim() == (SECRET.len() + 1).to_string());
    ensure!(file("ids.txt")? == format!("{project}\n{idea}\n"), "{:?}", file("ids.txt"));
    ensure!(file("more.txt")?.trim() == "3");
    nowhere_in_files(&world)?;

    let removed = browser.write(Method::DELETE, &format!("{path}/COLOUR"), &json!(null)).await?;
    ensure!(removed.status == 202, "{removed:?}");
    let listed = browser.get(&format!("{path}?after={}", removed.body["position"])).await?;
    ensure!(names(&listed.body) == ["PASSWORD"], "{listed:?}");
    world.end().await
}

fn names(variables: &Value) -> Vec<&str> {
    let variables = variables.as_array().into_iter().flatten();
    variables.filter_map(|variable| variable["name"].as_str()).collect()
}

async fn set(
    browser: &Browser,
    path: &str,
    name: &str,
    value: &str,
    is_secret: bool,
) -> Result<()> {
    let body = json!({ "value": value, "isSecret": is_secret });
    let answer = browser.write(Method::PUT, &format!("{path}/{name}"), &body).await?;
    ensure!(answer.status == 202, "{answer:?}");
    let listed = browser.get(&format!("{path}?after={}", answer.body["position"])).await?;
    let variables = listed.body.as_array().context("a list")?;
    let found = variables.iter().find(|variable| variable["name"] == name);
    let found = found.with_context(|| format!("{name} is listed: {listed:?}"))?;
    let readable = if is_secret { Value::Null } else { json!(value) };
    ensure!(found["value"] == readable && found["isSecret"] == is_secret, "{found}");
    ensure!(!is_secret || !listed.body.to_string().contains(value), "{listed:?}");
    Ok(())
}

/// Each has its code and a sentence.
async fn refusals(browser: &Browser, path: &str) -> Result<()> {
    let put = async |name: &str, value: String| {
        browser.write(Method::PUT, &format!("{path}/{name}"), &json!({ "value": value })).await
    };
    for name in ["1ST", "A-B", "PATH", "SAM_BRANCH", "GIT_DIR", "ANTHROPIC_API_KEY"] {
        put(name, "x".to_owned()).await?.is_problem(422, "bad_variable_name")?;
    }
    put("A", "\0".to_owned()).await?.is_problem(422, "bad_variable_value")?;
    let too_long = put("A", "x".repeat(8 * 1024 + 1)).await?;
    too_long.is_problem(413, "variable_too_long")?;
    let endless = put("A", "x".repeat(1_000_000)).await?;
    endless.is_problem(413, "too_large")?;
    ensure!(endless.body["limit"] == 8 * 1024, "{endless:?}");
    let nowhere = format!("/api/projects/{}/variables", random());
    let body = json!({ "value": "x" });
    let unknown = browser.write(Method::PUT, &format!("{nowhere}/A"), &body).await?;
    unknown.is_problem(404, "not_found")?;
    browser.get(&nowhere).await?.is_problem(404, "not_found")?;
    ensure!(browser.get(path).await?.body == json!([]), "what was refused is not there");
    Ok(())
}

/// No file of the server or of its node's agent says the secret, deleted rows included.
fn nowhere_in_files(world: &World) -> Result<()> {
    let mut folders = vec![world.data_dir()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_type()?.is_file() {
                let bytes = std::fs::read(entry.path())?;
                let tells = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
                ensure!(!tells, "{} says it", entry.path().display());
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn variables_are_set_listed_and_removed_on_the_command_line() {
    let mut world = World::start("cli-variables", Store::Sqlite).await.unwrap();
    let shown = piped(&world, &["set", "COLOUR"], "red\n").await.unwrap();
    assert_eq!(shown, "COLOUR\n");
    piped(&world, &["set", "PASSWORD", "--secret"], SECRET).await.unwrap();
    let refused = piped(&world, &["set", "SAM_COLOUR"], "red").await.unwrap_err().to_string();
    assert!(refused.contains("SAM's own"), "{refused}");
    let unknown = sam(&world, &["variables", "--project", "Nothing"]).await.unwrap();
    assert!(text(&unknown.stderr).contains("sam projects"), "{}", text(&unknown.stderr));

    let listed = sam(&world, &["variables", "--project", "Story"]).await.unwrap();
    let expected = "COLOUR  red\nPASSWORD  secret, cannot be read again\n";
    assert_eq!(text(&listed.stdout), expected, "{}", text(&listed.stderr));
    let project = world.project.to_string();
    let json_words = ["variables", "--project", &project, "--json"];
    let with_server = text(&sam(&world, &json_words).await.unwrap().stdout);
    assert!(with_server.contains("\"value\": \"red\"") && !with_server.contains(SECRET));
    world.kill().await.unwrap();
    assert_eq!(text(&sam(&world, &json_words).await.unwrap().stdout), with_server);
    world.resume().await.unwrap();

    piped(&world, &["remove", "COLOUR"], "").await.unwrap();
    let is_left = |variables: &Value| names(variables) == ["PASSWORD"];
    world.until(&format!("projects/{project}/variables"), is_left).await.unwrap();
    let listed = sam(&world, &["variables", "--project", "Story"]).await.unwrap();
    assert_eq!(text(&listed.stdout), "PASSWORD  secret, cannot be read again\n");
    world.end().await.unwrap();
}

/// Runs `sam variables` with something on its stdin; the error is what it said.
async fn piped(world: &World, words: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(tests::world::binary("sam")?);
    command.args(["variables", "--project", "Story"]).args(words);
    command.arg("--data-dir").arg(world.data_dir());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().context("it has a stdin")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "{}", text(&output.stderr));
    Ok(text(&output.stdout))
}
