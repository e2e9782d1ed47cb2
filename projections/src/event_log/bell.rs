//! Rings once so many appends have come, for the appender that waits for all of them.
//!
//! The channel would wake its thread for each, which takes longer than taking the append out.

use std::sync::atomic::{AtomicUsize, Ordering, fence};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct Bell {
    /// How many have to come until it rings; 0 while nobody waits for it.
    n_left: AtomicUsize,
    rung: Notify,
}

impl Bell {
    /// To be said after an append was handed over.
    pub(super) fn come(&self) {
        // With the one below: either this is counted, or what was handed over is found by whoever set the bell.
        fence(Ordering::SeqCst);
        if self.n_left.load(Ordering::SeqCst) == 0 {
            return;
        }
        let count = |n_left: usize| n_left.checked_sub(1);
        if self.n_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) == Ok(1) {
            self.rung.notify_one();
        }
    }

    /// Has it ring once so many more have come; never for 0. Whoever sets it looks afterwards for those that came
    /// before, and sets it again for the rest.
    pub(super) fn set(&self, n_left: usize) {
        self.n_left.store(n_left, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// It may ring too early: some that were counted may be those that were found before. It is never late.
    pub(super) async fn rung(&self) {
        self.rung.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::Bell;

    #[test]
    fn it_rings_once_all_have_come_and_for_nobody_who_does_not_wait() {
        let bell = Bell::default();
        bell.come();
        assert!(bell.rung().now_or_never().is_none());
        bell.set(2);
        bell.come();
        assert!(bell.rung().now_or_never().is_none());
        bell.come();
        bell.come();
        assert!(bell.rung().now_or_never().is_some());
        assert!(bell.rung().now_or_never().is_none());
        bell.set(1);
        bell.set(0);
        bell.come();
        assert!(bell.rung().now_or_never().is_none());
    }
}
