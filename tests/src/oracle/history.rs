//! What the rows of the log and the answers to clients show: S1, S2, S3, and S4 of a reader.

use std::collections::{BTreeMap, HashMap};

use projections::event_log::{ChainLink, FIRST_HASH, Position, StreamId, chain};
use uuid::Uuid;

use super::{
    Acknowledged, Entry,
    Invariant::{Completeness, Durability, Idempotence, SingleHistory},
    Violation,
};

/// Positions 1, 2, 3 … up to the head; in each stream sequences 1, 2, 3 …, each chained to the last.
pub(super) fn single_history(entries: &[Entry], head: Position) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut broken = |what: String| violations.push(Violation::new(SingleHistory, what));
    let mut heads = HashMap::new();
    for (expected, entry) in (1..).zip(entries) {
        let Entry { position, stream, sequence, .. } = entry;
        if *position != expected {
            broken(format!("position {expected} is missing: {position} comes next"));
            break;
        }
        let (before, hash) = heads.get(stream).copied().unwrap_or((0, FIRST_HASH));
        if *sequence != before + 1 {
            broken(format!("{stream} goes on from {before} with {sequence}, at {position}"));
        }
        let link = ChainLink {
            stream,
            sequence: *sequence,
            event_type: &entry.event_type,
            event_version: &entry.event_version,
            metadata: &entry.metadata,
            payload: &entry.payload,
        };
        if chain(&hash, link) != entry.hash {
            broken(format!(
                "{stream}/{sequence} at {position} is not chained to what is before it"
            ));
        }
        heads.insert(stream.clone(), (*sequence, entry.hash));
    }
    let last = entries.last().map_or(0, |entry| entry.position);
    if last != head {
        broken(format!("the head says {head}, and the last event is at {last}"));
    }
    violations
}

/// One command of one stream is one run of events, with its ordinals in order, and one answer.
pub(super) fn idempotence(entries: &[Entry], acknowledged: &[Acknowledged]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut broken = |what: String| violations.push(Violation::new(Idempotence, what));
    let mut sets: BTreeMap<(&StreamId, Uuid), Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        sets.entry((&entry.stream, entry.command)).or_default().push(entry);
    }
    for ((stream, command), set) in &sets {
        let is_one_run = set.windows(2).all(|pair| {
            pair[1].sequence == pair[0].sequence + 1 && pair[1].position == pair[0].position + 1
        });
        let are_ordered = (0..).zip(set).all(|(ordinal, entry)| entry.ordinal == ordinal);
        if !is_one_run || !are_ordered {
            broken(format!("command {command} has more than one set of events in {stream}"));
        }
        if set.iter().any(|entry| entry.metadata != set[0].metadata) {
            broken(format!("command {command} has two accounts of itself in {stream}"));
        }
    }
    let mut answers: BTreeMap<(&StreamId, Uuid), Position> = BTreeMap::new();
    for Acknowledged { stream, command, position } in acknowledged {
        let first = *answers.entry((stream, *command)).or_insert(*position);
        if first != *position {
            broken(format!("{stream} answered command {command} with {first} and {position}"));
        }
    }
    violations
}

/// Each acknowledged command is recorded, where its answer said.
pub(super) fn durability(entries: &[Entry], acknowledged: &[Acknowledged]) -> Vec<Violation> {
    let last_of: HashMap<(&StreamId, Uuid), Position> =
        entries.iter().map(|entry| ((&entry.stream, entry.command), entry.position)).collect();
    let lost = acknowledged.iter().filter_map(|told| {
        let is = last_of.get(&(&told.stream, told.command));
        let Acknowledged { stream, command, position } = told;
        match is {
            None => Some(format!("{stream} acknowledged command {command}, and does not have it")),
            Some(is) if is != position => {
                Some(format!("{stream} has command {command} at {is}, and said {position}"))
            }
            Some(_) => None,
        }
    });
    lost.map(|what| Violation::new(Durability, what)).collect()
}

/// Every event up to the last that was seen, once and in order.
pub(super) fn completeness(entries: &[Entry], name: &str, seen: &[Position]) -> Vec<Violation> {
    let last = seen.iter().copied().max().unwrap_or(0);
    let recorded: Vec<Position> =
        entries.iter().map(|entry| entry.position).filter(|position| *position <= last).collect();
    if seen == recorded {
        return Vec::new();
    }
    let at = seen.iter().zip(&recorded).position(|(saw, is)| saw != is);
    let at = at.unwrap_or(seen.len().min(recorded.len()));
    let (saw, is) = (seen.get(at), recorded.get(at));
    let what = format!(
        "{name} saw {} of {} events up to {last}; as number {} it saw {saw:?}, and {is:?} is recorded",
        seen.len(),
        recorded.len(),
        at + 1
    );
    vec![Violation::new(Completeness, what)]
}
