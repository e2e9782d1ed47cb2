//! Receives orders and gives each to the actor that it concerns.
//!
//! An order is first written down under its key; one that was seen before only has its outcome told
//! again. Orders for a workspace wait in its mailbox, those for a session go to the session at once, in the
//! order of their arrival. After a restart the sessions are taken up first, then the orders that were
//! under way are carried out again, and only then is the control plane greeted.
//!
//! The agent leaves when it retires, when it was drained and its last workspace is gone, and when it
//! had neither a control plane nor a workspace for a while.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use domain::{
    agent_protocol::{Environment, Order, OrderOutcome, RefusalKind, StartSession},
    ids::{SessionId, WorkspaceId},
    project::variable::OWN_PREFIX,
};
use futures_util::future::BoxFuture;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use uuid::Uuid;

use crate::{
    clock,
    control_link::FromControl,
    crash_point,
    engine::EngineError,
    journal::{Accepted, JournalError},
    secrets::SessionSecrets,
    session::SessionRefusal,
    tasks,
    workspace::{
        self, Context, WorkspaceCommand, WorkspaceHandle, attachment, bringing, record::Record,
        refusal::Refusal, settle, settle_order,
    },
};

/// How long a retiring agent waits until its last reports are acknowledged.
const FAREWELL_PERIOD_MAX: Duration = Duration::from_secs(10);

/// The actor that owns the list of workspaces.
pub struct Node {
    context: Arc<Context>,
    workspaces: HashMap<WorkspaceId, WorkspaceHandle>,
    ended: mpsc::Receiver<WorkspaceId>,
    tell_ended: mpsc::Sender<WorkspaceId>,
    n_workspaces: watch::Sender<u32>,
    is_draining: bool,
    is_retired: bool,
}

impl Node {
    pub fn new(context: Arc<Context>, n_workspaces: watch::Sender<u32>) -> Self {
        let (tell_ended, ended) = mpsc::channel(tasks::MAILBOX_MESSAGES_MAX);
        Self {
            context,
            workspaces: HashMap::new(),
            ended,
            tell_ended,
            n_workspaces,
            is_draining: false,
            is_retired: false,
        }
    }

    /// Takes up what was there when the agent was killed.
    pub async fn recover(&mut self) -> Result<(), JournalError> {
        for (id, record) in self.context.journal.workspaces().await? {
            let record: Record = serde_json::from_str(&record)?;
            if let Err(refusal) = attachment::resume(&self.context, id).await {
                tracing::error!(workspace.id = %id, %refusal, "its sessions cannot be taken up");
            }
            self.begin(id, Some(record));
        }
        self.forget_variables().await?;
        for (key, mut order) in self.context.journal.running_orders().await? {
            tracing::info!(order.key = %key, "an order that was under way is carried out again");
            match self.context.secrets.variables(key) {
                Ok(variables) => {
                    give_back(&mut order, variables);
                    self.carry(key, order).await;
                }
                Err(error) => {
                    let refusal =
                        Refusal::machine(format!("the variables cannot be read: {error}"));
                    settle_order(&self.context, key, refusal.into()).await;
                }
            }
        }
        Ok(())
    }

    /// Carries out orders until it is time to leave.
    pub async fn run(
        mut self,
        mut orders: mpsc::Receiver<FromControl>,
        mut is_connected: watch::Receiver<bool>,
        leave_after: Duration,
    ) {
        let mut outbox = self.context.journal.watch();
        let mut alone_since = Instant::now();
        loop {
            if self.is_retired || (self.is_draining && self.workspaces.is_empty()) {
                self.say_farewell().await;
                return;
            }
            let is_alone = !*is_connected.borrow_and_update() && self.workspaces.is_empty();
            tokio::select! {
                message = orders.recv() => match message {
                    Some(FromControl::Order { key, epoch, order }) => {
                        self.receive(key, epoch, *order).await;
                    }
                    Some(FromControl::Drain) => self.is_draining = true,
                    None => return,
                },
                Some(workspace) = self.ended.recv() => self.forget(workspace),
                changed = is_connected.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    alone_since = Instant::now();
                }
                _ = outbox.changed() => alone_since = Instant::now(),
                () = sleep_until(alone_since + leave_after), if is_alone => {
                    tracing::info!("no control plane and nothing running: leaving");
                    return;
                }
            }
        }
    }

    async fn receive(&mut self, key: Uuid, epoch: u64, mut order: Order) {
        let secrets = take_secrets(&mut order);
        let variables = take_variables(&mut order);
        if let Some((session, secrets)) = &secrets
            && let Err(error) = self.context.secrets.put(*session, secrets)
        {
            tracing::error!(%error, "a session's key cannot be kept; the order will come again");
            return;
        }
        if let Some(variables) = &variables
            && let Err(error) = self.context.secrets.put_variables(key, variables)
        {
            tracing::error!(%error, "variables cannot be kept; the order will come again");
            return;
        }
        match self.context.journal.accept(key, epoch, &order).await {
            Ok(Accepted::New) => {
                give_back(&mut order, variables);
                self.carry(key, order).await;
            }
            Ok(Accepted::Running) => {}
            Ok(Accepted::Repeated | Accepted::Stale) => {
                let is_live = |session| self.context.sessions.get(session).is_some();
                if let Some((session, _)) = secrets.filter(|(session, _)| !is_live(*session)) {
                    attachment::forget_secrets(&self.context, session);
                }
                if variables.is_some()
                    && let Err(error) = self.forget_variables().await
                {
                    tracing::error!(%error, "a workspace's variables could not be deleted");
                }
            }
            // Not accepted, so not lost: the control plane sends it again on the next connection.
            Err(error) => tracing::error!(%error, "an order cannot be written down"),
        }
    }

    async fn carry(&mut self, key: Uuid, order: Order) {
        let queued = |order| WorkspaceCommand::Order { key, order: Box::new(order) };
        match &order {
            Order::OpenWorkspace(open) => {
                let workspace = open.workspace;
                if self.is_draining && !self.workspaces.contains_key(&workspace) {
                    let reason = "this node takes no new workspaces: its agent is being replaced";
                    let refusal = Refusal::new(RefusalKind::Machine, reason);
                    return settle_order(&self.context, key, refusal.into()).await;
                }
                self.give(workspace, queued(order)).await;
            }
            // Also one that the journal does not know: the engine may.
            Order::CloseWorkspace { workspace } => {
                let workspace = *workspace;
                self.give(workspace, queued(order)).await;
            }
            Order::StartSession(StartSession { workspace, .. })
            | Order::Publish { workspace, .. } => {
                let workspace = *workspace;
                if self.workspaces.contains_key(&workspace) {
                    self.give(workspace, queued(order)).await;
                } else {
                    let refusal = Refusal::unknown(workspace);
                    settle(&self.context.journal, key, refusal.into()).await;
                }
            }
            Order::Prompt { .. }
            | Order::AnswerPermission { .. }
            | Order::CancelTurn { .. }
            | Order::StopSession { .. } => self.tell_session(key, order).await,
            Order::RemoveLeftovers { keep } => self.remove_unknown(key, keep.clone()),
            Order::Retire => self.retire(key).await,
        }
    }

    /// Deletes the variables of orders that nobody carries out.
    async fn forget_variables(&self) -> Result<(), JournalError> {
        let running = self.context.journal.running_orders().await?;
        let running: BTreeSet<Uuid> = running.into_iter().map(|(key, _)| key).collect();
        if let Err(error) = self.context.secrets.keep_variables(&running) {
            tracing::error!(%error, "variables of settled orders could not be deleted");
        }
        Ok(())
    }

    /// Puts a command into a workspace's mailbox, with a fresh actor if there is none.
    async fn give(&mut self, workspace: WorkspaceId, command: WorkspaceCommand) {
        let handle = match self.workspaces.get(&workspace) {
            Some(handle) => handle,
            None => self.begin(workspace, None),
        };
        if let Err(command) = handle.send(command).await {
            let fresh = self.begin(workspace, None);
            let sent = fresh.send(command).await;
            debug_assert!(sent.is_ok(), "an actor that was just started takes commands");
        }
    }

    fn begin(&mut self, workspace: WorkspaceId, record: Option<Record>) -> &WorkspaceHandle {
        let context = Arc::clone(&self.context);
        let handle = workspace::start(workspace, context, record, self.tell_ended.clone());
        self.workspaces.insert(workspace, handle);
        self.count();
        &self.workspaces[&workspace]
    }

    /// Drops the handle of an actor that has ended, unless another one was started since.
    fn forget(&mut self, workspace: WorkspaceId) {
        if self.workspaces.get(&workspace).is_some_and(WorkspaceHandle::has_ended) {
            self.workspaces.remove(&workspace);
            self.count();
        }
    }

    fn count(&self) {
        self.n_workspaces.send_replace(u32::try_from(self.workspaces.len()).unwrap_or(u32::MAX));
    }

    /// Hands an order to its session without waiting for the answer, and still in order: the first
    /// poll puts it into the session's mailbox.
    async fn tell_session(&self, key: Uuid, order: Order) {
        let journal = self.context.journal.clone();
        let mut answer = match self.asked(order) {
            Ok(answer) => answer,
            Err(refusal) => return settle(&journal, key, refusal.into()).await,
        };
        let outcome = |answer: Result<(), SessionRefusal>| match answer {
            Ok(()) => OrderOutcome::Done,
            Err(refusal) => Refusal::from(refusal).into(),
        };
        if let std::task::Poll::Ready(answer) = futures_util::poll!(&mut answer) {
            return settle(&journal, key, outcome(answer)).await;
        }
        tasks::spawn("session order", async move {
            let answer = answer.await;
            crash_point!("agent.prompt.after_write");
            settle(&journal, key, outcome(answer)).await;
        });
    }

    fn asked(
        &self,
        order: Order,
    ) -> Result<BoxFuture<'static, Result<(), SessionRefusal>>, Refusal> {
        let of = |session: SessionId| self.context.sessions.get(session);
        let unknown = |session: SessionId| {
            let reason = format!("there is no session {session} on this node");
            Refusal::new(RefusalKind::Unknown, reason)
        };
        match order {
            Order::Prompt { session, epoch, message, text } => {
                let live = of(session).ok_or_else(|| unknown(session))?;
                if live.epoch != epoch {
                    let reason = format!("the session is attached under epoch {}", live.epoch);
                    return Err(Refusal::new(RefusalKind::Unknown, reason));
                }
                crash_point!("agent.prompt.before_write");
                let context = Arc::clone(&self.context);
                Ok(Box::pin(async move {
                    let mut answer = live.handle.prompt(message, text).await;
                    if let Err(refusal) = &mut answer
                        && bringing::has_died(&context, live.workspace).await
                    {
                        refusal.kind = RefusalKind::Interrupted;
                    }
                    answer
                }))
            }
            Order::AnswerPermission { session, request, option } => {
                let live = of(session).ok_or_else(|| unknown(session))?;
                Ok(Box::pin(async move { live.handle.answer_permission(request, option).await }))
            }
            Order::CancelTurn { session } => {
                let live = of(session).ok_or_else(|| unknown(session))?;
                Ok(Box::pin(async move { live.handle.cancel().await }))
            }
            Order::StopSession { session } => {
                // What does not run is stopped.
                let Some(live) = of(session) else { return Ok(Box::pin(async { Ok(()) })) };
                Ok(Box::pin(async move { live.handle.stop().await }))
            }
            other => unreachable!("{other:?} is not about a session"),
        }
    }

    async fn retire(&mut self, key: Uuid) {
        for (_, handle) in self.workspaces.drain() {
            // An actor that has ended already is closed.
            let _ = handle.send(WorkspaceCommand::Close).await;
            handle.ended().await;
        }
        self.count();
        let outcome = match self.remove_leftovers().await {
            Ok(()) => OrderOutcome::Done,
            Err(refusal) => refusal.into(),
        };
        settle(&self.context.journal, key, outcome).await;
        self.is_retired = true;
    }

    /// Removes beside everything else what neither the control plane nor the journal knows.
    fn remove_unknown(&self, key: Uuid, keep: BTreeSet<WorkspaceId>) {
        let context = Arc::clone(&self.context);
        let known: BTreeSet<WorkspaceId> = self.workspaces.keys().copied().collect();
        tasks::spawn("leftovers", async move {
            let removing = async {
                for workspace in context.engine.leftovers().await? {
                    if !keep.contains(&workspace) && !known.contains(&workspace) {
                        tracing::warn!(workspace.id = %workspace, "it belongs to nothing: removed");
                        context.engine.remove(workspace).await?;
                    }
                }
                Ok::<_, EngineError>(())
            };
            let outcome = match removing.await {
                Ok(()) => OrderOutcome::Done,
                Err(error) => Refusal::from(error).into(),
            };
            settle(&context.journal, key, outcome).await;
        });
    }

    /// Containers and volumes that the journal knew nothing of.
    async fn remove_leftovers(&self) -> Result<(), Refusal> {
        let left = match self.context.engine.leftovers().await {
            // Every container is in the journal before it is asked for, and all of those are closed. A
            // machine whose engine is gone must not be kept for what it cannot have.
            Err(EngineError::Unusable { reason }) => {
                tracing::warn!(%reason, "leaving without a last look at the engine");
                return Ok(());
            }
            left => left?,
        };
        for workspace in left {
            self.context.engine.remove(workspace).await?;
        }
        Ok(())
    }

    /// Gives the control plane time to acknowledge the last reports.
    async fn say_farewell(&self) {
        let all_acknowledged = async {
            let mut acknowledged = self.context.journal.watch_acknowledged();
            while self.context.journal.n_unacknowledged().await.is_ok_and(|n| n > 0) {
                if acknowledged.changed().await.is_err() {
                    return;
                }
            }
        };
        if timeout(FAREWELL_PERIOD_MAX, all_acknowledged).await.is_err() {
            tracing::warn!("leaving with reports that nobody acknowledged; the journal keeps them");
        }
    }
}

/// Takes the model's key out of an order, so that the order can be written down.
fn take_secrets(order: &mut Order) -> Option<(SessionId, SessionSecrets)> {
    let Order::StartSession(start) = order else { return None };
    let model = start.coding_agent.model.take()?;
    Some((start.session, SessionSecrets { token: clock::random_token(), model }))
}

/// Takes the project's variables out of an order, so that the order can be written down; our own identifiers
/// may stay.
fn take_variables(order: &mut Order) -> Option<Environment> {
    let Order::OpenWorkspace(open) = order else { return None };
    let all = std::mem::take(&mut open.environment.0).into_iter();
    let (own, variables) = all.partition(|(name, _)| name.starts_with(OWN_PREFIX));
    open.environment = Environment(own);
    let variables = Environment(variables);
    (!variables.0.is_empty()).then_some(variables)
}

/// The reverse of [`take_variables`].
fn give_back(order: &mut Order, variables: Option<Environment>) {
    if let (Order::OpenWorkspace(open), Some(variables)) = (order, variables) {
        open.environment.0.extend(variables.0);
    }
}
