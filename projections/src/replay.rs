//! What was, at any position: states of aggregates and a conversation, by folding the log up to there.
//!
//! Nothing is decided or done here; a model is never asked again. What cannot be read stops the fold of its
//! stream before it, and of no other.
//!
//! Read next: `replay/verify.rs` decides once more what was decided, again without a model.

mod verify;

use std::collections::BTreeSet;

use domain::{aggregate::Aggregate, event::Event, ids::SessionId};
use serde_json::Value;

use crate::{
    chat_transcript::{self, ChatTranscript, Page},
    error::DatabaseError,
    event_log::{EventLog, Position, RecordedEvent, StreamId},
    projection::Recorded,
    projector, read_models,
    timeline::{Involved, told_in, whole_stream},
};

pub use verify::{
    Difference, NotDecided, Verification, involved_streams, verify, verify_execution,
};

/// An aggregate as it was.
#[derive(Clone, Debug, PartialEq)]
pub struct StateAt {
    pub stream: StreamId,
    /// Events of its stream that are in the state.
    pub sequence: u64,
    /// The state as JSON.
    pub state: Value,
    /// Which event could not be folded, and why; the state is that before it.
    pub problem: Option<String>,
}

/// The states of all aggregates that an execution involves. Those that did not exist are left out.
pub async fn states_at(
    log: &EventLog,
    involved: &Involved,
    position: Position,
) -> Result<Vec<StateAt>, DatabaseError> {
    let (mut own, mut told) = (Vec::new(), BTreeSet::new());
    for stream in &involved.own {
        let events = whole_stream(log, stream, position).await?;
        told.extend(events.iter().flat_map(told_in));
        own.extend(state_of(stream, &events));
    }
    // A node is asked for before it is the execution's, which it may never become.
    told.retain(|stream| !involved.contains(stream));
    let mut states = Vec::new();
    for stream in involved.shared.iter().chain(&told) {
        let events = whole_stream(log, stream, position).await?;
        states.extend(state_of(stream, &events));
    }
    states.extend(own);
    Ok(states)
}

/// None of a process, and of what did not exist.
fn state_of(stream: &StreamId, events: &[RecordedEvent]) -> Option<StateAt> {
    let mut state = Aggregate::new(&stream.kind).filter(|_| !events.is_empty())?;
    let (mut sequence, mut json, mut problem) = (0, Value::Null, None);
    for recorded in events {
        let folded = match read_models::decode(recorded) {
            Ok(Some(event)) => state
                .evolve(&event)
                .map_err(|reason| format!("position {}: {reason}", recorded.position)),
            Ok(None) => Ok(()),
            Err(reason) => Err(reason),
        };
        match folded {
            Ok(()) => sequence = recorded.sequence,
            Err(reason) => {
                problem = Some(reason);
                break;
            }
        }
    }
    // A fold that failed leaves nothing to rely on: what was before it is folded once more.
    if problem.is_some()
        && let Some(mut before) = Aggregate::new(&stream.kind)
    {
        let until = events.iter().take_while(|recorded| recorded.sequence <= sequence);
        for event in until.filter_map(|recorded| read_models::decode(recorded).ok().flatten()) {
            let _ = before.evolve(&event);
        }
        state = before;
    }
    if sequence > 0 {
        json = serde_json::to_value(&state).unwrap_or_default();
    }
    Some(StateAt { stream: stream.clone(), sequence, state: json, problem })
}

/// The newest items of a conversation as they were. The read model itself is made in memory, from the
/// events up to there.
pub async fn chat_at(
    log: &EventLog,
    session: SessionId,
    position: Position,
    limit: usize,
) -> Result<Page, DatabaseError> {
    let stream = StreamId::new("session", session.0);
    let events: Vec<Recorded<Event>> = whole_stream(log, &stream, position)
        .await?
        .into_iter()
        .filter_map(|recorded| {
            let event = read_models::decode(&recorded).ok().flatten()?;
            let RecordedEvent { position, stream, sequence, metadata, .. } = recorded;
            Some(Recorded { position, stream, sequence, metadata, event })
        })
        .collect();
    let database = projector::in_memory(ChatTranscript, &events).await?;
    let page = chat_transcript::page(&database, session, None, limit).await;
    database.close().await;
    page
}
