//! Keeps the read models up to date: reads the log, asks each projection what to write, and writes it.
//!
//! One task per process. Rows and checkpoints move in one transaction, so a crash repeats nothing and
//! loses nothing. A projection that fails is parked, which [`crate::checkpoint`] shows, and the others
//! go on. An event that cannot be decoded is noted and passed over; when a later program can decode
//! it, all projections are made again.
//!
//! Of several replicas only the one with the lease projects; the others follow what it has written.
//!
//! Read next: `projector/side.rs` runs a batch, `projector/grouping.rs` saves round trips,
//! `projector/rebuild.rs` makes tables again, `projector/check.rs` compares them with new ones.

use std::{sync::Arc, time::Duration};

use planted_bug::is_planted;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    checkpoint::Checkpoints,
    database::Database,
    error::DatabaseError,
    event_log::{EventLog, Position, RecordedEvent},
    projection::{Projection, Recorded},
    projector::{
        ahead::{Ahead, next_batch},
        batch::Source,
        rebuild::Rebuild,
        side::{Shared, Side},
    },
    task::Tasks,
};

mod ahead;
mod asked;
mod batch;
mod check;
mod grouping;
mod rebuild;
mod side;

pub use check::{Checked, DIFFERENCES_TOLD_MAX, RowDifference};

/// Turns a recorded event into what the projections understand: none where it is no concern of
/// theirs; the error says why it cannot.
pub type Decode<E> = fn(&RecordedEvent) -> Result<Option<E>, String>;

const BATCH_EVENTS_MAX: usize = 2048;

/// Between the beginnings of two batches of a busy log: several small ones cost more than one.
/// The first event after a pause does not wait, nor does a batch that is full.
const BATCH_PERIOD_MIN: Duration = Duration::from_millis(5);
const BATCH_PERIOD_MAX: Duration = Duration::from_millis(100);
/// How many times as long as the last batch took it is until the next one: what is appended now needs the machine
/// more than what shows it a moment later.
const BATCH_SHARE: u32 = 3;
const RETRY_PERIOD: Duration = Duration::from_millis(500);
const FOLLOW_PERIOD: Duration = Duration::from_millis(250);
/// While another process is known to be projecting what is new.
const CATCH_UP_PERIOD: Duration = Duration::from_millis(20);
const REBUILDS_WAITING_MAX: usize = 16;

/// Projections on their way to being kept up to date.
pub struct Projector<E> {
    database: Database,
    log: EventLog,
    decode: Decode<E>,
    projections: Vec<Shared<E>>,
    permit: Option<watch::Receiver<bool>>,
}

impl<E: Send + Sync + 'static> Projector<E> {
    #[must_use]
    pub fn new(database: &Database, log: &EventLog, decode: Decode<E>) -> Self {
        let (database, log) = (database.clone(), log.clone());
        Self { database, log, decode, projections: Vec::new(), permit: None }
    }

    #[must_use]
    pub fn with(mut self, projection: impl Projection<E>) -> Self {
        self.projections.push(Arc::new(projection));
        self
    }

    /// The projections by name, each with the tables that it writes.
    #[must_use]
    pub fn tables(&self) -> Vec<(&'static str, &'static [&'static str])> {
        let projections = self.projections.iter();
        projections.map(|projection| (projection.name(), projection.tables())).collect()
    }

    /// Projects only while this says so, for example while the lease is held.
    #[must_use]
    pub fn while_permitted(mut self, permit: watch::Receiver<bool>) -> Self {
        self.permit = Some(permit);
        self
    }

    fn source(&self) -> Source<E> {
        let Self { database, log, decode, .. } = self;
        Source { database: database.clone(), log: log.clone(), decode: *decode }
    }

    /// Brings all tables up to the head of the log once, and ends.
    pub async fn catch_up(self) -> Result<Position, DatabaseError> {
        let head = self.log.head().await?;
        let (_, requests) = mpsc::channel(1);
        let mut worker = Worker::new(self, watch::channel(0).0, requests);
        worker.load().await?;
        while worker.position() < head {
            worker.step().await?;
        }
        Ok(worker.position())
    }

    /// Starts the task that keeps the tables up to date.
    #[must_use]
    pub fn start(self) -> RunningProjector {
        let (projected, receiver) = watch::channel(0);
        let (rebuild, requests) = mpsc::channel(REBUILDS_WAITING_MAX);
        let (tasks, names) = (Tasks::default(), self.names());
        let worker = Worker::new(self, projected, requests);
        tasks.start("projector", crate::task::until(tasks.stopped(), worker.run()));
        RunningProjector { names, projected: receiver, rebuild, tasks }
    }
}

/// The rows that a projection makes of some events, in memory: gone when the answer is closed.
pub async fn in_memory<E: Send + Sync + 'static>(
    projection: impl Projection<E>,
    events: &[Recorded<E>],
) -> Result<Database, DatabaseError> {
    let database = Database::in_memory().await?;
    let projection: Shared<E> = Arc::new(projection);
    let mut side = Side::open(database.views().clone(), std::slice::from_ref(&projection)).await?;
    for batch in events.chunks(BATCH_EVENTS_MAX) {
        let to = batch.last().map_or(0, |event| event.position);
        side.project(batch, to).await?;
    }
    Ok(database)
}

/// A handle on the running projector. Dropping it ends the task.
#[derive(Debug)]
pub struct RunningProjector {
    names: Vec<&'static str>,
    projected: watch::Receiver<Position>,
    rebuild: mpsc::Sender<RebuildRequest>,
    tasks: Tasks,
}

type RebuildReply = oneshot::Sender<Result<Position, DatabaseError>>;
type RebuildRequest = (String, RebuildReply);

impl RunningProjector {
    /// The names of the projections.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// A receiver that sees up to where all projections (but parked ones) show the log, so that a
    /// client can wait for its own write.
    #[must_use]
    pub fn projected(&self) -> watch::Receiver<Position> {
        self.projected.clone()
    }

    /// Makes the tables of a projection again beside the old ones and swaps them in.
    pub async fn rebuild(&self, name: &str) -> Result<Position, DatabaseError> {
        let (reply, answer) = oneshot::channel();
        let ended = || DatabaseError::failed("the projector has ended");
        self.rebuild.send((name.to_string(), reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Ends the task; a batch on its way is rolled back.
    pub async fn close(&self) {
        self.tasks.stop().await;
    }
}

/// What the projector's task works with.
struct Worker<E> {
    projector: Projector<E>,
    projected: watch::Sender<Position>,
    requests: mpsc::Receiver<RebuildRequest>,
    live: Option<Side<E>>,
    /// What comes next on the live side, while there is a lot to do.
    ahead: Option<Ahead<E>>,
    /// When the next batch of the live side may begin, if that is not full.
    next_at: Option<Instant>,
    /// The rebuild on its way, and who waits for it.
    rebuild: Option<(Rebuild<E>, Option<RebuildReply>)>,
    /// When the table of requests was read last.
    asked_at: Option<Instant>,
}

impl<E: Send + Sync + 'static> Worker<E> {
    fn new(
        projector: Projector<E>,
        projected: watch::Sender<Position>,
        requests: mpsc::Receiver<RebuildRequest>,
    ) -> Self {
        Self {
            projector,
            projected,
            requests,
            live: None,
            ahead: None,
            next_at: None,
            rebuild: None,
            asked_at: None,
        }
    }

    fn position(&self) -> Position {
        self.live.as_ref().and_then(Side::position).unwrap_or(Position::MAX)
    }

    async fn run(mut self) {
        let mut head = self.projector.log.watch();
        loop {
            if !self.is_permitted() {
                self.live = None;
                self.follow(&mut head).await;
                continue;
            }
            match self.turn(&mut head).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(error = describe(&error), "projecting is tried again");
                    self.live = None;
                    tokio::time::sleep(RETRY_PERIOD).await;
                }
            }
        }
    }

    fn is_permitted(&self) -> bool {
        self.projector.permit.as_ref().is_none_or(|permit| *permit.borrow())
    }

    /// Shows what the process with the lease has written. Looks often while that is behind.
    async fn follow(&mut self, head: &mut watch::Receiver<Position>) {
        let newest = *head.borrow_and_update();
        let shown = match self.followed_position().await {
            Ok(shown) => shown,
            Err(error) => {
                tracing::debug!(%error, "the checkpoints could not be read");
                None
            }
        };
        if let Some(shown) = shown {
            self.publish_position(shown);
        }
        let is_behind = shown.is_some_and(|shown| shown < newest);
        let period = if is_behind { CATCH_UP_PERIOD } else { FOLLOW_PERIOD };
        let Some(permit) = &mut self.projector.permit else { return };
        tokio::select! {
            // Either way the loop looks again.
            _ = permit.wait_for(|is_permitted| *is_permitted) => {}
            _ = head.changed(), if !is_behind => {}
            () = tokio::time::sleep(period) => {}
        }
    }

    /// Up to where the projections that are not parked show the log, by their checkpoints.
    async fn followed_position(&self) -> Result<Option<Position>, DatabaseError> {
        let names = self.projector.names();
        let checkpoints = Checkpoints::new(&self.projector.database).list().await?;
        let of_ours = checkpoints.iter().filter(|found| names.contains(&found.name.as_str()));
        let n_known = of_ours.clone().count();
        let running = of_ours.filter(|found| found.parked.is_none()).map(|found| found.position);
        // One that has not begun shows nothing.
        Ok(if n_known < names.len() { Some(0) } else { running.min() })
    }

    /// Does one batch of what there is to do, or waits until there is something.
    async fn turn(&mut self, head: &mut watch::Receiver<Position>) -> Result<(), DatabaseError> {
        if self.live.is_none() {
            self.load().await?;
        }
        if self.rebuild.is_none()
            && let Ok(request) = self.requests.try_recv()
        {
            self.start_rebuild(request).await;
        }
        self.look_what_is_asked().await?;
        if self.live.is_none() {
            return Ok(());
        }
        // What nobody told of yet is told of soon; without news there is nothing to ask for.
        let newest = *head.borrow();
        if newest > self.position() {
            self.pause(newest).await;
            if self.step().await? > 0 && self.rebuild.is_none() {
                return Ok(());
            }
        }
        if self.rebuild.is_some() {
            return self.step_rebuild().await;
        }
        let position = self.position();
        let request = tokio::select! {
            moved = head.wait_for(|head| *head > position) => {
                moved.map(drop).map_err(|_| DatabaseError::failed("the log is closed"))?;
                None
            }
            Some(request) = self.requests.recv() => Some(request),
            // Whether we may still go on, and what is asked, is looked at in between.
            () = tokio::time::sleep(RETRY_PERIOD) => None,
        };
        if let Some(request) = request {
            self.start_rebuild(request).await;
        }
        Ok(())
    }

    /// Lets a batch become larger, where it is small and the last one was a moment ago.
    async fn pause(&self, head: Position) {
        let is_full = head - self.position() >= BATCH_EVENTS_MAX as u64;
        if let Some(next_at) = self.next_at.filter(|_| !is_full) {
            tokio::time::sleep_until(next_at).await;
        }
    }

    /// Reads the checkpoints, and makes tables again that are from another version.
    async fn load(&mut self) -> Result<(), DatabaseError> {
        let views = self.projector.database.views().clone();
        let live = Side::open(views, &self.projector.projections).await?;
        let is_decodable_now = self.decodes_what_was_passed_over().await?;
        let outdated: Vec<_> = live
            .tracks
            .iter()
            .filter(|track| is_decodable_now || track.version != track.projection.version())
            .map(|track| track.projection.clone())
            .collect();
        self.live = Some(live);
        if !outdated.is_empty()
            && let Some((under_way, reply)) = self.rebuild.take()
        {
            under_way.give_up(&self.projector.database).await?;
            answer(reply, Err(DatabaseError::failed("other read models are made again first")));
        }
        for projection in outdated {
            let name = projection.name();
            tracing::info!(projection = name, "a read model is made again");
            let rebuild = Rebuild::start(&self.projector.database, projection).await?;
            let (reply, made) = oneshot::channel();
            self.rebuild = Some((rebuild, Some(reply)));
            while self.rebuild.is_some() {
                self.step_rebuild().await?;
            }
            match made.await {
                Ok(Err(error)) if error.is_temporary() => return Err(error),
                Ok(Err(error)) => self.park_unmade(name, &describe(&error)).await?,
                Ok(Ok(_)) | Err(_) => {}
            }
        }
        if is_decodable_now {
            self.projector.database.views().execute("DELETE FROM undecoded_events", ()).await?;
        }
        self.publish();
        Ok(())
    }

    async fn decodes_what_was_passed_over(&self) -> Result<bool, DatabaseError> {
        let list = "SELECT position FROM undecoded_events ORDER BY position";
        for row in self.projector.database.views().fetch_all(list, ()).await? {
            let position = row.count("position")?;
            let events = self.projector.log.read_all(position.saturating_sub(1), 1).await?;
            if events.first().is_some_and(|event| (self.projector.decode)(event).is_ok()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Projects one batch on the live side; tells how many events there were.
    ///
    /// While there is more than one batch to do, the next ones are made ready meanwhile.
    async fn step(&mut self) -> Result<usize, DatabaseError> {
        let Some(live) = &mut self.live else { return Ok(0) };
        let begun_at = Instant::now();
        let source = self.projector.source();
        let Some(batch) = next_batch(&source, live, &mut self.ahead).await? else { return Ok(0) };
        let n_events = batch.n_read();
        if n_events == 0 {
            return Ok(0);
        }
        live.project_batch(batch).await?;
        self.publish();
        let period = begun_at.elapsed() * BATCH_SHARE;
        self.next_at = Some(begun_at + period.clamp(BATCH_PERIOD_MIN, BATCH_PERIOD_MAX));
        Ok(n_events)
    }

    async fn start_rebuild(&mut self, (name, reply): RebuildRequest) {
        let found = self.projector.projections.iter().find(|known| known.name() == name).cloned();
        let Some(projection) = found else {
            let _ = reply.send(Err(DatabaseError::failed(format!("no projection {name}"))));
            return;
        };
        match Rebuild::start(&self.projector.database, projection).await {
            Ok(rebuild) => self.rebuild = Some((rebuild, Some(reply))),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Projects one batch of the rebuild, and swaps it in when it has come as far as the live side.
    async fn step_rebuild(&mut self) -> Result<(), DatabaseError> {
        let Some((mut rebuild, reply)) = self.rebuild.take() else { return Ok(()) };
        let Some(live) = &mut self.live else {
            self.rebuild = Some((rebuild, reply));
            return Ok(());
        };
        let name = rebuild.projection.name();
        let track = live.tracks.iter_mut().find(|track| track.projection.name() == name);
        let track = track.expect("a projection that is rebuilt is on the live side");
        // A parked projection stands still; its new rows have to come up to the others.
        let target = match track.parked {
            Some(_) => self.projector.log.head().await?,
            None => track.position,
        };
        if rebuild.side.position().is_some_and(|position| position < target) {
            let source = self.projector.source();
            let stepped = match next_batch(&source, &rebuild.side, &mut rebuild.ahead).await {
                Ok(Some(mut batch)) => {
                    batch.cut(target);
                    if is_planted("rebuild_that_skips_a_type") {
                        batch.events.retain(|event| event.stream.kind != "idea");
                        batch.together = None;
                    }
                    rebuild.side.project_batch(batch).await
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = stepped {
                rebuild.give_up(&self.projector.database).await?;
                if !error.is_temporary() {
                    self.rebuild_has_ended(name).await?;
                }
                answer(reply, Err(error));
                return Ok(());
            }
            self.rebuild = Some((rebuild, reply));
            return Ok(());
        }
        let version = rebuild.projection.version();
        let swapped = rebuild.swap_in(&self.projector.database).await;
        if let Ok(position) = &swapped {
            (track.position, track.version, track.parked) = (*position, version, None);
        }
        self.publish();
        if swapped.as_ref().err().is_none_or(|error| !error.is_temporary()) {
            self.rebuild_has_ended(name).await?;
        }
        answer(reply, swapped);
        Ok(())
    }

    fn publish(&self) {
        if let Some(position) = self.live.as_ref().and_then(Side::position) {
            self.publish_position(position);
        }
    }

    fn publish_position(&self, position: Position) {
        self.projected.send_if_modified(|projected| {
            let is_news = *projected < position;
            *projected = (*projected).max(position);
            is_news
        });
    }
}

fn answer(reply: Option<RebuildReply>, result: Result<Position, DatabaseError>) {
    match (reply, result) {
        (Some(reply), result) => drop(reply.send(result)),
        (None, Err(error)) => tracing::error!(error = describe(&error), "a rebuild failed"),
        (None, Ok(_)) => {}
    }
}

fn describe(error: &DatabaseError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
