//! What the person at the terminal sees while they wait.
//!
//! A step that takes longer than two seconds shows how long it has been going on: in place at a
//! terminal, now and then a line elsewhere (a log of CI should not fill up with seconds).

use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SILENT_FOR: Duration = Duration::from_secs(2);
const EACH_AT_TERMINAL: Duration = Duration::from_secs(1);
const EACH_ELSEWHERE: Duration = Duration::from_secs(30);

pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// Runs `work` and shows how long it takes, if it takes long.
pub(crate) fn with_progress<T>(title: &str, work: impl FnOnce() -> T) -> T {
    let progress = Progress::start(title.to_owned());
    let result = work();
    progress.stop();
    result
}

struct Progress {
    title: String,
    since: Instant,
    done: Sender<()>,
    ticker: JoinHandle<()>,
}

impl Progress {
    fn start(title: String) -> Self {
        let since = Instant::now();
        let (done, is_done) = channel::<()>();
        let shown = title.clone();
        let ticker = std::thread::spawn(move || {
            let at_terminal = stderr().is_terminal();
            let each = if at_terminal { EACH_AT_TERMINAL } else { EACH_ELSEWHERE };
            let mut pause = SILENT_FOR;
            while is_done.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let seconds = since.elapsed().as_secs();
                if at_terminal {
                    eprint!("\r{shown} … {seconds} s ");
                } else {
                    eprintln!("{shown} … {seconds} s");
                }
                pause = each;
            }
        });
        Self { title, since, done, ticker }
    }

    fn stop(self) {
        // Either end may already be gone, which is what is wanted.
        drop(self.done);
        let _ = self.ticker.join();
        let elapsed = self.since.elapsed();
        if elapsed >= SILENT_FOR {
            let back = if stderr().is_terminal() { "\r" } else { "" };
            eprintln!("{back}{}: {}", self.title, readable(elapsed));
        }
    }
}

/// `7 s`, or `3 min 20 s`.
pub(crate) fn readable(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    if seconds < 60 {
        return format!("{:.1} s", elapsed.as_secs_f64());
    }
    format!("{} min {} s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::readable;

    #[test]
    fn long_and_short_waits_are_readable() {
        assert_eq!(readable(Duration::from_millis(7_400)), "7.4 s");
        assert_eq!(readable(Duration::from_secs(200)), "3 min 20 s");
    }
}
