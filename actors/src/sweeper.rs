//! Compares what is with what should be, every five minutes.
//!
//! Processes have a deadline for each wait, and an exit. What is swept here is what no process can know: a
//! machine that is gone for good, a wait whose deadline was lost, containers and volumes that belong to nothing.
//! Each step stands alone: one that fails or panics is logged, and the others go on.
//!
//! Each thing done can be repeated: its command id follows from what it is about.

use std::{
    any::Any,
    collections::{BTreeSet, HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;
use domain::{
    agent_protocol::{Order, OrderOutcome},
    event::Command,
    execution::ExecutionCommand,
    idea::IdeaCommand,
    ids::{
        AccountId, CommandId, ContentId, ExecutionId, JournalId, NodeId, ProjectId, SessionId,
        derived,
    },
    session::{RecordedSegment, Session, SessionCommand},
    values::Timestamp,
    workspace::Phase,
};
use futures_util::FutureExt as _;
use projections::{
    chat_transcript,
    database::Database,
    error::DatabaseError,
    event_log::{EventLog, NewContent, Position},
    execution_timeline::{self, ExecutionRow},
    workspace_list,
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    agent_link::AgentLinks,
    caller::Caller,
    clock::SharedClock,
    dispatcher::{DispatchError, Dispatcher},
    effects::{Effects, node_of},
    lease::Tenure,
    live_hub::{LiveHub, OpenMessage},
    sealing::{Sealing, SealingError},
    tasks::Tasks,
};

/// Between two sweeps.
pub const SWEEP_PERIOD: Duration = Duration::from_secs(5 * 60);
/// How long a node's agent may be away before its machine counts as lost. A machine that starts again, or
/// an agent that is replaced, is back much sooner.
pub const AWAY_MAX: TimeDelta = TimeDelta::minutes(15);
/// How long an execution may record nothing. Longer than any single wait of a process.
pub const QUIET_MAX: TimeDelta = TimeDelta::hours(26);
/// How long one that was cancelled for that may go on recording nothing.
const CANCEL_MAX: TimeDelta = TimeDelta::hours(1);
/// After this long a look that was not to its end is taken again.
const RETRY_PERIOD: Duration = Duration::from_secs(1);
/// How long the read models may need to show what is in the log.
const SHOWN_PERIOD_MAX: Duration = Duration::from_secs(10);
/// How long an agent may take to look for what belongs to nothing.
const LEFTOVERS_PERIOD_MAX: Duration = Duration::from_secs(120);

/// Why a step did not come to its end; the next sweep tries again.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    #[error(transparent)]
    Sealing(#[from] SealingError),
    #[error("the node's agent: {0}")]
    Agent(String),
    #[error("the read models do not show everything yet")]
    Behind,
}

impl SweepError {
    /// Tells whether the same may work in a moment.
    fn is_temporary(&self) -> bool {
        match self {
            Self::Database(error) | Self::Sealing(SealingError::Database(error)) => {
                error.is_temporary()
            }
            Self::Dispatch(error) => error.is_temporary(),
            Self::Sealing(_) | Self::Agent(_) => false,
            Self::Behind => true,
        }
    }
}

/// Why everything that ran on a machine is lost.
#[derive(Debug)]
enum Loss {
    Away,
    /// Its agent has this memory instead of the one that it had.
    Memory(JournalId),
}

impl Loss {
    fn reason(&self) -> &'static str {
        match self {
            Self::Away => "the machine has been away for too long",
            Self::Memory(_) => "the machine came back without its memory",
        }
    }
}

/// What is swept, and where it is read.
pub(crate) struct Sweeping {
    database: Database,
    hub: LiveHub,
    projected: watch::Receiver<Position>,
}

impl Sweeping {
    pub(crate) fn new(
        database: &Database,
        hub: &LiveHub,
        projected: watch::Receiver<Position>,
    ) -> Self {
        Self { database: database.clone(), hub: hub.clone(), projected }
    }

    /// Sweeps for as long as the lease is held.
    pub(crate) fn start(&self, effects: &Effects, tasks: &Tasks) {
        let sweeper = Sweeper {
            database: self.database.clone(),
            dispatcher: effects.dispatcher.clone(),
            links: effects.links.clone(),
            sealing: effects.orders.sealing.clone(),
            hub: self.hub.clone(),
            clock: Arc::clone(&effects.clock),
            log: effects.log.clone(),
            projected: self.projected.clone(),
            node: node_of(effects.installation, effects.provider.kind()),
            tenure: effects.tenure,
            seen: Arc::default(),
        };
        tasks.keep("sweeper", move || sweeper.clone().run());
    }
}

/// What sweeps. Cheap to clone.
#[derive(Clone)]
struct Sweeper {
    database: Database,
    dispatcher: Dispatcher,
    links: AgentLinks,
    sealing: Sealing,
    hub: LiveHub,
    clock: SharedClock,
    log: EventLog,
    /// Up to where the read models show the log.
    projected: watch::Receiver<Position>,
    node: NodeId,
    tenure: Tenure,
    seen: Arc<Mutex<Seen>>,
}

/// What earlier sweeps have seen of the nodes.
#[derive(Debug, Default)]
struct Seen {
    /// Since when an agent is away that has not called yet.
    away: HashMap<NodeId, Timestamp>,
    /// Whose memory an agent had.
    journals: HashMap<NodeId, JournalId>,
    /// Sessions that were told of a loss by a look that did not come to its end.
    told: HashSet<SessionId>,
}

impl Sweeper {
    /// Sweeps for ever.
    async fn run(self) {
        let mut changes = self.links.changes();
        let mut pause = self.clock.pause(SWEEP_PERIOD);
        loop {
            // At once for whoever comes back without its memory: later there may be sessions that it does know.
            let is_looked = alone("lost machines", self.lost_machines()).await;
            tokio::select! {
                () = &mut pause => {
                    self.sweep().await;
                    pause = self.clock.pause(SWEEP_PERIOD);
                }
                // It cannot end before `self`, which holds the sender.
                _ = changes.changed() => {}
                () = tokio::time::sleep(RETRY_PERIOD), if !is_looked => {}
            }
        }
    }

    async fn sweep(&self) {
        alone("overdue executions", self.overdue()).await;
        alone("leftovers", self.leftovers()).await;
    }

    /// What was relayed from a machine that is gone is recorded, and its sessions are told.
    async fn lost_machines(&self) -> Result<(), SweepError> {
        let Some(loss) = self.loss() else { return Ok(()) };
        // Tables that are behind do not know the newest sessions.
        let head = self.log.head().await?;
        let mut projected = self.projected.clone();
        let is_shown = tokio::time::timeout(SHOWN_PERIOD_MAX, projected.wait_for(|at| *at >= head));
        if !is_shown.await.is_ok_and(|shown| shown.is_ok()) {
            return Err(SweepError::Behind);
        }
        // What began later was never in the memory that is lost.
        let back_at = self.links.health(self.node).map(|health| health.connected_at);
        for execution in execution_timeline::list_under_way(&self.database).await? {
            let row = execution_timeline::find(&self.database, execution).await?;
            let Some(row) = row.filter(|row| row.node == Some(self.node)) else { continue };
            let is_newer = back_at.is_some_and(|back_at| row.requested_at > back_at);
            if is_newer || self.seen().told.contains(&row.session) {
                continue;
            }
            match self.lost_session(row.session, execution, &loss).await {
                Err(error) if error.is_temporary() => return Err(error),
                // It keeps none of the others from being told.
                Err(error) => {
                    tracing::error!(session.id = %row.session, %error, "its loss cannot be recorded")
                }
                // By the next look, after one that failed, it may have been attached anew.
                Ok(()) => drop(self.seen().told.insert(row.session)),
            }
        }
        let mut seen = self.seen();
        seen.told.clear();
        // Only now: what failed is to be done again.
        if let Loss::Memory(journal) = loss {
            seen.journals.insert(self.node, journal);
        }
        Ok(())
    }

    /// Why everything that ran on the machine is lost, if it is.
    fn loss(&self) -> Option<Loss> {
        let now = self.clock.now();
        let mut seen = self.seen();
        let Some(health) = self.links.health(self.node) else {
            let since = *seen.away.entry(self.node).or_insert(now);
            let is_lost = now - since >= AWAY_MAX;
            return is_lost.then_some(Loss::Away);
        };
        seen.away.remove(&self.node);
        let journal = health.hello.journal;
        let is_new = *seen.journals.entry(self.node).or_insert(journal) != journal;
        is_new.then_some(Loss::Memory(journal))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn lost_session(
        &self,
        id: SessionId,
        execution: ExecutionId,
        loss: &Loss,
    ) -> Result<(), SweepError> {
        let session = self.dispatcher.state::<Session>(id.0).await?;
        let is_attached = session.execution() == Some(execution) && session.workspace().is_some();
        let (Some(project), true) = (session.project(), is_attached) else { return Ok(()) };
        let epoch = session.epoch();
        let open = self.hub.unlogged(id);
        for message in open.iter().filter(|message| message.n_chunks > 0) {
            match self.relayed(id, project, epoch, message).await {
                // The log goes on elsewhere: what comes between was never relayed.
                Err(SweepError::Dispatch(DispatchError::Refused { code, .. })) => {
                    tracing::warn!(session.id = %id, code, "relayed text does not join the log");
                }
                other => other?,
            }
        }
        let (reason, prompt) = (loss.reason().to_owned(), session.turn());
        let lost = SessionCommand::RecordLoss { epoch, reason, prompt };
        self.send(derived(id.0, &format!("lost {epoch}")), (id, lost).into(), Vec::new()).await?;
        self.hub.close(id);
        Ok(())
    }

    /// Records what browsers have seen of a message and the log has not.
    async fn relayed(
        &self,
        session: SessionId,
        project: ProjectId,
        epoch: u32,
        open: &OpenMessage,
    ) -> Result<(), SweepError> {
        let OpenMessage { message, kind, first_chunk, n_chunks, ref text } = *open;
        let word = format!("relayed {epoch} {message} {first_chunk} {n_chunks}");
        let command = derived(session.0, &word);
        let id = ContentId(derived(command, "content"));
        let (content, row) = self.sealing.seal(project, id, text).await?;
        // The rest will never come: the loss that follows closes the message as truncated.
        let is_last = false;
        let segment =
            RecordedSegment { epoch, message, kind, first_chunk, n_chunks, content, is_last };
        let recorded = SessionCommand::RecordSegment(segment);
        self.send(command, (session, recorded).into(), vec![row]).await
    }

    /// Nothing stays in a waiting state for ever: what records nothing for longer than any wait takes is
    /// cancelled, and ended if even that leads to nothing.
    async fn overdue(&self) -> Result<(), SweepError> {
        let now = self.clock.now();
        for execution in execution_timeline::list_under_way(&self.database).await? {
            let Some(row) = execution_timeline::find(&self.database, execution).await? else {
                continue;
            };
            let quiet = now - self.quiet_since(&row).await?;
            if row.is_cancel_requested && quiet >= CANCEL_MAX {
                self.end(&row).await?;
            } else if quiet >= QUIET_MAX {
                tracing::warn!(execution.id = %execution, "nothing happens any more: cancelled");
                let key = derived(execution.0, "swept: cancel");
                let cancel = (execution, ExecutionCommand::Cancel).into();
                self.send(key, cancel, Vec::new()).await?;
            }
        }
        Ok(())
    }

    /// When anything was recorded last, by the execution or in its conversation.
    async fn quiet_since(&self, row: &ExecutionRow) -> Result<Timestamp, SweepError> {
        let events = execution_timeline::events(&self.database, row).await?;
        let session = chat_transcript::find(&self.database, row.session).await?;
        let at = events.last().map_or(row.requested_at, |entry| entry.at);
        Ok(session.map_or(at, |session| at.max(session.updated_at)))
    }

    /// Ends what no process ends. Its workspace stays, since its work may not be saved.
    async fn end(&self, row: &ExecutionRow) -> Result<(), SweepError> {
        let (execution, checkpoint) = (row.id, None);
        let reason =
            "nothing happened for too long; its workspace, if it has one, is kept".to_owned();
        tracing::error!(execution.id = %execution, "an execution is ended by the sweeper");
        let commands: [(&str, Command); 3] = [
            ("end", (execution, ExecutionCommand::RecordCancelled { checkpoint }).into()),
            ("park", (row.idea, IdeaCommand::RecordParked { execution, reason }).into()),
            ("leave", (row.session, SessionCommand::EndExecution { execution }).into()),
        ];
        for (word, command) in commands {
            let key = derived(execution.0, &format!("swept: {word}"));
            match self.send(key, command, Vec::new()).await {
                // The stream is further than the tables show.
                Err(SweepError::Dispatch(DispatchError::Refused { .. })) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Containers and volumes with our label whose workspace is gone.
    async fn leftovers(&self) -> Result<(), SweepError> {
        if self.links.health(self.node).is_none_or(|health| health.is_draining) {
            return Ok(());
        }
        // Tables that are behind do not know the newest workspaces: the next sweep will do.
        let head = self.log.head().await?;
        if *self.projected.borrow() < head {
            return Ok(());
        }
        let workspaces = workspace_list::list(&self.database).await?;
        let alive =
            workspaces.iter().filter(|row| row.node == self.node && row.state != Phase::Stopped);
        let keep: BTreeSet<_> = alive.map(|row| row.id).collect();
        let key = derived(self.node.0, &format!("swept at {}", self.clock.now()));
        let order = Order::RemoveLeftovers { keep };
        tokio::select! {
            settled = self.links.order(self.node, key, self.tenure.order, order) => {
                match settled.outcome {
                    OrderOutcome::Refused { reason, .. } => Err(SweepError::Agent(reason)),
                    _ => Ok(()),
                }
            }
            () = self.clock.pause(LEFTOVERS_PERIOD_MAX) => {
                Err(SweepError::Agent("it did not answer in time".to_owned()))
            }
        }
    }

    async fn send(
        &self,
        command: Uuid,
        wish: Command,
        contents: Vec<NewContent>,
    ) -> Result<(), SweepError> {
        let caller = Caller {
            actor: "sweeper".to_owned(),
            account: AccountId(Uuid::nil()),
            command: CommandId(command),
            correlation: command,
            causation: None,
        };
        self.dispatcher.send_under(self.tenure.append, &caller, wish, contents).await?;
        Ok(())
    }
}

/// Runs one step so that nothing it does keeps the next from running; tells whether it was done.
async fn alone(step: &'static str, work: impl Future<Output = Result<(), SweepError>>) -> bool {
    let ended = AssertUnwindSafe(work).catch_unwind().await;
    match &ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(step, %error, "a step of the sweep is tried again"),
        Err(panic) => tracing::error!(step, reason = words(&**panic), "a sweep panicked"),
    }
    matches!(ended, Ok(Ok(())))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::{SweepError, alone};

    #[tokio::test]
    async fn a_step_that_fails_or_panics_keeps_none_from_running() {
        assert!(!alone("fails", async { Err(SweepError::Agent("no".to_owned())) }).await);
        assert!(!alone("panics", async { panic!("on purpose") }).await);
        let mut has_run = false;
        let is_done = alone("works", async {
            has_run = true;
            Ok(())
        });
        assert!(is_done.await && has_run);
    }
}
