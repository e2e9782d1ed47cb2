//! A record of a session on its way to the disk, while reading goes on.

use std::{sync::Arc, time::Duration};

use domain::{agent_protocol::Report, ids::SessionId};
use futures_util::future::BoxFuture;
use tokio::time;

use crate::session::{Reply, SessionRefusal, SessionStore, Started, progress::SessionProgress};

/// Between attempts to record.
const RETRY_PERIOD_MIN: Duration = Duration::from_millis(50);
const RETRY_PERIOD_MAX: Duration = Duration::from_secs(5);

/// What was read so far, with what waits until it is on disk.
pub(crate) struct Recording {
    pub(crate) done: BoxFuture<'static, ()>,
    /// The newest line that is in it, and so may be written when it is on disk.
    pub(crate) n_written: u64,
    /// How far it has come in the spool.
    pub(crate) offset: u64,
    pub(crate) replies: Vec<Reply>,
    /// What the start has come to by then.
    pub(crate) outcome: Option<Result<Started, SessionRefusal>>,
}

/// Resolves when a record is on disk; never while there is none.
pub(crate) async fn on_disk(recording: &mut Option<Recording>) {
    match recording {
        Some(recording) => (&mut recording.done).await,
        None => std::future::pending().await,
    }
}

/// Tries until it is recorded: going on without would tell a story that a restart contradicts.
pub(crate) async fn record(
    store: Arc<dyn SessionStore>,
    session: SessionId,
    progress: SessionProgress,
    reports: Vec<Report>,
) {
    let mut retry_after = RETRY_PERIOD_MIN;
    while let Err(error) = store.record(session, &progress, reports.clone()).await {
        tracing::error!(session.id = %session, "the journal cannot be written: {error:#}");
        time::sleep(retry_after).await;
        retry_after = (retry_after * 2).min(RETRY_PERIOD_MAX);
    }
}
