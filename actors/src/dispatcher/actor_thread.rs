//! The thread on which the actors run.
//!
//! actix wants an event loop of its own; keeping it on one thread beside the server's runtime means
//! that any code may start actors and talk to them, and that it ends when told to.

use std::thread::JoinHandle;

use actix::{Arbiter, ArbiterHandle};
use tokio::sync::oneshot;

/// A running event loop. Ends when dropped.
#[derive(Debug)]
pub(crate) struct ActorThread {
    arbiter: ArbiterHandle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ActorThread {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (send_arbiter, arbiter) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("actors".to_owned()).spawn(move || {
            actix::System::new().block_on(async move {
                let _ = send_arbiter.send(Arbiter::current());
                // Told, or dropped: both mean the end.
                let _ = stopped.await;
            });
        })?;
        let arbiter = arbiter.recv().map_err(std::io::Error::other)?;
        Ok(Self { arbiter, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn arbiter(&self) -> ArbiterHandle {
        self.arbiter.clone()
    }

    /// Ends the loop; what is in a mailbox is not begun any more.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Joining blocks, but only until the loop has noticed.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}
