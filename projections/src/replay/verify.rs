//! Decides once more what a recorded execution decided, and compares.
//!
//! Of processes everything is recorded: a stimulus goes in again, the same intents have to come out. Of
//! aggregates the commands are not recorded, but those that these processes sent are among their
//! intents: each is put to the state before it, and the same events have to come out. What a person or
//! an agent commanded is only folded: `evolve` asserts what `decide` guards.
//!
//! Beside that, every stream has to be whole: sequences without gaps, hashes that chain, one command's
//! events together, and events that this program would store as they are stored.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use domain::{
    aggregate::{Aggregate, said},
    event::{Command, Event, registry},
    event_sourced::EventPayload as _,
    process::{
        Action, IntentKey, Process, ProcessEvent, ProcessState, Stimulus,
        close_workspace::CloseWorkspace, open_workspace::OpenWorkspace,
        run_execution::RunExecution,
    },
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    error::DatabaseError,
    event_log::{ChainLink, EventLog, FIRST_HASH, Position, RecordedEvent, StreamId, chain},
    read_models,
    timeline::{Involved, whole_stream},
};

/// What was compared, and what differs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verification {
    pub n_events: u64,
    /// Reactions of processes that were made again.
    pub n_reactions: u64,
    /// Commands of processes to aggregates that were decided again.
    pub n_commands: u64,
    /// Events of people's and agents' commands, which were folded only.
    pub n_folded: u64,
    pub differences: Vec<Difference>,
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
    let mut streams = Vec::new();
    for stream in involved.own.iter().chain(&involved.shared) {
        let events = whole_stream(log, stream, up_to).await?;
        streams.push((stream.clone(), events));
    }
    Ok(verify(&streams))
}

/// Verifies streams, each given from its first event on. Pure.
#[must_use]
pub fn verify(streams: &[(StreamId, Vec<RecordedEvent>)]) -> Verification {
    let mut verifier = Verifier::default();
    let all = streams.iter().flat_map(|(_, events)| events);
    verifier.happened = all
        .filter_map(|recorded| {
            Some((recorded.position, read_models::decode(recorded).ok().flatten()?))
        })
        .collect();
    for (stream, events) in streams {
        verifier.check_chain(events);
        match stream.kind.as_str() {
            RunExecution::TYPE => verifier.check_process::<RunExecution>(stream, events),
            OpenWorkspace::TYPE => verifier.check_process::<OpenWorkspace>(stream, events),
            CloseWorkspace::TYPE => verifier.check_process::<CloseWorkspace>(stream, events),
            _ => {}
        }
    }
    for (stream, events) in streams {
        if let Some(state) = Aggregate::new(&stream.kind) {
            verifier.check_aggregate(state, events);
        }
    }
    verifier.result.differences.sort_by_key(|difference| difference.position);
    verifier.result
}

#[derive(Default)]
struct Verifier {
    result: Verification,
    /// Events of aggregates, by their positions.
    happened: HashMap<Position, Event>,
    /// Commands that processes wanted sent, by their ids.
    told: HashMap<Uuid, Command>,
}

impl Verifier {
    fn check_chain(&mut self, events: &[RecordedEvent]) {
        let (mut sequence, mut hash) = (0, FIRST_HASH);
        let mut commands: Vec<Uuid> = Vec::new();
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
            if commands.last() != Some(&command) {
                if commands.contains(&command) {
                    let reason = json!("this command's events are not together");
                    self.differs(recorded, "metadata.command", json!(command), reason);
                }
                commands.push(command);
            }
        }
    }

    fn check_process<P: Process>(&mut self, stream: &StreamId, events: &[RecordedEvent]) {
        let mut state = ProcessState::<P>::default();
        for recorded in events {
            let reaction = match read_models::decode_process(recorded) {
                Ok(reaction) => reaction,
                Err(reason) => return self.unreadable(recorded, reason),
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
                Err(panic) => return self.unreadable(recorded, said(panic.as_ref())),
            };
            self.result.n_reactions += 1;
            let decided = decided.map_or(Value::Null, |decided| decided.stored().1);
            self.compare(recorded, "", &reaction.stored().1, &decided);
            for (index, intent) in (0..).zip(intents) {
                if let Action::Tell(command) = &intent.action {
                    let key = IntentKey { sequence: recorded.sequence, index };
                    self.told.insert(key.uuid(P::TYPE, stream.id), command.as_ref().clone());
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
        let Some(happened) = self.happened.get(position) else { return };
        let (seen, happened) = (json!(event), json!(happened));
        self.compare(recorded, "stimulus.happened.event", &seen, &happened);
    }

    fn check_aggregate(&mut self, mut state: Aggregate, events: &[RecordedEvent]) {
        for group in events.chunk_by(|a, b| a.metadata.command == b.metadata.command) {
            let mut decided = self.decide_again(&state, group);
            for recorded in group {
                let event = match read_models::decode(recorded) {
                    Ok(Some(event)) => event,
                    Ok(None) => continue,
                    Err(reason) => return self.unreadable(recorded, reason),
                };
                self.check_stored(recorded, &event);
                if let Some(decided) = &mut decided {
                    let again = decided.next();
                    let (name, payload) = event.stored();
                    let again = again.map(|again| again.stored());
                    let again = again.unwrap_or((String::new(), Value::Null));
                    self.compare(recorded, "event", &json!(name), &json!(again.0));
                    self.compare(recorded, "", &payload, &again.1);
                }
                if let Err(reason) = state.evolve(&event) {
                    return self.unreadable(recorded, reason);
                }
            }
            if let (Some(more), Some(last)) =
                (decided.and_then(|mut more| more.next()), group.last())
            {
                self.differs(last, "event", Value::Null, json!(more.stored().0));
            }
        }
    }

    /// What the command of these events leads to now; none where it is not known.
    fn decide_again(
        &mut self,
        state: &Aggregate,
        group: &[RecordedEvent],
    ) -> Option<std::vec::IntoIter<Event>> {
        let first = group.first()?;
        let Some(command) = self.told.get(&first.metadata.command) else {
            self.result.n_folded += group.len() as u64;
            return None;
        };
        self.result.n_commands += 1;
        match state.decide(command) {
            Ok(events) => Some(events.into_iter()),
            Err(refusal) => {
                let reason = json!(format!("refused: {}", refusal.reason));
                self.differs(first, "event", json!(first.event_type), reason);
                None
            }
        }
    }

    /// An event that is read and written again is the same, unless it was of an older version.
    fn check_stored(&mut self, recorded: &RecordedEvent, event: &Event) {
        let newest = registry::version(&recorded.stream.kind, &recorded.event_type);
        if recorded.event_version != newest {
            return;
        }
        if let Ok(stored) = serde_json::from_str(&recorded.payload) {
            self.compare(recorded, "payload", &stored, &event.stored().1);
        }
    }

    fn compare(&mut self, at: &RecordedEvent, field: &str, recorded: &Value, decided: &Value) {
        match (recorded, decided) {
            _ if recorded == decided => {}
            (Value::Object(old), Value::Object(new)) => {
                let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
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

    fn unreadable(&mut self, at: &RecordedEvent, reason: String) {
        self.differs(at, "payload", json!(at.payload), Value::from(reason));
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
