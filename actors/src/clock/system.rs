//! The system's time: the clock of everything but tests.

use std::time::Duration;

use chrono::Utc;
use domain::values::Timestamp;
use futures_util::future::BoxFuture;

use crate::clock::Clock;

/// The clock of everything but tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        Utc::now()
    }

    fn pause(&self, period: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(period))
    }
}
