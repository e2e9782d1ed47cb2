//! Brings processes what they react to.
//!
//! The stream of a process is kept by the same actor as that of an aggregate: a stimulus is its command,
//! `Reacted` its event. One reader per kind of process goes through the log and hands each event to the
//! instance that it concerns; its checkpoint may be old, since an instance skips what it has seen.
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
    read_models,
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    clock::SharedClock,
    dispatcher::DispatchError,
    intent_runner::{Occasion, Runner},
};

const EVENTS_PER_READ: usize = 512;
const RETRY_PERIOD: Duration = Duration::from_millis(500);
const READER_VERSION: u32 = 1;

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

/// Reads the log for one kind of process.
pub(crate) struct ProcessReader<P: Process> {
    log: EventLog,
    checkpoints: Checkpoints,
    runner: Runner<P>,
    clock: SharedClock,
    name: String,
    kind: PhantomData<P>,
}

impl<P: Process> ProcessReader<P> {
    pub(crate) fn new(
        log: &EventLog,
        database: &Database,
        clock: &SharedClock,
        runner: Runner<P>,
    ) -> Self {
        Self {
            log: log.clone(),
            checkpoints: Checkpoints::new(database),
            runner,
            clock: clock.clone(),
            name: format!("process {}", P::TYPE),
            kind: PhantomData,
        }
    }

    /// Takes up what was wanted before, and then reads for ever.
    pub(crate) async fn run(self) {
        while let Err(error) = self.resume().await {
            tracing::warn!(process = P::TYPE, %error, "taking up its intents is tried again");
            self.clock.pause(RETRY_PERIOD).await;
        }
        let mut head = self.log.watch();
        let mut at = None;
        loop {
            head.mark_unchanged();
            match self.step(&mut at).await {
                Ok(true) => {}
                // Closed means that the log is: nothing will come any more.
                Ok(false) => {
                    if head.changed().await.is_err() {
                        return;
                    }
                }
                Err(DispatchError::Fenced) => return,
                Err(error) => {
                    tracing::warn!(process = P::TYPE, %error, "reading the log is tried again");
                    tokio::time::sleep(RETRY_PERIOD).await;
                }
            }
        }
    }

    /// Deals with one batch; tells whether there was anything.
    async fn step(&self, at: &mut Option<Position>) -> Result<bool, DispatchError> {
        let position = match *at {
            Some(position) => position,
            None => self.checkpoints.position(&self.name).await?,
        };
        *at = Some(position);
        let events = self.log.read_all(position, EVENTS_PER_READ).await?;
        for event in &events {
            self.see(event).await?;
            *at = Some(event.position);
        }
        let Some(last) = events.last() else { return Ok(false) };
        crash_point::crash_point!("process.before_checkpoint");
        self.checkpoints.save(&self.name, READER_VERSION, last.position).await?;
        Ok(true)
    }

    async fn see(&self, recorded: &RecordedEvent) -> Result<(), DispatchError> {
        // What cannot be decoded is noted by the projector; nobody could react to it.
        let Ok(Some(event)) = read_models::decode(recorded) else { return Ok(()) };
        let Some(process) = P::route(&event) else { return Ok(()) };
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
                    return Ok(());
                }
                other => return other,
            }
        }
    }

    /// Starts what was wanted and has no outcome. The streams themselves are asked: read models may
    /// be behind, and an intent that nobody performs would hang for ever.
    async fn resume(&self) -> Result<(), DatabaseError> {
        let mut wanted = pending::Pending::default();
        let mut after = 0;
        loop {
            let events = self.log.read_kind(P::TYPE, after, EVENTS_PER_READ).await?;
            for event in &events {
                after = event.position;
                wanted.see(event);
            }
            if events.len() < EVENTS_PER_READ {
                break;
            }
        }
        for (process, correlation) in wanted.processes() {
            self.take_up(process, correlation).await?;
        }
        Ok(())
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
