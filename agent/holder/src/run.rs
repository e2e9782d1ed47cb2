//! The tasks that keep one program going: one for each direction, and one that waits for its end.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pty_process::OwnedWritePty;
use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin},
    sync::{mpsc, watch},
    time,
};

use crate::{
    processes::{MARK, signal_all},
    program::{Ending, Inlets, Input, Program, pid, record_exit},
    protocol::{Exit, ExitCause, Start, TerminalSize},
    tasks::spawn,
};

/// How much of stderr goes into the story of an exit.
const STDERR_TAIL_BYTES: usize = 2 * 1024;
/// How much of stderr is kept on disk.
const STDERR_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How long pipes may stay open after everybody who should have held them was killed.
const DRAIN_PERIOD: Duration = Duration::from_secs(2);
/// A process that was just started by one that is being killed is found by the next look.
const SWEEPS_MAX: u32 = 20;
const SWEEP_PERIOD: Duration = Duration::from_millis(10);

/// A program that was just started.
pub(crate) struct Running {
    child: Child,
    argv: Vec<String>,
    mark: String,
    stdin: Stdin,
    stdout: Output,
    stderr: Option<Output>,
}

enum Stdin {
    Pipe(ChildStdin),
    Terminal(OwnedWritePty),
}

type Output = Box<dyn AsyncRead + Send + Unpin>;

impl Running {
    pub(crate) fn spawn(start: &Start, mark: &str) -> io::Result<Self> {
        let Some((program, arguments)) = start.argv.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
        };
        if let Some(size) = start.terminal {
            return Self::spawn_on_terminal(start, mark, size);
        }
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .envs(&start.env)
            .env(MARK, mark)
            .current_dir(&start.cwd)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        Ok(Self {
            stdin: Stdin::Pipe(child.stdin.take().ok_or_else(closed)?),
            stdout: Box::new(child.stdout.take().ok_or_else(closed)?),
            stderr: Some(Box::new(child.stderr.take().ok_or_else(closed)?)),
            child,
            argv: start.argv.clone(),
            mark: mark.to_string(),
        })
    }

    fn spawn_on_terminal(start: &Start, mark: &str, size: TerminalSize) -> io::Result<Self> {
        let (pty, pts) = pty_process::open().map_err(io::Error::other)?;
        pty.resize(window(size.rows, size.columns)).map_err(io::Error::other)?;
        let child = pty_process::Command::new(&start.argv[0])
            .args(&start.argv[1..])
            .envs(&start.env)
            .env(MARK, mark)
            .current_dir(&start.cwd)
            .spawn(pts)
            .map_err(io::Error::other)?;
        let (stdout, stdin) = pty.into_split();
        Ok(Self {
            child,
            argv: start.argv.clone(),
            mark: mark.to_string(),
            stdin: Stdin::Terminal(stdin),
            stdout: Box::new(stdout),
            stderr: None,
        })
    }
}

fn window(rows: u16, columns: u16) -> pty_process::Size {
    pty_process::Size::new(rows, columns)
}

/// Starts the tasks of a program.
pub(crate) fn run(
    program: Arc<Program>,
    running: Running,
    inlets: Inlets,
    directory: PathBuf,
    spool_bytes_max: u64,
) {
    let Running { child, argv, mark, stdin, stdout, stderr } = running;
    let Inlets { stdin: lines, endings, sizes, exit } = inlets;
    let transcript = File::create(directory.join("stdin")).ok();
    spawn(feed(stdin, lines, sizes, transcript));

    // Each reader holds one end of this channel: it closes when both directions are drained.
    let (reading, drained) = mpsc::channel::<()>(1);
    spawn(drain_output(program, stdout, spool_bytes_max, reading.clone()));
    let tail = Arc::new(Mutex::new(Vec::new()));
    if let Some(stderr) = stderr {
        let log = File::create(directory.join("stderr")).ok();
        spawn(drain_errors(stderr, log, tail.clone(), reading));
    }
    spawn(async move {
        let leader = pid(child.id());
        let (status, cause) = wait(child, &mark, endings).await;
        sweep(leader, &mark).await;
        drain(drained).await;
        let tail = tail.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ended = Exit {
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            stderr_tail: String::from_utf8_lossy(&tail).into_owned(),
            cause,
        };
        record_exit(&directory, argv, &ended);
        tell(&exit, ended);
    });
}

fn tell(exit: &watch::Sender<Option<Exit>>, ended: Exit) {
    exit.send_replace(Some(ended));
}

async fn feed(
    mut stdin: Stdin,
    mut lines: mpsc::Receiver<Input>,
    mut sizes: mpsc::Receiver<(u16, u16)>,
    mut transcript: Option<File>,
) {
    loop {
        let input = tokio::select! {
            Some((rows, columns)) = sizes.recv() => {
                if let Stdin::Terminal(terminal) = &stdin {
                    // Only a terminal that is gone cannot be resized.
                    let _ = terminal.resize(window(rows, columns));
                }
                continue;
            }
            input = lines.recv() => input,
        };
        let Some(Input { bytes, written }) = input else { return };
        let outcome = match &mut stdin {
            Stdin::Pipe(pipe) => {
                if let Some(file) = &mut transcript {
                    // For whoever looks into the container; nothing depends on it.
                    let _ = file.write_all(&bytes);
                }
                pipe.write_all(&bytes).await
            }
            Stdin::Terminal(terminal) => terminal.write_all(&bytes).await,
        };
        // Whoever asked may be gone.
        let _ = written.send(outcome);
    }
}

async fn drain_output(
    program: Arc<Program>,
    mut stdout: Output,
    spool_bytes_max: u64,
    _reading: mpsc::Sender<()>,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut is_given_up = false;
    // A terminal whose last process has gone answers with an error instead of an end.
    while let Ok(n @ 1..) = stdout.read(&mut buffer).await {
        if is_given_up {
            continue; // Let it write into nothing until it is dead.
        }
        let cause = match program.output.append(&buffer[..n]) {
            Ok(held) if held > spool_bytes_max => ExitCause::Flooded,
            Ok(_) => continue,
            Err(_) => ExitCause::Spool,
        };
        program.give_up(cause);
        is_given_up = true;
    }
}

async fn drain_errors(
    mut stderr: Output,
    mut log: Option<File>,
    tail: Arc<Mutex<Vec<u8>>>,
    _reading: mpsc::Sender<()>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut n_logged = 0;
    while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
        let new = &buffer[..n];
        if let Some(file) = &mut log
            && n_logged < STDERR_BYTES_MAX
        {
            n_logged += n as u64;
            let _ = file.write_all(new);
        }
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(new);
        let excess = tail.len().saturating_sub(STDERR_TAIL_BYTES);
        tail.drain(..excess);
    }
}

/// Waits for the end of the program itself, and brings it about when told to.
async fn wait(
    mut child: Child,
    mark: &str,
    mut endings: mpsc::Receiver<Ending>,
) -> (Option<ExitStatus>, ExitCause) {
    let leader = pid(child.id());
    let ending = tokio::select! {
        status = child.wait() => return (status.ok(), ExitCause::Itself),
        Some(ending) = endings.recv() => ending,
    };
    if ending.grace_ms > 0 {
        signal_all(leader, mark, Signal::TERM);
        let grace = Duration::from_millis(ending.grace_ms);
        if let Ok(status) = time::timeout(grace, child.wait()).await {
            return (status.ok(), ending.cause);
        }
    }
    signal_all(leader, mark, Signal::KILL);
    (child.wait().await.ok(), ending.cause)
}

/// Kills whatever the program has left behind.
async fn sweep(leader: Option<Pid>, mark: &str) {
    for _ in 0..SWEEPS_MAX {
        if !signal_all(leader, mark, Signal::KILL) {
            return;
        }
        time::sleep(SWEEP_PERIOD).await;
    }
}

async fn drain(mut drained: mpsc::Receiver<()>) {
    // Past the period somebody without the mark holds the pipe; the program is over all the same.
    let _ = time::timeout(DRAIN_PERIOD, drained.recv()).await;
}
