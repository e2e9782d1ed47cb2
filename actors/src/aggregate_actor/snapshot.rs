//! Loads the state of a long stream from where it was kept, and keeps it.
//!
//! A kept state is believed only if this program's rules folded it and the log holds the very event that it
//! ends with. Everything else is folded from the beginning, as if nothing had been kept.

use std::sync::Arc;

use domain::event_sourced::{EventSourced, FINGERPRINT};
use projections::{
    error::DatabaseError,
    event_log::{EventLog, RecordedEvent, StreamId},
    snapshots::Snapshot,
};

use super::Folded;
use crate::dispatcher::DispatchError;

const EVENTS_PER_READ: usize = 512;

/// Folds what the log holds beyond a state. Where that is the beginning, a short stream is read to its end at
/// once; only a longer one is looked for among the kept states.
pub(super) async fn load<A: EventSourced>(
    log: &EventLog,
    stream: &StreamId,
    mut folded: Folded<A>,
) -> Result<Folded<A>, DispatchError> {
    loop {
        let events = next_events(log, stream, &folded).await?;
        let is_end = events.len() < EVENTS_PER_READ;
        if !is_end
            && !folded.is_read
            && let Some(kept) = kept(log, stream).await
        {
            folded = kept;
            continue;
        }
        folded.is_read = true;
        for event in &events {
            folded = folded.recorded(event)?;
        }
        if is_end {
            return Ok(folded);
        }
    }
}

async fn next_events<A>(
    log: &EventLog,
    stream: &StreamId,
    folded: &Folded<A>,
) -> Result<Vec<RecordedEvent>, DispatchError> {
    let events = log.read_stream(stream, folded.sequence, EVENTS_PER_READ).await;
    events.map_err(|error| match error {
        DatabaseError::Failed { reason } => {
            DispatchError::Damaged { stream: stream.clone(), sequence: 0, reason }
        }
        error => error.into(),
    })
}

/// The kept state, if it can be believed. A cache that cannot be read is none.
async fn kept<A: EventSourced>(log: &EventLog, stream: &StreamId) -> Option<Folded<A>> {
    let snapshot = log.snapshot(stream).await.ok()??;
    if snapshot.fingerprint != FINGERPRINT {
        return None;
    }
    let before = snapshot.sequence.checked_sub(1)?;
    let last = log.read_stream(stream, before, 1).await.ok()?.into_iter().next()?;
    if (last.sequence, last.hash) != (snapshot.sequence, snapshot.hash) {
        tracing::warn!(%stream, sequence = snapshot.sequence, "a kept state is of another history");
        return None;
    }
    let state = Arc::new(A::from_snapshot(&snapshot.state)?);
    let Snapshot { sequence, hash, .. } = snapshot;
    Some(Folded { state, sequence, hash, position: last.position, kept: sequence, is_read: true })
}

/// Keeps a state. Where that fails the next load takes longer, and that is all.
pub(super) async fn keep<A: EventSourced>(log: &EventLog, stream: &StreamId, folded: &Folded<A>) {
    let Some(state) = folded.state.to_snapshot() else { return };
    let fingerprint = FINGERPRINT.to_owned();
    let snapshot = Snapshot { sequence: folded.sequence, hash: folded.hash, fingerprint, state };
    if let Err(error) = log.put_snapshot(stream, &snapshot).await {
        tracing::debug!(%stream, %error, "a state could not be kept");
    }
}

#[cfg(test)]
mod tests;
