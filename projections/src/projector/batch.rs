//! Reads and decodes what is to be projected next.

use std::sync::Arc;

use crate::{
    error::DatabaseError,
    event_log::{Position, RecordedEvent},
    projection::Recorded,
    projector::{BATCH_EVENTS_MAX, Projector},
};

/// Events that were read and decoded.
pub(super) struct Batch<E> {
    pub(super) after: Position,
    /// Up to where it goes; what concerns no projection is left out of the events.
    pub(super) to: Position,
    pub(super) events: Vec<Recorded<E>>,
}

impl<E> Batch<E> {
    pub(super) fn n_read(&self) -> usize {
        usize::try_from(self.to - self.after).unwrap_or(usize::MAX)
    }
}

pub(super) async fn read<E: Send + Sync>(
    projector: &Projector<E>,
    after: Position,
) -> Result<Batch<E>, DatabaseError> {
    let read = projector.log.read_new(after, BATCH_EVENTS_MAX).await?;
    let to = read.last().map_or(after, |event| event.position);
    let mut events = Vec::with_capacity(read.len());
    for event in read {
        match (projector.decode)(&event) {
            Ok(None) => {}
            Ok(Some(decoded)) => {
                let RecordedEvent { position, stream, sequence, metadata, .. } =
                    Arc::unwrap_or_clone(event);
                events.push(Recorded { position, stream, sequence, metadata, event: decoded });
            }
            Err(error) => pass_over(projector, &event, &error).await?,
        }
    }
    Ok(Batch { after, to, events })
}

async fn pass_over<E>(
    projector: &Projector<E>,
    event: &RecordedEvent,
    error: &str,
) -> Result<(), DatabaseError> {
    let RecordedEvent { position, event_type, .. } = event;
    tracing::error!(position, event_type, error, "an event cannot be decoded and is passed over");
    let note = "INSERT INTO undecoded_events (position, error) VALUES ($1, $2)
        ON CONFLICT (position) DO NOTHING";
    projector.database.views().execute(note, (*position, error)).await?;
    Ok(())
}
