//! The one task that writes the journal.
//!
//! It commits whatever has queued while it was committing before, all in one transaction: under load
//! many sessions share one flush of the disk, and a lone change is not delayed. The queue is the order:
//! what was handed over first is on disk first, or together with what came later.

use futures_util::future::BoxFuture;
use sqlx::{
    Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::sync::{mpsc, oneshot};

use crate::{journal::JournalError, tasks};

/// How many changes wait before whoever brings one waits too.
const CHANGES_WAITING_MAX: usize = 256;
/// How many changes are committed together.
const CHANGES_PER_COMMIT_MAX: usize = 64;

/// Tells the bringer of a change what the commit came to.
type Tell = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// A change on its way: what it does in the transaction, and who is told. An error undoes all of it.
type Change = Box<
    dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, (Result<(), String>, Tell)>
        + Send,
>;

/// A handle on the task. Cheap to clone; the task ends with the last one.
#[derive(Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Change>,
}

impl Writer {
    pub(super) fn start(pool: SqlitePool) -> Self {
        let (queue, changes) = mpsc::channel(CHANGES_WAITING_MAX);
        tasks::spawn("journal", run(pool, changes));
        Self { queue }
    }

    /// Queues a change. The answer comes when it is on disk, after `committed` was called with it; nobody
    /// needs to wait for it.
    pub(super) async fn write<T, W, C>(
        &self,
        work: W,
        committed: C,
    ) -> oneshot::Receiver<Result<T, JournalError>>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, JournalError>>
            + Send
            + 'static,
        C: FnOnce(&T) + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let change: Change = Box::new(move |connection| {
            Box::pin(async move {
                let worked = work(connection).await;
                let is_done = worked.as_ref().map(|_| ()).map_err(ToString::to_string);
                let tell: Tell = Box::new(move |written| {
                    let outcome = worked.and_then(|value| written.map(|()| value));
                    if let Ok(value) = &outcome {
                        committed(value);
                    }
                    // Whoever brought it may not have waited.
                    let _ = reply.send(outcome);
                });
                (is_done, tell)
            })
        });
        // A task that is gone drops the reply with the change, which its receiver sees.
        let _ = self.queue.send(change).await;
        answer
    }
}

async fn run(pool: SqlitePool, mut changes: mpsc::Receiver<Change>) {
    let mut batch = Vec::new();
    while changes.recv_many(&mut batch, CHANGES_PER_COMMIT_MAX).await > 0 {
        let mut tells = Vec::with_capacity(batch.len());
        let committed = commit(&pool, batch.drain(..), &mut tells).await;
        for tell in tells {
            tell(committed.clone().map_err(|reason| JournalError::Failed { reason }));
        }
    }
}

/// Opens the only connection that writes.
///
/// SQLite itself takes a transaction back when the disk is full. The connection does not learn of it, and would
/// never begin another one: it is replaced.
pub(super) async fn open(options: SqliteConnectOptions) -> sqlx::Result<SqlitePool> {
    let pool = SqlitePoolOptions::new().max_connections(1).before_acquire(|connection, _| {
        let is_usable = !connection.is_in_transaction();
        Box::pin(std::future::ready(Ok(is_usable)))
    });
    pool.connect_with(options).await
}

/// Commits all or nothing: what makes one change fail is a disk that is full or broken.
async fn commit(
    pool: &SqlitePool,
    batch: impl Iterator<Item = Change>,
    tells: &mut Vec<Tell>,
) -> Result<(), String> {
    let said = |error: sqlx::Error| error.to_string();
    let mut outcome = Ok(());
    let mut transaction = match pool.begin().await {
        Ok(transaction) => transaction,
        Err(error) => {
            // Dropping the changes drops their replies.
            return Err(said(error));
        }
    };
    for change in batch {
        let (is_done, tell) = change(&mut transaction).await;
        tells.push(tell);
        outcome = outcome.and(is_done);
    }
    outcome?;
    transaction.commit().await.map_err(said)
}

#[cfg(test)]
mod tests {
    use sqlx::{Executor as _, sqlite::SqliteConnectOptions};

    #[tokio::test]
    async fn a_transaction_that_sqlite_took_back_is_no_end() {
        let options = SqliteConnectOptions::new().filename(":memory:");
        let pool = super::open(options).await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        transaction.execute("ROLLBACK").await.unwrap();
        drop(transaction);
        pool.begin().await.unwrap().commit().await.unwrap();
    }
}
