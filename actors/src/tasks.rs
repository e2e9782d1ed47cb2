//! Background tasks under supervision: named, ended together, and never dead in silence.
//!
//! The only place of this crate that spawns. A task that panics is logged; whoever started it through
//! [`Tasks::keep`] gets it started again after a pause.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{sync::watch, task::JoinSet};

const RESTART_PERIOD: Duration = Duration::from_millis(500);

/// A group of tasks that end when told to. Clones share the group.
#[derive(Clone, Debug)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    runtime: tokio::runtime::Handle,
    stop: watch::Sender<bool>,
    running: Mutex<JoinSet<()>>,
}

impl Tasks {
    /// Must be called on the runtime that is to run the tasks.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared {
            runtime: tokio::runtime::Handle::current(),
            stop: watch::channel(false).0,
            running: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Runs a task until its end, or until the group's.
    pub fn start(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.stopped();
        let watched = async move {
            let task = std::panic::AssertUnwindSafe(task).catch_unwind();
            tokio::select! {
                () = stopped => {}
                ended = task => if ended.is_err() {
                    tracing::error!(task = name, "a task panicked");
                }
            }
        };
        self.spawn(watched);
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        if !*self.shared.stop.borrow() {
            running.spawn_on(task, &self.shared.runtime);
        }
    }

    /// Runs a task that watches for the group's end by itself, and has things to do then.
    pub fn start_to_its_end(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn(async move {
            if std::panic::AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(task = name, "a task panicked");
            }
        });
    }

    /// Runs a task until the group's end; one that ends before is made again.
    pub fn keep<F>(&self, name: &'static str, mut make: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.start(name, async move {
            loop {
                let task = std::panic::AssertUnwindSafe(make()).catch_unwind();
                if task.await.is_err() {
                    tracing::error!(task = name, "a task panicked and is started again");
                }
                tokio::time::sleep(RESTART_PERIOD).await;
            }
        });
    }

    /// Resolves when the tasks are to end.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut stop = self.shared.stop.subscribe();
        async move {
            // An error means that the group is gone, which is a way of being told.
            let _ = stop.wait_for(|is_stopped| *is_stopped).await;
        }
    }

    /// Tells the tasks to end, and waits until they have.
    pub async fn stop(&self) {
        self.shared.stop.send_replace(true);
        let mut running = {
            let mut running = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *running)
        };
        while running.join_next().await.is_some() {}
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}
