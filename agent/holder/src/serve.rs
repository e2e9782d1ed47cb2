//! `serve` answers the agents that attach, and keeps the programs.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
    sync::mpsc,
};

use crate::{
    follow::follow,
    place,
    program::{Ending, Program},
    protocol::{
        Event, ExitCause, LINE_BYTES_MAX, Operation, PROTOCOL_VERSION, RefusalKind, Request, Start,
    },
    tasks::spawn,
};

/// Events that wait for an agent which does not read.
const EVENT_QUEUE_MAX: usize = 64;

/// Longest name of a session.
const SESSION_BYTES_MAX: usize = 64;

/// Listens until it is killed.
pub(crate) async fn serve() -> io::Result<()> {
    let directory = place::directory()?;
    let socket = place::socket()?;
    // A socket from an earlier life of the container.
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket)?;
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
    let programs = Arc::new(Programs { directory, running: Mutex::default() });
    loop {
        let (stream, _) = listener.accept().await?;
        spawn(converse(stream, programs.clone()));
    }
}

/// Every program this holder knows.
struct Programs {
    directory: PathBuf,
    running: Mutex<HashMap<(String, u32), Arc<Program>>>,
}

impl Programs {
    fn start(&self, session: &str, epoch: u32, start: &Start) -> io::Result<()> {
        // The lock is held while the process is made, so that two starts make one.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (session.to_string(), epoch);
        let directory = self.directory_of(session, epoch);
        if running.contains_key(&key) || directory.join("state.json").exists() {
            return Ok(());
        }
        // Unique even where several holders see each other's processes.
        let mark = directory.to_string_lossy().into_owned();
        running.insert(key, Program::start(directory, &mark, start)?);
        Ok(())
    }

    fn find(&self, session: &str, epoch: u32) -> Option<Arc<Program>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (session.to_string(), epoch);
        if let Some(program) = running.get(&key) {
            return Some(program.clone());
        }
        let program = Program::restore(&self.directory_of(session, epoch)).ok()?;
        running.insert(key, program.clone());
        Some(program)
    }

    fn directory_of(&self, session: &str, epoch: u32) -> PathBuf {
        self.directory.join(session).join(epoch.to_string())
    }
}

async fn converse(stream: UnixStream, programs: Arc<Programs>) {
    let (reader, writer) = stream.into_split();
    let (events, queue) = mpsc::channel(EVENT_QUEUE_MAX);
    spawn(tell(writer, queue));
    let _ = events.send(Event::Hello { protocol: PROTOCOL_VERSION }).await;
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while let Ok(true) = next_line(&mut reader, &mut line).await {
        match serde_json::from_slice::<Request>(&line) {
            Ok(request) if is_name(&request.session) => {
                perform(&programs, request, &events).await;
            }
            Ok(request) => {
                let reason = format!("{:?} is no name of a session", request.session);
                refuse(&events, request.id, RefusalKind::Malformed, reason).await;
            }
            Err(error) => {
                refuse(&events, 0, RefusalKind::Malformed, error.to_string()).await;
            }
        }
    }
}

async fn next_line(reader: &mut BufReader<OwnedReadHalf>, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let limit = LINE_BYTES_MAX as u64;
    let n = reader.take(limit).read_until(b'\n', line).await?;
    Ok(n > 0 && line.ends_with(b"\n"))
}

async fn tell(writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Event>) {
    let mut writer = BufWriter::with_capacity(128 * 1024, writer);
    while let Some(event) = queue.recv().await {
        let Ok(mut line) = serde_json::to_vec(&event) else { continue };
        line.push(b'\n');
        if writer.write_all(&line).await.is_err() {
            return;
        }
        if queue.is_empty() && writer.flush().await.is_err() {
            return;
        }
    }
}

/// Names become directories, so they must not lead elsewhere.
fn is_name(session: &str) -> bool {
    (1..=SESSION_BYTES_MAX).contains(&session.len())
        && session.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

async fn refuse(events: &mpsc::Sender<Event>, id: u64, kind: RefusalKind, reason: String) {
    let _ = events.send(Event::Refused { id, kind, reason }).await;
}

async fn perform(programs: &Programs, request: Request, events: &mpsc::Sender<Event>) {
    let Request { id, session, epoch, operation } = request;
    if let Operation::Start(start) = &operation {
        match programs.start(&session, epoch, start) {
            Ok(()) => drop(events.send(Event::Done { id }).await),
            Err(error) => {
                let reason = format!("{}: {error}", start.argv.first().map_or("", String::as_str));
                refuse(events, id, RefusalKind::CannotStart, reason).await;
            }
        }
        return;
    }
    let Some(program) = programs.find(&session, epoch) else {
        let reason = "no such session was started in this container".to_string();
        return refuse(events, id, RefusalKind::Unknown, reason).await;
    };
    let events = events.clone();
    match operation {
        Operation::Start(_) => {}
        Operation::Write { number, line } => {
            let written = program.write(number, line).await;
            spawn(answer(id, events, written));
        }
        Operation::Input { text } => {
            let written = program.input(text.into_bytes()).await;
            spawn(answer(id, events, written));
        }
        Operation::Follow { offset } => {
            let _ = events.send(Event::Done { id }).await;
            spawn(follow(program, session, epoch, offset, events));
        }
        Operation::Release { offset } => {
            program.output.release(offset);
            let _ = events.send(Event::Done { id }).await;
        }
        Operation::Kill { grace_ms } => spawn(async move {
            program.end(Ending { cause: ExitCause::Killed, grace_ms }).await;
            let _ = events.send(Event::Done { id }).await;
        }),
        Operation::Resize { rows, columns } => match &program.sizes {
            Some(sizes) if sizes.send((rows, columns)).await.is_ok() => {
                let _ = events.send(Event::Done { id }).await;
            }
            _ => {
                let reason = "there is no terminal to resize".to_string();
                refuse(&events, id, RefusalKind::Impossible, reason).await;
            }
        },
    }
}

async fn answer(
    id: u64,
    events: mpsc::Sender<Event>,
    written: tokio::sync::oneshot::Receiver<io::Result<()>>,
) {
    let reason = match written.await {
        Ok(Ok(())) => return drop(events.send(Event::Done { id }).await),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the program has ended".to_string(),
    };
    refuse(&events, id, RefusalKind::Impossible, reason).await;
}
