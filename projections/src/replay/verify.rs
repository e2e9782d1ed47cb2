//! Decides once more what a recorded execution decided, and compares. No model is called, and nobody told.
//!
//! Of processes everything is recorded: a stimulus goes in again, the same intents have to come out. Their
//! commands to aggregates are among these intents, and so is what they were answered: each is put to the
//! state before it. The same events have to come out, or the same refusal, or again nothing.
//!
//! Commands of people, of agents and of other processes are not recorded. Their events tell a command that leads
//! to them ([`Aggregate::command_of`]); it has to be accepted again and to lead to the same. What cannot be
//! decided again is named with the reason.
//!
//! Beside that, every stream has to be whole: sequences without gaps, hashes that chain, one command's
//! events together, and events that this program would store as they are stored.
//!
//! Read next: `verify/aggregates.rs` for the commands.

mod aggregates;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use domain::{
    aggregate::{Aggregate, said},
    event::{Command, Event},
    event_sourced::EventPayload as _,
    process::{
        Action, IntentKey, Outcome, Process, ProcessEvent, ProcessState, Stimulus,
        close_workspace::CloseWorkspace, erase_account::EraseAccount, erase_project::EraseProject,
        open_workspace::OpenWorkspace, retire_node::RetireNode, run_execution::RunExecution,
    },
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    error::DatabaseError,
    event_log::{ChainLink, EventLog, FIRST_HASH, Position, RecordedEvent, StreamId, chain},
    read_models,
    timeline::{Involved, told_in, whole_stream},
};

/// What was compared, and what differs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verification {
    pub n_events: u64,
    /// Decisions of processes that were made again.
    pub n_reactions: u64,
    /// Commands of these processes that were decided again.
    pub n_commands: u64,
    /// Those among them that were refused or changed nothing.
    pub n_without_events: u64,
    /// Commands of people, of agents and of other processes that were rebuilt from their events, and decided
    /// again.
    pub n_rebuilt: u64,
    /// What was not decided again, and why.
    pub not_decided: Vec<NotDecided>,
    pub differences: Vec<Difference>,
}

/// Something that was not decided again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDecided {
    /// Of the first event.
    pub position: Position,
    pub stream: StreamId,
    pub event: String,
    /// How many events this is about; none where a process only heard of it.
    pub n_events: u64,
    pub reason: String,
}

/// One thing that is not as it was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub position: Position,
    pub stream: StreamId,
    pub event: String,
    /// The path to the field, with dots.
    pub field: String,
    pub recorded: Value,
    pub decided: Value,
}

/// Verifies all streams that an execution involves, from their beginnings.
pub async fn verify_execution(
    log: &EventLog,
    involved: &Involved,
    up_to: Position,
) -> Result<Verification, DatabaseError> {
    Ok(verify(&involved_streams(log, involved, up_to).await?))
}

/// The streams that an execution involves, and those that its processes sent commands to.
pub async fn involved_streams(
    log: &EventLog,
    involved: &Involved,
    up_to: Position,
) -> Result<Vec<(StreamId, Vec<RecordedEvent>)>, DatabaseError> {
    let mut streams = Vec::new();
    let mut told = BTreeSet::new();
    for stream in involved.own.iter().chain(&involved.shared) {
        let events = whole_stream(log, stream, up_to).await?;
        told.extend(events.iter().flat_map(told_in));
        streams.push((stream.clone(), events));
    }
    for stream in told {
        if streams.iter().all(|(known, _)| *known != stream) {
            let events = whole_stream(log, &stream, up_to).await?;
            streams.push((stream, events));
        }
    }
    Ok(streams)
}

fn stream_of(command: &Command) -> StreamId {
    let (kind, id) = command.stream();
    StreamId::new(kind, id)
}

/// Verifies streams, each given from its first event on; one that is not given has none. Pure.
#[must_use]
pub fn verify(streams: &[(StreamId, Vec<RecordedEvent>)]) -> Verification {
    let mut verifier = Verifier::default();
    for (stream, events) in streams {
        let read = events
            .iter()
            .map(|recorded| (recorded.position, read_models::decode(recorded).ok().flatten()));
        verifier.happened.extend(read);
        verifier.aggregates.insert(stream, events);
    }
    verifier.aggregates.retain(|stream, _| Aggregate::new(&stream.kind).is_some());
    for (stream, events) in streams {
        verifier.check_chain(events);
        match stream.kind.as_str() {
            RunExecution::TYPE => verifier.check_process::<RunExecution>(stream, events),
            OpenWorkspace::TYPE => verifier.check_process::<OpenWorkspace>(stream, events),
            CloseWorkspace::TYPE => verifier.check_process::<CloseWorkspace>(stream, events),
            RetireNode::TYPE => verifier.check_process::<RetireNode>(stream, events),
            EraseAccount::TYPE => verifier.check_process::<EraseAccount>(stream, events),
            EraseProject::TYPE => verifier.check_process::<EraseProject>(stream, events),
            _ => {}
        }
    }
    verifier.check_aggregates();
    verifier.result.not_decided.sort_by_key(|not_decided| not_decided.position);
    verifier.result.differences.sort_by_key(|difference| difference.position);
    verifier.result
}

#[derive(Default)]
struct Verifier<'a> {
    result: Verification,
    /// What is recorded at each position; none for what cannot be read, and for processes.
    happened: HashMap<Position, Option<Event>>,
    aggregates: BTreeMap<&'a StreamId, &'a [RecordedEvent]>,
    /// Commands that processes wanted sent, by their ids.
    told: BTreeMap<Uuid, Told<'a>>,
}

/// A command of a process.
struct Told<'a> {
    command: Command,
    /// Where the process wanted it.
    wanted: Position,
    /// What the process was answered, and where it recorded that.
    answer: Option<(&'a RecordedEvent, Outcome)>,
}

impl<'a> Verifier<'a> {
    fn check_chain(&mut self, events: &[RecordedEvent]) {
        let (mut sequence, mut hash) = (0, FIRST_HASH);
        let (mut commands, mut last) = (HashSet::new(), None);
        for recorded in events {
            self.result.n_events += 1;
            sequence += 1;
            if recorded.sequence != sequence {
                self.differs(recorded, "sequence", json!(recorded.sequence), json!(sequence));
                sequence = recorded.sequence;
            }
            hash = chain(
                &hash,
                ChainLink {
                    stream: &recorded.stream,
                    sequence: recorded.sequence,
                    event_type: &recorded.event_type,
                    event_version: &recorded.event_version,
                    metadata: &recorded.metadata_text,
                    payload: &recorded.payload,
                },
            );
            if recorded.hash != hash {
                let text = |hash: &[u8]| Value::from(crate::hex::encode(hash));
                self.differs(recorded, "hash", text(&recorded.hash), text(&hash));
                hash = recorded.hash;
            }
            let command = recorded.metadata.command;
            if last.replace(command) != Some(command) && !commands.insert(command) {
                let reason = json!("this command's events are not together");
                self.differs(recorded, "metadata.command", json!(command), reason);
            }
        }
    }

    fn check_process<P: Process>(&mut self, stream: &StreamId, events: &'a [RecordedEvent]) {
        let mut state = ProcessState::<P>::default();
        for (index, recorded) in events.iter().enumerate() {
            let reaction = match read_models::decode_process(recorded) {
                Ok(reaction) => reaction,
                Err(reason) => return self.ends(recorded, &events[index..], reason),
            };
            self.check_stimulus(recorded, &reaction);
            let ProcessEvent::Reacted { stimulus, intents, .. } = &reaction;
            let again = catch_unwind(AssertUnwindSafe(|| {
                let decided = state.decide(stimulus.clone());
                state.evolve(&reaction);
                decided
            }));
            let decided = match again {
                Ok(decided) => decided,
                Err(panic) => {
                    return self.ends(recorded, &events[index..], said(panic.as_ref()));
                }
            };
            self.result.n_reactions += 1;
            let decided = decided.map_or(Value::Null, |decided| decided.stored().1);
            self.compare(recorded, "", &reaction.stored().1, &decided);
            if let Stimulus::Settled { intent, outcome, .. } = stimulus
                && let Some(told) = self.told.get_mut(&intent.uuid(P::TYPE, stream.id))
            {
                told.answer = Some((recorded, outcome.clone()));
            }
            for (index, intent) in (0..).zip(intents) {
                if let Action::Tell(command) = &intent.action {
                    let key = IntentKey { sequence: recorded.sequence, index };
                    let (command, wanted) = (command.as_ref().clone(), recorded.position);
                    let told = Told { command, wanted, answer: None };
                    self.told.insert(key.uuid(P::TYPE, stream.id), told);
                }
            }
        }
    }

    /// What a process saw has to be what was recorded there.
    fn check_stimulus(&mut self, recorded: &RecordedEvent, reaction: &ProcessEvent) {
        let ProcessEvent::Reacted { stimulus: Stimulus::Happened { event, position, .. }, .. } =
            reaction
        else {
            return;
        };
        let (kind, id) = event.stream();
        match self.happened.get(position) {
            Some(Some(happened)) => {
                let (seen, happened) = (json!(event), json!(happened));
                self.compare(recorded, "stimulus.happened.event", &seen, &happened);
            }
            None if self.aggregates.contains_key(&StreamId::new(kind, id)) => {
                self.differs(recorded, "stimulus.happened.position", json!(position), Value::Null);
            }
            _ => {}
        }
    }

    fn compare(&mut self, at: &RecordedEvent, field: &str, recorded: &Value, decided: &Value) {
        match (recorded, decided) {
            _ if recorded == decided => {}
            (Value::Object(old), Value::Object(new)) => {
                let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
                for name in names {
                    let of = |fields: &serde_json::Map<String, Value>| {
                        fields.get(name).cloned().unwrap_or_default()
                    };
                    self.compare(at, &join(field, name), &of(old), &of(new));
                }
            }
            (Value::Array(old), Value::Array(new)) => {
                for index in 0..old.len().max(new.len()) {
                    let of = |items: &[Value]| items.get(index).cloned().unwrap_or_default();
                    self.compare(at, &join(field, &index.to_string()), &of(old), &of(new));
                }
            }
            _ => self.differs(at, field, recorded.clone(), decided.clone()),
        }
    }

    /// A stream cannot be followed beyond an event. `rest` begins there, or with the first of its command.
    fn ends(&mut self, at: &RecordedEvent, rest: &[RecordedEvent], reason: String) {
        self.differs(at, "payload", json!(at.payload), Value::from(reason));
        self.skips(rest, format!("the event at position {} cannot be followed", at.position));
    }

    /// Events were not decided again.
    fn skips(&mut self, events: &[RecordedEvent], reason: String) {
        let Some(first) = events.first() else { return };
        self.result.not_decided.push(NotDecided {
            position: first.position,
            stream: first.stream.clone(),
            event: first.event_type.clone(),
            n_events: events.len() as u64,
            reason,
        });
    }

    fn differs(&mut self, at: &RecordedEvent, field: &str, recorded: Value, decided: Value) {
        self.result.differences.push(Difference {
            position: at.position,
            stream: at.stream.clone(),
            event: at.event_type.clone(),
            field: field.to_owned(),
            recorded,
            decided,
        });
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
