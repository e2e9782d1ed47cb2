//! The one place where this program starts tasks.

use std::future::Future;

/// Runs `task` beside everything else. Each ends by itself when its program or connection does.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    #[expect(clippy::disallowed_methods, reason = "the holder's one spawning place")]
    tokio::spawn(task);
}
