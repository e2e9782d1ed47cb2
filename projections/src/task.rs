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

/// A thread that ends when this is dropped, and is waited for.
struct Thread {
    cut: Option<oneshot::Sender<()>>,
    handle: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.cut.take());
        if let Some(handle) = self.handle.take() {
            // What it panicked with was told already.
            let _ = handle.join();
        }
    }
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

    /// Starts a task on a thread of its own, where nobody's long work holds it up. It ends with the runtime of
    /// whoever starts it, as other tasks do, which waits for it.
    pub(crate) fn start_thread(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let (cut, is_cut) = oneshot::channel::<()>();
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Dropped when it ends, also by a panic.
            let _end: oneshot::Sender<()> = end;
            runtime.block_on(until(async { drop(is_cut.await) }, task));
        })?;
        let thread = Thread { cut: Some(cut), handle: Some(handle) };
        self.start(name, async move {
            let _ = ended.await;
            drop(thread);
        });
        Ok(())
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
