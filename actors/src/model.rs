//! A language model that answers one short question with one text.
//!
//! Coding agents are not here: they talk to their models themselves, from their containers. What is asked and
//! what is answered is personal text: neither is logged, nor part of an error.
//!
//! Read next: `model/titles.rs` asks for titles; `model/anthropic.rs` is the real model, `model/simulated.rs`
//! the second implementation. `tests/simulation/models.rs` holds both to the same contract.

use std::fmt;

use futures_util::future::BoxFuture;

pub mod anthropic;
pub mod simulated;
pub mod titles;

/// What a model is asked. Not printable: key and text are nobody's business.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Pays for the answer.
    pub key: &'a str,
    /// What to do with the text.
    pub instructions: &'a str,
    pub text: &'a str,
    /// How long the answer may be, as the model counts.
    pub tokens_max: u32,
}

/// Why there is no answer. Variants tell the caller what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Worth another try.
    #[error("the model is busy: {reason}")]
    Busy { reason: String },
    /// Trying again cannot help: a person has to act.
    #[error("the model refused: {reason}")]
    Refused { reason: String },
}

impl ModelError {
    pub(crate) fn busy(reason: impl Into<String>) -> Self {
        Self::Busy { reason: reason.into() }
    }

    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into() }
    }
}

/// Something that answers questions.
pub trait Model: fmt::Debug + Send + Sync + 'static {
    /// Answers once, however long that takes: whoever asks limits the time, and may drop the question.
    fn answer<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Result<String, ModelError>>;
}
