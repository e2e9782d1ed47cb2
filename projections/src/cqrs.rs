//! The traits of cqrs-es on our log, without a fork.
//!
//! SAM's own actors talk to the log directly, since they keep aggregates in memory. This is for
//! everything else that speaks cqrs-es, and it lets the unmodified framework and postgres-es's reader
//! be compared with the log in tests.
//!
//! Deliberately absent: snapshots. The framework applies events twice to them.
//!
//! Aggregate ids are UUIDs. Of a command's metadata the fields of [`Metadata`] are kept; a command
//! without an id gets one that follows from what it records.

use std::{collections::HashMap, marker::PhantomData};

use chrono::{DateTime, Utc};
use cqrs_es::{
    Aggregate, AggregateError, DomainEvent, EventEnvelope, EventStore,
    persist::{
        EventStoreAggregateContext, EventUpcaster, PersistedEventRepository, PersistenceError,
        ReplayFeed, ReplayStream, SerializedEvent, SerializedSnapshot,
    },
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    error::DatabaseError,
    event_log::{
        Append, AppendError, ChainLink, EventLog, FIRST_HASH, Hash, Metadata, NewEvent,
        RecordedEvent, StreamId, chain,
    },
    task,
};

const PAGE_EVENTS_MAX: usize = 512;
const REPLAY_QUEUE_MAX: usize = 200;

/// Whose command it is when the metadata does not say.
const ACTOR: &str = "cqrs-es";

/// The log as an event repository of cqrs-es. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogRepository {
    log: EventLog,
    clock: fn() -> DateTime<Utc>,
}

impl LogRepository {
    /// `clock` gives the time of commands whose metadata has none.
    #[must_use]
    pub fn new(log: EventLog, clock: fn() -> DateTime<Utc>) -> Self {
        Self { log, clock }
    }

    async fn read(&self, stream: &StreamId, after: u64) -> Result<Vec<SerializedEvent>, Trouble> {
        let (mut events, mut after) = (Vec::new(), after);
        loop {
            let page = self.log.read_stream(stream, after, PAGE_EVENTS_MAX).await?;
            let Some(last) = page.last() else { return Ok(events) };
            after = last.sequence;
            for event in page {
                events.push(serialized(event)?);
            }
        }
    }

    async fn append(
        &self,
        stream: StreamId,
        events: &[SerializedEvent],
    ) -> Result<(), PersistenceError> {
        let Some(first) = events.first() else { return Ok(()) };
        let expected = (first.sequence as u64).saturating_sub(1);
        let previous_hash = self.hash_at(&stream, expected).await?;
        let (metadata, events) = self.prepare(&stream, previous_hash, events)?;
        let append = Append {
            stream,
            expected,
            previous_hash,
            project: None,
            epoch: None,
            metadata,
            events,
            contents: Vec::new(),
        };
        match self.log.append(append).await {
            Ok(_) => Ok(()),
            Err(AppendError::Conflict { .. }) => Err(PersistenceError::OptimisticLockError),
            Err(error @ AppendError::Unavailable { .. }) => {
                Err(PersistenceError::ConnectionError(Box::new(error)))
            }
            Err(error) => Err(PersistenceError::UnknownError(Box::new(error))),
        }
    }

    /// The hash that the next event is chained to.
    async fn hash_at(&self, stream: &StreamId, sequence: u64) -> Result<Hash, PersistenceError> {
        if sequence == 0 {
            return Ok(FIRST_HASH);
        }
        let events = self.log.read_stream(stream, sequence - 1, 1).await.map_err(Trouble::from)?;
        // A stream that ends before is another's history than the caller believes.
        events.first().map(|event| event.hash).ok_or(PersistenceError::OptimisticLockError)
    }

    fn prepare(
        &self,
        stream: &StreamId,
        previous: Hash,
        events: &[SerializedEvent],
    ) -> Result<(Metadata, Vec<NewEvent>), PersistenceError> {
        let mut fingerprint = previous;
        let mut new_events = Vec::with_capacity(events.len());
        for event in events {
            let payload = serde_json::to_string(&event.payload)?;
            fingerprint = chain(
                &fingerprint,
                ChainLink {
                    stream,
                    sequence: event.sequence as u64,
                    event_type: &event.event_type,
                    event_version: &event.event_version,
                    metadata: "",
                    payload: &payload,
                },
            );
            new_events.push(NewEvent {
                event_type: event.event_type.clone(),
                event_version: event.event_version.clone(),
                payload,
            });
        }
        let given = events.first().map_or(&Value::Null, |event| &event.metadata);
        Ok((self.metadata(given, fingerprint)?, new_events))
    }

    fn metadata(&self, given: &Value, fingerprint: Hash) -> Result<Metadata, Trouble> {
        let text = |name: &str| given.get(name).and_then(Value::as_str);
        let id = |name: &str| {
            text(name).map(Uuid::parse_str).transpose().map_err(|error| {
                Trouble(DatabaseError::failed(format!("{name} is no UUID: {error}")))
            })
        };
        let mut derived = [0; 16];
        derived.copy_from_slice(&fingerprint[..16]);
        let command = id("command")?.unwrap_or_else(|| Uuid::from_bytes(derived));
        let at = text("at").and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        Ok(Metadata {
            actor: text("actor").unwrap_or(ACTOR).to_string(),
            command,
            causation: text("causation").map(str::parse).transpose()?,
            correlation: id("correlation")?.unwrap_or(command),
            at: at.map_or_else(self.clock, |at| at.with_timezone(&Utc)),
        })
    }
}

impl PersistedEventRepository for LogRepository {
    async fn get_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        Ok(self.read(&stream_of::<A>(aggregate_id)?, 0).await?)
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        Ok(self.read(&stream_of::<A>(aggregate_id)?, last_sequence as u64).await?)
    }

    async fn get_snapshot<A: Aggregate>(
        &self,
        _aggregate_id: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        Ok(None)
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot_update: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        if snapshot_update.is_some() {
            let reason = DatabaseError::failed("the log keeps no snapshots");
            return Err(PersistenceError::UnknownError(Box::new(reason)));
        }
        let Some(first) = events.first() else { return Ok(()) };
        self.append(stream_of::<A>(&first.aggregate_id)?, events).await
    }

    async fn stream_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<ReplayStream, PersistenceError> {
        let stream = stream_of::<A>(aggregate_id)?;
        let (mut feed, replay) = ReplayStream::new(REPLAY_QUEUE_MAX);
        let log = self.log.clone();
        task::detach(async move {
            let mut after = 0;
            loop {
                let page = log.read_stream(&stream, after, PAGE_EVENTS_MAX).await;
                match push(&mut feed, page).await {
                    Some(last) => after = last.sequence,
                    None => return,
                }
            }
        });
        Ok(replay)
    }

    /// In the order of the log, not all firsts of all aggregates first.
    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        let (mut feed, replay) = ReplayStream::new(REPLAY_QUEUE_MAX);
        let log = self.log.clone();
        task::detach(async move {
            let mut after = 0;
            loop {
                let page = log.read_kind(A::TYPE, after, PAGE_EVENTS_MAX).await;
                match push(&mut feed, page).await {
                    Some(last) => after = last.position,
                    None => return,
                }
            }
        });
        Ok(replay)
    }
}

/// Where a page of a replay ended.
#[derive(Clone, Copy)]
struct PageEnd {
    sequence: u64,
    position: u64,
}

/// Feeds one page. `None` when the replay is over: at its end, after an error, or unwanted.
async fn push(
    feed: &mut ReplayFeed,
    page: Result<Vec<RecordedEvent>, DatabaseError>,
) -> Option<PageEnd> {
    let page = match page {
        Ok(page) => page,
        Err(error) => {
            // An error is part of the replay; a receiver that is gone wants neither.
            let _ = feed.push(Err(Trouble(error).into())).await;
            return None;
        }
    };
    let mut end = None;
    for event in page {
        end = Some(PageEnd { sequence: event.sequence, position: event.position });
        feed.push(serialized(event).map_err(Into::into)).await.ok()?;
    }
    end
}

/// The log as an event store of cqrs-es for one kind of aggregate.
pub struct LogEventStore<A> {
    repository: LogRepository,
    upcasters: Vec<Box<dyn EventUpcaster>>,
    aggregate: PhantomData<fn() -> A>,
}

impl<A: Aggregate> LogEventStore<A> {
    #[must_use]
    pub fn new(repository: LogRepository) -> Self {
        Self { repository, upcasters: Vec::new(), aggregate: PhantomData }
    }

    #[must_use]
    pub fn with_upcasters(mut self, upcasters: Vec<Box<dyn EventUpcaster>>) -> Self {
        self.upcasters = upcasters;
        self
    }

    fn upcast(&self, event: SerializedEvent) -> SerializedEvent {
        self.upcasters.iter().fold(event, |event, upcaster| {
            if upcaster.can_upcast(&event.event_type, &event.event_version) {
                upcaster.upcast(event)
            } else {
                event
            }
        })
    }
}

impl<A: Aggregate + 'static> EventStore<A> for LogEventStore<A> {
    type AC = EventStoreAggregateContext<A>;

    async fn load_events(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let events = self.repository.get_events::<A>(aggregate_id).await?;
        let envelopes = events.into_iter().map(|event| self.upcast(event).try_into());
        Ok(envelopes.collect::<Result<_, PersistenceError>>()?)
    }

    async fn load_aggregate(
        &self,
        aggregate_id: &str,
    ) -> Result<Self::AC, AggregateError<A::Error>> {
        let mut context = EventStoreAggregateContext {
            aggregate_id: aggregate_id.to_string(),
            aggregate: A::default(),
            current_sequence: 0,
            current_snapshot: None,
        };
        for envelope in self.load_events(aggregate_id).await? {
            context.current_sequence = envelope.sequence;
            context.aggregate.apply(envelope.payload);
        }
        Ok(context)
    }

    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: Self::AC,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        let mut envelopes = Vec::with_capacity(events.len());
        let mut serialized = Vec::with_capacity(events.len());
        for (sequence, payload) in (context.current_sequence + 1..).zip(events) {
            serialized.push(SerializedEvent {
                aggregate_id: context.aggregate_id.clone(),
                sequence,
                aggregate_type: A::TYPE.to_string(),
                event_type: payload.event_type(),
                event_version: payload.event_version(),
                payload: serde_json::to_value(&payload)?,
                metadata: serde_json::to_value(&metadata)?,
            });
            envelopes.push(EventEnvelope {
                aggregate_id: context.aggregate_id.clone(),
                sequence,
                payload,
                metadata: metadata.clone(),
            });
        }
        self.repository.persist::<A>(&serialized, None).await?;
        Ok(envelopes)
    }
}

fn stream_of<A: Aggregate>(aggregate_id: &str) -> Result<StreamId, Trouble> {
    let id = Uuid::parse_str(aggregate_id).map_err(|error| {
        Trouble(DatabaseError::failed(format!("the aggregate id is no UUID: {error}")))
    })?;
    Ok(StreamId::new(A::TYPE, id))
}

fn serialized(event: RecordedEvent) -> Result<SerializedEvent, Trouble> {
    let json = |text: &str| {
        serde_json::from_str(text)
            .map_err(|error| Trouble(DatabaseError::failed(format!("stored JSON: {error}"))))
    };
    Ok(SerializedEvent {
        aggregate_id: event.stream.id.to_string(),
        sequence: usize::try_from(event.sequence).unwrap_or(usize::MAX),
        aggregate_type: event.stream.kind,
        event_type: event.event_type,
        event_version: event.event_version,
        payload: json(&event.payload)?,
        metadata: json(&event.metadata_text)?,
    })
}

/// Our errors on their way to becoming the framework's.
struct Trouble(DatabaseError);

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Self {
        Self(error)
    }
}

impl From<Trouble> for PersistenceError {
    fn from(trouble: Trouble) -> Self {
        match trouble.0 {
            error if error.is_temporary() => Self::ConnectionError(Box::new(error)),
            error => Self::UnknownError(Box::new(error)),
        }
    }
}
