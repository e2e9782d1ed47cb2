//! One program that the holder runs for the agent: a coding agent on pipes, or a shell on a terminal.
//!
//! Its directory holds `stdin`, `stdout` and `stderr` as they went over the pipes, and `state.json`,
//! which says how it ended. A directory without an ending belongs to a program that went down with
//! the container.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    protocol::{Exit, ExitCause, Start, TERMINAL_RING_BYTES},
    run::{self, Running},
    spool::Spool,
};

/// Lines that wait for a program which does not read.
const STDIN_QUEUE_MAX: usize = 64;

/// A program that runs or has run.
pub(crate) struct Program {
    pub(crate) output: Spool,
    pub(crate) exit: watch::Receiver<Option<Exit>>,
    stdin: mpsc::Sender<Input>,
    n_written: Mutex<u64>,
    endings: mpsc::Sender<Ending>,
    /// For a shell.
    pub(crate) sizes: Option<mpsc::Sender<(u16, u16)>>,
}

/// Something for stdin, and whom to tell when the pipe has it.
pub(crate) struct Input {
    pub(crate) bytes: Vec<u8>,
    pub(crate) written: oneshot::Sender<io::Result<()>>,
}

/// A wish that the program end.
pub(crate) struct Ending {
    pub(crate) cause: ExitCause,
    pub(crate) grace_ms: u64,
}

/// What `state.json` holds.
#[derive(Serialize, Deserialize)]
struct State {
    argv: Vec<String>,
    exit: Option<Exit>,
}

/// The receiving ends of a program's channels, for the tasks that run it.
pub(crate) struct Inlets {
    pub(crate) stdin: mpsc::Receiver<Input>,
    pub(crate) endings: mpsc::Receiver<Ending>,
    pub(crate) sizes: mpsc::Receiver<(u16, u16)>,
    pub(crate) exit: watch::Sender<Option<Exit>>,
}

impl Program {
    /// Starts it. Its directory is made only if it could be started, so a failed start can be
    /// repeated.
    pub(crate) fn start(
        directory: PathBuf,
        mark: &str,
        start: &Start,
    ) -> io::Result<std::sync::Arc<Self>> {
        let running = Running::spawn(start, mark)?;
        fs::create_dir_all(&directory)?;
        write_state(&directory, &State { argv: start.argv.clone(), exit: None })?;
        let output = match start.terminal {
            Some(_) => Spool::ring(TERMINAL_RING_BYTES),
            None => Spool::file(&directory.join("stdout"))?,
        };
        let (program, inlets) = Self::new(output, start.terminal.is_some());
        run::run(program.clone(), running, inlets, directory, start.spool_bytes_max);
        Ok(program)
    }

    /// Finds what is left of one that ran in an earlier life of the holder.
    pub(crate) fn restore(directory: &Path) -> io::Result<std::sync::Arc<Self>> {
        let state: State = serde_json::from_slice(&fs::read(directory.join("state.json"))?)?;
        let lost = Exit { cause: ExitCause::Lost, ..Exit::default() };
        let (program, inlets) = Self::new(Spool::file(&directory.join("stdout"))?, false);
        inlets.exit.send_replace(Some(state.exit.unwrap_or(lost)));
        Ok(program)
    }

    fn new(output: Spool, is_shell: bool) -> (std::sync::Arc<Self>, Inlets) {
        let (stdin, stdin_inlet) = mpsc::channel(STDIN_QUEUE_MAX);
        let (endings, endings_inlet) = mpsc::channel(4);
        let (sizes, sizes_inlet) = mpsc::channel(4);
        let (exit, exit_outlet) = watch::channel(None);
        let program = Self {
            output,
            exit: exit_outlet,
            stdin,
            n_written: Mutex::new(0),
            endings,
            sizes: is_shell.then_some(sizes),
        };
        let inlets =
            Inlets { stdin: stdin_inlet, endings: endings_inlet, sizes: sizes_inlet, exit };
        (std::sync::Arc::new(program), inlets)
    }

    /// Queues a line for stdin unless its number was seen, and answers with the way to wait for it.
    ///
    /// A repeated line waits behind the first, so that "done" means the same both times.
    pub(crate) async fn write(
        &self,
        number: u64,
        line: String,
    ) -> oneshot::Receiver<io::Result<()>> {
        let is_new = {
            let mut n_written = self.n_written.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new = number > *n_written;
            *n_written = (*n_written).max(number);
            is_new
        };
        let bytes = if is_new { format!("{line}\n").into_bytes() } else { Vec::new() };
        self.input(bytes).await
    }

    /// Queues bytes for stdin as they are. A program that has ended drops the sender.
    pub(crate) async fn input(&self, bytes: Vec<u8>) -> oneshot::Receiver<io::Result<()>> {
        let (written, answer) = oneshot::channel();
        // When this fails the sender inside is dropped, and the answer says so.
        let _ = self.stdin.send(Input { bytes, written }).await;
        answer
    }

    /// Asks for its end and waits until it is gone.
    pub(crate) async fn end(&self, ending: Ending) {
        let _ = self.endings.send(ending).await;
        let mut exit = self.exit.clone();
        let _ = exit.wait_for(Option::is_some).await;
    }

    /// Asks for its end from inside one of its own tasks, which must not wait for it.
    pub(crate) fn give_up(&self, cause: ExitCause) {
        // A full queue means that its end was asked for already.
        let _ = self.endings.try_send(Ending { cause, grace_ms: 0 });
    }
}

/// Writes down how the program ended.
pub(crate) fn record_exit(directory: &Path, argv: Vec<String>, exit: &Exit) {
    let state = State { argv, exit: Some(exit.clone()) };
    // On a full disk the ending is known only to this life of the holder.
    let _ = write_state(directory, &state);
}

fn write_state(directory: &Path, state: &State) -> io::Result<()> {
    let unfinished = directory.join("state.json.new");
    fs::write(&unfinished, serde_json::to_vec(state)?)?;
    fs::rename(unfinished, directory.join("state.json"))
}

/// A process id as rustix wants it.
pub(crate) fn pid(id: Option<u32>) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id?).ok()?)
}
