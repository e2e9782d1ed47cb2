//! Reads and decodes what is to be projected next.

use std::sync::Arc;

use crate::{
    database::Database,
    error::DatabaseError,
    event_log::{EventLog, Position, RecordedEvent},
    projection::Recorded,
    projector::{BATCH_EVENTS_MAX, Decode, side::Together},
};

/// Events that were read and decoded.
pub(super) struct Batch<E> {
    pub(super) after: Position,
    /// Up to where it goes; what concerns no projection is left out of the events.
    pub(super) to: Position,
    pub(super) events: Vec<Recorded<E>>,
    /// What all projections write for them, where that is known already.
    pub(super) together: Option<Together>,
}

impl<E> Batch<E> {
    pub(super) fn n_read(&self) -> usize {
        usize::try_from(self.to - self.after).unwrap_or(usize::MAX)
    }

    pub(super) fn is_full(&self) -> bool {
        self.n_read() >= BATCH_EVENTS_MAX
    }

    /// Leaves out what is behind a position.
    pub(super) fn cut(&mut self, to: Position) {
        if to < self.to {
            self.to = to;
            self.events.retain(|event| event.position <= to);
            self.together = None;
        }
    }
}

/// Where batches come from.
pub(super) struct Source<E> {
    pub(super) database: Database,
    pub(super) log: EventLog,
    pub(super) decode: Decode<E>,
}

impl<E> Clone for Source<E> {
    fn clone(&self) -> Self {
        let Self { database, log, decode } = self;
        Self { database: database.clone(), log: log.clone(), decode: *decode }
    }
}

impl<E: Send + Sync> Source<E> {
    pub(super) async fn batch(&self, after: Position) -> Result<Batch<E>, DatabaseError> {
        let read = self.read(after).await?;
        self.decoded(after, read).await
    }

    pub(super) async fn read(
        &self,
        after: Position,
    ) -> Result<Vec<Arc<RecordedEvent>>, DatabaseError> {
        self.log.read_new(after, BATCH_EVENTS_MAX).await
    }

    pub(super) async fn decoded(
        &self,
        after: Position,
        read: Vec<Arc<RecordedEvent>>,
    ) -> Result<Batch<E>, DatabaseError> {
        let to = read.last().map_or(after, |event| event.position);
        let mut events = Vec::with_capacity(read.len());
        for event in read {
            match (self.decode)(&event) {
                Ok(None) => {}
                Ok(Some(decoded)) => {
                    let RecordedEvent { position, stream, sequence, metadata, .. } =
                        Arc::unwrap_or_clone(event);
                    events.push(Recorded { position, stream, sequence, metadata, event: decoded });
                }
                Err(error) => self.pass_over(&event, &error).await?,
            }
        }
        Ok(Batch { after, to, events, together: None })
    }

    async fn pass_over(&self, event: &RecordedEvent, error: &str) -> Result<(), DatabaseError> {
        let RecordedEvent { position, event_type, .. } = event;
        tracing::error!(
            position,
            event_type,
            error,
            "an event cannot be decoded and is passed over"
        );
        let note = "INSERT INTO undecoded_events (position, error) VALUES ($1, $2)
            ON CONFLICT (position) DO NOTHING";
        self.database.views().execute(note, (*position, error)).await?;
        Ok(())
    }
}
