//! Which appends of a batch win. Pure: what the log knows was read under the head lock before.

use std::collections::HashMap;

use planted_bug::is_planted;
use serde::de::IgnoredAny;
use uuid::Uuid;

use crate::event_log::{
    APPEND_BYTES_MAX, APPEND_EVENTS_MAX, Append, AppendError, Appended, ChainLink, FIRST_HASH,
    Hash, Metadata, NewContent, NewEvent, Position, RecordedEvent, StreamId, append::to_micros,
    chain,
};

const NAME_BYTES_MAX: usize = 200;

/// An append that was checked and chained by its caller's task, so that the appender only writes.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) stream: StreamId,
    /// The id as it is stored.
    pub(super) stream_id_text: String,
    pub(super) expected: u64,
    pub(super) previous_hash: Hash,
    pub(super) project: Option<Uuid>,
    pub(super) epoch: Option<u64>,
    pub(super) command: Uuid,
    pub(super) metadata: Metadata,
    /// The metadata as it is stored and hashed.
    pub(super) metadata_text: String,
    pub(super) events: Vec<PreparedEvent>,
    pub(super) contents: Vec<NewContent>,
    pub(super) n_bytes: usize,
}

#[derive(Debug)]
pub(super) struct PreparedEvent {
    pub(super) event_type: String,
    pub(super) event_version: String,
    pub(super) payload: String,
    pub(super) hash: Hash,
}

impl Prepared {
    pub(super) fn new(mut append: Append) -> Result<Self, AppendError> {
        let command = append.metadata.command;
        append.metadata.at = to_micros(append.metadata.at);
        let metadata_text = append.metadata.to_canonical_json();
        let n_events = append.events.len();
        let of_events: usize = append
            .events
            .iter()
            .map(|event| {
                event.payload.len()
                    + event.event_type.len()
                    + event.event_version.len()
                    + metadata_text.len()
            })
            .sum();
        let of_contents: usize = append
            .contents
            .iter()
            .map(|content| content.ciphertext.len() + content.nonce.len())
            .sum();
        let n_bytes = of_events + of_contents;
        if n_events > APPEND_EVENTS_MAX || n_bytes > APPEND_BYTES_MAX {
            return Err(AppendError::TooLarge { n_bytes, n_events });
        }
        if n_events == 0 {
            return Err(malformed("an append without events"));
        }
        check_name(&append.stream.kind)?;
        let new_events = std::mem::take(&mut append.events);
        let events = chain_events(&append, new_events, &metadata_text)?;
        Ok(Self {
            stream_id_text: append.stream.id.to_string(),
            stream: append.stream,
            expected: append.expected,
            previous_hash: append.previous_hash,
            project: append.project,
            epoch: append.epoch,
            command,
            metadata: append.metadata,
            metadata_text,
            events,
            contents: append.contents,
            n_bytes,
        })
    }

    pub(super) fn last_hash(&self) -> Hash {
        self.events.last().map_or(self.previous_hash, |event| event.hash)
    }

    /// The events as they are in the log, once they are there: the last one at this position.
    pub(super) fn into_recorded(self, last: Position) -> impl Iterator<Item = RecordedEvent> {
        let Self { stream, expected, metadata, metadata_text, events, .. } = self;
        let before = last - events.len() as u64;
        (1..).zip(events).map(move |(n, event)| RecordedEvent {
            position: before + n,
            stream: stream.clone(),
            sequence: expected + n,
            event_type: event.event_type,
            event_version: event.event_version,
            payload: event.payload,
            metadata: metadata.clone(),
            metadata_text: metadata_text.clone(),
            hash: event.hash,
            damage: None,
        })
    }
}

/// Checks the events and gives each its hash.
fn chain_events(
    append: &Append,
    new_events: Vec<NewEvent>,
    metadata: &str,
) -> Result<Vec<PreparedEvent>, AppendError> {
    let mut previous = append.previous_hash;
    let mut events = Vec::with_capacity(new_events.len());
    for (sequence, event) in (append.expected + 1..).zip(new_events) {
        check_name(&event.event_type)?;
        check_name(&event.event_version)?;
        if let Err(error) = serde_json::from_str::<IgnoredAny>(&event.payload) {
            return Err(malformed(&format!("a payload that is not JSON: {error}")));
        }
        let link = ChainLink {
            stream: &append.stream,
            sequence,
            event_type: &event.event_type,
            event_version: &event.event_version,
            metadata,
            payload: &event.payload,
        };
        previous = chain(&previous, link);
        events.push(PreparedEvent {
            event_type: event.event_type,
            event_version: event.event_version,
            payload: event.payload,
            hash: previous,
        });
    }
    Ok(events)
}

fn malformed(what: &str) -> AppendError {
    AppendError::Failed { reason: format!("malformed: {what}") }
}

fn check_name(name: &str) -> Result<(), AppendError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
        return Err(malformed("a type or version that is empty, too long or holds a NUL"));
    }
    Ok(())
}

/// What the log knew about one append when the head lock was held.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// The last sequence and hash of its stream.
    pub(super) head: Option<(u64, Hash)>,
    /// The answer that its command got before.
    pub(super) answer: Option<Appended>,
}

/// What becomes of one append.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is written, from this position on.
    Won {
        first: Position,
        appended: Appended,
    },
    /// It was written before, or is in this very batch.
    Repeated(Appended),
    Refused(AppendError),
}

/// Decides for each append of a batch, in order, as if each were committed before the next.
///
/// `base` is the position before the batch. Returns the verdicts and the position after it.
pub(super) fn judge(
    batch: &[Prepared],
    known: &[Known],
    base: Position,
    lease_epoch: Option<u64>,
) -> (Vec<Verdict>, Position) {
    assert_eq!(batch.len(), known.len(), "the log was asked about each append");
    let mut heads: HashMap<&StreamId, (u64, Hash)> = HashMap::new();
    let mut answers: HashMap<(&StreamId, Uuid), Appended> = HashMap::new();
    let mut position = base;
    let mut verdicts = Vec::with_capacity(batch.len());
    for (prepared, known) in batch.iter().zip(known) {
        if prepared.epoch.is_some() && prepared.epoch != lease_epoch {
            verdicts.push(Verdict::Refused(AppendError::Fenced));
            continue;
        }
        let key = (&prepared.stream, prepared.command);
        let answered = answers.get(&key).copied().or(known.answer);
        if let Some(answer) = answered.filter(|_| !is_planted("no_command_dedupe")) {
            verdicts.push(Verdict::Repeated(Appended { is_repeat: true, ..answer }));
            continue;
        }
        let head = heads.get(&prepared.stream).copied().or(known.head);
        let (actual, hash) = head.unwrap_or((0, FIRST_HASH));
        let is_fenced = !is_planted("skip_the_fence");
        if actual != prepared.expected && is_fenced {
            verdicts.push(Verdict::Refused(AppendError::Conflict { actual }));
            continue;
        }
        if hash != prepared.previous_hash && is_fenced {
            let reason = format!("{} is not chained to what the log holds", prepared.stream);
            verdicts.push(Verdict::Refused(AppendError::Failed { reason }));
            continue;
        }
        let n_events = prepared.events.len() as u64;
        let appended = Appended {
            position: position + n_events,
            sequence: actual + n_events,
            hash: prepared.last_hash(),
            is_repeat: false,
        };
        verdicts.push(Verdict::Won { first: position + 1, appended });
        position += n_events;
        heads.insert(&prepared.stream, (appended.sequence, appended.hash));
        answers.insert(key, appended);
    }
    (verdicts, position)
}

/// One event to be inserted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) position: Position,
    pub(super) sequence: u64,
    pub(super) ordinal: u64,
    pub(super) append: &'a Prepared,
    pub(super) event: &'a PreparedEvent,
}

impl Row<'_> {
    /// Whether nothing of its stream was there before.
    pub(super) fn begins_stream(&self) -> bool {
        self.sequence == 1
    }
}

/// The rows of all appends that won, in the order of their positions.
pub(super) fn rows_won<'a>(batch: &'a [Prepared], verdicts: &[Verdict]) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for (append, first, appended) in won(batch, verdicts) {
        let before = appended.sequence - append.events.len() as u64;
        for (ordinal, event) in (0..).zip(&append.events) {
            let (position, sequence) = (first + ordinal, before + 1 + ordinal);
            rows.push(Row { position, sequence, ordinal, append, event });
        }
    }
    rows
}

/// The content of all appends that won.
pub(super) fn contents_won<'a>(batch: &'a [Prepared], verdicts: &[Verdict]) -> Vec<&'a NewContent> {
    won(batch, verdicts).flat_map(|(append, ..)| &append.contents).collect()
}

fn won<'a, 'v>(
    batch: &'a [Prepared],
    verdicts: &'v [Verdict],
) -> impl Iterator<Item = (&'a Prepared, Position, Appended)> + use<'a, 'v> {
    batch.iter().zip(verdicts).filter_map(|(append, verdict)| match verdict {
        Verdict::Won { first, appended } => Some((append, *first, *appended)),
        _ => None,
    })
}
