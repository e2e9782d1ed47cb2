//! Background tasks: the one place of this crate that starts any.

use std::{future::Future, sync::Mutex};

use tokio::{
    sync::{oneshot, watch},
    task::{JoinError, JoinHandle},
};

/// Tasks that end when told to, or when the last handle on them goes.
#[derive(Debug)]
pub(crate) struct Tasks {
    stop: watch::Sender<bool>,
    handles: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { stop: watch::channel(false).0, handles: Mutex::default() }
    }
}

impl Tasks {
    pub(crate) fn start(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let handle = spawn(task);
        self.handles.lock().unwrap_or_else(|poison| poison.into_inner()).push((name, handle));
    }

    /// Resolves when the tasks are to end.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            // An error means that the sender is gone, which is a way of being told.
            let _ = stop.wait_for(|is_stopped| *is_stopped).await;
        }
    }

    /// Tells the tasks to end, and waits until they have.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        let handles =
            std::mem::take(&mut *self.handles.lock().unwrap_or_else(|poison| poison.into_inner()));
        for (name, handle) in handles {
            log_failure(name, handle.await);
        }
    }
}

/// Starts a task that ends by itself, such as one that feeds a stream until nobody reads it.
pub(crate) fn detach(task: impl Future<Output = ()> + Send + 'static) {
    drop(spawn(task));
}

/// Runs work that must not be cut short, whatever becomes of the caller. `None` when the program ends.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let (done, result) = oneshot::channel();
    detach(async move {
        // Nobody waiting any more is fine: then what was made is dropped.
        let _ = done.send(work.await);
    });
    result.await.ok()
}

/// Runs a task until it ends or `stopped` does.
pub(crate) async fn until(stopped: impl Future<Output = ()>, task: impl Future<Output = ()>) {
    tokio::select! {
        () = stopped => {}
        () = task => {}
    }
}

fn log_failure(name: &str, ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(task = name, %error, "a task ended badly");
    }
}

#[expect(clippy::disallowed_methods, reason = "the one spawning place of this crate; see Tasks")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}
