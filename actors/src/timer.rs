//! Deadlines by the time of day.
//!
//! One ticker looks at the clock each second and tells everybody. After a jump forward of more than an
//! hour (a laptop that slept, a clock that was set) what is due fires at the second tick, so that what
//! else wakes up has a moment to answer first. Waits within one life of the program use
//! [`crate::clock::Clock::pause`] instead.

use std::time::Duration;

use chrono::TimeDelta;
use domain::values::Timestamp;
use tokio::sync::watch;

use crate::clock::SharedClock;

const TICK_PERIOD: Duration = Duration::from_secs(1);
const JUMP_MIN: TimeDelta = TimeDelta::hours(1);

/// Waits for points in time. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Timer {
    now: watch::Sender<Timestamp>,
}

impl Timer {
    pub(crate) fn new(clock: &SharedClock) -> Self {
        Self { now: watch::channel(clock.now()).0 }
    }

    /// Ticks for ever.
    pub(crate) async fn run(self, clock: SharedClock) {
        let mut seen = clock.now();
        loop {
            let tick = clock.pause(TICK_PERIOD);
            let now = clock.now();
            if let Some(now) = after_tick(&mut seen, now) {
                self.now.send_replace(now);
            }
            tick.await;
        }
    }

    /// Resolves when the time has come.
    pub(crate) async fn until(&self, at: Timestamp) {
        let mut now = self.now.subscribe();
        // It cannot end before `self`, which holds the sender.
        let _ = now.wait_for(|now| *now >= at).await;
    }
}

/// The time to tell, if this tick tells any.
fn after_tick(seen: &mut Timestamp, now: Timestamp) -> Option<Timestamp> {
    let is_jump = now - *seen > JUMP_MIN;
    *seen = now;
    (!is_jump).then_some(now)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use chrono::{DateTime, TimeDelta};

    use super::{Timer, after_tick};
    use crate::{
        clock::{SharedClock, simulated::SimulatedClock},
        tasks::Tasks,
    };

    #[test]
    fn after_a_jump_the_second_tick_counts() {
        let mut seen = DateTime::UNIX_EPOCH;
        let soon = seen + TimeDelta::seconds(1);
        assert_eq!(after_tick(&mut seen, soon), Some(soon));
        let late = soon + TimeDelta::hours(2);
        assert_eq!(after_tick(&mut seen, late), None);
        assert_eq!(after_tick(&mut seen, late), Some(late));
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_fires_nothing_early_and_nothing_twice() {
        let mut seen = DateTime::UNIX_EPOCH + TimeDelta::hours(2);
        let timer = Timer { now: tokio::sync::watch::channel(seen).0 };
        let at = seen + TimeDelta::minutes(30);
        let until = timer.until(at);
        tokio::pin!(until);
        let tick = |seen: &mut _, now| {
            timer.now.send_replace(after_tick(seen, now).expect("it is no jump forward"));
        };
        let back = seen - TimeDelta::hours(1);
        tick(&mut seen, back);
        assert!(futures_util::poll!(&mut until).is_pending(), "not because the clock was set");
        for minutes in [30, 60, 89] {
            tick(&mut seen, back + TimeDelta::minutes(minutes));
            assert!(futures_util::poll!(&mut until).is_pending(), "its time has not come");
        }
        tick(&mut seen, at);
        assert!(futures_util::poll!(&mut until).is_ready());
    }

    #[tokio::test]
    async fn a_deadline_fires_when_its_time_has_come() {
        let simulated = SimulatedClock::new(DateTime::UNIX_EPOCH);
        let clock: SharedClock = Arc::new(simulated.clone());
        let timer = Timer::new(&clock);
        let tasks = Tasks::new();
        tasks.start("timer", timer.clone().run(Arc::clone(&clock)));
        let at = clock.now() + TimeDelta::minutes(30);
        let until = timer.until(at);
        tokio::pin!(until);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut until).await.is_err());
        simulated.advance(Duration::from_secs(30 * 60));
        until.await;
        tasks.stop().await;
    }
}
