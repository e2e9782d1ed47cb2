//! The log as a thing that can be checked, downloaded, moved, backed up and put back, by the `sam` command
//! and over HTTP.

#![expect(clippy::unwrap_used, reason = "it is a test to its last function")]

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Output, Stdio},
};

use anyhow::Result;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tests::world::{Store, World, random};
use tokio::process::Command;

const QUICK_HEADS: [(&str, &str); 1] = [("SAM_HEAD_PERIOD_MS", "50")];

/// The command `sam` on the world's data directory.
pub(crate) fn command(world: &World, words: &[&str]) -> Command {
    let mut command = Command::new(tests::world::binary("sam").unwrap());
    command.args(words).arg("--data-dir").arg(world.data_dir()).stdin(Stdio::null());
    command
}

async fn sam(world: &World, words: &[&str]) -> Result<Output> {
    Ok(command(world, words).output().await?)
}

/// Runs `sam` and gives back what it printed; fails unless it ended as expected.
pub(crate) async fn said(world: &World, is_success: bool, words: &[&str]) -> String {
    let output = sam(world, words).await.unwrap();
    let (results, progress) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.success(), is_success, "{words:?}: {results}{progress}");
    format!("{results}{progress}")
}

pub(crate) async fn verified(world: &World, is_intact: bool, words: &[&str]) -> Value {
    let words = [&["audit", "verify", "--json"], words].concat();
    let output = sam(world, &words).await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(report["isIntact"], is_intact, "{report:#}");
    assert_eq!(output.status.success(), is_intact, "the exit code says the same");
    report
}

/// Writes ideas down, each one event; they are not carried out.
pub(crate) async fn draft(world: &World, n_ideas: usize) {
    for n in 0..n_ideas {
        let body =
            json!({ "idea": random(), "description": format!("wish {n}"), "stage": "exploring" });
        let path = format!("projects/{}/ideas", world.project);
        world.server().unwrap().post(&path, &body).await.unwrap();
    }
}

/// Waits until a head protects every event, in the database and in the file; gives back what is told of heads.
///
/// The file is written behind the database, and a kill may come in between.
pub(crate) async fn all_protected(world: &World) -> Value {
    let file = world.data_dir().join("heads.ndjson");
    let is_written = |head: &Value| {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let last = text.strip_suffix('\n').and_then(|whole| whole.lines().last());
        let last = last.and_then(|line| serde_json::from_str::<Value>(line).ok());
        last.is_some_and(|last| last["signature"] == head["signature"])
    };
    let is_protected = |heads: &Value| {
        heads["nUnprotected"] == 0 && heads["nHeads"] != 0 && is_written(&heads["newest"])
    };
    world.until("audit/heads", is_protected).await.unwrap()
}

/// Waits until so many ideas are shown, and gives them back.
pub(crate) async fn until_ideas(world: &World, n_ideas: usize) -> Value {
    let is_shown = |ideas: &Value| ideas.as_array().is_some_and(|ideas| ideas.len() == n_ideas);
    world.until(&format!("projects/{}/ideas", world.project), is_shown).await.unwrap()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn tamper(world: &World, statement: &str) {
    let url = format!("sqlite://{}", world.data_dir().join("log.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query(statement).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn the_audit_tells_who_did_what_and_that_nobody_changed_it() {
    let mut world = World::start_with("audit", Store::Sqlite, &QUICK_HEADS).await.unwrap();
    draft(&world, 5).await;
    let server = world.server().unwrap();
    let heads = all_protected(&world).await;
    assert_eq!(heads["installation"], json!(world.installation().unwrap()));
    assert_eq!(heads["newest"]["position"], heads["headPosition"]);
    let page = server.get("audit?limit=3").await.unwrap();
    let entries = page["entries"].as_array().unwrap();
    assert_eq!(entries[0]["position"], heads["headPosition"], "newest first");
    assert_eq!((entries[0]["event"].as_str(), entries.len()), (Some("drafted"), 3));
    assert_eq!(entries[0]["project"], json!(world.project));
    assert_eq!(page["next"], entries[2]["position"]);
    let next = server.get(&format!("audit?before={}", page["next"])).await.unwrap();
    assert_eq!(next["next"], Value::Null);
    assert_eq!(next["entries"].as_array().unwrap().len() + 3, heads["headPosition"]);
    let of = |query: String| async move {
        let page = server.get(&format!("audit?limit=500&{query}")).await.unwrap();
        page["entries"].as_array().unwrap().len()
    };
    assert_eq!(of(format!("project={}", world.project)).await, 6, "the project and its ideas");
    assert_eq!(of("kind=idea&event=drafted".to_owned()).await, 5);
    assert!(of(format!("actor={}", entries[0]["actor"].as_str().unwrap())).await > 0);
    assert_eq!(of("actor=nobody".to_owned()).await, 0);
    assert_eq!(of("from=2099-01-01T00:00:00Z".to_owned()).await, 0);
    assert_eq!(of("kind=idea&until=2099-01-01T00:00:00Z".to_owned()).await, 5);
    let csv = server.text("audit/export?format=csv&kind=idea").await.unwrap();
    assert_eq!(csv.lines().count(), 6, "{csv}");
    assert!(csv.starts_with("position,at,actor,"), "{csv}");
    let ndjson = server.text("audit/export?format=ndjson").await.unwrap();
    let positions: Vec<u64> = ndjson
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["position"].as_u64().unwrap())
        .collect();
    let all: Vec<u64> = (1..=heads["headPosition"].as_u64().unwrap()).collect();
    assert_eq!(positions, all, "every event once, oldest first");
    let report = server.post("audit/verify", &json!({})).await.unwrap();
    assert_eq!((&report["isIntact"], &report["nUnprotected"]), (&json!(true), &json!(0)));
    assert!(!report["limits"].as_array().unwrap().is_empty());
    let (status, _) = server.ask(Method::GET, "audit?from=yesterday", None).await.unwrap();
    assert_eq!(status, 400);
    let beside = verified(&world, true, &[]).await;
    assert_eq!(beside["nEvents"], report["nEvents"]);
    world.kill().await.unwrap();
    verified(&world, true, &[]).await;
    tamper(&world, "UPDATE events SET payload = '{}' WHERE position = 2").await;
    let report = verified(&world, false, &[]).await;
    assert_eq!(report["findings"][0]["kind"], "changed");
    assert_eq!(report["findings"][0]["position"], 2);
    world.resume().await.unwrap();
    world.end().await.unwrap();
}

/// The values of one column, without the line of names. None of the fields here has a line's end in it.
fn column(csv: &str, number: usize) -> Vec<&str> {
    csv.lines().skip(1).map(|line| line.split(',').nth(number).unwrap()).collect()
}

#[tokio::test]
async fn a_download_of_several_pages_has_every_entry_once() {
    /// As many as two whole pages have: behind them comes an empty one.
    const N_IDEAS: usize = 1000;
    const N_AT_ONCE: usize = 20;
    let world = World::start("audit-pages", Store::Sqlite).await.unwrap();
    join_all((0..N_AT_ONCE).map(|_| draft(&world, N_IDEAS / N_AT_ONCE))).await;
    let server = world.server().unwrap();
    let head = server.get("audit/heads").await.unwrap()["headPosition"].as_u64().unwrap();
    let all: Vec<u64> = (1..=head).collect();
    assert!(all.len() > N_IDEAS, "the project and its ideas");
    let csv = server.text("audit/export?format=csv").await.unwrap();
    let positions = column(&csv, 0).into_iter().map(|position| position.parse::<u64>().unwrap());
    assert_eq!(positions.collect::<Vec<u64>>(), all, "every event once, oldest first");
    let n_headers = csv.lines().filter(|line| line.starts_with("position,")).count();
    assert_eq!(n_headers, 1);
    let of_line = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let ndjson = server.text("audit/export?format=ndjson").await.unwrap();
    let positions = ndjson.lines().map(|line| of_line(line)["position"].as_u64().unwrap());
    assert_eq!(positions.collect::<Vec<u64>>(), all);

    let csv = server.text("audit/export?format=csv&kind=idea").await.unwrap();
    let ndjson = server.text("audit/export?format=ndjson&kind=idea").await.unwrap();
    let streams = column(&csv, 4);
    assert_eq!(streams.len(), N_IDEAS);
    assert_eq!(streams.iter().collect::<BTreeSet<_>>().len(), N_IDEAS, "each idea once");
    let same: Vec<String> =
        ndjson.lines().map(|line| of_line(line)["stream"].as_str().unwrap().to_owned()).collect();
    assert_eq!(same, streams);
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_log_is_exported_beside_the_server_and_checked_where_there_is_none() {
    let mut world = World::start_with("export", Store::Postgres, &QUICK_HEADS).await.unwrap();
    let url = world.setting("SAM_DATABASE_URL").unwrap().to_owned();
    let on = ["--database-url", url.as_str()];
    draft(&world, 60).await;
    let file = world.folder().join("log.ndjson");
    // The disk is full in the middle: what is written stays, and the next run goes on.
    let full = format!(
        "trap '' XFSZ; ulimit -f 8; exec \"$0\" log export {} --with-keys --data-dir {} --database-url '{url}'",
        file.display(),
        world.data_dir().display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &full]).arg(tests::world::binary("sam").unwrap());
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && complaint.contains("log.ndjson"), "{complaint}");
    let n_bytes = std::fs::metadata(&file).unwrap().len();
    assert!(n_bytes > 0 && n_bytes <= 8 * 1024, "{n_bytes} bytes");
    let import = ["log", "import", text(&file)];
    let refused = said(&world, false, &[&import[..], &on].concat()).await;
    assert!(refused.contains("stop it first"), "{refused}");
    let export = ["log", "export", text(&file), "--with-keys", on[0], on[1]];
    let went_on = said(&world, true, &export).await;
    assert!(!went_on.contains(", 0 were there before"), "it went on: {went_on}");

    let key = world.data_dir().join("control.pem");
    let heads = world.data_dir().join("heads.ndjson");
    let offline = ["--export", text(&file), "--public-key", text(&key), "--heads", text(&heads)];
    all_protected(&world).await;
    world.kill().await.unwrap();
    said(&world, true, &export).await;
    let report = verified(&world, true, &offline).await;
    assert!(report["nHeads"].as_u64().unwrap() > 0, "{report:#}");
    // Texts are in clear only where that was asked for.
    let words = "\"wish 7\"";
    assert!(!std::fs::read_to_string(&file).unwrap().contains(words));
    let clear = world.folder().join("clear.ndjson");
    let in_clear = ["log", "export", text(&clear), "--with-content", "--with-keys", on[0], on[1]];
    said(&world, true, &in_clear).await;
    assert!(std::fs::read_to_string(&clear).unwrap().contains(words));
    let from_clear = ["log", "import", text(&clear), "--database-url", "sqlite:clear"];
    said(&world, true, &from_clear).await;
    verified(&world, true, &["--database-url", "sqlite:clear"]).await;
    let copied = said(&world, true, &["log", "copy", &url, "sqlite:copy"]).await;
    assert!(copied.contains("on both sides"), "{copied}");
    verified(&world, true, &["--database-url", "sqlite:copy"]).await;
    let mut into = [&import[..], &["--database-url", "sqlite:imported"]].concat();
    said(&world, true, &into).await;
    let again = said(&world, true, &into).await;
    assert!(again.starts_with(|c: char| c.is_ascii_digit()), "{again}");
    verified(&world, true, &["--database-url", "sqlite:imported"]).await;

    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    into[4] = "sqlite:other";
    let refused = said(&world, false, &into).await;
    assert!(refused.contains("truncated") && refused.contains("run the export again"), "{refused}");
    world.resume().await.unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_backup_is_taken_from_a_running_server_and_put_back() {
    let mut world = World::start_with("backup", Store::Sqlite, &QUICK_HEADS).await.unwrap();
    draft(&world, 4).await;
    let backup = world.folder().join("backup");
    let made = said(&world, true, &["backup", text(&backup)]).await;
    assert!(made.contains("the master key is not in it"), "{made}");
    assert!(!backup.join("master.key").exists());
    said(&world, false, &["backup", text(&backup)]).await;
    draft(&world, 3).await;
    all_protected(&world).await;
    let refused = said(&world, false, &["restore", text(&backup)]).await;
    assert!(refused.contains("stop it first"), "{refused}");
    world.kill().await.unwrap();
    let refused = said(&world, false, &["restore", text(&backup)]).await;
    assert!(refused.contains("there is a log already"), "{refused}");

    let lost = world.folder().join("lost");
    std::fs::create_dir(&lost).unwrap();
    for file in ["log.db", "log.db-wal", "log.db-shm", "views.db", "views.db-wal", "views.db-shm"] {
        let _ = std::fs::rename(world.data_dir().join(file), lost.join(file));
    }
    let master = world.data_dir().join("master.key");
    std::fs::rename(&master, lost.join("master.key")).unwrap();
    let refused = said(&world, false, &["restore", text(&backup)]).await;
    assert!(refused.contains("the master key is missing"), "{refused}");
    std::fs::rename(lost.join("master.key"), &master).unwrap();
    let refused = said(&world, false, &["restore", text(&backup)]).await;
    assert!(refused.contains("--accept-older-log"), "{refused}");
    assert!(!world.data_dir().join("log.db").exists(), "nothing was put there");
    let restored = said(&world, true, &["restore", text(&backup), "--accept-older-log"]).await;
    assert!(restored.contains("epoch 2") && restored.contains("given up"), "{restored}");
    let report = verified(&world, true, &[]).await;
    assert_eq!(report["notes"].as_array().unwrap().len(), 1, "{report:#}");

    world.resume().await.unwrap();
    let ideas = until_ideas(&world, 4).await;
    assert!(ideas[0]["description"].as_str().unwrap().starts_with("wish"), "and readable");
    draft(&world, 2).await;
    all_protected(&world).await;
    verified(&world, true, &[]).await;

    // An older state that somebody puts there without saying so is not started on.
    world.kill().await.unwrap();
    for file in ["log.db", "log.db-wal", "log.db-shm"] {
        let _ = std::fs::remove_file(world.data_dir().join(file));
    }
    std::fs::copy(backup.join("log.db"), world.data_dir().join("log.db")).unwrap();
    let refused = world.resume().await.unwrap_err().to_string();
    assert!(refused.contains("--accept-older-log"), "{refused}");
    verified(&world, false, &[]).await;
    let restored = said(&world, true, &["restore", "--accept-older-log"]).await;
    assert!(restored.contains("the read models that were there are removed"), "{restored}");
    world.resume().await.unwrap();
    verified(&world, true, &[]).await;
    // They had come further in the other log, and would have taken what comes now for known.
    draft(&world, 1).await;
    until_ideas(&world, 5).await;
    world.end().await.unwrap();
}
