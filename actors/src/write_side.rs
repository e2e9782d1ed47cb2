//! The log and the actors that write it, and nothing that follows it: no read models, processes or machines.
//!
//! For whoever measures or tests what a command costs by itself; a server starts `system.rs`.

use projections::{
    database::Database,
    event_log::{EventLog, Options},
};

use crate::{
    clock::SharedClock,
    dispatcher::{Damaged, Dispatcher, actor_thread::ActorThread},
    settings::SNAPSHOT_EVENTS,
    system::StartError,
};

/// A running write side. Must be stopped, or its threads go on.
#[derive(Debug)]
pub struct WriteSide {
    pub dispatcher: Dispatcher,
    pub log: EventLog,
    actors: ActorThread,
}

impl WriteSide {
    /// Starts on a database that nobody else uses.
    pub async fn start(database: &Database, clock: SharedClock) -> Result<Self, StartError> {
        let log = EventLog::open(database, Options::default()).await?;
        let actors = ActorThread::start()
            .map_err(|source| StartError::Machine { what: "the actors' thread", source })?;
        let damaged = Damaged::open(database).await?;
        let dispatcher = Dispatcher::new(&log, &actors, clock, damaged, SNAPSHOT_EVENTS);
        Ok(Self { dispatcher, log, actors })
    }

    /// Ends the log, then the actors.
    pub async fn stop(self) {
        self.log.close().await;
        self.actors.stop().await;
    }
}
