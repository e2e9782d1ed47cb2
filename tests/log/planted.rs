//! Errors put in on purpose, each found by the oracle: a promise that nobody can break is no promise that is
//! checked.
//!
//! One workload does what hurts: two writers on each stream through two appenders on one database, repeated
//! commands, clocks that go back, a reader beside them, a process that dies right after an answer,
//! projectors that die again and again, and tables made again. Without a planted bug the oracle finds
//! nothing; with one it names the promise that was broken. The bug is chosen by the environment of a process
//! of its own, see `ops/planted_bug`.

use std::{
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;
use domain::{
    event_sourced::{EventPayload as _, EventSourced, canonical_json},
    idea::{Idea, IdeaCommand},
    ids::{AccountId, ContentId, ProjectId},
    project::{Project, ProjectCommand},
    values::ContentRef,
};
use futures_util::future::{join, join_all};
use projections::{
    database::Database,
    event_log::{
        Append, AppendError, EventLog, FIRST_HASH, Hash, Metadata, NewEvent, Position, StreamId,
    },
    read_models,
};
use tests::oracle::{Acknowledged, Invariant, Oracle, Violation};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::support::{Place, id, now};

/// Which promises each planted bug breaks. Which of them a run comes upon first depends on its timing.
const FOUND_AS: [(&str, &[Invariant]); 8] = [
    ("skip_the_fence", &[Invariant::SingleHistory]),
    ("acknowledge_before_commit", &[Invariant::Durability]),
    ("read_by_identity_column", &[Invariant::Completeness, Invariant::SingleHistory]),
    ("checkpoint_outside_the_transaction", &[Invariant::ProjectionIsFold]),
    ("replay_without_clear", &[Invariant::ProjectionIsFold]),
    ("no_command_dedupe", &[Invariant::Idempotence]),
    ("order_by_timestamp", &[Invariant::Completeness, Invariant::ProjectionIsFold]),
    ("rebuild_that_skips_a_type", &[Invariant::ProjectionIsFold]),
];

const STREAMS: u128 = 3;
const COMMANDS_PER_WRITER: u64 = 6;
const DYING_PROJECTORS: usize = 2;
/// What a process that is gone holds locked is free long before.
const PATIENCE: Duration = Duration::from_secs(30);
/// Some bugs are found only where the process dies in time, which a busy machine may prevent.
const ROUNDS_MAX: usize = 3;
/// How often what is stale may be decided again.
const DECISIONS_MAX: usize = 200;

/// What the workload learned from outside.
#[derive(Debug, Default)]
struct Notes {
    acknowledged: Vec<Acknowledged>,
    seen: Vec<Position>,
    violations: Vec<Violation>,
}

/// One of several writers of a stream, with what it believes the stream to be.
struct Writer<A: EventSourced> {
    log: EventLog,
    stream: StreamId,
    state: A,
    sequence: u64,
    hash: Hash,
}

impl<A: EventSourced> Writer<A> {
    fn new(log: &EventLog, stream: Uuid) -> Self {
        let stream = StreamId::new(A::TYPE, stream);
        Self { log: log.clone(), stream, state: A::default(), sequence: 0, hash: FIRST_HASH }
    }

    /// Reads what others have recorded.
    async fn catch_up(&mut self) {
        for event in self.log.read_stream(&self.stream, self.sequence, 1_000).await.unwrap() {
            let payload = serde_json::from_str(&event.payload).unwrap();
            self.state.evolve(A::Event::restored(&event.event_type, payload).unwrap());
            (self.sequence, self.hash) = (event.sequence, event.hash);
        }
    }

    fn append(&self, command: Uuid, events: &[A::Event], clock_ms: i64) -> Append {
        let events = events.iter().map(|event| {
            let (event_type, payload) = event.stored();
            let payload = canonical_json(&payload);
            NewEvent { event_type, event_version: "1".to_owned(), payload }
        });
        Append {
            stream: self.stream.clone(),
            expected: self.sequence,
            previous_hash: self.hash,
            project: None,
            epoch: None,
            metadata: Metadata {
                actor: "test".to_owned(),
                command,
                causation: None,
                correlation: command,
                at: now() + TimeDelta::milliseconds(clock_ms),
            },
            events: events.collect(),
            contents: Vec::new(),
        }
    }

    /// Has a command decided until it is recorded, and then sends it once more.
    async fn execute(&mut self, command: Uuid, wish: A::Command, clock_ms: i64, notes: &Shared) {
        for _ in 0..DECISIONS_MAX {
            let events = self.state.decide(wish.clone()).unwrap();
            if events.is_empty() {
                return;
            }
            let append = self.append(command, &events, clock_ms);
            match self.log.append(append.clone()).await {
                Ok(appended) => {
                    notes.acknowledged(&self.stream, command, appended.position);
                    self.catch_up_after(events, appended.sequence, appended.hash);
                    return self.repeat(append, notes).await;
                }
                Err(AppendError::Conflict { .. }) => self.catch_up().await,
                Err(error) => {
                    let what = format!("{} was refused: {error}", self.stream);
                    return notes.violated(Invariant::SingleHistory, what);
                }
            }
        }
        notes.violated(Invariant::SingleHistory, format!("{} is never free", self.stream));
    }

    fn catch_up_after(&mut self, events: Vec<A::Event>, sequence: u64, hash: Hash) {
        events.into_iter().for_each(|event| self.state.evolve(event));
        (self.sequence, self.hash) = (sequence, hash);
    }

    /// The same command gets the same answer.
    async fn repeat(&self, append: Append, notes: &Shared) {
        let command = append.metadata.command;
        match self.log.append(append).await {
            Ok(appended) => notes.acknowledged(&self.stream, command, appended.position),
            Err(error) => {
                let what = format!("{} answered a repeat of {command} with: {error}", self.stream);
                notes.violated(Invariant::Idempotence, what);
            }
        }
    }
}

/// Notes that several tasks take.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Notes>>);

impl Shared {
    fn with<T>(&self, take: impl FnOnce(&mut Notes) -> T) -> T {
        take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn acknowledged(&self, stream: &StreamId, command: Uuid, position: Position) {
        let told = Acknowledged { stream: stream.clone(), command, position };
        self.with(|notes| notes.acknowledged.push(told));
    }

    fn violated(&self, invariant: Invariant, what: String) {
        self.with(|notes| notes.violations.push(Violation::new(invariant, what)));
    }
}

fn content(n: u128) -> ContentRef {
    ContentRef { id: ContentId(id(n)), length: 1, digest: "0".repeat(64) }
}

/// Renames projects and describes ideas, through two appenders at once, with a reader beside them.
async fn write(logs: &[EventLog; 2], notes: &Shared) {
    let n_running = std::sync::atomic::AtomicUsize::new(1);
    let writing = async {
        let writers = (0..STREAMS).flat_map(|stream| [(0, stream), (1, stream)]);
        let writing = writers.map(|(log, stream)| write_one(&logs[log], log, stream, notes));
        join_all(writing).await;
        n_running.store(0, std::sync::atomic::Ordering::SeqCst);
    };
    let reading = async {
        let mut last = 0;
        loop {
            let is_last = n_running.load(std::sync::atomic::Ordering::SeqCst) == 0;
            let page = logs[0].read_all(last, 7).await.unwrap();
            last = page.last().map_or(last, |event| event.position);
            let is_empty = page.is_empty();
            notes.with(|notes| notes.seen.extend(page.iter().map(|event| event.position)));
            if is_last && is_empty {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    join(writing, reading).await;
}

async fn write_one(log: &EventLog, who: usize, stream: u128, notes: &Shared) {
    let owner = AccountId(id(1));
    let mut project = Writer::<Project>::new(log, id(100 + stream));
    let mut idea = Writer::<Idea>::new(log, id(200 + stream));
    let command = |n: u64| Uuid::new_v5(&id(stream), format!("{who} {n}").as_bytes());
    for n in 0..COMMANDS_PER_WRITER {
        // A clock that goes back, as the clocks of two machines do.
        let clock_ms = i64::try_from((u128::from(n) * 7919 + stream * 31) % 1000).unwrap();
        let name = format!("name {who} {n}");
        let wish = match project.state {
            Project::Unknown => {
                ProjectCommand::Link { owner, repository: "/somewhere".to_owned(), name }
            }
            // Nothing is erased here; a rename would be refused, and fail the test.
            Project::Linked { .. } | Project::Erasing { .. } | Project::Erased { .. } => {
                ProjectCommand::Rename { name }
            }
        };
        project.execute(command(2 * n), wish, clock_ms, notes).await;
        let description = content(u128::from(n) * 10 + who as u128);
        let wish = match idea.state {
            Idea::Unknown => {
                IdeaCommand::Draft { project: ProjectId(id(100 + stream)), description }
            }
            Idea::Known { .. } => IdeaCommand::Describe { description },
        };
        idea.execute(command(2 * n + 1), wish, clock_ms, notes).await;
    }
}

/// A process that is gone the moment after it has answered.
fn die_after_an_answer(place: &Place, notes: &Shared) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let (database, log) = place.open().await;
        let mut writer = Writer::<Project>::new(&log, id(100));
        writer.catch_up().await;
        let wish = ProjectCommand::Rename { name: "the last words".to_owned() };
        let events = writer.state.decide(wish).unwrap();
        let command = id(999);
        let appended = log.append(writer.append(command, &events, 0)).await;
        if let Ok(appended) = appended {
            notes.acknowledged(&writer.stream, command, appended.position);
        }
        // Neither is closed: the process is gone.
        std::mem::forget(log);
        std::mem::forget(database);
    });
    runtime.shutdown_background();
}

/// A projector that is gone as soon as it has written anything.
fn die_while_projecting(place: &Place) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let (database, log) = place.open().await;
        let projector = read_models::projector(&database, &log).start();
        let count = "SELECT count(*) AS n FROM event_index";
        let before = database.views().fetch_all(count, ()).await.unwrap()[0].int("n").unwrap();
        let has_written = async {
            let head = log.head().await.unwrap();
            loop {
                let rows = database.views().fetch_all(count, ()).await.unwrap();
                if rows[0].int("n").unwrap() > before || *projector.projected().borrow() >= head {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, has_written).await;
        std::mem::forget((database, log, projector));
    });
    runtime.shutdown_background();
}

/// Makes all tables again and asks the oracle about everything.
async fn judge(place: &Place, notes: &Notes) -> Vec<Violation> {
    let (database, log) = place.open().await;
    let mut violations = notes.violations.clone();
    let projector = read_models::projector(&database, &log);
    let tables = projector.tables();
    let running = projector.start();
    let head = log.head().await.unwrap();
    let mut projected = running.projected();
    let caught_up = projected.wait_for(|position| *position >= head);
    let is_caught_up = tokio::time::timeout(PATIENCE, caught_up).await.is_ok();
    violations.extend(read_side(&database).await);
    if is_caught_up {
        for (name, _) in tables {
            if let Err(error) = running.rebuild(name).await {
                let what = format!("{name} cannot be made again: {error}");
                violations.push(Violation::new(Invariant::ProjectionIsFold, what));
            }
        }
    }
    let oracle = Oracle::read(&database).await.unwrap();
    violations.extend(oracle.check_log(&notes.acknowledged));
    violations.extend(oracle.check_reader("the reader", &notes.seen));
    violations.extend(read_side(&database).await);
    running.close().await;
    log.close().await;
    violations
}

async fn read_side(database: &Database) -> Vec<Violation> {
    let oracle = Oracle::read(database).await.unwrap();
    match oracle.check_read_side().await {
        Ok(violations) => violations,
        Err(error) => vec![Violation::new(Invariant::ProjectionIsFold, format!("{error:#}"))],
    }
}

/// Does everything that hurts, and tells what the oracle says.
fn suffer(place: &Place) -> Vec<Violation> {
    let notes = Shared::default();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let (first, second) = (place.open().await, place.open().await);
        write(&[first.1.clone(), second.1.clone()], &notes).await;
        first.1.close().await;
        second.1.close().await;
    });
    for _ in 0..DYING_PROJECTORS {
        die_while_projecting(place);
    }
    die_after_an_answer(place, &notes);
    notes.with(|notes| runtime.block_on(judge(place, notes)))
}

fn assert_nothing(violations: &[Violation]) {
    let lines: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(lines.is_empty(), "the oracle found: {}", lines.join("\n"));
}

#[test]
fn the_promises_hold_on_sqlite() {
    assert_nothing(&suffer(&Place::sqlite()));
}

#[test]
fn the_promises_hold_on_postgres() {
    assert_nothing(&suffer(&Place::postgres()));
}

/// Runs the test above in a process in which the bug is planted; tells what it printed.
fn suffer_with(bug: &str) -> std::process::Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "planted::the_promises_hold_on_sqlite", "--nocapture"])
        .env(planted_bug::VARIABLE, bug)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What a run said that did not find a bug.
fn missed(bug: &str, invariants: &[Invariant]) -> Option<String> {
    let output = suffer_with(bug);
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    let names =
        |invariant: &Invariant| said.contains(&format!("{} {invariant:?}: ", invariant.number()));
    let is_found = !output.status.success()
        && said.contains("the oracle found")
        && invariants.iter().any(names);
    (!is_found).then_some(said)
}

#[test]
fn each_planted_bug_is_found() {
    assert_eq!(FOUND_AS.map(|(bug, _)| bug), planted_bug::BUGS, "each bug has its promise");
    let missed: Vec<String> = FOUND_AS
        .iter()
        .filter_map(|(bug, invariants)| {
            let missed: Vec<String> =
                (0..ROUNDS_MAX).map_while(|_| missed(bug, invariants)).collect();
            let is_found = missed.len() < ROUNDS_MAX;
            println!("{bug}: {}", if is_found { "found" } else { "missed" });
            (!is_found).then(|| format!("{bug} is missed:\n{}", missed.join("\n\n")))
        })
        .collect();
    assert!(missed.is_empty(), "{}", missed.join("\n\n"));
}
