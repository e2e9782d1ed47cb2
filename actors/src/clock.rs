//! Where time comes from: the system, or a test that moves it by hand.
//!
//! `now` is for deadlines and for what is recorded; `pause` is for waits within one life of the program
//! and does not jump with the system's time.

use std::{fmt, sync::Arc, time::Duration};

use domain::values::Timestamp;
use futures_util::future::BoxFuture;

pub mod simulated;
pub mod system;

/// A source of time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time of day, UTC.
    fn now(&self) -> Timestamp;

    /// Resolves after this much time has passed.
    fn pause(&self, period: Duration) -> BoxFuture<'static, ()>;
}

/// A clock that everybody shares.
pub type SharedClock = Arc<dyn Clock>;
