//! Bad luck on order: lets tests run every intent twice, or have one fail.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use domain::{agent_protocol::RefusalKind, process::Outcome};

/// What goes wrong on purpose; nothing by default. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    is_twice: bool,
    /// Which effect fails, counted from 1; 0 is none.
    failing: u64,
    n_effects: Arc<AtomicU64>,
}

impl Faults {
    /// Every intent is performed twice, and its second outcome counts.
    #[must_use]
    pub fn every_intent_twice() -> Self {
        Self { is_twice: true, ..Self::default() }
    }

    /// The `n`-th effect that is to be performed fails instead.
    #[must_use]
    pub fn effect_fails(n: u64) -> Self {
        Self { failing: n, ..Self::default() }
    }

    /// How many effects came by so far.
    #[must_use]
    pub fn n_effects(&self) -> u64 {
        self.n_effects.load(Ordering::SeqCst)
    }

    pub(crate) fn runs_twice(&self) -> bool {
        self.is_twice
    }

    pub(crate) fn failure_of_next(&self) -> Option<Outcome> {
        let n = self.n_effects.fetch_add(1, Ordering::SeqCst) + 1;
        (n == self.failing).then(|| Outcome::Failed {
            kind: RefusalKind::Machine,
            reason: format!("effect {n} fails on purpose"),
        })
    }
}
