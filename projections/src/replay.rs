//! What was, at any position: states of aggregates and a conversation, by folding the log up to there.
//!
//! Nothing is decided or done here; a model is never asked again. What cannot be read stops the fold of its
//! stream before it, and of no other.
//!
//! Read next: `replay/verify.rs` decides once more what was decided, again without a model.

mod verify;

use domain::{aggregate::Aggregate, event::Event, ids::SessionId};
use serde_json::Value;

use crate::{
    chat_transcript::{self, ChatTranscript, Page},
    error::DatabaseError,
    event_log::{EventLog, Position, RecordedEvent, StreamId},
    projection::Recorded,
    projector, read_models,
    timeline::{Involved, whole_stream},
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
    let mut states = Vec::new();
    for stream in involved.shared.iter().chain(&involved.own) {
        let Some(empty) = Aggregate::new(&stream.kind) else { continue };
        let events = whole_stream(log, stream, position).await?;
        if !events.is_empty() {
            states.push(state_of(stream, empty, &events));
        }
    }
    Ok(states)
}

fn state_of(stream: &StreamId, mut state: Aggregate, events: &[RecordedEvent]) -> StateAt {
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
    StateAt { stream: stream.clone(), sequence, state: json, problem }
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
