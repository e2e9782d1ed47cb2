//! The event log: all streams in one order, without gaps, on disk before anybody hears of it.
//!
//! Generic over JSON: it knows neither aggregates nor their events. An append names the sequence it
//! saw last; the log refuses it when somebody was faster, and answers a repeated command with its
//! first answer. Nothing is ever changed or removed here, except the key of a content row (elsewhere).
//!
//! Invariants: positions are 1, 2, 3 … in commit order, so "everything after p" is all a reader needs;
//! sequences of a stream are 1, 2, 3 …; each event's hash covers its predecessor's.
//!
//! Read next: `event_log/appender.rs` groups appends into commits, `event_log/batch.rs` says which of
//! them win, `event_log/{sqlite,postgres}.rs` write them down.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use uuid::Uuid;

use crate::{
    database::Database,
    error::DatabaseError,
    event_log::{
        appender::{Appender, Submitted, Told},
        bell::Bell,
        latency::Latencies,
        store::Store,
        tail::Tail,
        wake::Wake,
    },
    sql::SqlPool,
    task::{self, Tasks},
};

mod append;
mod appender;
mod batch;
mod bell;
mod fair_queue;
mod hash;
mod heads;
mod latency;
mod metadata;
mod postgres;
mod raw;
mod reader;
mod sqlite;
mod store;
mod tail;
mod wake;
mod write_ahead;

pub use append::{
    APPEND_BYTES_MAX, APPEND_EVENTS_MAX, Append, AppendError, Appended, NewContent, NewEvent,
    StreamId,
};
pub use hash::{ChainLink, FIRST_HASH, Hash, chain};
pub use latency::{APPEND_SECONDS, AppendLatencies};
pub use metadata::{Cause, Metadata};
pub use raw::{LogEnd, RawEvent, RawLog};
pub(crate) use reader::{COLUMNS as EVENT_COLUMNS, recorded as recorded_events};
pub use reader::{RecordedEvent, StoredContent};

/// A place in the log: 1 is the first event ever recorded, 0 is before it.
pub type Position = u64;

/// What an [`EventLog`] may be told at its opening.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many appends may wait for the appender; more wait at the door.
    pub queue_max: usize,
    /// How often the head is looked up, in case a wake was lost.
    pub poll_interval: Duration,
    /// How long an append whose database is away is tried again before its caller hears of it.
    pub retry_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queue_max: 1024,
            poll_interval: Duration::from_secs(1),
            retry_max: Duration::from_secs(10),
        }
    }
}

/// A handle on the log. Cheap to clone; all clones share one appender.
#[derive(Clone, Debug)]
pub struct EventLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: SqlPool,
    submit: mpsc::Sender<Submitted>,
    bell: Arc<Bell>,
    wake: Wake,
    tail: Tail,
    tasks: Tasks,
    failure: watch::Receiver<Option<String>>,
    latencies: Latencies,
}

impl EventLog {
    /// Opens the log and starts its appender and its wake-up task.
    pub async fn open(database: &Database, options: Options) -> Result<Self, DatabaseError> {
        let pool = database.log().clone();
        let head = reader::head(&pool).await?;
        let wake = Wake::new(head);
        let (submit, submitted) = mpsc::channel(options.queue_max);
        let store = Store::open(database).await?;
        let tasks = Tasks::default();
        let (failed, failure) = watch::channel(None);
        let tail = Tail::default();
        let told = Told { wake: wake.clone(), tail: tail.clone(), failure: failed.clone() };
        let bell = Arc::new(Bell::default());
        let appender = Appender::new(store, submitted, Arc::clone(&bell), told, options.retry_max);
        tasks.start_thread("appender", appender.run(tasks.stopped())).map_err(sqlx::Error::from)?;
        let listen = wake::listen(pool.clone(), wake.clone());
        tasks.start("wake", task::until(tasks.stopped(), listen));
        let poll = wake::poll(pool.clone(), wake.clone(), options.poll_interval);
        tasks.start("poll", task::until(tasks.stopped(), poll));
        let announce = wake::announce(pool.clone(), wake.clone());
        tasks.start("announce", task::until(tasks.stopped(), announce));
        let keep_short = write_ahead::keep_short(pool.clone(), wake.clone(), failed);
        tasks.start("write-ahead", task::until(tasks.stopped(), keep_short));
        Ok(Self {
            shared: Arc::new(Shared {
                pool,
                submit,
                bell,
                wake,
                tail,
                tasks,
                failure,
                latencies: Latencies::default(),
            }),
        })
    }

    /// Appends events and content in one transaction, and answers once they are on disk.
    ///
    /// The call may be dropped at any time: what was handed over is still appended.
    pub async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let began = Instant::now();
        let prepared = batch::Prepared::new(append)?;
        let (reply, answer) = oneshot::channel();
        let submitted = Submitted { prepared, reply };
        if self.shared.submit.send(submitted).await.is_err() {
            return Err(AppendError::Failed { reason: "the log is closed".into() });
        }
        self.shared.bell.come();
        // The appender answers everything it took; it drops a reply only when it dies itself.
        let answer = answer.await.unwrap_or_else(|_| {
            Err(AppendError::Failed { reason: "the appender died; the outcome is unknown".into() })
        });
        if answer.is_ok() {
            self.shared.latencies.observe(began.elapsed());
        }
        answer
    }

    /// How long the appends of this process took.
    #[must_use]
    pub fn append_latencies(&self) -> AppendLatencies {
        self.shared.latencies.read()
    }

    /// Reads events of one stream with a sequence above `after`, in order.
    pub async fn read_stream(
        &self,
        stream: &StreamId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, DatabaseError> {
        reader::read_stream(&self.shared.pool, stream, after, limit).await
    }

    /// Reads events of one stream and one type with a sequence below `before`, the newest first. It looks
    /// at no more of the stream than it has to.
    pub async fn read_newest(
        &self,
        stream: &StreamId,
        event_type: &str,
        before: u64,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, DatabaseError> {
        reader::read_newest(&self.shared.pool, stream, event_type, before, limit).await
    }

    /// Reads events with a position above `after`, in order. Never skips one that commits later.
    pub async fn read_all(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, DatabaseError> {
        reader::read_all(&self.shared.pool, after, limit).await
    }

    /// Reads the events at these positions, in order; the ones that do not exist are missing.
    pub async fn read_positions(
        &self,
        positions: &[Position],
    ) -> Result<Vec<RecordedEvent>, DatabaseError> {
        reader::read_positions(&self.shared.pool, positions).await
    }

    /// The same for a reader that keeps up: what this process appended a moment ago comes from memory,
    /// everything else from the database. Auditors, who doubt the database, read all.
    pub async fn read_new(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Arc<RecordedEvent>>, DatabaseError> {
        if let Some(events) = self.shared.tail.after(after, limit) {
            return Ok(events);
        }
        Ok(self.read_all(after, limit).await?.into_iter().map(Arc::new).collect())
    }

    /// The position of the last event in the log; 0 when it is empty.
    pub async fn head(&self) -> Result<Position, DatabaseError> {
        reader::head(&self.shared.pool).await
    }

    /// Finds the answer that a command got from this stream, if it was recorded there.
    pub async fn find_command(
        &self,
        stream: &StreamId,
        command: Uuid,
    ) -> Result<Option<Appended>, DatabaseError> {
        reader::find_command(&self.shared.pool, stream, command).await
    }

    /// Reads content rows; the ones that do not exist (any more) are missing in the answer.
    pub async fn contents(&self, ids: &[Uuid]) -> Result<Vec<StoredContent>, DatabaseError> {
        reader::contents(&self.shared.pool, ids).await
    }

    /// Whether other processes may append to this log: only PostgreSQL is shared.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared.pool.is_postgres()
    }

    /// A receiver that sees the head move. A hint that comes at once for own appends, through NOTIFY
    /// for those of other replicas, and within the poll interval in any case.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Position> {
        self.shared.wake.subscribe()
    }

    /// A receiver that sees why the storage failed, if it does. Nothing is acknowledged after that:
    /// the program should end and start again. The same goes when the channel is closed: then the
    /// appender has ended.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.shared.failure.clone()
    }

    /// Reads events of all streams of one kind with a position above `after`, in order.
    pub async fn read_kind(
        &self,
        kind: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, DatabaseError> {
        reader::read_kind(&self.shared.pool, kind, after, limit).await
    }

    /// For what is kept beside the events.
    pub(crate) fn pool(&self) -> &SqlPool {
        &self.shared.pool
    }

    /// Appends what is queued, refuses what comes later, and ends the tasks.
    pub async fn close(&self) {
        self.shared.tasks.stop().await;
    }
}
