//! Places at which a test can have the program killed, as if somebody pulled the plug.
//!
//! `SAM_CRASH_POINT="name"` kills at the first time the program comes by, `"name:3"` at the third.
//! `SAM_CRASH_MARK` may name a file: the killed process makes it first, and where it exists nobody is killed any
//! more, so that a program that is started again by another one with the same environment goes on.
//! SIGKILL, so that nothing is flushed, unwound or said good-bye to. Where the variable is not set a
//! point costs one load of a static.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// The environment variable that names the point.
pub const VARIABLE: &str = "SAM_CRASH_POINT";

/// The environment variable that names the file of a kill that has happened.
pub const MARK_VARIABLE: &str = "SAM_CRASH_MARK";

struct Wanted {
    name: String,
    /// How often the program still comes by before it is killed.
    left: AtomicU64,
}

static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();

/// Kills the process if it was asked to die here.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::pass($name)
    };
}

/// What `crash_point!` does.
pub fn pass(name: &str) {
    let Some(wanted) = WANTED.get_or_init(from_environment) else { return };
    if wanted.name == name && wanted.left.fetch_sub(1, Ordering::SeqCst) == 1 && is_first() {
        die();
    }
}

fn from_environment() -> Option<Wanted> {
    parse(&std::env::var(VARIABLE).ok()?)
}

fn parse(text: &str) -> Option<Wanted> {
    let (name, hit) = text.rsplit_once(':').unwrap_or((text, "1"));
    let left = AtomicU64::new(hit.parse().ok().filter(|hit| *hit > 0)?);
    Some(Wanted { name: name.to_owned(), left })
}

/// Makes the mark; false where it was made before.
fn is_first() -> bool {
    match std::env::var_os(MARK_VARIABLE) {
        Some(mark) => std::fs::File::create_new(mark).is_ok(),
        None => true,
    }
}

fn die() {
    use rustix::process::{Signal, getpid, kill_process};
    // If even this fails, ending at once without unwinding is the next best thing.
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::parse;

    #[test]
    fn a_point_has_a_name_and_perhaps_a_number() {
        let wanted = parse("report.before_commit:3").unwrap();
        assert_eq!(wanted.name, "report.before_commit");
        assert_eq!(wanted.left.load(Ordering::SeqCst), 3);
        assert_eq!(parse("order.sent").unwrap().left.load(Ordering::SeqCst), 1);
        assert!(parse("order.sent:0").is_none());
    }
}
