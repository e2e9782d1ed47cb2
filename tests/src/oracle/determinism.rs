//! What follows from the log by pure code: folds, decisions of processes, and what they must have seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use anyhow::Result;
use domain::{
    account::Account,
    credential::Credential,
    event::Event,
    event_sourced::{EventPayload, EventSourced, canonical_json},
    execution::Execution,
    idea::Idea,
    node::Node,
    process::{
        Process, ProcessEvent, ProcessState, Stimulus, close_workspace::CloseWorkspace,
        erase_account::EraseAccount, erase_project::EraseProject, open_workspace::OpenWorkspace,
        retire_node::RetireNode, run_execution::RunExecution, title_idea::TitleIdea,
    },
    project::Project,
    session::Session,
    workspace::Workspace,
};
use projections::{checkpoint::Checkpoints, event_log::Position};
use uuid::Uuid;

use super::{
    Entry,
    Invariant::{Completeness, Determinism},
    Oracle, Violation,
};

/// Calls a generic function once for each kind of stream.
macro_rules! each_aggregate {
    ($function:ident($($argument:expr),*)) => {{
        let mut violations = Vec::new();
        violations.extend($function::<Account>($($argument),*));
        violations.extend($function::<Credential>($($argument),*));
        violations.extend($function::<Project>($($argument),*));
        violations.extend($function::<Idea>($($argument),*));
        violations.extend($function::<Execution>($($argument),*));
        violations.extend($function::<Node>($($argument),*));
        violations.extend($function::<Workspace>($($argument),*));
        violations.extend($function::<Session>($($argument),*));
        violations
    }};
}

/// The same for each kind of process.
macro_rules! each_process {
    ($function:ident($($argument:expr),*)) => {{
        let mut violations = Vec::new();
        violations.extend($function::<RunExecution>($($argument),*));
        violations.extend($function::<OpenWorkspace>($($argument),*));
        violations.extend($function::<CloseWorkspace>($($argument),*));
        violations.extend($function::<RetireNode>($($argument),*));
        violations.extend($function::<EraseProject>($($argument),*));
        violations.extend($function::<EraseAccount>($($argument),*));
        violations.extend($function::<TitleIdea>($($argument),*));
        violations
    }};
}

/// The entries of all streams of a kind, by stream.
fn streams<'log>(entries: &'log [Entry], kind: &str) -> BTreeMap<Uuid, Vec<&'log Entry>> {
    let mut streams: BTreeMap<Uuid, Vec<&Entry>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.stream.kind == kind) {
        streams.entry(entry.stream.id).or_default().push(entry);
    }
    streams
}

fn restored<E: EventPayload>(entry: &Entry) -> Result<E, Violation> {
    let restored = serde_json::from_str(&entry.payload)
        .and_then(|payload| E::restored(&entry.event_type, payload));
    let place = format!("{}/{} at {}", entry.stream, entry.sequence, entry.position);
    let event = restored
        .map_err(|error| Violation::new(Determinism, format!("{place} cannot be read: {error}")))?;
    let (name, payload) = event.stored();
    if name != entry.event_type || canonical_json(&payload) != entry.payload {
        let what = format!("{place} would be stored in other words than it is");
        return Err(Violation::new(Determinism, what));
    }
    Ok(event)
}

/// Every stream can be folded, and gives the same state each time.
pub(super) fn folds(entries: &[Entry]) -> Vec<Violation> {
    each_aggregate!(folds_of(entries))
}

fn folds_of<A: EventSourced>(entries: &[Entry]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (id, stream) in streams(entries, A::TYPE) {
        let events: Result<Vec<A::Event>, _> = stream.iter().map(|entry| restored(entry)).collect();
        let events = match events {
            Ok(events) => events,
            Err(violation) => {
                violations.push(violation);
                continue;
            }
        };
        let fold = || {
            catch_unwind(AssertUnwindSafe(|| {
                let mut state = A::default();
                events.iter().cloned().for_each(|event| state.evolve(event));
                state
            }))
            .ok()
        };
        let (once, again) = (fold(), fold());
        if once.is_none() || once != again {
            let what = match once {
                None => format!("{}/{id} cannot be folded", A::TYPE),
                Some(_) => format!("{}/{id} folds to two different states", A::TYPE),
            };
            violations.push(Violation::new(Determinism, what));
        }
    }
    violations
}

/// Every process, asked again, answers each stimulus as it is recorded.
pub(super) fn decisions(entries: &[Entry]) -> Vec<Violation> {
    each_process!(decisions_of(entries))
}

fn decisions_of<P: Process>(entries: &[Entry]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (id, stream) in streams(entries, P::TYPE) {
        let mut state = ProcessState::<P>::default();
        for entry in stream {
            let recorded: ProcessEvent = match restored(entry) {
                Ok(recorded) => recorded,
                Err(violation) => {
                    violations.push(violation);
                    break;
                }
            };
            let ProcessEvent::Reacted { stimulus, .. } = &recorded;
            if state.decide(stimulus.clone()).as_ref() != Some(&recorded) {
                let sequence = entry.sequence;
                let what = format!("{}/{id} decides number {sequence} differently", P::TYPE);
                violations.push(Violation::new(Determinism, what));
                break;
            }
            state.evolve(&recorded);
        }
    }
    violations
}

/// Every event up to a process reader's checkpoint was seen by whom it concerns, once and in order.
pub(super) async fn processes_saw_everything(oracle: &Oracle) -> Result<Vec<Violation>> {
    let checkpoints = Checkpoints::new(&oracle.database);
    let mut positions = BTreeMap::new();
    for kind in [
        RunExecution::TYPE,
        OpenWorkspace::TYPE,
        CloseWorkspace::TYPE,
        RetireNode::TYPE,
        EraseProject::TYPE,
        EraseAccount::TYPE,
        TitleIdea::TYPE,
    ] {
        let position = checkpoints.position(&format!("process {kind}")).await?;
        positions.insert(kind, position);
    }
    Ok(each_process!(saw_everything(&oracle.entries, oracle.head, &positions)))
}

fn saw_everything<P: Process>(
    entries: &[Entry],
    head: Position,
    checkpoints: &BTreeMap<&str, Position>,
) -> Vec<Violation> {
    let checkpoint = checkpoints[P::TYPE];
    let incomplete = |what: String| Violation::new(Completeness, what);
    if checkpoint > head {
        return vec![incomplete(format!("{} is at {checkpoint}, beyond {head}", P::TYPE))];
    }
    let mut violations = Vec::new();
    let mut concerned: BTreeMap<Uuid, Vec<(Position, Stimulus)>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.position <= checkpoint) {
        let Some((event, at)) = happened(entry) else { continue };
        if let Some(id) = P::route(&event) {
            let position = entry.position;
            let stimulus = Stimulus::Happened { event, position, at };
            concerned.entry(id).or_default().push((position, stimulus));
        }
    }
    let streams = streams(entries, P::TYPE);
    for (id, stimuli) in concerned {
        let stream = streams.get(&id).map(Vec::as_slice).unwrap_or_default();
        let missed = missed::<P>(stream, &stimuli);
        violations.extend(missed.into_iter().map(|position| {
            incomplete(format!("{}/{id} did not see what happened at {position}", P::TYPE))
        }));
    }
    violations
}

fn happened(entry: &Entry) -> Option<(Event, domain::values::Timestamp)> {
    let payload = serde_json::from_str(&entry.payload).ok()?;
    let stream = &entry.stream;
    let event = Event::restored(&stream.kind, stream.id, &entry.event_type, payload).ok()??;
    let metadata = projections::event_log::Metadata::from_json(&entry.metadata).ok()?;
    Some((event, metadata.at))
}

/// Stimuli that are not recorded, although at no moment between those around them they would have been
/// passed over.
fn missed<P: Process>(stream: &[&Entry], stimuli: &[(Position, Stimulus)]) -> Vec<Position> {
    let recorded: Vec<ProcessEvent> =
        stream.iter().filter_map(|entry| restored(entry).ok()).collect();
    let position_of = |event: &ProcessEvent| match event {
        ProcessEvent::Reacted { stimulus: Stimulus::Happened { position, .. }, .. } => {
            Some(*position)
        }
        ProcessEvent::Reacted { .. } => None,
    };
    let seen: BTreeSet<Position> = recorded.iter().filter_map(position_of).collect();
    let mut missed = Vec::new();
    for (position, stimulus) in stimuli.iter().filter(|(position, _)| !seen.contains(position)) {
        let mut state = ProcessState::<P>::default();
        let mut may_be_passed_over = state.decide(stimulus.clone()).is_none();
        for event in &recorded {
            if position_of(event).is_some_and(|later| later > *position) {
                break;
            }
            state.evolve(event);
            may_be_passed_over |= state.decide(stimulus.clone()).is_none();
        }
        if !may_be_passed_over {
            missed.push(*position);
        }
    }
    missed
}
