//! The one task of a process that appends.
//!
//! It takes whatever queued while the previous batch was committing, and waits for more only after a slow commit
//! of many: under load batches grow by themselves, and a lone append is not delayed.
//!
//! When the database goes away the outcome of the batch may be unknown. It is then committed again:
//! taking the head lock waits for the old transaction to end, and what that one recorded is found by
//! command id. When the storage itself fails, nothing is acknowledged ever again.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    error::DatabaseError,
    event_log::{
        AppendError, Appended,
        append::describe,
        batch::Prepared,
        bell::Bell,
        fair_queue::{FairQueue, Limits, Taken, Weight},
        store::{CommitError, Outcomes, Store},
        tail::Tail,
        wake::Wake,
    },
};

const LIMITS: Limits = Limits {
    rows_max: 512,
    bytes_max: 1 << 20,
    project_rows_max: 64,
    // `bench log --only latency` tells how long others wait beside 64 busy streams.
    project_rows_in_company_max: 4,
};

/// How many times as long as the last commit a project rests that had more to write than its share of it.
const REST_SHARE: u32 = 4;
const REST_MAX: Duration = Duration::from_millis(50);

/// After a commit of so many appends that took long, those it answered are waited for a little, so that they
/// share the next one with whoever waits already. Else half of the callers wait for the disk while the other
/// half does, in turn. A lone append is never delayed.
const GATHER_APPENDS_MIN: usize = 8;
/// Which part of the commit's own time they are waited for at most.
const GATHER_SHARE: u32 = 2;
/// A commit that took as long as a server was away says nothing about when its callers come again.
const GATHER_MAX: Duration = Duration::from_millis(20);

/// How many appends are taken out of the channel at most; the rest waits in it, and then at the door.
const WAITING_MAX: usize = 4096;

const RETRY_PERIOD_MIN: Duration = Duration::from_millis(20);
const RETRY_PERIOD_MAX: Duration = Duration::from_secs(1);

pub(super) type Reply = oneshot::Sender<Result<Appended, AppendError>>;

/// An append on its way.
#[derive(Debug)]
pub(super) struct Submitted {
    pub(super) prepared: Prepared,
    pub(super) reply: Reply,
}

/// Who hears of what was committed, besides the callers.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) wake: Wake,
    pub(super) tail: Tail,
    /// Why the storage cannot be trusted any more, once that is so.
    pub(super) failure: watch::Sender<Option<String>>,
}

#[derive(Debug)]
pub(super) struct Appender {
    store: Store,
    submitted: mpsc::Receiver<Submitted>,
    bell: Arc<Bell>,
    queue: FairQueue<Submitted>,
    told: Told,
    retry_max: Duration,
    /// The last batch was given up. Later ones get one try, so that their callers need not wait too.
    is_away: bool,
}

impl Appender {
    pub(super) fn new(
        store: Store,
        submitted: mpsc::Receiver<Submitted>,
        bell: Arc<Bell>,
        told: Told,
        retry_max: Duration,
    ) -> Self {
        let queue = FairQueue::new();
        Self { store, submitted, bell, queue, told, retry_max, is_away: false }
    }

    /// Appends until `stopped`, and then what is still queued.
    pub(super) async fn run(mut self, stopped: impl Future<Output = ()>) {
        tokio::pin!(stopped);
        let mut is_open = true;
        loop {
            self.enqueue_waiting();
            if self.queue.is_empty() {
                tokio::select! {
                    submitted = self.submitted.recv() => match submitted {
                        Some(submitted) => self.enqueue(submitted),
                        None => return,
                    },
                    () = &mut stopped, if is_open => {
                        is_open = false;
                        self.submitted.close();
                    }
                }
                continue;
            }
            let Taken { items, over_share } = self.queue.take(LIMITS, Instant::now());
            if items.is_empty() {
                self.await_somebody().await;
                continue;
            }
            let n_appends = items.len();
            let begun_at = Instant::now();
            self.settle(items).await;
            let commit_took = begun_at.elapsed();
            let rest = (commit_took * REST_SHARE).min(REST_MAX);
            self.queue.rest(over_share, Instant::now() + rest);
            if n_appends >= GATHER_APPENDS_MIN && commit_took >= self.store.long_commit() {
                self.gather(n_appends, (commit_took / GATHER_SHARE).min(GATHER_MAX)).await;
            }
        }
    }

    /// Until somebody has rested who has something to write, or somebody else comes.
    async fn await_somebody(&mut self) {
        let rested_at = self.queue.rested_at().unwrap_or_else(Instant::now);
        tokio::select! {
            () = tokio::time::sleep_until(rested_at) => {}
            submitted = self.submitted.recv() => match submitted {
                Some(submitted) => self.enqueue(submitted),
                // Nobody comes any more who could be kept waiting.
                None => self.queue.end_rests(),
            },
        }
    }

    /// Waits for as many appends as were just answered, besides those that wait already. This thread is woken once
    /// for all of them.
    async fn gather(&mut self, n_answered: usize, period_max: Duration) {
        let until = Instant::now() + period_max;
        self.enqueue_waiting();
        let n_expected = (self.queue.len() + n_answered).min(WAITING_MAX);
        while self.queue.len() < n_expected {
            let n_before = self.queue.len();
            // A full channel holds the others up at the door.
            self.bell.set((n_expected - n_before).min(self.submitted.max_capacity()));
            self.enqueue_waiting();
            if self.queue.len() > n_before {
                // They came before it was set, and are not counted.
                continue;
            }
            let is_late = tokio::time::timeout_at(until, self.bell.rung()).await.is_err();
            self.enqueue_waiting();
            if is_late {
                break;
            }
        }
        self.bell.set(0);
    }

    fn enqueue_waiting(&mut self) {
        while self.queue.len() < WAITING_MAX {
            let Ok(submitted) = self.submitted.try_recv() else { break };
            self.enqueue(submitted);
        }
    }

    fn enqueue(&mut self, submitted: Submitted) {
        let Prepared { project, n_bytes, ref events, .. } = submitted.prepared;
        let n_rows = events.len();
        self.queue.push(Weight { project, n_rows, n_bytes }, submitted);
    }

    /// Commits a batch, and answers each of its callers.
    async fn settle(&mut self, batch: Vec<Submitted>) {
        let (appends, replies): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|submitted| (submitted.prepared, submitted.reply)).unzip();
        match self.commit(&appends).await {
            Err(CommitError::Rejected(_)) if appends.len() > 1 => {
                // One of them is bad; the others should not pay for it.
                for (append, reply) in appends.into_iter().zip(replies) {
                    let outcome = self.commit(std::slice::from_ref(&append)).await;
                    self.answer(outcome, vec![append], vec![reply]);
                }
            }
            outcome => self.answer(outcome, appends, replies),
        }
    }

    /// Commits a batch, again and again while the database is away.
    async fn commit(&mut self, appends: &[Prepared]) -> Result<Outcomes, CommitError> {
        if let Some(reason) = self.told.failure.borrow().clone() {
            return Err(CommitError::Broken(reason));
        }
        let deadline = Instant::now() + self.retry_max;
        let mut pause = RETRY_PERIOD_MIN;
        let mut is_first = true;
        loop {
            let error = match self.store.commit(appends).await {
                Ok(outcomes) if is_first => {
                    self.is_away = false;
                    return Ok(outcomes);
                }
                Ok(outcomes) => {
                    self.is_away = false;
                    return Ok(own_after_all(appends, outcomes));
                }
                Err(CommitError::Unavailable(error)) => error,
                Err(error) => return Err(error),
            };
            is_first = false;
            // Somebody has to free space first, which takes longer than anybody waits.
            let is_full = matches!(error, DatabaseError::Full { .. });
            if is_full || self.is_away || Instant::now() + pause > deadline {
                self.is_away = true;
                return Err(CommitError::Unavailable(error));
            }
            tracing::warn!(error = describe(&error), "an append is tried again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PERIOD_MAX);
        }
    }

    fn answer(
        &mut self,
        outcome: Result<Outcomes, CommitError>,
        appends: Vec<Prepared>,
        replies: Vec<Reply>,
    ) {
        match outcome {
            Ok(outcomes) => {
                self.tell(appends, &outcomes);
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    // A caller that went away does not mind.
                    let _ = reply.send(outcome);
                }
            }
            Err(error) => {
                if let CommitError::Broken(reason) = &error {
                    tracing::error!(reason, "the storage failed; nothing is appended any more");
                    self.told.failure.send_replace(Some(reason.clone()));
                }
                for reply in replies {
                    let _ = reply.send(Err(to_append_error(&error)));
                }
            }
        }
    }

    /// Lets readers have what is on disk now.
    fn tell(&self, appends: Vec<Prepared>, outcomes: &Outcomes) {
        let recorded = appends.into_iter().zip(outcomes).filter_map(|(append, outcome)| {
            let appended = outcome.as_ref().ok().filter(|appended| !appended.is_repeat)?;
            Some(append.into_recorded(appended.position))
        });
        self.told.tail.push(recorded.flatten());
        let head = outcomes.iter().flatten().map(|appended| appended.position).max();
        if let Some(head) = head {
            self.told.wake.advance_own(head);
        }
    }
}

/// After a first try with an unknown outcome, an append that is found to be recorded with the very
/// hash it would have got is the own one, and no repeat.
fn own_after_all(appends: &[Prepared], mut outcomes: Outcomes) -> Outcomes {
    for (append, outcome) in appends.iter().zip(&mut outcomes) {
        if let Ok(appended) = outcome
            && appended.hash == append.last_hash()
        {
            appended.is_repeat = false;
        }
    }
    outcomes
}

fn to_append_error(error: &CommitError) -> AppendError {
    match error {
        CommitError::Unavailable(error) => {
            // Several are told of one error.
            let source = sqlx::Error::Protocol(describe(error));
            let source = match error {
                DatabaseError::Full { .. } => DatabaseError::Full { source },
                _ => DatabaseError::Unavailable { source },
            };
            AppendError::Unavailable { source }
        }
        CommitError::Fenced => AppendError::Fenced,
        CommitError::Rejected(reason) | CommitError::Broken(reason) => {
            AppendError::Failed { reason: reason.clone() }
        }
    }
}
