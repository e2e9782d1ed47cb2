//! A kept state is only a cache: with it, without it, or with a wrong one, the same state is loaded.

use std::path::PathBuf;

use domain::{
    event_sourced::{EventPayload as _, EventSourced, FINGERPRINT, canonical_json},
    ids::AccountId,
    project::{Project, ProjectCommand, ProjectDefaults},
    values::Profile,
};
use projections::{
    database::Database,
    event_log::{
        Append, EventLog, FIRST_HASH, Hash, Metadata, NewEvent, Options, RecordedEvent, StreamId,
    },
    snapshots::Snapshot,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use uuid::Uuid;

use super::{EVENTS_PER_READ, Folded, keep, load};
use crate::{aggregate_actor::read, random};

/// A log of its own, which goes when this does.
struct Place {
    folder: PathBuf,
    log: EventLog,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn place() -> Place {
    let folder = std::env::temp_dir().join(format!("sam-snapshots-{}", random::uuid()));
    let database = Database::open("sqlite:", &folder).await.unwrap();
    let log = EventLog::open(&database, Options::default()).await.unwrap();
    Place { folder, log }
}

fn commands(choices: &[u8]) -> Vec<ProjectCommand> {
    let link = ProjectCommand::Link {
        owner: AccountId(Uuid::from_u128(1)),
        repository: "/srv/git/shop".into(),
        name: "shop".into(),
    };
    let command = |(n, choice): (usize, &u8)| match choice % 4 {
        0 => ProjectCommand::ChangeDefaults { defaults: ProjectDefaults::default() },
        1 => {
            let profile = Some(Profile::Full);
            let defaults = ProjectDefaults { profile, ..ProjectDefaults::default() };
            ProjectCommand::ChangeDefaults { defaults }
        }
        _ => ProjectCommand::Rename { name: format!("name {n}") },
    };
    std::iter::once(link).chain(choices.iter().enumerate().map(command)).collect()
}

/// Records what a project decides on a stream of its own.
async fn record(log: &EventLog, commands: Vec<ProjectCommand>) -> StreamId {
    let stream = StreamId::new("project", random::uuid());
    let (mut state, mut events) = (Project::default(), Vec::new());
    for command in commands {
        for event in state.decide(command).unwrap_or_default() {
            state.evolve(event.clone());
            let (event_type, payload) = event.stored();
            let payload = canonical_json(&payload);
            events.push(NewEvent { event_type, event_version: "1".to_owned(), payload });
        }
    }
    let (mut expected, mut previous_hash) = (0, FIRST_HASH);
    for events in events.chunks(EVENTS_PER_READ) {
        let command = random::uuid();
        let metadata = Metadata {
            actor: "test".into(),
            command,
            causation: None,
            correlation: command,
            at: "2026-01-01T12:00:00Z".parse().unwrap(),
        };
        let append = Append {
            stream: stream.clone(),
            expected,
            previous_hash,
            project: None,
            epoch: None,
            metadata,
            events: events.to_vec(),
            contents: Vec::new(),
        };
        let appended = log.append(append).await.unwrap();
        (expected, previous_hash) = (appended.sequence, appended.hash);
    }
    stream
}

async fn events(log: &EventLog, stream: &StreamId) -> Vec<RecordedEvent> {
    log.read_stream(stream, 0, 100_000).await.unwrap()
}

/// The state after each event, folded from the beginning.
fn folded(events: &[RecordedEvent]) -> Vec<Project> {
    let mut state = Project::default();
    let mut states = Vec::new();
    for event in events {
        EventSourced::evolve(&mut state, read::<Project>(event).unwrap());
        states.push(state.clone());
    }
    states
}

async fn put(log: &EventLog, stream: &StreamId, snapshot: &Snapshot) {
    log.delete_snapshot(stream).await.unwrap();
    log.put_snapshot(stream, snapshot).await.unwrap();
}

async fn loaded(log: &EventLog, stream: &StreamId) -> Folded<Project> {
    load(log, stream, Folded::default()).await.unwrap()
}

fn snapshot(state: &Project, event: &RecordedEvent) -> Snapshot {
    Snapshot {
        sequence: event.sequence,
        hash: event.hash,
        fingerprint: FINGERPRINT.to_owned(),
        state: state.to_snapshot().unwrap(),
    }
}

/// A long stream, so that the kept state is looked for at all.
const LONG: usize = EVENTS_PER_READ + 40;

#[tokio::test]
async fn a_state_kept_at_any_sequence_loads_the_same_state() {
    let place = place().await;
    let stream = record(&place.log, commands(&[2; LONG])).await;
    let events = events(&place.log, &stream).await;
    let states = folded(&events);
    let (last, whole) = (events.last().unwrap(), states.last().unwrap());
    for (event, state) in events.iter().zip(&states) {
        put(&place.log, &stream, &snapshot(state, event)).await;
        let loaded = loaded(&place.log, &stream).await;
        assert_eq!(&*loaded.state, whole, "kept at {}", event.sequence);
        assert_eq!((loaded.sequence, loaded.hash), (last.sequence, last.hash));
        assert_eq!((loaded.position, loaded.kept), (last.position, event.sequence));
    }
    place.log.delete_snapshot(&stream).await.unwrap();
    let without = loaded(&place.log, &stream).await;
    assert_eq!((&*without.state, without.sequence, without.kept), (whole, last.sequence, 0));
}

#[tokio::test]
async fn a_kept_state_that_cannot_be_believed_changes_nothing() {
    let place = place().await;
    let stream = record(&place.log, commands(&[2; LONG])).await;
    let events = events(&place.log, &stream).await;
    let whole = folded(&events).pop().unwrap();
    let good = snapshot(&Project::Unknown, &events[600 - 100]);
    let wrong: Hash = [7; 32];
    let no_such = events.last().unwrap().sequence + 1;
    for (what, bad) in [
        ("older rules", Snapshot { fingerprint: "0".into(), ..good.clone() }),
        ("another history", Snapshot { hash: wrong, ..good.clone() }),
        ("another event", Snapshot { sequence: good.sequence - 1, ..good.clone() }),
        ("a future event", Snapshot { sequence: no_such, ..good.clone() }),
        ("no state", Snapshot { state: "{".into(), ..good.clone() }),
        ("another's state", Snapshot { state: r#"{"Warm":{}}"#.into(), ..good.clone() }),
    ] {
        put(&place.log, &stream, &bad).await;
        let loaded = loaded(&place.log, &stream).await;
        assert_eq!((&*loaded.state, loaded.kept), (&whole, 0), "{what}");
    }
}

#[tokio::test]
async fn what_is_kept_is_used_and_never_goes_back() {
    let place = place().await;
    let stream = record(&place.log, commands(&[2; LONG])).await;
    let whole = loaded(&place.log, &stream).await;
    keep(&place.log, &stream, &whole).await;
    let kept = place.log.snapshot(&stream).await.unwrap().unwrap();
    assert_eq!((kept.sequence, kept.hash), (whole.sequence, whole.hash));
    let older = Snapshot { sequence: 1, ..kept.clone() };
    place.log.put_snapshot(&stream, &older).await.unwrap();
    assert_eq!(place.log.snapshot(&stream).await.unwrap(), Some(kept));
    // Only a state that was read from there can be another than the events give.
    let lie = snapshot(&Project::Unknown, events(&place.log, &stream).await.last().unwrap());
    put(&place.log, &stream, &lie).await;
    assert_eq!(*loaded(&place.log, &stream).await.state, Project::Unknown);
}

/// Any history, with its state kept anywhere in it.
#[test]
fn any_history_loads_with_a_kept_state_as_without() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let place = runtime.block_on(place());
    let mut runner = TestRunner::new(Config::with_cases(12));
    let histories =
        (prop::collection::vec(any::<u8>(), LONG..LONG + 200), any::<prop::sample::Index>());
    let checked = runner.run(&histories, |(choices, at)| {
        runtime.block_on(async {
            let stream = record(&place.log, commands(&choices)).await;
            let without = loaded(&place.log, &stream).await;
            let events = events(&place.log, &stream).await;
            let states = folded(&events);
            let at = at.index(events.len());
            put(&place.log, &stream, &snapshot(&states[at], &events[at])).await;
            let with = loaded(&place.log, &stream).await;
            prop_assert_eq!(&*with.state, &*without.state);
            prop_assert_eq!((with.sequence, with.hash), (without.sequence, without.hash));
            prop_assert_eq!(&*with.state, states.last().unwrap());
            Ok(())
        })
    });
    checked.unwrap();
}
