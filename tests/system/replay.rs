//! `sam replay` and `sam log rebuild --check`, with a server and without one, and the same over HTTP.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tests::world::{PATIENCE, Store, World, binary, id_in, random};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    browser::Browser,
    command_line::{sam, text},
};

#[tokio::test]
async fn an_execution_is_replayed_with_a_server_and_without_one() {
    is_replayed().await.unwrap();
}

async fn is_replayed() -> Result<()> {
    let mut world = World::start("replay", Store::Sqlite).await?;
    let browser = Browser::signed_in(&world).await?;
    let idea = random();
    let body = json!({
        "idea": idea, "description": "write A.md: one\nsay: hello there", "stage": "executing",
        "codingAgent": "demo",
    });
    let path = format!("/api/projects/{}/ideas", world.project);
    let submitted = browser.post(&path, &body).await?;
    let execution = id_in(&submitted.body, "execution")?;
    assert_eq!(world.ended(execution).await?["state"], "done");

    let (id, idea) = (execution.to_string(), idea.to_string());
    let followed = sam(&world, &["replay", &idea, "--follow"]).await?;
    let lines = text(&followed.stdout);
    assert!(followed.status.success(), "{}", text(&followed.stderr));
    assert!(
        lines.contains(" commits on refs/heads/sam/") && lines.contains("because of"),
        "{lines}"
    );
    let timeline = of_json(&world, &["replay", &idea, "--json"]).await?;
    assert_eq!(timeline["execution"], json!(execution));
    is_told_at_positions(&world, &browser, &timeline).await?;
    let verified = of_json(&world, &["replay", &id, "--verify", "--json"]).await?;
    assert_eq!((&verified["isSame"], &verified["differences"]), (&json!(true), &json!([])));
    for count in ["nReactions", "nCommands", "nRebuilt"] {
        assert!(verified[count].as_u64() > Some(10), "{count}: {verified:#}");
    }
    assert_eq!(verified["notDecided"], json!([]), "{verified:#}");
    let checked = sam(&world, &["log", "rebuild", "--check"]).await?;
    let said = text(&checked.stdout);
    assert!(checked.status.success(), "{said}{}", text(&checked.stderr));
    assert!(said.lines().count() > 8 && said.contains("idea_board"), "{said}");
    let refused = sam(&world, &["log", "rebuild", "--all"]).await?;
    assert!(!refused.status.success() && text(&refused.stderr).contains("stop it first"));
    has_activity(&world, &browser).await?;

    world.kill().await?;
    let offline = of_json(&world, &["replay", &id, "--json"]).await?;
    assert_eq!(offline["phases"], timeline["phases"], "the log says the same without a server");
    let verified = sam(&world, &["replay", &id, "--verify"]).await?;
    assert!(verified.status.success(), "{}", text(&verified.stdout));
    assert!(text(&verified.stdout).contains("no model was called"), "{}", text(&verified.stdout));
    names_what_was_changed(&world, &timeline).await?;
    let stranger = sam(&world, &["replay", &random().to_string()]).await?;
    assert!(!stranger.status.success());
    assert!(text(&stranger.stderr).contains("neither an execution nor an idea"));
    let url = format!("sqlite://{}", world.data_dir().join("views.db").display());
    let views = sqlx::SqlitePool::connect(&url).await?;
    sqlx::query("UPDATE idea_board SET branch = 'another'").execute(&views).await?;
    views.close().await;
    let checked = sam(&world, &["log", "rebuild", "--check"]).await?;
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked.stdout));
    assert!(text(&checked.stdout).contains("another"), "{}", text(&checked.stdout));
    let rebuilt = sam(&world, &["log", "rebuild", "idea_board"]).await?;
    assert!(text(&rebuilt.stdout).contains("made again"), "{}", text(&rebuilt.stderr));
    let checked = sam(&world, &["log", "rebuild", "--check", "idea_board"]).await?;
    assert!(checked.status.success(), "{}{}", text(&checked.stdout), text(&checked.stderr));
    world.resume().await?;
    world.end().await
}

/// Somebody changes a word in the file: the command fails, and says where and which.
async fn names_what_was_changed(world: &World, timeline: &Value) -> Result<()> {
    let id = timeline["execution"].as_str().context("it is an execution's")?;
    let entries = list(timeline, "entries")?;
    let step = entries.iter().find(|entry| entry["event"] == "step_started");
    let position = &step.context("it has steps")?["position"];
    let replaced = async |old: &str, new: &str| {
        let url = format!("sqlite://{}", world.data_dir().join("log.db").display());
        let pool = sqlx::SqlitePool::connect(&url).await?;
        let statement = format!(
            "UPDATE events SET payload = replace(payload, '\"reason\":\"{old}', '\"reason\":\"{new}')
             WHERE position = {position}"
        );
        let n_changed = sqlx::query(&statement).execute(&pool).await?.rows_affected();
        pool.close().await;
        anyhow::ensure!(n_changed == 1, "there is no event at {position}");
        anyhow::Ok(())
    };
    replaced("", "not ").await?;
    let verified = sam(world, &["replay", id, "--verify"]).await?;
    replaced("not ", "").await?;
    let said = text(&verified.stdout);
    assert!(!verified.status.success(), "{said}");
    let named = format!("position {position}, execution {id}, event step_started, field reason");
    assert!(said.contains(&named), "{said}");
    let verified = sam(world, &["replay", id, "--verify"]).await?;
    assert!(verified.status.success(), "{}", text(&verified.stdout));
    Ok(())
}

/// The list that a document has under a name.
fn list<'a>(document: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    document[name].as_array().with_context(|| format!("{name} is missing: {document:#}"))
}

/// The one document that a command prints.
async fn of_json(world: &World, words: &[&str]) -> Result<Value> {
    let output = sam(world, words).await?;
    anyhow::ensure!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn is_told_at_positions(world: &World, browser: &Browser, timeline: &Value) -> Result<()> {
    let id = timeline["execution"].as_str().unwrap_or_default();
    let path = format!("/api/executions/{id}/at");
    let entries = list(timeline, "entries")?;
    let of =
        |event: &str| entries.iter().find(|entry| entry["event"] == event).context("it is told");
    let posted = &of("message_posted")?["position"];
    let early = browser.get(&format!("{path}/{posted}")).await?;
    assert_eq!(early.status, 200, "{early:?}");
    assert_eq!(early.body["at"], of("message_posted")?["at"]);
    let items = list(&early.body["chat"], "items")?;
    assert_eq!(items.len(), 1, "only the prompt was there: {items:#?}");
    assert!(items[0]["text"].as_str().is_some_and(|text| text.contains("hello there")));
    let kinds = |body: &Value| -> Result<Vec<String>> {
        let kinds = list(body, "aggregates")?.iter().filter_map(|one| one["kind"].as_str());
        Ok(kinds.map(str::to_owned).collect())
    };
    assert!(!kinds(&early.body)?.contains(&"workspace".to_owned()), "{early:?}");
    let done = &of("done")?["position"];
    let late = of_json(world, &["replay", id, "--json", "--at", &done.to_string()]).await?;
    assert_eq!(kinds(&late)?, ["idea", "session", "node", "execution", "workspace"]);
    let is_erased = list(&late, "aggregates")?.iter().any(|one| one["isErased"] == true);
    assert!(!is_erased);
    let shown = sam(world, &["replay", id, "--at", &done.to_string()]).await?;
    assert!(text(&shown.stdout).contains("coding agent: hello there"), "{}", text(&shown.stdout));

    browser.get(&format!("{path}/0")).await?.is_problem(400, "malformed")?;
    browser.get(&format!("{path}/soon")).await?.is_problem(400, "malformed")?;
    browser.get(&format!("{path}/99999999")).await?.is_problem(404, "not_found")?;
    let stranger = format!("/api/executions/{}/at/1", random());
    browser.get(&stranger).await?.is_problem(404, "not_found")
}

async fn has_activity(world: &World, browser: &Browser) -> Result<()> {
    let path = format!("/api/projects/{}/activity", world.project);
    let all = browser.get(&path).await?.body;
    let all = list(&all, "entries")?;
    assert_eq!(all[0]["event"], "done", "newest first: {all:#?}");
    assert!(all.iter().all(|entry| entry["actor"].as_str().is_some_and(|actor| !actor.is_empty())));
    let mut paged = Vec::new();
    let mut next = Value::Null;
    loop {
        let before = if next.is_null() { String::new() } else { format!("&before={next}") };
        let page = browser.get(&format!("{path}?limit=2{before}")).await?.body;
        paged.extend(list(&page, "entries")?.clone());
        next = page["next"].clone();
        if next.is_null() {
            break;
        }
    }
    assert_eq!(&paged, all, "page by page it is the same");
    let stranger = format!("/api/projects/{}/activity", random());
    browser.get(&stranger).await?.is_problem(404, "not_found")
}

/// `sam replay --follow --json`, which goes on until the execution is over.
struct Follower {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(world: &World, id: Uuid) -> Result<Self> {
        let mut command = Command::new(binary("sam")?);
        command.args(["replay", &id.to_string(), "--follow", "--json", "--data-dir"]);
        command.arg(world.data_dir()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().context("it is piped")?;
        Ok(Self { child, lines: BufReader::new(stdout).lines() })
    }

    /// The next that it tells; none at its end.
    async fn document(&mut self) -> Result<Option<Value>> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.context("it tells nothing more, and does not end")??;
        Ok(line.map(|line| serde_json::from_str(&line)).transpose()?)
    }

    /// What it tells up to an event.
    async fn until(&mut self, event: &str) -> Result<Vec<Value>> {
        let mut told = Vec::new();
        while let Some(document) = self.document().await? {
            let is_last = document["event"] == event;
            told.push(document);
            if is_last {
                return Ok(told);
            }
        }
        bail!("it ended before {event}: {told:#?}")
    }

    /// What it tells up to its end.
    async fn rest(mut self) -> Result<Vec<Value>> {
        let mut told = Vec::new();
        while let Some(document) = self.document().await? {
            told.push(document);
        }
        let ended = timeout(PATIENCE, self.child.wait()).await.context("it does not end")??;
        ensure!(ended.success(), "{ended}: {told:#?}");
        Ok(told)
    }
}

fn has(told: &[Value], event: &str) -> bool {
    told.iter().any(|entry| entry["event"] == event)
}

#[tokio::test]
async fn executions_under_way_are_followed_to_their_ends() {
    are_followed().await.unwrap();
}

async fn are_followed() -> Result<()> {
    let world = World::start("follow", Store::Sqlite).await?;
    let idea = random();
    let first = world.submit(idea, "plan: look; answer\nhang").await?;
    let told = hanging_one_is_followed(&world, idea, first).await?;

    // Of an idea that is executed again both are told, and the newer one is followed.
    let second = random();
    let body = json!({ "execution": second, "codingAgent": "demo" });
    world.server()?.post(&format!("ideas/{idea}/executions"), &body).await?;
    let mut told_again = hanging_one_is_followed(&world, idea, second).await?;
    let earlier = told_again.remove(0);
    let output = sam(&world, &["replay", &idea.to_string(), "--json"]).await?;
    ensure!(output.status.success(), "{}", text(&output.stderr));
    let (stdout, mut whole) = (text(&output.stdout), Vec::<Value>::new());
    for line in stdout.lines() {
        whole.push(serde_json::from_str(line)?);
    }
    let executions: Vec<_> = whole.iter().map(|timeline| &timeline["execution"]).collect();
    assert_eq!(executions, [&json!(first), &json!(second)]);
    assert_eq!(earlier["execution"], json!(first), "the earlier one comes first, as a whole");
    // What was told as it came is what is told afterwards: nothing was passed over.
    let earlier = list(&earlier, "entries")?.clone();
    for (timeline, told) in [(0, told), (0, earlier), (1, told_again)] {
        let entries = list(&whole[timeline], "entries")?;
        let place = |entry: &Value| (entry["position"].clone(), entry["event"].clone());
        let expected: Vec<_> = entries.iter().take(told.len()).map(place).collect();
        assert_eq!(told.iter().map(place).collect::<Vec<_>>(), expected);
    }
    world.end().await
}

/// Follows an idea of which the newest execution hangs, until it is cancelled; gives back what was told.
async fn hanging_one_is_followed(world: &World, idea: Uuid, newest: Uuid) -> Result<Vec<Value>> {
    let mut follower = Follower::start(world, idea)?;
    // The last that comes of itself: the coding agent has made its plan, and hangs.
    let mut told = follower.until("plan_recorded").await?;
    ensure!(follower.child.try_wait()?.is_none(), "it ended with the execution under way");
    ensure!(!has(&told, "cancel_requested"), "{told:#?}");
    world.server()?.post(&format!("executions/{newest}/cancel"), &json!({})).await?;
    told.extend(follower.rest().await?);
    ensure!(has(&told, "cancelled") && has(&told, "execution_ended"), "{told:#?}");
    Ok(told)
}

#[tokio::test]
async fn an_execution_that_its_session_refused_is_followed_to_its_end() {
    refused_one_is_followed().await.unwrap();
}

async fn refused_one_is_followed() -> Result<()> {
    let world = World::start("refused", Store::Sqlite).await?;
    let idea = random();
    world.submit(idea, "say: one").await?;
    Follower::start(&world, idea)?.rest().await?;
    let idea = world.server()?.get(&format!("ideas/{idea}")).await?;
    let mut n_refused = 0;
    for execution in started_at_once(&world, id_in(&idea, "session")?).await? {
        let told = Follower::start(&world, execution)?.rest().await?;
        if has(&told, "execution_begun") {
            ensure!(has(&told, "done") && has(&told, "execution_ended"), "{told:#?}");
        } else {
            ensure!(has(&told, "failed"), "{told:#?}");
            n_refused += 1;
        }
    }
    assert_eq!(n_refused, 1, "one session has one execution at a time");
    world.end().await
}

/// Two executions in a session that had none: each was asked for before the other was begun.
async fn started_at_once(world: &World, session: Uuid) -> Result<[Uuid; 2]> {
    /// The second message is late more often than not where the machine is busy.
    const ROUNDS_MAX: usize = 20;
    let path = format!("sessions/{session}/messages");
    let post = async || {
        let body = json!({ "message": random(), "text": "say: again" });
        world.server()?.post(&path, &body).await
    };
    for _ in 0..ROUNDS_MAX {
        let (one, other) = futures_util::future::try_join(post(), post()).await?;
        let started = [id_in(&one, "execution"), id_in(&other, "execution")];
        match started {
            [Ok(one), Ok(other)] => return Ok([one, other]),
            // The second came so late that it waits for the first one's turn to end.
            [Ok(only), Err(_)] | [Err(_), Ok(only)] => {
                Follower::start(world, only)?.rest().await?;
            }
            [Err(error), Err(_)] => return Err(error),
        }
    }
    bail!("of two messages the second always came too late")
}
