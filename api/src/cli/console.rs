//! What people and scripts see: results on stdout, progress on stderr.
//!
//! A reader that goes away early (`sam ideas | head`) is no error.

use std::io::Write as _;

/// A line for scripts.
pub(super) fn result(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// A line for people.
pub(super) fn progress(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Text for people as it comes, without an end of its own.
pub(super) fn stream(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}
