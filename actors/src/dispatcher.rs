//! Brings a command to the actor of its stream, starting the actor if need be.
//!
//! Callers await only a reply channel: one that goes away never cuts a command in two. A full mailbox
//! is the caller's matter (`Busy`), a dead actor is not: the command is sent again, under the same
//! id, to a new one.
//!
//! Read next: `aggregate_actor.rs`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix::{Actor as _, Addr, ArbiterHandle, dev::ToEnvelope, prelude::SendError};
use domain::{
    account::{Account, AccountError},
    credential::Credential,
    event::Command,
    event_sourced::{EventSourced, refusal_code},
    execution::Execution,
    idea::{Idea, IdeaCommand},
    ids::AccountId,
    node::Node,
    project::Project,
    session::{Session, SessionCommand},
    workspace::{Workspace, WorkspaceCommand},
};
use projections::{
    damaged_streams::{DamagedStream, DamagedStreams},
    database::Database,
    error::DatabaseError,
    event_log::{AppendError, EventLog, Metadata, NewContent, Position, StreamId},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    aggregate_actor::{AggregateActor, Answer, Ask, Execute, Reply, Request},
    caller::Caller,
    clock::SharedClock,
    dispatcher::actor_thread::ActorThread,
};

pub(crate) mod actor_thread;

/// How many commands may wait for one actor.
const MAILBOX_LENGTH_MAX: usize = 64;
/// How often a command is sent to a new actor because the old one had gone.
const SENDS_MAX: usize = 5;
/// When a caller who was told to come back should do so.
pub(crate) const RETRY_PERIOD: Duration = Duration::from_secs(1);

/// Why a command has no position in the log. Variants tell the caller what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DispatchError {
    /// `decide` said no: `code` is for programs, `reason` for people.
    #[error("{reason}")]
    Refused { code: String, reason: String },
    /// Too many wait already. Send the same command again under the same id.
    #[error("too many commands wait for this already")]
    Busy { retry_after: Duration },
    /// The log is away, and whether the command was recorded is not known. Send it again under the same id.
    #[error("the log is not available: {reason}")]
    Unavailable { reason: String },
    /// The log's disk is full. Send it again under the same id once somebody has freed space.
    #[error("the log's disk is full")]
    Full,
    /// The stream's events cannot be folded. Others go on; this one needs an administrator.
    #[error("the stream {stream} is damaged at event {sequence}: {reason}")]
    Damaged { stream: StreamId, sequence: u64, reason: String },
    /// The lease under which this was sent has passed on: stop acting.
    #[error("the lease has passed on")]
    Fenced,
    /// Trying again cannot help.
    #[error("{reason}")]
    Failed { reason: String },
}

impl From<AppendError> for DispatchError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Fenced => Self::Fenced,
            AppendError::Unavailable { source } => source.into(),
            error => Self::Failed { reason: error.to_string() },
        }
    }
}

impl From<DatabaseError> for DispatchError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Unavailable { .. } => Self::Unavailable { reason: error.to_string() },
            DatabaseError::Full { .. } => Self::Full,
            error => Self::Failed { reason: error.to_string() },
        }
    }
}

impl DispatchError {
    /// Tells whether sending the same again may help.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Unavailable { .. } | Self::Full)
    }
}

/// A handle on all aggregates. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: SharedClock,
    damaged: Damaged,
    accounts: Streams<Account>,
    credentials: Streams<Credential>,
    projects: Streams<Project>,
    ideas: Streams<Idea>,
    executions: Streams<Execution>,
    nodes: Streams<Node>,
    workspaces: Streams<Workspace>,
    sessions: Streams<Session>,
}

/// Streams that could not be folded. Clones share the list, which is also in the database.
#[derive(Clone, Debug)]
pub struct Damaged {
    table: DamagedStreams,
    known: Arc<Mutex<BTreeMap<StreamId, DamagedStream>>>,
}

impl Damaged {
    /// Opens the list as earlier processes left it.
    pub(crate) async fn open(database: &Database) -> Result<Self, DatabaseError> {
        let table = DamagedStreams::new(database);
        let known = table.list().await?;
        let known = known.into_iter().map(|damaged| (damaged.stream.clone(), damaged)).collect();
        Ok(Self { table, known: Arc::new(Mutex::new(known)) })
    }

    /// Notes what an answer says about its stream: that it is damaged, or not any more.
    pub(crate) async fn note<T>(&self, stream: &StreamId, answer: &Result<T, DispatchError>) {
        let noted = match answer {
            Err(DispatchError::Damaged { stream, sequence, reason }) => {
                let (stream, reason) = (stream.clone(), reason.clone());
                let damaged = DamagedStream { stream, sequence: *sequence, reason };
                let before = self.lock().insert(damaged.stream.clone(), damaged.clone());
                match before {
                    Some(before) if before == damaged => Ok(()),
                    _ => self.table.note(&damaged).await,
                }
            }
            Err(DispatchError::Refused { .. }) | Ok(_) => {
                let was_damaged = self.lock().remove(stream).is_some();
                if was_damaged { self.table.clear(stream).await } else { Ok(()) }
            }
            Err(_) => Ok(()),
        };
        if let Err(error) = noted {
            tracing::warn!(%stream, %error, "the list of damaged streams could not be changed");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, DamagedStream>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dispatcher {
    pub(crate) fn new(
        log: &EventLog,
        thread: &ActorThread,
        clock: SharedClock,
        damaged: Damaged,
        snapshot_events: u64,
    ) -> Self {
        let arbiter = thread.arbiter();
        let shared = Shared {
            clock,
            damaged,
            accounts: Streams::new(log, &arbiter, snapshot_events),
            credentials: Streams::new(log, &arbiter, snapshot_events),
            projects: Streams::new(log, &arbiter, snapshot_events),
            ideas: Streams::new(log, &arbiter, snapshot_events),
            executions: Streams::new(log, &arbiter, snapshot_events),
            nodes: Streams::new(log, &arbiter, snapshot_events),
            workspaces: Streams::new(log, &arbiter, snapshot_events),
            sessions: Streams::new(log, &arbiter, snapshot_events),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Has a command decided by its aggregate. Answers once its events are on disk; `contents` are
    /// written with them. The position is where the answer is recorded, also for a repeat.
    pub async fn send(
        &self,
        caller: &Caller,
        command: impl Into<Command>,
        contents: Vec<NewContent>,
    ) -> Result<Position, DispatchError> {
        self.send_under(None, caller, command, contents).await
    }

    /// The same for whoever acts under the lease: refused when that is in a later epoch already.
    pub(crate) async fn send_under(
        &self,
        epoch: Option<u64>,
        caller: &Caller,
        command: impl Into<Command>,
        contents: Vec<NewContent>,
    ) -> Result<Position, DispatchError> {
        let command = command.into();
        let project = project_of(&command).or_else(|| Some(contents.first()?.project));
        let metadata = Metadata {
            actor: caller.actor.clone(),
            command: caller.command.0,
            causation: caller.causation,
            correlation: caller.correlation,
            at: self.shared.clock.now(),
        };
        let circumstances = Circumstances { metadata, contents, project, epoch };
        let shared = &*self.shared;
        let stream = stream_of(&command);
        let answer = match command {
            Command::Account(id, command) => {
                shared.accounts.send(id.0, command, circumstances).await
            }
            Command::Credential(id, command) => {
                shared.credentials.send(id.0, command, circumstances).await
            }
            Command::Project(id, command) => {
                shared.projects.send(id.0, command, circumstances).await
            }
            Command::Idea(id, command) => shared.ideas.send(id.0, command, circumstances).await,
            Command::Execution(id, command) => {
                shared.executions.send(id.0, command, circumstances).await
            }
            Command::Node(id, command) => shared.nodes.send(id.0, command, circumstances).await,
            Command::Workspace(id, command) => {
                shared.workspaces.send(id.0, command, circumstances).await
            }
            Command::Session(id, command) => {
                shared.sessions.send(id.0, command, circumstances).await
            }
        };
        shared.damaged.note(&stream, &answer).await;
        answer
    }

    /// The newest state of an aggregate; its default where nothing is recorded.
    pub async fn state<A: Known>(&self, id: Uuid) -> Result<Arc<A>, DispatchError> {
        let answer = A::streams(self).ask(id).await;
        self.shared.damaged.note(&StreamId::new(A::TYPE, id), &answer).await;
        Ok(answer?.state)
    }

    /// Refuses an account that is erased, or about to be: nothing new begins in its name.
    pub async fn check_account(&self, account: AccountId) -> Result<(), DispatchError> {
        if self.state::<Account>(account.0).await?.is_gone() {
            let refusal = AccountError::Erased;
            return Err(DispatchError::Refused {
                code: refusal_code(&refusal),
                reason: refusal.to_string(),
            });
        }
        Ok(())
    }

    /// Streams that could not be folded.
    pub(crate) fn damaged(&self) -> &Damaged {
        &self.shared.damaged
    }
}

/// An aggregate that the dispatcher knows.
pub trait Known: EventSourced {
    #[doc(hidden)]
    #[expect(private_interfaces, reason = "only this module implements it")]
    fn streams(dispatcher: &Dispatcher) -> &Streams<Self>;
}

macro_rules! known {
    ($($noun:ident: $field:ident,)*) => {$(
        impl Known for $noun {
            #[expect(private_interfaces, reason = "only this module implements it")]
            fn streams(dispatcher: &Dispatcher) -> &Streams<Self> {
                &dispatcher.shared.$field
            }
        }
    )*};
}

known! {
    Account: accounts,
    Credential: credentials,
    Project: projects,
    Idea: ideas,
    Execution: executions,
    Node: nodes,
    Workspace: workspaces,
    Session: sessions,
}

/// Whose share of each commit a command counts against, where the command says so itself.
fn project_of(command: &Command) -> Option<Uuid> {
    let project = match command {
        Command::Project(project, _) => *project,
        Command::Idea(
            _,
            IdeaCommand::Draft { project, .. } | IdeaCommand::Submit { project, .. },
        )
        | Command::Session(_, SessionCommand::Begin { project, .. }) => *project,
        Command::Workspace(_, WorkspaceCommand::Request { spec, .. }) => spec.project,
        _ => return None,
    };
    Some(project.0)
}

fn stream_of(command: &Command) -> StreamId {
    match command {
        Command::Account(id, _) => StreamId::new(Account::TYPE, id.0),
        Command::Credential(id, _) => StreamId::new(Credential::TYPE, id.0),
        Command::Project(id, _) => StreamId::new(Project::TYPE, id.0),
        Command::Idea(id, _) => StreamId::new(Idea::TYPE, id.0),
        Command::Execution(id, _) => StreamId::new(Execution::TYPE, id.0),
        Command::Node(id, _) => StreamId::new(Node::TYPE, id.0),
        Command::Workspace(id, _) => StreamId::new(Workspace::TYPE, id.0),
        Command::Session(id, _) => StreamId::new(Session::TYPE, id.0),
    }
}

#[derive(Clone, Debug)]
struct Circumstances {
    metadata: Metadata,
    contents: Vec<NewContent>,
    project: Option<Uuid>,
    epoch: Option<u64>,
}

/// The running actors of one kind of stream.
#[derive(Debug)]
pub(crate) struct Streams<A: EventSourced> {
    log: EventLog,
    arbiter: ArbiterHandle,
    snapshot_events: u64,
    // One address per actor, shared and never cloned: a clone would have a place of its own in the
    // mailbox, beyond its bound.
    running: Mutex<HashMap<Uuid, Arc<Addr<AggregateActor<A>>>>>,
}

impl<A: EventSourced> Streams<A> {
    pub(crate) fn new(log: &EventLog, arbiter: &ArbiterHandle, snapshot_events: u64) -> Self {
        let (log, arbiter) = (log.clone(), arbiter.clone());
        Self { log, arbiter, snapshot_events, running: Mutex::default() }
    }

    async fn send(
        &self,
        id: Uuid,
        command: A::Command,
        circumstances: Circumstances,
    ) -> Result<Position, DispatchError> {
        let Circumstances { metadata, contents, project, epoch } = circumstances;
        let request = Request { command, metadata, contents, project, epoch };
        Ok(self.execute(id, request).await?.position)
    }

    /// Has a request run by the actor of a stream.
    pub(crate) async fn execute(
        &self,
        id: Uuid,
        request: Request<A>,
    ) -> Result<Answer<A>, DispatchError> {
        self.deliver(id, |reply| Execute { request: request.clone(), reply }).await
    }

    /// Asks the actor of a stream for its state.
    pub(crate) async fn ask(&self, id: Uuid) -> Result<Answer<A>, DispatchError> {
        self.deliver(id, |reply| Ask { reply }).await
    }

    async fn deliver<M>(
        &self,
        id: Uuid,
        message: impl Fn(Reply<A>) -> M,
    ) -> Result<Answer<A>, DispatchError>
    where
        M: actix::Message<Result = ()> + Send + 'static,
        AggregateActor<A>: actix::Handler<M>,
        <AggregateActor<A> as actix::Actor>::Context: ToEnvelope<AggregateActor<A>, M>,
    {
        for _ in 0..SENDS_MAX {
            let address = self.address(id);
            let (reply, answer) = oneshot::channel();
            match address.try_send(message(reply)) {
                Ok(()) => {}
                Err(SendError::Full(_)) => {
                    return Err(DispatchError::Busy { retry_after: RETRY_PERIOD });
                }
                Err(SendError::Closed(_)) => {
                    self.forget(id, &address);
                    continue;
                }
            }
            match answer.await {
                Ok(answer) => return answer,
                // It left before it came to this message: the next one is told the same.
                Err(_) => self.forget(id, &address),
            }
        }
        Err(DispatchError::Failed { reason: "the actor of this stream keeps dying".to_owned() })
    }

    fn address(&self, id: Uuid) -> Arc<Addr<AggregateActor<A>>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(address) = running.get(&id).filter(|address| address.connected()) {
            return Arc::clone(address);
        }
        // Those that left after a long idle time are swept out when the table has to grow.
        if running.len() == running.capacity() {
            running.retain(|_, address| address.connected());
        }
        let (log, snapshot_events) = (self.log.clone(), self.snapshot_events);
        let address = AggregateActor::start_in_arbiter(&self.arbiter, move |ctx| {
            ctx.set_mailbox_capacity(MAILBOX_LENGTH_MAX);
            AggregateActor::new(log, id, snapshot_events)
        });
        let address = Arc::new(address);
        running.insert(id, Arc::clone(&address));
        address
    }

    fn forget(&self, id: Uuid, dead: &Arc<Addr<AggregateActor<A>>>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.get(&id).is_some_and(|address| Arc::ptr_eq(address, dead)) {
            running.remove(&id);
        }
    }
}
