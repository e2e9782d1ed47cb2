//! Who acts: processes and timers run in one replica only, the one that holds the lease.
//!
//! On SQLite there is one process, and it always holds it. On PostgreSQL the lease is a row compared
//! with the database's clock; it is renewed every 2.5 s and lasts 8 s. Whoever waits for it counts these 8 s by
//! its own clock as well, since the database's may be set back. Every append of a process names the
//! lease's epoch, and the log refuses it once the lease has passed on: the row saves work, the epoch is
//! the fence.

use std::time::Duration;

use projections::{
    database::Database,
    lease_row::{Lease, LeaseRow},
};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use crate::{random, tasks::Tasks};

/// A holder that is gone is followed within 10 s: this leaves 2 s for whoever follows to notice and to take it.
const PERIOD: Duration = Duration::from_secs(8);
const RENEW_PERIOD: Duration = Duration::from_millis(2500);
/// Who waits for the lease looks when it runs out, and in between, since it may be given back.
const LOOK_PERIOD_MIN: Duration = Duration::from_millis(50);
const LOOK_PERIOD_MAX: Duration = Duration::from_millis(500);

/// One time of holding the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tenure {
    /// What appends name; None where there can be only one process.
    pub(crate) append: Option<u64>,
    /// What orders carry, so that agents refuse those of a former holder.
    pub(crate) order: u64,
}

/// Acts while the lease is held: `act` starts tasks in the group that it is given. `is_held` hears of it.
pub(crate) async fn act_while_held(
    database: Database,
    is_held: watch::Sender<bool>,
    stopped: impl Future<Output = ()>,
    act: impl Fn(Tenure, &Tasks),
) {
    tokio::pin!(stopped);
    if !database.log().is_postgres() {
        let tasks = Tasks::new();
        is_held.send_replace(true);
        act(Tenure { append: None, order: 1 }, &tasks);
        stopped.await;
        tasks.stop().await;
        return;
    }
    let (row, holder) = (LeaseRow::new(&database), random::uuid());
    let mut seen = None;
    loop {
        // Looked at first: taking it takes the head lock, which others need.
        let free_in = free_in(&row, &mut seen).await;
        let asked_at = Instant::now();
        if free_in.is_zero()
            && let Ok(Some(lease)) = row.acquire(holder, PERIOD).await
        {
            tracing::info!(epoch = lease.epoch, "this process acts from here on");
            let tasks = Tasks::new();
            is_held.send_replace(true);
            act(Tenure { append: Some(lease.epoch), order: lease.epoch }, &tasks);
            let is_stopped = tokio::select! {
                () = &mut stopped => true,
                () = hold(&row, holder, lease.epoch, asked_at) => false,
            };
            is_held.send_replace(false);
            tasks.stop().await;
            if is_stopped {
                // Worth a try only: it runs out by itself.
                let _ = row.release(holder, lease.epoch).await;
                return;
            }
            tracing::warn!("the lease is lost: another process acts");
        }
        tokio::select! {
            () = &mut stopped => return,
            () = tokio::time::sleep(free_in.clamp(LOOK_PERIOD_MIN, LOOK_PERIOD_MAX)) => {}
        }
    }
}

/// How long somebody else holds the lease at least. `seen` is the lease and since when it has been as it is.
///
/// A holder stops acting a period after it last asked for a renewal, by its own clock. So one that was seen to
/// be the same for a whole period by ours has run out, even if the database's clock was set back since.
async fn free_in(row: &LeaseRow, seen: &mut Option<(Lease, Instant)>) -> Duration {
    let lease = match row.current().await {
        Ok(Some(lease)) => lease,
        Ok(None) => return Duration::ZERO,
        Err(error) => {
            tracing::debug!(%error, "the lease could not be looked at");
            return LOOK_PERIOD_MAX;
        }
    };
    let known = seen.filter(|(before, _)| lease.is_as_before(before));
    let (_, since) = *seen.insert(known.unwrap_or_else(|| (lease, Instant::now())));
    let left = PERIOD.saturating_sub(since.elapsed());
    if !left.is_zero() || lease.remaining.is_zero() {
        return lease.remaining.min(left);
    }
    // Renewed after all, or the database is away: it is looked at again.
    if !row.run_out(&lease).await.unwrap_or(false) {
        return LOOK_PERIOD_MAX;
    }
    tracing::warn!("nobody renews the lease: the database's clock was set back");
    Duration::ZERO
}

/// Renews the lease until it cannot be sure any more that it holds it.
async fn hold(row: &LeaseRow, holder: Uuid, epoch: u64, mut renewed_at: Instant) {
    loop {
        tokio::time::sleep(RENEW_PERIOD).await;
        let asked_at = Instant::now();
        // Counted from before the question, so that our idea of its end is never later than the row's.
        let until = renewed_at + PERIOD;
        match tokio::time::timeout_at(until, row.renew(holder, epoch, PERIOD)).await {
            Ok(Ok(Some(_))) => renewed_at = asked_at,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
        }
    }
}
