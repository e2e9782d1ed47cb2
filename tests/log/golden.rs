//! Every released version's log is folded by this program: into states, and into read models.
//!
//! `tests/golden/VERSION/events.ndjson` is such a log and never changes. What it is folded into may change with
//! the program: `SAM_GOLDEN_EXPECTED=write` writes `states.json` and `views.json` anew, and their difference is
//! for a reviewer to judge. Here is also that a database which an older program made opens with this one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use domain::{
    account::Account,
    credential::Credential,
    event::{Event, registry},
    event_sourced::{EventPayload, EventSourced, canonical_json},
    execution::Execution,
    idea::Idea,
    node::Node,
    process::{
        Process, ProcessEvent, ProcessState, close_workspace::CloseWorkspace,
        erase_account::EraseAccount, erase_project::EraseProject, open_workspace::OpenWorkspace,
        retire_node::RetireNode, run_execution::RunExecution, title_idea::TitleIdea,
    },
    project::Project,
    session::Session,
    workspace::Workspace,
};
use projections::{
    database::Database,
    event_log::{
        ChainLink, EventLog, FIRST_HASH, Hash, RawEvent, RawLog, RecordedEvent, StreamId, chain,
    },
    read_models, replay,
    sql::SqlPool,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Place, on_both};

mod released;

use released::released;

const SWITCH: &str = "SAM_GOLDEN_EXPECTED";

/// The newest migrations of the versions that have a golden log: log and views.
const RELEASED: [(&str, usize, usize); 3] = [("0.1", 2, 9), ("0.2", 5, 16), ("0.3", 5, 16)];

on_both! {
    each_golden_log_fills_the_read_models_as_it_always_did
    a_database_of_each_release_opens_with_this_program
    a_migration_that_was_cut_off_goes_on
}

#[derive(Deserialize)]
struct Line {
    position: u64,
    kind: String,
    stream: Uuid,
    sequence: u64,
    event: String,
    version: String,
    payload: Value,
    metadata: Value,
    hash: String,
}

impl Line {
    fn read<E: EventPayload>(&self) -> E {
        let payload = canonical_json(&self.payload);
        registry::read(&self.kind, &self.event, &self.version, &payload).unwrap()
    }

    /// The binding of its row: payload, metadata and hash as they were stored.
    fn stored(&self) -> (String, String, Vec<u8>) {
        let hash = (0..32).map(|n| u8::from_str_radix(&self.hash[2 * n..2 * n + 2], 16).unwrap());
        (canonical_json(&self.payload), canonical_json(&self.metadata), hash.collect())
    }
}

fn folder(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(version)
}

fn versions() -> Vec<String> {
    let folders = std::fs::read_dir(folder("")).unwrap();
    let mut versions: Vec<_> =
        folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    versions.sort();
    versions
}

fn events(version: &str) -> Vec<Line> {
    let text = std::fs::read_to_string(folder(version).join("events.ndjson")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_golden_log_is_chained_as_ever() {
    for version in versions() {
        let mut heads: BTreeMap<StreamId, (u64, Hash)> = BTreeMap::new();
        for (n, line) in (1..).zip(events(&version)) {
            assert_eq!(line.position, n, "{version}");
            let stream = StreamId::new(line.kind.clone(), line.stream);
            let (payload, metadata, stored) = line.stored();
            let head = heads.entry(stream.clone()).or_insert((0, FIRST_HASH));
            assert_eq!(line.sequence, head.0 + 1, "{version} {n}");
            let link = ChainLink {
                stream: &stream,
                sequence: line.sequence,
                event_type: &line.event,
                event_version: &line.version,
                metadata: &metadata,
                payload: &payload,
            };
            let hash = chain(&head.1, link);
            assert_eq!(hash[..], stored[..], "{version} {n}");
            *head = (line.sequence, hash);
        }
    }
}

#[test]
fn every_version_of_every_event_is_in_a_golden_log() {
    let shown: BTreeSet<(String, String, u32)> = versions()
        .iter()
        .flat_map(|version| events(version))
        .map(|line| (line.kind, line.event, line.version.parse().unwrap()))
        .collect();
    let mut missing = Vec::new();
    for (kind, name, newest) in registry::CURRENT.events() {
        for version in 1..=newest {
            if !shown.contains(&(kind.to_owned(), name.to_owned(), version)) {
                missing.push(format!("{kind} {name} version {version}"));
            }
        }
    }
    missing.sort();
    assert!(missing.is_empty(), "make a golden log (ops/evolution.md): {missing:#?}");
}

#[test]
fn a_process_reads_every_kind_of_stream_that_concerns_it() {
    for line in versions().iter().flat_map(|version| events(version)) {
        let payload = canonical_json(&line.payload);
        let read = Event::read(&line.kind, line.stream, &line.event, &line.version, &payload);
        let Some(event) = read.unwrap() else { continue };
        check_concern::<CloseWorkspace>(&line, &event);
        check_concern::<EraseAccount>(&line, &event);
        check_concern::<EraseProject>(&line, &event);
        check_concern::<OpenWorkspace>(&line, &event);
        check_concern::<RetireNode>(&line, &event);
        check_concern::<RunExecution>(&line, &event);
        check_concern::<TitleIdea>(&line, &event);
    }
}

fn check_concern<P: Process>(line: &Line, event: &Event) {
    let is_read = P::CONCERNED_BY.contains(&line.kind.as_str());
    assert!(is_read || P::route(event).is_none(), "{} {} {}", P::TYPE, line.kind, line.event);
}

#[test]
fn each_golden_log_folds_into_what_it_always_did() {
    assert!(!versions().is_empty());
    for version in versions() {
        let states = states(&events(&version));
        let line = |(name, state): (&String, &Value)| {
            format!("{}:{}", Value::from(name.as_str()), canonical_json(state))
        };
        let lines: Vec<String> = states.iter().map(line).collect();
        compare(&version, "states.json", &format!("{{\n{}\n}}\n", lines.join(",\n")));
    }
}

#[tokio::test]
async fn each_golden_log_is_decided_again() {
    for version in versions() {
        let (database, log) = Place::sqlite().open().await;
        insert(&database, &events(&version)).await;
        is_decided_again(&log).await;
    }
}

/// What an older program decided this one decides, too. Where a rule was changed on purpose, say here which
/// difference that makes.
async fn is_decided_again(log: &EventLog) {
    let mut streams: BTreeMap<StreamId, Vec<RecordedEvent>> = BTreeMap::new();
    for event in log.read_all(0, 100_000).await.unwrap() {
        streams.entry(event.stream.clone()).or_default().push(event);
    }
    let verified = replay::verify(&streams.into_iter().collect::<Vec<_>>());
    assert_eq!(verified.differences, []);
    assert_eq!(verified.not_decided, []);
}

/// Each row of each read model, the same on both databases.
async fn each_golden_log_fills_the_read_models_as_it_always_did(place: Place) {
    for version in versions() {
        compare(&version, "views.json", &text(&fresh(&place, &events(&version)).await));
    }
}

/// A line for each row, under its table.
fn text(views: &BTreeMap<String, Value>) -> String {
    let table = |(name, rows): (&String, &Value)| {
        let rows: Vec<String> = rows
            .as_array()
            .into_iter()
            .flatten()
            .map(|row| format!("\n{}", canonical_json(row)))
            .collect();
        format!("\"{name}\":[{}]", rows.join(","))
    };
    let tables: Vec<String> = views.iter().map(table).collect();
    format!("{{\n{}\n}}\n", tables.join(",\n"))
}

/// Compares with the checked-in text, or writes it.
fn compare(version: &str, file: &str, now: &str) {
    let path = folder(version).join(file);
    if std::env::var(SWITCH).is_ok_and(|switch| switch == "write") {
        std::fs::write(&path, now).unwrap();
    }
    let then = std::fs::read_to_string(&path).unwrap_or_default();
    for (now, then) in now.lines().zip(then.lines()) {
        assert_eq!(
            now, then,
            "{version}/{file}: `{SWITCH}=write` takes the new one, if it is right"
        );
    }
    assert_eq!(now.lines().count(), then.lines().count(), "{version}/{file}");
}

/// The state of every stream, by its kind and id.
fn states(lines: &[Line]) -> BTreeMap<String, Value> {
    let mut streams: BTreeMap<(String, Uuid), Vec<&Line>> = BTreeMap::new();
    for line in lines {
        streams.entry((line.kind.clone(), line.stream)).or_default().push(line);
    }
    let state = |((kind, id), lines): ((String, Uuid), Vec<&Line>)| {
        let state = match &*kind {
            "account" => aggregate::<Account>(&lines),
            "credential" => aggregate::<Credential>(&lines),
            "project" => aggregate::<Project>(&lines),
            "idea" => aggregate::<Idea>(&lines),
            "execution" => aggregate::<Execution>(&lines),
            "node" => aggregate::<Node>(&lines),
            "workspace" => aggregate::<Workspace>(&lines),
            "session" => aggregate::<Session>(&lines),
            "run_execution" => process::<RunExecution>(&lines),
            "open_workspace" => process::<OpenWorkspace>(&lines),
            "close_workspace" => process::<CloseWorkspace>(&lines),
            "retire_node" => process::<RetireNode>(&lines),
            "erase_account" => process::<EraseAccount>(&lines),
            "erase_project" => process::<EraseProject>(&lines),
            "title_idea" => process::<TitleIdea>(&lines),
            other => panic!("this test has to know how {other} is folded"),
        };
        (format!("{kind}/{id}"), state)
    };
    streams.into_iter().map(state).collect()
}

fn aggregate<A: EventSourced + Serialize>(lines: &[&Line]) -> Value {
    let mut state = A::default();
    lines.iter().for_each(|line| state.evolve(line.read()));
    json!({ "sequence": lines.len(), "state": state })
}

/// Of a process, what it still wants: that is what a restart depends on.
fn process<P: Process>(lines: &[&Line]) -> Value {
    let mut state = ProcessState::<P>::default();
    lines.iter().for_each(|line| state.evolve(&line.read::<ProcessEvent>()));
    let wants: Vec<_> = state.unsettled.values().collect();
    json!({ "sequence": lines.len(), "lastPosition": state.last_position, "wants": wants })
}

/// Puts a log into a database as whoever recorded it did.
async fn insert(database: &Database, lines: &[Line]) {
    let mut ordinals: BTreeMap<(Uuid, Uuid), u64> = BTreeMap::new();
    let mut row = |line: &Line| {
        let command = Uuid::parse_str(line.metadata["command"].as_str().unwrap()).unwrap();
        let next = ordinals.entry((line.stream, command)).or_default();
        let ordinal = *next;
        *next += 1;
        let (payload, metadata, hash) = line.stored();
        RawEvent {
            position: line.position,
            kind: line.kind.clone(),
            id: line.stream.to_string(),
            sequence: line.sequence,
            event_type: line.event.clone(),
            event_version: line.version.clone(),
            payload,
            metadata,
            command,
            ordinal,
            hash: hash.try_into().unwrap(),
        }
    };
    let rows: Vec<RawEvent> = lines.iter().map(&mut row).collect();
    RawLog::new(database).put(0, &rows, &[]).await.unwrap();
}

async fn project(database: &Database, log: &EventLog, n_events: usize) {
    let position = read_models::projector(database, log).catch_up().await.unwrap();
    assert_eq!(position, n_events as u64, "no projection is parked");
    let undecoded = "SELECT error FROM undecoded_events";
    assert_eq!(database.views().fetch_all(undecoded, ()).await.unwrap().len(), 0);
}

/// The rows of every read model, as text, the same on both databases. Readers' checkpoints and indexes of
/// texts are left out.
async fn views(database: &Database) -> BTreeMap<String, Value> {
    let pool = database.views();
    let tables = match pool {
        SqlPool::Sqlite { .. } => "SELECT name FROM sqlite_master WHERE type = 'table'",
        SqlPool::Postgres(_) => {
            "SELECT table_name::TEXT AS name FROM information_schema.tables
             WHERE table_schema = 'sam_views'"
        }
    };
    let mut views = BTreeMap::new();
    for table in pool.fetch_all(tables, ()).await.unwrap() {
        let table = table.text("name").unwrap();
        let is_model = !["_sqlx", "sqlite_", "checkpoints", "chat_search"]
            .iter()
            .any(|prefix| table.starts_with(prefix));
        if !is_model {
            continue;
        }
        let columns = columns(pool, &table).await;
        let list = columns.iter().map(|(column, is_boolean)| match is_boolean {
            // As SQLite has it.
            true => format!("CAST(CAST({column} AS INTEGER) AS TEXT) AS {column}"),
            false => format!("CAST({column} AS TEXT) AS {column}"),
        });
        let list = format!("SELECT {} FROM {table}", list.collect::<Vec<_>>().join(", "));
        let mut rows: Vec<String> = Vec::new();
        for row in pool.fetch_all(&list, ()).await.unwrap() {
            let text = |column: &String| row.text_option(column).unwrap();
            let values: BTreeMap<_, _> = columns.iter().map(|(it, _)| (it, text(it))).collect();
            rows.push(canonical_json(&json!(values)));
        }
        rows.sort();
        let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
        views.insert(table, Value::from(rows));
    }
    views
}

/// The columns of a table, and which of them are booleans to PostgreSQL.
async fn columns(pool: &SqlPool, table: &str) -> Vec<(String, bool)> {
    let list = match pool {
        SqlPool::Sqlite { .. } => format!("SELECT name, type FROM pragma_table_info('{table}')"),
        SqlPool::Postgres(_) => format!(
            "SELECT column_name::TEXT AS name, data_type::TEXT AS type FROM information_schema.columns
             WHERE table_schema = 'sam_views' AND table_name = '{table}' AND is_generated = 'NEVER'"
        ),
    };
    let rows = pool.fetch_all(&list, ()).await.unwrap();
    let column = |row: &projections::sql::SqlRow| {
        (row.text("name").unwrap(), row.text("type").unwrap() == "boolean")
    };
    rows.iter().map(column).collect()
}

/// What this program makes of the same log in an empty database of its own.
async fn fresh(place: &Place, lines: &[Line]) -> BTreeMap<String, Value> {
    let place = if place.is_postgres() { Place::postgres() } else { Place::sqlite() };
    let (database, log) = place.open().await;
    insert(&database, lines).await;
    project(&database, &log, lines.len()).await;
    views(&database).await
}

async fn assert_opens(place: &Place, lines: &[Line]) {
    let (database, log) = place.open().await;
    project(&database, &log, lines.len()).await;
    assert_eq!(views(&database).await, fresh(place, lines).await);
    assert_eq!(crate::support::assert_whole(&log).await, lines.len() as u64);
    log.close().await;
    database.close().await;
}

async fn a_database_of_each_release_opens_with_this_program(place: Place) {
    for (version, n_log, n_views) in RELEASED {
        let place = if place.is_postgres() { Place::postgres() } else { Place::sqlite() };
        let lines = events(version);
        released(&place, n_log, n_views, &lines).await;
        assert_opens(&place, &lines).await;
    }
    assert_eq!(RELEASED.len(), versions().len(), "name the migrations of each golden version");
}

/// The program is torn down at some moment of its first start on an old database.
async fn a_migration_that_was_cut_off_goes_on(place: Place) {
    let (version, n_log, n_views) = RELEASED[RELEASED.len() - 1];
    let lines = events(version);
    for n_polls in [3, 9, 20, 45] {
        let place = if place.is_postgres() { Place::postgres() } else { Place::sqlite() };
        released(&place, n_log, n_views, &lines).await;
        let (url, directory) = (place.url.clone(), place.directory.path().to_owned());
        let mut opening = Box::pin(Database::open(&url, &directory));
        // Dropped after so many steps: its transaction ends with its connection.
        let mut n_polled = 0;
        let cut_off = std::future::poll_fn(|context| {
            n_polled += 1;
            if n_polled > n_polls {
                return std::task::Poll::Ready(());
            }
            opening.as_mut().poll(context).map(|opened| drop(opened.unwrap()))
        });
        cut_off.await;
        drop(opening);
        assert_opens(&place, &lines).await;
    }
    // And where it stopped between two of them.
    for n_log in n_log.. {
        let place = if place.is_postgres() { Place::postgres() } else { Place::sqlite() };
        let folder = if place.is_postgres() { "postgres" } else { "sqlite" };
        let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(folder);
        if n_log > std::fs::read_dir(all.join("log")).unwrap().count() {
            break;
        }
        released(&place, n_log, n_views, &lines).await;
        assert_opens(&place, &lines).await;
    }
}
