//! The check as a fold over the rows of a log, in order of their positions.
//!
//! Three things are compared: positions and sequences have no gaps; each event's hash follows from its
//! fields and the event before it in its stream; and where a head was signed, the running hash over all
//! streams is the one that was signed. After a finding it goes on from what is stored, so that one change is one finding.

use std::collections::{BTreeSet, HashMap};

use projections::{
    event_log::{
        Cause, ChainLink, FIRST_HASH, Hash, Metadata, Position, RawEvent, StreamId, chain,
    },
    signed_heads::{NO_HASH, running},
};
use uuid::Uuid;

pub use super::heads::Evidence;
use super::{
    Finding, FindingKind, Report,
    heads::{self, Checked},
    report::{FINDINGS_MAX, limits},
};

/// How many missing sequences of one stream are remembered.
const MISSING_MAX: usize = 1000;

/// A check on its way.
#[derive(Debug)]
pub struct Verifier {
    evidence: Checked,
    position: Position,
    running: Hash,
    n_events: u64,
    streams: HashMap<StreamId, Stream>,
    /// The newest signed position that came by.
    protected: Option<Position>,
    /// Something was found since then, which explains that the next running hash is another.
    is_explained: bool,
    findings: Vec<Finding>,
    n_more: u64,
}

/// What is known of a stream.
#[derive(Debug)]
struct Stream {
    sequence: u64,
    /// Of its last event, as stored.
    hash: Hash,
    /// The same as it should have been, if that is another.
    computed: Option<Hash>,
    command: Uuid,
    ordinal: u64,
    missing: BTreeSet<u64>,
}

impl Default for Stream {
    fn default() -> Self {
        let (command, missing) = (Uuid::nil(), BTreeSet::new());
        Self { sequence: 0, hash: FIRST_HASH, computed: None, command, ordinal: 0, missing }
    }
}

impl Verifier {
    #[must_use]
    pub fn new(evidence: Evidence) -> Self {
        Self {
            evidence: heads::check(evidence),
            position: 0,
            running: NO_HASH,
            n_events: 0,
            streams: HashMap::new(),
            protected: None,
            is_explained: false,
            findings: Vec::new(),
            n_more: 0,
        }
    }

    /// Takes the next row.
    pub fn event(&mut self, event: &RawEvent) {
        self.step_to(event.position);
        self.n_events += 1;
        let Ok(id) = Uuid::parse_str(&event.id) else {
            let what = format!("the stream of the event at position {} has no id", event.position);
            self.found(FindingKind::Changed, Some(event.position), None, what);
            return self.fold(event);
        };
        let stream = StreamId::new(event.kind.clone(), id);
        self.check_metadata(event, &stream);
        let mut known = self.streams.remove(&stream).unwrap_or_default();
        self.check_chain(event, &stream, &mut known);
        self.streams.insert(stream, known);
        self.fold(event);
    }

    /// Takes the place of a row that cannot be read.
    pub fn unreadable(&mut self, position: Position, why: &str) {
        self.step_to(position);
        self.n_events += 1;
        let what = format!("the event at position {position} cannot be read: {why}");
        self.found(FindingKind::Changed, Some(position), None, what);
    }

    /// Ends the check. `head` is where the log says that it ends, if it does.
    #[must_use]
    pub fn end(mut self, head: Option<Position>) -> Report {
        let mut missing: Vec<(StreamId, BTreeSet<u64>)> = self
            .streams
            .iter_mut()
            .filter(|(_, stream)| !stream.missing.is_empty())
            .map(|(id, stream)| (id.clone(), std::mem::take(&mut stream.missing)))
            .collect();
        missing.sort();
        for (stream, sequences) in missing {
            for sequence in sequences {
                let what = format!("event {sequence} of {stream} is gone");
                self.found(FindingKind::Removed, None, Some(&stream), what);
            }
        }
        let last = self.position;
        match head {
            Some(head) if head > last => {
                let what = format!(
                    "the log says that it ends at position {head}, but its last event is at {last}"
                );
                self.found(FindingKind::Cut, Some(last), None, what);
            }
            Some(head) if head < last => {
                let what = format!(
                    "the log says that it ends at position {head}, but there are events up to {last}"
                );
                self.found(FindingKind::Inserted, Some(head + 1), None, what);
            }
            _ => {}
        }
        let signed = self.evidence.signed.last_key_value().map(|(position, _)| *position);
        if let Some(signed) = signed.filter(|signed| *signed > last) {
            let what = format!(
                "a head was signed at position {signed}, but the log ends at {last}: at least {} events \
                 were cut off",
                signed - last
            );
            self.found(FindingKind::Cut, Some(last), None, what);
        }
        self.report()
    }

    fn report(self) -> Report {
        let Checked { n_heads, notes, has_key, has_outside, mut findings, .. } = self.evidence;
        findings.extend(self.findings);
        let n_cut = findings.len().saturating_sub(FINDINGS_MAX) as u64;
        findings.truncate(FINDINGS_MAX);
        let n_unprotected = self.position - self.protected.unwrap_or_default();
        Report {
            n_events: self.n_events,
            n_streams: self.streams.len() as u64,
            n_heads,
            n_unprotected,
            n_erasures: 0,
            findings,
            n_more: self.n_more + n_cut,
            notes,
            limits: limits(n_unprotected, self.protected, has_key, has_outside),
            position: self.position,
            hash: self.running,
        }
    }

    /// Goes on to a position, which should be the next.
    fn step_to(&mut self, position: Position) {
        let expected = self.position + 1;
        if position > expected {
            let what = match position - 1 {
                last if last == expected => format!("the event at position {expected} is gone"),
                last => format!("the events at positions {expected} to {last} are gone"),
            };
            self.found(FindingKind::Removed, Some(expected), None, what);
        } else if position < expected {
            let what = format!("position {position} comes after position {}", self.position);
            self.found(FindingKind::Reordered, Some(position), None, what);
        }
        self.position = self.position.max(position);
    }

    /// The metadata is covered by the hash; what stands beside it has to say the same.
    fn check_metadata(&mut self, event: &RawEvent, stream: &StreamId) {
        let position = event.position;
        let Ok(metadata) = Metadata::from_json(&event.metadata) else {
            let what = format!("the metadata of the event at position {position} is malformed");
            return self.found(FindingKind::Changed, Some(position), Some(stream), what);
        };
        if metadata.command != event.command {
            let what =
                format!("the event at position {position} has another command than its metadata");
            self.found(FindingKind::Changed, Some(position), Some(stream), what);
        }
        if let Some(Cause::Event(cause)) = metadata.causation
            && cause >= position
        {
            let what =
                format!("the event at position {position} was caused by a later one, at {cause}");
            self.found(FindingKind::Reordered, Some(position), Some(stream), what);
        }
    }

    fn check_chain(&mut self, event: &RawEvent, stream: &StreamId, known: &mut Stream) {
        let (position, sequence) = (event.position, event.sequence);
        if sequence <= known.sequence {
            let (kind, what) = if known.missing.remove(&sequence) {
                let what = format!(
                    "event {sequence} of {stream} comes after event {}, at position {position}",
                    known.sequence
                );
                (FindingKind::Reordered, what)
            } else {
                let what = format!(
                    "at position {position} there is another event with the number {sequence} of {stream}"
                );
                (FindingKind::Inserted, what)
            };
            return self.found(kind, Some(position), Some(stream), what);
        }
        let computed = |previous: &Hash| hash(previous, stream, event);
        if sequence > known.sequence + 1 {
            let room = MISSING_MAX.saturating_sub(known.missing.len());
            known.missing.extend((known.sequence + 1..sequence).take(room));
            self.is_explained = true;
            known.computed = None;
        } else if computed(&known.hash) == event.hash {
            known.computed = None;
        } else if known.computed.is_some_and(|previous| computed(&previous) == event.hash) {
            // Only the stored hash of the event before is wrong, which was said there.
            known.computed = None;
        } else {
            let what = format!(
                "event {sequence} of {stream}, at position {position}, is not what was recorded after \
                 event {}",
                sequence - 1
            );
            self.found(FindingKind::Changed, Some(position), Some(stream), what);
            known.computed = Some(computed(&known.hash));
        }
        let ordinal = if known.command == event.command && known.sequence > 0 {
            known.ordinal + 1
        } else {
            0
        };
        if event.ordinal != ordinal && sequence == known.sequence + 1 {
            let what =
                format!("the event at position {position} has the wrong place in its command");
            self.found(FindingKind::Changed, Some(position), Some(stream), what);
        }
        (known.sequence, known.hash) = (sequence, event.hash);
        (known.command, known.ordinal) = (event.command, event.ordinal);
    }

    /// Takes the event into the running hash, and compares where a head was signed.
    fn fold(&mut self, event: &RawEvent) {
        self.running = running(&self.running, &event.hash);
        let Some(signed) = self.evidence.signed.get(&self.position).copied() else { return };
        if signed != self.running && !self.is_explained {
            let since = self.protected.unwrap_or_default();
            let what = format!(
                "the events behind position {since} and up to {} are not those that were signed: some \
                 were rewritten together with their hashes, inserted, removed, or have changed places",
                self.position
            );
            self.found(FindingKind::Changed, Some(self.position), None, what);
        }
        // What was signed is believed, so that later heads are held against what comes after.
        self.running = signed;
        self.protected = Some(self.position);
        self.is_explained = false;
    }

    fn found(
        &mut self,
        kind: FindingKind,
        position: Option<Position>,
        stream: Option<&StreamId>,
        what: String,
    ) {
        self.is_explained = true;
        if self.findings.len() >= FINDINGS_MAX {
            self.n_more += 1;
            return;
        }
        let stream = stream.map(ToString::to_string);
        self.findings.push(Finding { kind, position, stream, what });
    }
}

fn hash(previous: &Hash, stream: &StreamId, event: &RawEvent) -> Hash {
    let link = ChainLink {
        stream,
        sequence: event.sequence,
        event_type: &event.event_type,
        event_version: &event.event_version,
        metadata: &event.metadata,
        payload: &event.payload,
    };
    chain(previous, link)
}
