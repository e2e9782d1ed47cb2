//! Errors that are put in on purpose, so that a test can show that the tests would find them.
//!
//! `SAM_PLANTED_BUG="name"` chooses one when the program starts. They exist in debug builds with the feature
//! `planted` only, for which the package of the tests asks: without it, and in every release build, [`is_planted`] is
//! a constant, and what hangs on it is not compiled.

/// The environment variable that names the bug.
pub const VARIABLE: &str = "SAM_PLANTED_BUG";

/// Every bug that can be planted, and where.
pub const BUGS: [&str; 8] = [
    // An append on a state that somebody else has changed meanwhile is taken all the same.
    "skip_the_fence",
    // The answer is sent while the transaction is still open.
    "acknowledge_before_commit",
    // Positions are handed out before the transaction that uses them, as identity columns are.
    "read_by_identity_column",
    // Rows are committed first, and how far they go afterwards.
    "checkpoint_outside_the_transaction",
    // Tables that are made again keep their old rows.
    "replay_without_clear",
    // A repeated command is not recognised.
    "no_command_dedupe",
    // Events are read in the order of their clocks.
    "order_by_timestamp",
    // Tables that are made again see all events but those of ideas.
    "rebuild_that_skips_a_type",
];

/// Whether this bug was chosen.
#[cfg(all(feature = "planted", debug_assertions))]
pub fn is_planted(name: &str) -> bool {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    debug_assert!(BUGS.contains(&name), "{name} is not listed in BUGS");
    let chosen = CHOSEN.get_or_init(|| std::env::var(VARIABLE).ok());
    chosen.as_deref() == Some(name)
}

/// Whether this bug was chosen: never, in a program that is shipped.
#[cfg(not(all(feature = "planted", debug_assertions)))]
pub const fn is_planted(_name: &str) -> bool {
    false
}
