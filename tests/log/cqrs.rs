//! cqrs-es on the log, compared with postgres-es, which reads the same rows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use cqrs_es::{
    Aggregate, CqrsFramework, DomainEvent, EventEnvelope, EventStore, Query,
    event_sink::EventSink,
    persist::{PersistedEventRepository, PersistedEventStore, QueryReplay},
};
use futures_util::future::BoxFuture;
use postgres_es::PostgresEventRepository;
use projections::{
    cqrs::{LogEventStore, LogRepository},
    event_log::EventLog,
    sql::SqlPool,
};
use serde::{Deserialize, Serialize};

use crate::support::{Place, Writer, assert_whole, id, now, on_both};

on_both! {
    the_framework_runs_on_our_event_store
    the_frameworks_own_store_runs_on_our_repository
    a_race_through_the_framework_is_a_conflict
    a_replay_comes_in_the_order_of_the_log
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Counter {
    total: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum CounterEvent {
    Added { n: i64 },
    Cleared,
}

impl DomainEvent for CounterEvent {
    fn event_type(&self) -> String {
        match self {
            Self::Added { .. } => "Added".into(),
            Self::Cleared => "Cleared".into(),
        }
    }

    fn event_version(&self) -> String {
        "1".into()
    }
}

impl Aggregate for Counter {
    const TYPE: &'static str = "counter";
    type Command = Vec<CounterEvent>;
    type Event = CounterEvent;
    type Error = std::fmt::Error;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in command {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        match event {
            CounterEvent::Added { n } => self.total += n,
            CounterEvent::Cleared => self.total = 0,
        }
    }
}

fn repository(log: &EventLog) -> LogRepository {
    LogRepository::new(log.clone(), now)
}

fn add(n: i64) -> CounterEvent {
    CounterEvent::Added { n }
}

async fn the_framework_runs_on_our_event_store(place: Place) {
    let (_database, log) = place.open().await;
    let store = || LogEventStore::<Counter>::new(repository(&log));
    let framework = CqrsFramework::new(store(), vec![], ());
    let counter = id(1).to_string();
    framework.execute(&counter, vec![add(1), add(2)]).await.unwrap();
    let metadata = HashMap::from([("actor".to_string(), "Zoë".to_string())]);
    let cleared = vec![CounterEvent::Cleared, add(5)];
    framework.execute_with_metadata(&counter, cleared, metadata).await.unwrap();
    let mut context = store().load_aggregate(&counter).await.unwrap();
    assert_eq!(context.current_sequence, 4);
    assert_eq!(cqrs_es::AggregateContext::aggregate(&mut context).total, 5);
    let events = store().load_events(&counter).await.unwrap();
    assert_eq!(events[3].metadata["actor"], "Zoë");
    assert_whole(&log).await;
}

async fn the_frameworks_own_store_runs_on_our_repository(place: Place) {
    let (_database, log) = place.open().await;
    let store = PersistedEventStore::<_, Counter>::new_event_store(repository(&log));
    let framework = CqrsFramework::new(store, vec![], ());
    for n in 1..=5 {
        framework.execute(&id(1).to_string(), vec![add(n)]).await.unwrap();
    }
    let last = repository(&log).get_last_events::<Counter>(&id(1).to_string(), 3).await.unwrap();
    assert_eq!(last.iter().map(|event| event.sequence).collect::<Vec<_>>(), [4, 5]);
    assert!(repository(&log).get_snapshot::<Counter>(&id(1).to_string()).await.unwrap().is_none());
    assert_whole(&log).await;
}

async fn a_race_through_the_framework_is_a_conflict(place: Place) {
    let (_database, log) = place.open().await;
    let store = || LogEventStore::<Counter>::new(repository(&log));
    let counter = id(1).to_string();
    let (one, two) = (
        store().load_aggregate(&counter).await.unwrap(),
        store().load_aggregate(&counter).await.unwrap(),
    );
    store().commit(vec![add(1)], one, HashMap::new()).await.unwrap();
    let lost = store().commit(vec![add(2)], two, HashMap::new()).await;
    assert!(matches!(lost, Err(cqrs_es::AggregateError::AggregateConflict)), "{:?}", lost.err());
}

/// Remembers what a replay brought, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(String, usize)>>>);

impl Query<Counter> for Seen {
    /// As the framework's macro would write it.
    fn dispatch<'a, 'b, 'c, 'd>(
        &'a self,
        aggregate_id: &'b str,
        events: &'c [EventEnvelope<Counter>],
    ) -> BoxFuture<'d, ()>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
    {
        let seen = events.iter().map(|event| (aggregate_id.to_string(), event.sequence));
        self.0.lock().unwrap().extend(seen);
        Box::pin(async {})
    }
}

async fn a_replay_comes_in_the_order_of_the_log(place: Place) {
    let (_database, log) = place.open().await;
    let framework = CqrsFramework::new(LogEventStore::<Counter>::new(repository(&log)), vec![], ());
    let mut expected = Vec::new();
    for (counter, sequence) in [(1, 1), (1, 2), (2, 1), (1, 3), (2, 2)] {
        framework.execute(&id(counter).to_string(), vec![add(1)]).await.unwrap();
        expected.push((id(counter).to_string(), sequence));
    }
    let seen = Seen::default();
    QueryReplay::<_, _, Counter>::new(repository(&log), seen.clone()).replay_all().await.unwrap();
    assert_eq!(*seen.0.lock().unwrap(), expected);
    let seen = Seen::default();
    let replay = QueryReplay::<_, _, Counter>::new(repository(&log), seen.clone());
    replay.replay(&id(2).to_string()).await.unwrap();
    assert_eq!(seen.0.lock().unwrap().len(), 2);
}

/// The unmodified reader of postgres-es finds in our table what our own reader finds.
#[tokio::test]
async fn postgres_es_reads_our_rows_as_we_do() {
    let place = Place::postgres();
    let (database, log) = place.open().await;
    let framework = CqrsFramework::new(LogEventStore::<Counter>::new(repository(&log)), vec![], ());
    let counter = id(1).to_string();
    for n in 1..=4 {
        framework.execute(&counter, vec![add(n), CounterEvent::Cleared]).await.unwrap();
    }
    let mut writer = Writer::new(2);
    writer.append(&log, 3).await.unwrap();
    let SqlPool::Postgres(pool) = database.log() else { panic!("this is PostgreSQL") };
    let oracle = PostgresEventRepository::new(pool.clone());
    for aggregate in [counter.as_str(), &id(2).to_string(), &id(3).to_string()] {
        let theirs = oracle.get_events::<Counter>(aggregate).await.unwrap();
        let ours = repository(&log).get_events::<Counter>(aggregate).await.unwrap();
        assert_eq!(theirs, ours);
        let theirs = oracle.get_last_events::<Counter>(aggregate, 2).await.unwrap();
        let ours = repository(&log).get_last_events::<Counter>(aggregate, 2).await.unwrap();
        assert_eq!(theirs, ours);
    }
    let store = PersistedEventStore::<_, Counter>::new_event_store(oracle);
    assert_eq!(store.load_aggregate(&counter).await.unwrap().current_sequence, 8);
}
