//! `init` is the first process of a container: it starts `serve`, buries orphans, and passes on TERM.
//! Its own stdio it gives to a program that it may be told to start beside.

use std::{
    env, io,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use tokio::signal::unix::{SignalKind, signal};

/// Lives as long as `serve`, and ends as it did.
pub(crate) async fn init(beside: Option<&str>) -> io::Result<i32> {
    // Before the child exists, so that its end cannot be missed.
    let mut children = signal(SignalKind::child())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let own = env::current_exe()?;
    let mut serve = Command::new(&own);
    serve.arg("serve");
    if beside.is_some() {
        serve.stdin(Stdio::null()).stdout(Stdio::null());
    }
    let serve = serve.spawn()?;
    if let Some(beside) = beside {
        // Nothing depends on it: whoever misses it runs another.
        drop(Command::new(&own).arg(beside).spawn());
    }
    let serve = i32::try_from(serve.id()).ok().and_then(Pid::from_raw);
    loop {
        tokio::select! {
            _ = children.recv() => {
                if let Some(code) = bury(serve) {
                    return Ok(code);
                }
            }
            _ = terminations.recv() => {
                if let Some(serve) = serve {
                    // It may have ended by itself this very moment.
                    let _ = kill_process(serve, Signal::TERM);
                }
            }
        }
    }
}

/// Takes leave of every child that has ended; tells how `serve` ended if it was among them.
fn bury(serve: Option<Pid>) -> Option<i32> {
    let mut ended = None;
    while let Ok(Some((child, status))) = wait(WaitOptions::NOHANG) {
        if Some(child) == serve {
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            ended = Some(status.exit_status().or(signal).unwrap_or(1));
        }
    }
    ended
}
