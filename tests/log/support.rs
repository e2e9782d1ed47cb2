//! Places to keep a log in, and streams to write into it.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use chrono::{DateTime, Utc};
use projections::{
    database::Database,
    event_log::{
        Append, AppendError, Appended, EventLog, FIRST_HASH, Hash, Metadata, NewEvent, Options,
        StreamId,
    },
};
use uuid::Uuid;

/// Runs each of the named functions as a test on SQLite and as one on PostgreSQL.
macro_rules! on_both {
    ($($name:ident)+) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(crate::support::Place::sqlite()).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(crate::support::Place::postgres()).await;
                }
            )+
        }
    };
}
pub(crate) use on_both;

/// A directory that goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sam-test-log-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An empty database of one kind, which can be opened more than once.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) directory: Directory,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self { url: "sqlite:".into(), directory: Directory::new() }
    }

    pub(crate) fn postgres() -> Self {
        Self { url: tests::postgres::database().unwrap(), directory: Directory::new() }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres:")
    }

    pub(crate) async fn database(&self) -> Database {
        Database::open(&self.url, self.directory.path()).await.unwrap()
    }

    pub(crate) async fn open(&self) -> (Database, EventLog) {
        let database = self.database().await;
        let log = EventLog::open(&database, Options::default()).await.unwrap();
        (database, log)
    }
}

pub(crate) fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub(crate) fn now() -> DateTime<Utc> {
    "2026-01-01T12:00:00.123456Z".parse().unwrap()
}

pub(crate) fn metadata(command: Uuid) -> Metadata {
    Metadata { actor: "test".into(), command, causation: None, correlation: command, at: now() }
}

pub(crate) fn event(n: u64) -> NewEvent {
    NewEvent {
        event_type: "Counted".into(),
        event_version: "1".into(),
        payload: format!("{{\"n\":{n}}}"),
    }
}

/// A stream and what its writer knows of it.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) stream: StreamId,
    pub(crate) sequence: u64,
    pub(crate) hash: Hash,
}

impl Writer {
    pub(crate) fn new(n: u128) -> Self {
        Self { stream: StreamId::new("counter", id(n)), sequence: 0, hash: FIRST_HASH }
    }

    /// An append of `n_events` after what is known, under a command id.
    pub(crate) fn command(&self, command: Uuid, n_events: u64) -> Append {
        Append {
            stream: self.stream.clone(),
            expected: self.sequence,
            previous_hash: self.hash,
            project: None,
            epoch: None,
            metadata: metadata(command),
            events: (1..=n_events).map(|n| event(self.sequence + n)).collect(),
            contents: Vec::new(),
        }
    }

    /// The command id that [`Self::append`] uses next.
    pub(crate) fn next_command(&self) -> (StreamId, Uuid) {
        (self.stream.clone(), Uuid::new_v5(&self.stream.id, &self.sequence.to_be_bytes()))
    }

    /// Appends under a command id that follows from the stream and the sequence.
    pub(crate) async fn append(
        &mut self,
        log: &EventLog,
        n_events: u64,
    ) -> Result<Appended, AppendError> {
        let command = Uuid::new_v5(&self.stream.id, &self.sequence.to_be_bytes());
        let appended = log.append(self.command(command, n_events)).await?;
        (self.sequence, self.hash) = (appended.sequence, appended.hash);
        Ok(appended)
    }
}

/// Asserts that the log holds positions 1, 2, 3 … and in each stream sequences 1, 2, 3 …, chained.
pub(crate) async fn assert_whole(log: &EventLog) -> u64 {
    use projections::event_log::{ChainLink, chain};
    let mut heads = std::collections::HashMap::new();
    // A commit that was under way when its process was gone may still come.
    let before = log.head().await.unwrap();
    let mut position = 0;
    loop {
        let page = log.read_all(position, 300).await.unwrap();
        if page.is_empty() {
            break;
        }
        for event in page {
            position += 1;
            assert_eq!(event.position, position, "positions have no gaps");
            let head = heads.entry(event.stream.clone()).or_insert((0, FIRST_HASH));
            assert_eq!(event.sequence, head.0 + 1, "sequences have no gaps");
            let link = ChainLink {
                stream: &event.stream,
                sequence: event.sequence,
                event_type: &event.event_type,
                event_version: &event.event_version,
                metadata: &event.metadata_text,
                payload: &event.payload,
            };
            let hash = chain(&head.1, link);
            assert_eq!(event.hash, hash, "each event is chained to the one before");
            *head = (event.sequence, hash);
        }
    }
    let after = log.head().await.unwrap();
    assert!((before..=after).contains(&position), "{position} is not in {before}..={after}");
    position
}

/// How often: a few times in the gate, and many with `SAM_NIGHTLY=1`.
pub(crate) fn rounds(in_gate: usize, nightly: usize) -> usize {
    if std::env::var("SAM_NIGHTLY").is_ok_and(|value| value == "1") { nightly } else { in_gate }
}

/// Asserts that each command that was acknowledged is in the log, and no command twice.
pub(crate) async fn assert_each_once(log: &EventLog, acknowledged: &[(StreamId, Uuid)]) {
    let mut sets = std::collections::HashMap::new();
    let mut last = std::collections::HashMap::new();
    let mut position = 0;
    loop {
        let page = log.read_all(position, 300).await.unwrap();
        let Some(end) = page.last() else { break };
        position = end.position;
        for event in page {
            let command = event.metadata.command;
            // The events of one command stand together in their stream.
            if last.insert(event.stream.clone(), command) != Some(command) {
                *sets.entry((event.stream, command)).or_insert(0) += 1;
            }
        }
    }
    for command in acknowledged {
        assert_eq!(sets.get(command), Some(&1), "acknowledged, so it is there once: {command:?}");
    }
    assert!(sets.values().all(|n_sets| *n_sets == 1), "no command is carried out twice");
}
