//! Ending a program with everything it started.
//!
//! A coding agent starts shells in process groups and sessions of their own, which a signal to its
//! own group does not reach. All of them inherit an environment variable that names the session, so
//! they are found by it even when their parents are gone.

use std::fs;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The variable that marks every process of a session.
pub(crate) const MARK: &str = "SAM_HOLDER_SESSION";

/// Sends a signal to the group of `leader` and to every process that carries the mark. Tells
/// whether there was anybody.
pub(crate) fn signal_all(leader: Option<Pid>, mark: &str, signal: Signal) -> bool {
    let group = leader.is_some_and(|leader| kill_process_group(leader, signal).is_ok());
    let mut any = group;
    for process in marked(mark) {
        any |= kill_process(process, signal).is_ok();
    }
    any
}

fn marked(mark: &str) -> Vec<Pid> {
    let wanted = format!("{MARK}={mark}");
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|process| {
            // A process that has ended, or is not ours, has no environment that we can read.
            fs::read(format!("/proc/{process}/environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
            })
        })
        .filter_map(Pid::from_raw)
        .collect()
}
