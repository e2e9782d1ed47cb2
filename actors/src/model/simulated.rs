//! The second implementation of a model: it says what a test wrote down for it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::model::{Model, ModelError, Question};

/// What comes of one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Say(String),
    /// Worth another try.
    Busy,
    /// Trying again cannot help.
    Refuse,
    /// No answer, ever.
    Hang,
}

/// A model by script; it may outlive the server that asks it. Clones are the same model.
#[derive(Clone, Debug)]
pub struct SimulatedModel {
    /// The last one is for all questions from then on.
    script: Arc<Mutex<VecDeque<Reply>>>,
    n_asked: watch::Sender<usize>,
}

impl Default for SimulatedModel {
    fn default() -> Self {
        Self { script: Arc::default(), n_asked: watch::channel(0).0 }
    }
}

impl SimulatedModel {
    /// What it says from now on. Without any reply it refuses.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        *self.lock() = replies.into_iter().collect();
    }

    /// How many questions there were.
    #[must_use]
    pub fn n_asked(&self) -> usize {
        *self.n_asked.borrow()
    }

    fn next(&self) -> Reply {
        let mut script = self.lock();
        let next = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
        next.unwrap_or(Reply::Refuse)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Reply>> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Model for SimulatedModel {
    fn answer<'a>(&'a self, _: Question<'a>) -> BoxFuture<'a, Result<String, ModelError>> {
        let reply = self.next();
        self.n_asked.send_modify(|n_asked| *n_asked += 1);
        Box::pin(async move {
            match reply {
                Reply::Say(text) => Ok(text),
                Reply::Busy => Err(ModelError::busy("so it is written")),
                Reply::Refuse => Err(ModelError::refused("so it is written")),
                Reply::Hang => std::future::pending().await,
            }
        })
    }
}
