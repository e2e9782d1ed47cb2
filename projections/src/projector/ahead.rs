//! Reads ahead of what is being written, where there is a lot to do.
//!
//! Reading the log, deciding what to write and writing it take about equally long, so the first two have tasks of
//! their own; what one has finished waits for the next, a batch at a time. They end by themselves: at the end of
//! the log, at an error, and when nobody wants what they make any more.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    error::DatabaseError,
    event_log::{Position, RecordedEvent},
    projector::{
        BATCH_EVENTS_MAX,
        batch::{Batch, Source},
        grouping::Shape,
        side::{Shared, Side, Together},
    },
    task::{self, Tasks},
};

type Read = Result<(Position, Vec<Arc<RecordedEvent>>), DatabaseError>;
type Ready<E> = Result<Batch<E>, DatabaseError>;

/// How many batches may wait behind the one that is being made.
const WAITING_MAX: usize = 1;

/// The batches behind a position, in their order. Dropping it ends its tasks.
pub(super) struct Ahead<E> {
    ready: mpsc::Receiver<Ready<E>>,
    _tasks: Tasks,
}

impl<E: Send + Sync + 'static> Ahead<E> {
    pub(super) fn start(
        source: Source<E>,
        projections: Vec<Shared<E>>,
        shape: Shape,
        after: Position,
    ) -> Self {
        let (to_prepare, read) = mpsc::channel(WAITING_MAX);
        let (to_write, ready) = mpsc::channel(WAITING_MAX);
        let tasks = Tasks::default();
        let reading = read_on(source.clone(), after, to_prepare);
        tasks.start("reading ahead", task::until(tasks.stopped(), reading));
        let preparing = prepare_on(source, projections, shape, read, to_write);
        tasks.start("preparing ahead", task::until(tasks.stopped(), preparing));
        Self { ready, _tasks: tasks }
    }

    /// The next batch. None where there is none: then whoever wants more reads it directly.
    pub(super) async fn next(&mut self) -> Option<Ready<E>> {
        self.ready.recv().await
    }
}

/// What a side is to project next; none where all of it is parked.
pub(super) async fn next_batch<E: Send + Sync + 'static>(
    source: &Source<E>,
    side: &Side<E>,
    ahead: &mut Option<Ahead<E>>,
) -> Result<Option<Batch<E>>, DatabaseError> {
    let Some(after) = side.position() else { return Ok(None) };
    if let Some(making) = ahead {
        match making.next().await {
            Some(Ok(batch)) if batch.after == after => return Ok(Some(batch)),
            Some(Err(error)) => {
                *ahead = None;
                return Err(error);
            }
            // The side is elsewhere, or there is no more.
            _ => *ahead = None,
        }
    }
    let batch = source.batch(after).await?;
    if batch.is_full() {
        *ahead = Some(Ahead::start(source.clone(), side.projections(), side.shape(), batch.to));
    }
    Ok(Some(batch))
}

async fn read_on<E: Send + Sync>(
    source: Source<E>,
    mut after: Position,
    to_prepare: mpsc::Sender<Read>,
) {
    loop {
        let read = source.read(after).await;
        let is_last = read.as_ref().map_or(true, |events| events.len() < BATCH_EVENTS_MAX);
        let begins_after = after;
        if let Ok(Some(last)) = read.as_ref().map(|events| events.last()) {
            after = last.position;
        }
        let sent = to_prepare.send(read.map(|events| (begins_after, events))).await;
        if is_last || sent.is_err() {
            return;
        }
    }
}

async fn prepare_on<E: Send + Sync>(
    source: Source<E>,
    projections: Vec<Shared<E>>,
    shape: Shape,
    mut read: mpsc::Receiver<Read>,
    to_write: mpsc::Sender<Ready<E>>,
) {
    while let Some(read) = read.recv().await {
        let ready = match read {
            Ok((after, events)) => source.decoded(after, events).await,
            Err(error) => Err(error),
        };
        let ready = ready.map(|batch| {
            // Where one of them refuses, the batch is run again, and then it shows which one.
            let together = Together::of(&projections, &batch.events, shape).ok();
            Batch { together, ..batch }
        });
        if to_write.send(ready).await.is_err() {
            return;
        }
    }
}
