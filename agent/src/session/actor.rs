//! The running of one session: joins the [`Attachment`] to the holder, the journal and the clock.
//!
//! Order of things: what was read is recorded, then what follows from it is written. Reading goes on while
//! a record is on its way to the disk, so that streamed text does not wait for it. A connection that
//! breaks is made again, and everything that may be missing is asked for again by offset and number.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use domain::agent_protocol::RefusalKind;
use holder::protocol::{self, Event, Exit, ExitCause, Operation, SPOOL_BYTES_MAX, Start};
use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant},
};

use crate::session::{
    HolderConnection, LinkError, Reply, SessionCommand, SessionConfig, SessionParts,
    SessionRefusal, Started,
    attachment::Attachment,
    holder_client::{HolderClient, Purpose, Told},
    progress::{Phase, SessionProgress},
    recording::{Recording, on_disk, record},
};

/// Longest line that a coding agent may write.
pub(crate) const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long streamed text may wait for its record.
const FLUSH_PERIOD: Duration = Duration::from_secs(1);
/// How long a coding agent may take to end a turn that was cancelled, and to die when told to.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
const KILL_GRACE_MS: u64 = 5_000;
/// How long a coding agent may take from its start until it is ready for a prompt.
const START_PERIOD_MAX: Duration = Duration::from_secs(60);
/// How long to wait for a kill that nothing depends on.
const LEFTOVER_PERIOD_MAX: Duration = Duration::from_secs(10);
/// Between attempts to reach the holder.
const RETRY_PERIOD_MIN: Duration = Duration::from_millis(50);
const RETRY_PERIOD_MAX: Duration = Duration::from_secs(5);
/// The holder is told to give space back in steps of this size.
const RELEASE_STEP_BYTES: u64 = 1024 * 1024;

pub(crate) struct Actor {
    config: SessionConfig,
    parts: SessionParts,
    attachment: Attachment,
    commands: mpsc::Receiver<SessionCommand>,
    /// The beginning of a line whose end was not read yet.
    partial: String,
    /// Highest number that this connection was asked to write.
    n_sent: u64,
    /// What is on its way to the disk.
    recording: Option<Recording>,
    /// Highest number of a line that is recorded, and so may be written.
    n_recorded: u64,
    /// Everything before it in the spool is recorded.
    offset_recorded: u64,
    released: u64,
    flush_at: Option<Instant>,
    kill_at: Option<Instant>,
    start_by: Instant,
    is_stopping: bool,
    has_exited: bool,
    starts: Vec<oneshot::Sender<Result<Started, SessionRefusal>>>,
    /// Who waits for which line to be written.
    writes: VecDeque<(u64, Reply)>,
    /// Who waits for the next record.
    records: Vec<Reply>,
    stops: Vec<Reply>,
}

/// Why the conversation over one connection stopped.
enum Detached {
    /// The connection broke.
    Broken,
    /// The session is over.
    Over,
    /// Nobody holds a handle any more: the agent is going down.
    Abandoned,
}

impl Actor {
    /// Takes up what is recorded about the session, or begins it.
    pub(crate) async fn load(
        config: SessionConfig,
        parts: SessionParts,
        commands: mpsc::Receiver<SessionCommand>,
    ) -> anyhow::Result<Self> {
        let progress = match parts.store.load(config.session).await? {
            Some(recorded) if recorded.epoch == config.epoch => recorded,
            Some(earlier) if earlier.epoch < config.epoch => {
                let acp_session = earlier.acp_session.filter(|_| earlier.can_load);
                SessionProgress { acp_session, ..SessionProgress::new(config.epoch) }
            }
            Some(later) => anyhow::bail!("epoch {} has taken over", later.epoch),
            None => SessionProgress::new(config.epoch),
        };
        let was_cancelled = progress.turn.as_ref().is_some_and(|turn| turn.is_cancelled);
        Ok(Self {
            recording: None,
            n_recorded: progress.n_written,
            offset_recorded: progress.offset,
            attachment: Attachment::new(&config, progress),
            config,
            parts,
            commands,
            partial: String::new(),
            n_sent: 0,
            released: 0,
            flush_at: None,
            kill_at: was_cancelled.then(|| Instant::now() + CANCEL_GRACE),
            start_by: Instant::now() + START_PERIOD_MAX,
            is_stopping: false,
            has_exited: false,
            starts: Vec::new(),
            writes: VecDeque::new(),
            records: Vec::new(),
            stops: Vec::new(),
        })
    }

    pub(crate) async fn run(mut self) {
        let mut retry_after = RETRY_PERIOD_MIN;
        while !self.attachment.is_over() {
            match self.parts.link.connect().await {
                Ok(connection) => match self.attached(connection, &mut retry_after).await {
                    Detached::Broken => self.finish_recording().await,
                    Detached::Over => break,
                    Detached::Abandoned => return,
                },
                Err(LinkError::Gone { reason }) => {
                    self.vanished(&reason);
                    self.record().await;
                    break;
                }
                Err(LinkError::Busy(error)) => {
                    tracing::warn!(session.id = %self.config.session, "the holder is out of reach: {error:#}");
                }
            }
            time::sleep(retry_after).await;
            retry_after = (retry_after * 2).min(RETRY_PERIOD_MAX);
        }
        self.outlive().await;
    }

    async fn attached(
        &mut self,
        connection: HolderConnection,
        retry_after: &mut Duration,
    ) -> Detached {
        let greeting = HolderClient::greet(connection, &self.config);
        let Ok((mut client, mut writing)) = greeting.await else { return Detached::Broken };
        *retry_after = RETRY_PERIOD_MIN;
        let writing = writing.run();
        tokio::pin!(writing);
        self.partial.clear();
        self.n_sent = 0;
        let offset = self.attachment.progress.offset;
        let greeted = match self.attachment.progress.phase {
            Phase::Starting => client.ask(Purpose::Start, Operation::Start(self.start())),
            _ => client.ask(Purpose::Follow, Operation::Follow { offset }),
        };
        if greeted.is_err() || self.settle(&mut client).is_err() {
            return Detached::Broken;
        }
        loop {
            let wake_at = self.wake_at();
            let heard = tokio::select! {
                _ = &mut writing => return Detached::Broken,
                told = client.next() => match told {
                    Ok(told) => self.hear(&mut client, told),
                    Err(_) => return Detached::Broken,
                },
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(&mut client, command),
                    None => return Detached::Abandoned,
                },
                () = on_disk(&mut self.recording) => {
                    self.recorded();
                    Ok(())
                }
                () = time::sleep_until(wake_at) => self.wake(&mut client),
            };
            if heard.is_err() || self.settle(&mut client).is_err() {
                return Detached::Broken;
            }
            if self.attachment.is_over() {
                self.record().await;
                return Detached::Over;
            }
        }
    }

    fn start(&self) -> Start {
        Start {
            argv: self.config.argv.clone(),
            env: self.config.env.clone(),
            cwd: self.config.cwd.clone(),
            spool_bytes_max: SPOOL_BYTES_MAX,
            terminal: None,
        }
    }

    fn hear(&mut self, client: &mut HolderClient, told: Told) -> io::Result<()> {
        match told {
            Told::Done(Purpose::Start) => {
                self.attachment.started();
                let offset = self.attachment.progress.offset;
                client.ask(Purpose::Follow, Operation::Follow { offset })?;
            }
            Told::Done(Purpose::Write(number)) => self.written(number),
            Told::Done(_) => {}
            Told::Refused(Purpose::Start, protocol::RefusalKind::CannotStart, reason) => {
                self.has_exited = true;
                self.attachment.break_off(&format!("the coding agent cannot be started: {reason}"));
            }
            Told::Refused(Purpose::Start | Purpose::Follow, _, reason) => self.vanished(&reason),
            // A program that takes no line has ended, and its exit is on the way.
            Told::Refused(..) => {}
            Told::Event(Event::Output { offset, text, .. }) => self.output(offset, &text)?,
            Told::Event(Event::Exited { exit, .. }) => self.exited(&exit),
            Told::Event(_) => {}
        }
        Ok(())
    }

    fn written(&mut self, number: u64) {
        self.attachment.progress.unwritten.retain(|line| line.number > number);
        while let Some((_, reply)) = self.writes.pop_front_if(|(waiting, _)| *waiting <= number) {
            // Whoever asked may be gone.
            let _ = reply.send(Ok(()));
        }
    }

    fn output(&mut self, offset: u64, text: &str) -> io::Result<()> {
        if self.attachment.progress.offset + self.partial.len() as u64 != offset {
            return Err(io::Error::other("output is missing"));
        }
        for piece in text.split_inclusive('\n') {
            self.partial.push_str(piece);
            if self.partial.ends_with('\n') {
                let line = std::mem::take(&mut self.partial);
                self.attachment.line(&line, line.len() as u64);
            }
        }
        if self.partial.len() > LINE_BYTES_MAX {
            let reason = "the coding agent wrote a line of more than 8 MiB";
            self.attachment.break_off(reason);
        }
        Ok(())
    }

    fn exited(&mut self, exit: &Exit) {
        self.has_exited = true;
        if exit.cause == ExitCause::Lost {
            return self.vanished("the container was restarted");
        }
        let is_cancelled =
            self.attachment.progress.turn.as_ref().is_some_and(|turn| turn.is_cancelled);
        // A kill that an earlier life of the agent asked for, unless a cancel was behind it.
        let was_told = self.is_stopping || (exit.cause == ExitCause::Killed && !is_cancelled);
        self.attachment.exited(&story(exit), was_told);
    }

    fn vanished(&mut self, reason: &str) {
        self.has_exited = true;
        if self.is_stopping {
            self.attachment.exited(reason, true);
        } else {
            self.attachment.vanished(reason);
        }
    }

    fn obey(&mut self, client: &mut HolderClient, command: SessionCommand) -> io::Result<()> {
        match command {
            SessionCommand::AwaitStart { reply } => match self.attachment.outcome() {
                Some(outcome) => drop(reply.send(outcome)),
                None => self.starts.push(reply),
            },
            SessionCommand::Prompt { message, text, reply } => {
                match self.attachment.prompt(message, &text) {
                    Ok(()) if self.attachment.progress.unwritten.is_empty() => {
                        self.records.push(reply);
                    }
                    Ok(()) => {
                        self.writes.push_back((self.attachment.progress.n_written, reply));
                    }
                    Err(refusal) => drop(reply.send(Err(refusal))),
                }
            }
            SessionCommand::AnswerPermission { request, option, reply } => {
                match self.attachment.answer_permission(request, &option) {
                    Ok(()) => self.records.push(reply),
                    Err(refusal) => drop(reply.send(Err(refusal))),
                }
            }
            SessionCommand::Cancel { reply } => {
                if self.attachment.cancel() {
                    self.kill_at = Some(Instant::now() + CANCEL_GRACE);
                }
                self.records.push(reply);
            }
            SessionCommand::Stop { reply } => {
                self.is_stopping = true;
                self.stops.push(reply);
                self.kill(client)?;
            }
        }
        Ok(())
    }

    fn kill(&mut self, client: &mut HolderClient) -> io::Result<()> {
        client.ask(Purpose::Kill, Operation::Kill { grace_ms: KILL_GRACE_MS })
    }

    fn wake_at(&self) -> Instant {
        let start_by = self.attachment.outcome().is_none().then_some(self.start_by);
        let deadlines = [self.flush_at, self.kill_at, start_by];
        let far = Instant::now() + Duration::from_secs(3600);
        deadlines.into_iter().flatten().min().unwrap_or(far)
    }

    fn wake(&mut self, client: &mut HolderClient) -> io::Result<()> {
        let now = Instant::now();
        if self.flush_at.take_if(|at| *at <= now).is_some() {
            self.attachment.telling.hurry();
        }
        if self.attachment.outcome().is_none() && self.start_by <= now {
            let reason = format!(
                "the coding agent was not ready within {} seconds",
                START_PERIOD_MAX.as_secs()
            );
            self.attachment.break_off(&reason);
        }
        if self.kill_at.take_if(|at| *at <= now).is_some() {
            self.kill(client)?;
        }
        Ok(())
    }

    /// Tells what has come up and has it recorded, and has written what follows from earlier records.
    fn settle(&mut self, client: &mut HolderClient) -> io::Result<()> {
        for chunk in self.attachment.telling.take_chunks() {
            self.parts.sink.chunk(chunk);
        }
        if self.attachment.progress.turn.is_none() {
            self.kill_at = None;
        }
        // One record at a time; what is urgent meanwhile is in the next.
        if self.attachment.telling.is_urgent() || !self.records.is_empty() {
            if self.recording.is_none() {
                self.begin_recording();
            }
        } else if !self.attachment.telling.is_empty() && self.flush_at.is_none() {
            self.flush_at = Some(Instant::now() + FLUSH_PERIOD);
        }
        for line in &self.attachment.progress.unwritten {
            if line.number > self.n_sent && line.number <= self.n_recorded {
                self.n_sent = line.number;
                let (number, line) = (line.number, line.line.clone());
                client.ask(Purpose::Write(number), Operation::Write { number, line })?;
            }
        }
        let offset = self.offset_recorded;
        if offset.saturating_sub(self.released) >= RELEASE_STEP_BYTES {
            self.released = offset;
            client.ask(Purpose::Release, Operation::Release { offset })?;
        }
        Ok(())
    }

    /// Everything there is, and back when it is on disk.
    async fn record(&mut self) {
        self.finish_recording().await;
        self.begin_recording();
        self.finish_recording().await;
    }

    async fn finish_recording(&mut self) {
        if self.recording.is_some() {
            on_disk(&mut self.recording).await;
            self.recorded();
        }
    }

    fn begin_recording(&mut self) {
        let outcome = self.attachment.outcome();
        let Attachment { telling, progress, .. } = &mut self.attachment;
        let reports = telling.take_reports(progress);
        let (store, session) = (Arc::clone(&self.parts.store), self.config.session);
        self.recording = Some(Recording {
            n_written: progress.n_written,
            offset: progress.offset,
            replies: std::mem::take(&mut self.records),
            outcome,
            done: Box::pin(record(store, session, progress.clone(), reports)),
        });
        self.flush_at = None;
    }

    /// What was on its way is on disk: whoever waited for it hears so.
    fn recorded(&mut self) {
        let Some(recording) = self.recording.take() else { return };
        self.n_recorded = recording.n_written;
        self.offset_recorded = recording.offset;
        for reply in recording.replies {
            // Whoever asked may be gone.
            let _ = reply.send(Ok(()));
        }
        if let Some(outcome) = recording.outcome {
            for reply in self.starts.drain(..) {
                let _ = reply.send(outcome.clone());
            }
        }
    }

    /// Answers what is still asked of a session that has ended.
    async fn outlive(mut self) {
        if !self.has_exited {
            // It was given up while it was running, now or in an earlier life of the agent.
            let _ = time::timeout(LEFTOVER_PERIOD_MAX, self.kill_leftover()).await;
        }
        let reason = match &self.attachment.progress.phase {
            Phase::Ended { reason, .. } => format!("the session has ended: {reason}"),
            _ => "the session has ended".to_string(),
        };
        for (_, reply) in self.writes.drain(..) {
            let _ = reply.send(Err(ended(&reason)));
        }
        for reply in self.stops.drain(..).chain(self.records.drain(..)) {
            let _ = reply.send(Ok(()));
        }
        let outcome = self.attachment.outcome();
        let outcome = outcome.unwrap_or_else(|| Err(ended(&reason)));
        for reply in self.starts.drain(..) {
            let _ = reply.send(outcome.clone());
        }
        while let Some(command) = self.commands.recv().await {
            match command {
                SessionCommand::AwaitStart { reply } => drop(reply.send(outcome.clone())),
                SessionCommand::Prompt { message, reply, .. } => {
                    let was_given = self.attachment.progress.prompted.contains(&message);
                    let answer = if was_given { Ok(()) } else { Err(ended(&reason)) };
                    let _ = reply.send(answer);
                }
                SessionCommand::AnswerPermission { reply, .. }
                | SessionCommand::Cancel { reply }
                | SessionCommand::Stop { reply } => drop(reply.send(Ok(()))),
            }
        }
    }

    async fn kill_leftover(&mut self) -> io::Result<()> {
        let Ok(connection) = self.parts.link.connect().await else { return Ok(()) };
        let (mut client, mut writing) = HolderClient::greet(connection, &self.config).await?;
        let writing = writing.run();
        tokio::pin!(writing);
        self.kill(&mut client)?;
        loop {
            let told = tokio::select! {
                error = &mut writing => return Err(error),
                told = client.next() => told?,
            };
            if matches!(told, Told::Done(Purpose::Kill) | Told::Refused(Purpose::Kill, ..)) {
                return Ok(());
            }
        }
    }
}

fn ended(reason: &str) -> SessionRefusal {
    SessionRefusal { kind: RefusalKind::Unknown, reason: reason.to_string() }
}

/// How a coding agent ended, for people.
fn story(exit: &Exit) -> String {
    let how = match (exit.cause, exit.code, exit.signal) {
        (ExitCause::Flooded, ..) => "the coding agent flooded its output".to_string(),
        (ExitCause::Spool, ..) => {
            "the coding agent's output could not be kept; the disk may be full".to_string()
        }
        (ExitCause::Killed, ..) => "the coding agent was killed".to_string(),
        (_, Some(code), _) => format!("the coding agent exited with code {code}"),
        (_, None, Some(signal)) => format!("the coding agent was ended by signal {signal}"),
        (_, None, None) => "the coding agent ended".to_string(),
    };
    let last_words: Vec<&str> = exit.stderr_tail.trim().lines().rev().take(3).collect();
    if last_words.is_empty() {
        return how;
    }
    let last_words: Vec<&str> = last_words.into_iter().rev().collect();
    format!("{how}: {}", last_words.join(" / "))
}
