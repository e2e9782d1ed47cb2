//! Brings processes what they react to.
//!
//! The stream of a process is kept by the same actor as that of an aggregate: a stimulus is its command,
//! `Reacted` its event. One reader per kind of process goes through the log and hands each event to the
//! instance that it concerns; its checkpoint may be old, since an instance skips what it has seen. The
//! reader also keeps a table of what is wanted and has no outcome, so that a start reads only the end of
//! the log.
//!
//! Read next: `intent_runner.rs` performs what an instance wants, and brings it the outcomes.

use std::{marker::PhantomData, time::Duration};

use domain::{
    event_sourced::EventSourced,
    process::{Process, ProcessEvent, ProcessState, Stimulus},
};
use projections::{
    checkpoint::Checkpoints,
    database::Database,
    error::DatabaseError,
    event_log::{EventLog, Position, RecordedEvent},
    open_intents::OpenIntents,
    read_models,
};
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    dispatcher::DispatchError,
    intent_runner::{Occasion, Runner},
    process_actor::pending::Pending,
};

const EVENTS_PER_READ: usize = 512;
const RETRY_PERIOD: Duration = Duration::from_millis(500);
const READER_VERSION: u32 = 1;
/// How far what is saved may be behind what was read. Saving more often costs each change of the log a
/// transaction, and saves a start nothing that it would feel.
const SAVE_PERIOD: Duration = Duration::from_secs(1);

/// A process as something that has a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProcessStream<P> {
    pub(crate) state: ProcessState<P>,
}

impl<P: Process> Default for ProcessStream<P> {
    fn default() -> Self {
        Self { state: ProcessState::default() }
    }
}

/// A process refuses nothing: what it does not care about changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
pub(crate) enum Never {}

impl<P: Process> EventSourced for ProcessStream<P> {
    const TYPE: &'static str = P::TYPE;
    type Command = Stimulus;
    type Event = ProcessEvent;
    type Error = Never;

    fn decide(&self, stimulus: Stimulus) -> Result<Vec<ProcessEvent>, Never> {
        Ok(self.state.decide(stimulus).into_iter().collect())
    }

    fn evolve(&mut self, event: ProcessEvent) {
        self.state.evolve(&event);
    }
}

/// How far a reader has come.
struct Reading {
    /// Events up to here were brought to their processes.
    at: Position,
    /// What is wanted, as recorded up to `folded`.
    pending: Pending,
    folded: Position,
    /// Where the table is. None: somebody else keeps it.
    saved: Option<Position>,
    /// When what was read since is to be saved.
    save_by: Option<Instant>,
    /// The first event of a newer program, which nobody could react to. The checkpoint stays before it, so that the
    /// program that knows it brings it to its process, if that saw nothing since.
    unknown: Option<Position>,
}

impl Reading {
    /// What the checkpoint says.
    fn seen(&self) -> Position {
        self.unknown.map_or(self.at, |unknown| unknown - 1)
    }

    fn fold<P: Process>(&mut self, event: &RecordedEvent) {
        if event.position > self.folded {
            self.folded = event.position;
            if event.stream.kind == P::TYPE {
                self.pending.see(event);
            }
        }
    }
}

/// Reads the log for one kind of process.
pub(crate) struct ProcessReader<P: Process> {
    log: EventLog,
    checkpoints: Checkpoints,
    open_intents: OpenIntents,
    runner: Runner<P>,
    name: String,
    kind: PhantomData<P>,
}

impl<P: Process> ProcessReader<P> {
    pub(crate) fn new(log: &EventLog, database: &Database, runner: Runner<P>) -> Self {
        Self {
            log: log.clone(),
            checkpoints: Checkpoints::new(database),
            open_intents: OpenIntents::new(database),
            runner,
            name: format!("process {}", P::TYPE),
            kind: PhantomData,
        }
    }

    /// Takes up what was wanted before, and then reads for ever.
    pub(crate) async fn run(self) {
        let mut reading = loop {
            match self.resume().await {
                Ok(reading) => break reading,
                Err(error) => {
                    tracing::warn!(process = P::TYPE, %error, "taking up its intents is tried again");
                    tokio::time::sleep(RETRY_PERIOD).await;
                }
            }
        };
        let mut head = self.log.watch();
        loop {
            let known = *head.borrow_and_update();
            match self.step(&mut reading, known).await {
                Ok(true) => {}
                // Closed means that the log is: nothing will come any more.
                Ok(false) => match reading.save_by {
                    None if head.changed().await.is_err() => return,
                    None => {}
                    Some(save_by) => {
                        if let Ok(Err(_)) = tokio::time::timeout_at(save_by, head.changed()).await {
                            return;
                        }
                    }
                },
                Err(DispatchError::Fenced) => return,
                Err(error) => {
                    tracing::warn!(process = P::TYPE, %error, "reading the log is tried again");
                    tokio::time::sleep(RETRY_PERIOD).await;
                }
            }
        }
    }

    /// Deals with one batch; tells whether there was anything.
    async fn step(&self, reading: &mut Reading, head: Position) -> Result<bool, DispatchError> {
        let events = match head > reading.at {
            true => self.log.read_new(reading.at, EVENTS_PER_READ).await?,
            false => Vec::new(),
        };
        for event in &events {
            reading.fold::<P>(event);
            if !self.see(event).await? {
                reading.unknown.get_or_insert(event.position);
            }
            reading.at = event.position;
            reading.save_by.get_or_insert_with(|| Instant::now() + SAVE_PERIOD);
        }
        if reading.save_by.is_some_and(|save_by| save_by <= Instant::now()) {
            self.save(reading).await?;
        }
        Ok(!events.is_empty())
    }

    /// Saves how far it has read, and what is wanted then.
    async fn save(&self, reading: &mut Reading) -> Result<(), DispatchError> {
        crash_point::crash_point!("process.before_checkpoint");
        self.checkpoints.save(&self.name, READER_VERSION, reading.seen()).await?;
        crash_point::crash_point!("process.before_open_intents");
        reading.save_by = None;
        let (saved, to) = (reading.saved, reading.folded);
        if let Some(saved) = saved.filter(|saved| *saved < to) {
            let changed = reading.pending.changed();
            let is_kept = self.open_intents.save(P::TYPE, saved, to, &changed).await?;
            // Whoever keeps the table now, the next start reads it.
            reading.saved = is_kept.then_some(to);
            reading.pending.forget_changed();
        }
        Ok(())
    }

    /// Tells whether this program knows the event.
    async fn see(&self, recorded: &RecordedEvent) -> Result<bool, DispatchError> {
        if !P::CONCERNED_BY.contains(&recorded.stream.kind.as_str()) {
            return Ok(true);
        }
        // What cannot be decoded is noted by the projector; nobody could react to it.
        let event = match read_models::decode(recorded) {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(true),
            Err(_) => return Ok(!read_models::is_of_newer_program(recorded)),
        };
        let Some(process) = P::route(&event) else { return Ok(true) };
        let position = recorded.position;
        let stimulus = Stimulus::Happened { event, position, at: recorded.metadata.at };
        let occasion = Occasion::Event { position, correlation: recorded.metadata.correlation };
        crash_point::crash_point!("process.before_stimulus");
        loop {
            match self.runner.stimulate(process, stimulus.clone(), occasion, Vec::new()).await {
                Err(error) if error.is_temporary() => {
                    tracing::debug!(process = P::TYPE, %error, "a stimulus is sent again");
                    tokio::time::sleep(RETRY_PERIOD).await;
                }
                // A damaged process stands still, and only that one.
                Err(error @ DispatchError::Damaged { .. }) => {
                    tracing::error!(process = P::TYPE, id = %process, %error, "a process is damaged");
                    return Ok(true);
                }
                other => return other.map(|()| true),
            }
        }
    }

    /// Starts what was wanted and has no outcome. What the table does not know yet is read from the
    /// streams themselves: an intent that nobody performs would hang for ever.
    async fn resume(&self) -> Result<Reading, DatabaseError> {
        let (saved, rows) = self.open_intents.load(P::TYPE).await?;
        let mut pending = Pending::load(rows);
        // Before the streams are read: whatever is behind it is folded as it is read.
        let head = self.log.head().await?;
        let mut folded = saved;
        while folded < head {
            let events = self.log.read_kind(P::TYPE, folded, EVENTS_PER_READ).await?;
            let is_end = events.len() < EVENTS_PER_READ;
            for event in events.iter().filter(|event| event.position <= head) {
                folded = event.position;
                pending.see(event);
            }
            if is_end || events.last().is_some_and(|event| event.position > head) {
                folded = head;
            }
        }
        for (process, correlation) in pending.processes() {
            self.take_up(process, correlation).await?;
        }
        let at = self.checkpoints.position(&self.name).await?;
        let save_by = (folded > saved).then(|| Instant::now() + SAVE_PERIOD);
        Ok(Reading { at, pending, folded, saved: Some(saved), save_by, unknown: None })
    }

    async fn take_up(&self, process: Uuid, correlation: Uuid) -> Result<(), DatabaseError> {
        tracing::info!(process = P::TYPE, id = %process, "takes up what it wanted");
        if let Err(error) = self.runner.take_up(process, correlation).await {
            tracing::error!(process = P::TYPE, id = %process, %error, "cannot go on");
        }
        Ok(())
    }
}

mod pending;
