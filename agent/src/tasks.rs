//! The one place that starts tasks.
//!
//! Every actor of the agent is a task that owns its state and reads a bounded mailbox. A task that
//! panics ends the whole agent at once: the journal knows what was under way, so a fresh start is a
//! state we test, while a process with one dead actor is a state nobody has thought about.

use std::future::Future;

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;

/// How many messages wait in an actor's mailbox before its senders wait too.
pub const MAILBOX_MESSAGES_MAX: usize = 256;

/// Starts an actor or a helper of one. `name` appears in the log.
#[expect(clippy::disallowed_methods, reason = "the agent's one spawning place")]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(async move {
        match std::panic::AssertUnwindSafe(future).catch_unwind().await {
            Ok(output) => output,
            Err(panic) => {
                tracing::error!(task.name = name, "a task panicked; the agent starts afresh");
                if cfg!(test) {
                    std::panic::resume_unwind(panic)
                }
                std::process::abort()
            }
        }
    })
}
