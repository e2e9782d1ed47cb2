//! Notices that the other end of a connection says nothing any more.
//!
//! A peer whose machine is gone closes no connection. The wait for its next word is mostly one of several things
//! that are waited for at once, and begins anew whenever another of them happens: so its end is kept apart.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, error::Elapsed, timeout_at};

#[derive(Debug)]
pub(crate) struct Silence {
    period_max: Duration,
    ends_at: Instant,
}

impl Silence {
    pub(crate) fn new(period_max: Duration) -> Self {
        Self { period_max, ends_at: Instant::now() + period_max }
    }

    /// Waits for the next word, for as long as is left since the last one.
    pub(crate) async fn broken_by<T>(
        &mut self,
        word: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let word = timeout_at(self.ends_at, word).await?;
        self.ends_at = Instant::now() + self.period_max;
        Ok(word)
    }

    /// Waits until a word of this end is taken, which a peer that is gone does not do either.
    pub(crate) async fn while_telling<T>(
        &self,
        word: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        tokio::time::timeout(self.period_max, word).await
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const PERIOD: Duration = Duration::from_millis(200);
    const BEAT: Duration = Duration::from_millis(20);
    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn it_ends_however_often_the_wait_begins_anew() {
        let began = Instant::now();
        let mut silence = Silence::new(PERIOD);
        let mut beat = tokio::time::interval(BEAT);
        loop {
            tokio::select! {
                word = silence.broken_by(pending::<()>()) => break assert!(word.is_err()),
                _ = beat.tick() => assert!(began.elapsed() < PATIENCE, "it would never end"),
            }
        }
        assert!(began.elapsed() >= PERIOD);
    }

    #[tokio::test]
    async fn each_word_begins_another_one() {
        let mut silence = Silence::new(PATIENCE);
        let before = silence.ends_at;
        assert!(silence.broken_by(ready(())).await.is_ok());
        assert!(silence.ends_at > before);
    }
}
