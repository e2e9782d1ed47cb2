//! A clock that stands still until a test moves it.

use std::time::Duration;

use domain::values::Timestamp;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::clock::Clock;

/// The clock of tests. Clones move together.
#[derive(Clone, Debug)]
pub struct SimulatedClock {
    now: watch::Sender<Timestamp>,
}

impl SimulatedClock {
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { now: watch::channel(now).0 }
    }

    /// Lets time pass.
    pub fn advance(&self, period: Duration) {
        self.now.send_modify(|now| *now += period);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn pause(&self, period: Duration) -> BoxFuture<'static, ()> {
        let mut time = self.now.subscribe();
        let until = *time.borrow() + period;
        Box::pin(async move {
            // An error means that the clock is gone, and with it the test.
            let _ = time.wait_for(|now| *now >= until).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;
    use futures_util::FutureExt as _;

    use super::SimulatedClock;
    use crate::clock::Clock as _;

    #[test]
    fn a_pause_ends_when_time_was_moved_far_enough() {
        let clock = SimulatedClock::new(DateTime::UNIX_EPOCH);
        let mut pause = clock.pause(Duration::from_secs(10));
        clock.advance(Duration::from_secs(9));
        assert!((&mut pause).now_or_never().is_none());
        clock.advance(Duration::from_secs(1));
        assert!((&mut pause).now_or_never().is_some());
    }
}
