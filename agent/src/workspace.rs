//! A workspace is one container with one repository; its actor carries out what concerns it, in order.
//!
//! The actor owns the record of its workspace: written before the container is made, rewritten when
//! the repository is in, removed after the container is gone. So a killed agent finds every container
//! it made, and an order that was under way is simply carried out again: each step finds what was
//! done. An opening that fails leaves nothing behind.
//!
//! Prompts and the like do not pass through here: a session is its own actor, and a cancel must not
//! wait behind a push.
//!
//! Lifecycle: `Opening` → `Open` → removed. Read next: [`bringing`] for what crosses the container's
//! border, [`attachment`] for what a session gets from us.

pub mod attachment;
pub mod bringing;
pub mod record;
pub mod refusal;
pub mod sessions;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{
    agent_protocol::{
        LiveChunk, OpenWorkspace, Order, OrderOutcome, PublishTarget, Published, RefusalKind,
        Report, StartSession, StepState,
    },
    ids::WorkspaceId,
};
use holder::protocol::SetupDone;
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    crash_point,
    engine::{Attached, ContainerSpec, Created, Engine},
    git::Running,
    journal::Journal,
    mirror::{Mirror, Mirrors, Prepared, changes},
    model_proxy::ModelProxy,
    secrets::SecretFiles,
    tasks,
    workspace::{
        record::{Opened, Record},
        refusal::Refusal,
        sessions::{Live, Sessions},
    },
};

/// How long a coding agent may take to die before its container is removed around it.
const STOP_PERIOD_MAX: Duration = Duration::from_secs(10);
/// How long to wait before the journal is tried again, when the disk is full.
const JOURNAL_RETRY_PERIOD: Duration = Duration::from_secs(1);

/// What every workspace works with.
pub struct Context {
    pub journal: Journal,
    pub engine: Arc<dyn Engine>,
    pub mirrors: Mirrors,
    pub proxy: ModelProxy,
    pub secrets: SecretFiles,
    pub chunks: mpsc::Sender<LiveChunk>,
    pub sessions: Sessions,
    pub ready_links: attachment::ReadyLinks,
}

/// Something a workspace is told.
#[derive(Debug)]
pub enum WorkspaceCommand {
    /// An order that is in the journal.
    Order { key: Uuid, order: Box<Order> },
    /// Close without an order: the whole node retires.
    Close,
}

/// The way to a workspace's actor.
pub struct WorkspaceHandle {
    commands: mpsc::Sender<WorkspaceCommand>,
    /// Cuts short whatever is under way, because a close is on its way.
    closing: CancellationToken,
}

impl WorkspaceHandle {
    /// Queues a command; gives it back if the actor has ended.
    pub async fn send(&self, command: WorkspaceCommand) -> Result<(), WorkspaceCommand> {
        let is_close = match &command {
            WorkspaceCommand::Close => true,
            WorkspaceCommand::Order { order, .. } => {
                matches!(**order, Order::CloseWorkspace { .. })
            }
        };
        if is_close {
            self.closing.cancel();
        }
        self.commands.send(command).await.map_err(|returned| returned.0)
    }

    /// Whether the actor takes no more commands.
    pub fn has_ended(&self) -> bool {
        self.commands.is_closed()
    }

    /// Waits until the actor takes no more commands: then its workspace is gone.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }
}

/// What a workspace is cloned from.
struct Source {
    mirror: Mirror,
    prepared: Prepared,
    /// On its way out of the mirror, for the first attempt.
    bundle: Running,
}

/// The actor.
struct Workspace {
    id: WorkspaceId,
    context: Arc<Context>,
    record: Option<Record>,
    /// The engine was asked for the container: see [`Record::may_exist`].
    is_asked_for: AtomicBool,
}

/// Starts the actor of a workspace; it ends when the workspace is gone, and tells `ended`.
pub fn start(
    id: WorkspaceId,
    context: Arc<Context>,
    record: Option<Record>,
    ended: mpsc::Sender<WorkspaceId>,
) -> WorkspaceHandle {
    let (commands, mailbox) = mpsc::channel(tasks::MAILBOX_MESSAGES_MAX);
    let closing = CancellationToken::new();
    let is_asked_for = record.as_ref().is_none_or(|record| record.may_exist);
    let workspace = Workspace { id, context, record, is_asked_for: is_asked_for.into() };
    let actor = workspace.run(mailbox, closing.clone(), ended);
    tasks::spawn("workspace", actor);
    WorkspaceHandle { commands, closing }
}

impl Workspace {
    async fn run(
        mut self,
        mut mailbox: mpsc::Receiver<WorkspaceCommand>,
        closing: CancellationToken,
        ended: mpsc::Sender<WorkspaceId>,
    ) {
        while let Some(command) = mailbox.recv().await {
            match command {
                WorkspaceCommand::Close => drop(self.close().await),
                WorkspaceCommand::Order { key, order } => {
                    let outcome = self.carry_out(*order, &closing).await;
                    settle_order(&self.context, key, outcome).await;
                }
            }
            if self.record.is_none() {
                // What still waits in the mailbox is answered: it finds no workspace.
                mailbox.close();
            }
        }
        // The node may be gone too; then nobody needs to know.
        let _ = ended.send(self.id).await;
    }

    async fn carry_out(&mut self, order: Order, closing: &CancellationToken) -> OrderOutcome {
        if let Order::CloseWorkspace { .. } = order {
            return self.close().await.unwrap_or_else(OrderOutcome::from);
        }
        let work = async {
            match order {
                Order::OpenWorkspace(spec) => self.open(spec).await,
                Order::StartSession(start) => self.start_session(start).await,
                Order::Publish { target, commit_message, .. } => {
                    self.publish(target, commit_message).await
                }
                other => unreachable!("the node keeps {other:?} to itself"),
            }
        };
        let closed = || Refusal::new(RefusalKind::Unknown, "the workspace was closed meanwhile");
        let done = closing.run_until_cancelled(work).await;
        done.unwrap_or_else(|| Err(closed())).unwrap_or_else(OrderOutcome::from)
    }

    async fn open(&mut self, spec: OpenWorkspace) -> Result<OrderOutcome, Refusal> {
        if let Some(Record { opened: Some(opened), .. }) = &self.record {
            return Ok(opened_outcome(opened));
        }
        // An order that is carried out again may find what its first attempt made.
        let may_exist = self.record.as_ref().is_some_and(|record| record.may_exist);
        self.is_asked_for.store(may_exist, Ordering::Relaxed);
        self.remember(Record::of(&spec, None, may_exist)).await?;
        match self.make(&spec).await {
            Ok(opened) => {
                let outcome = opened_outcome(&opened);
                self.remember(Record::of(&spec, Some(opened), true)).await?;
                Ok(outcome)
            }
            // The record stays until the close, which learns from it that there is nothing to remove.
            Err(refusal) if !self.is_asked_for.load(Ordering::Relaxed) => Err(refusal),
            Err(refusal) => {
                if let Err(error) = self.remove().await {
                    tracing::warn!(workspace.id = %self.id, %error, "a failed opening left something");
                }
                Err(refusal)
            }
        }
    }

    async fn make(&self, spec: &OpenWorkspace) -> Result<Opened, Refusal> {
        let (created, source) = tokio::join!(self.make_container(spec), self.bring_up(spec));
        let (Created { container, beginning }, source) = (created?, source?);
        let cloned = self
            .step("clone", format!("branch {}", spec.branch), async {
                crash_point!("agent.workspace.before_setup");
                let done = self.clone(spec, beginning, source).await?;
                crash_point!("agent.workspace.after_setup");
                let detail = format!("{} at {:.12}", spec.branch, done.start_commit);
                Ok((done, detail))
            })
            .await?;
        self.tell("ready", StepState::Completed, String::new()).await?;
        let (base_branch, base_commit) = (cloned.base_branch, cloned.base_commit);
        Ok(Opened { container, base_branch, base_commit })
    }

    /// Clones, and has a way to the holder ready: a session comes next.
    async fn clone(
        &self,
        spec: &OpenWorkspace,
        beginning: Option<Attached>,
        source: Source,
    ) -> Result<SetupDone, Refusal> {
        let Source { mirror, prepared, bundle } = source;
        if let Some(beginning) = beginning
            && let Some((done, link)) =
                bringing::begin(&self.context, spec, beginning, bundle, &prepared).await
        {
            self.context.ready_links.put(self.id, link);
            return Ok(done);
        }
        let setting_up = bringing::set_up(&self.context, spec, &mirror, &prepared);
        let opening_link = attachment::open_ahead(&self.context, self.id);
        let (done, ()) = tokio::join!(setting_up, opening_link);
        done
    }

    async fn make_container(&self, spec: &OpenWorkspace) -> Result<Created, Refusal> {
        let engine = &self.context.engine;
        self.step("image", spec.image.clone(), async {
            let (version, image) = tokio::join!(engine.version(), engine.need_image(&spec.image));
            let version = version?;
            image?;
            Ok(((), format!("{} on engine {version}", spec.image)))
        })
        .await?;
        let wanted = ContainerSpec {
            workspace: self.id,
            image: spec.image.clone(),
            environment: spec.environment.clone(),
            limits: spec.limits.clone(),
        };
        self.step("container", String::new(), async {
            self.write_down(&Record::of(spec, None, true)).await?;
            self.is_asked_for.store(true, Ordering::Relaxed);
            crash_point!("agent.workspace.before_create");
            let created = engine.create(wanted).await?;
            crash_point!("agent.workspace.after_create");
            let detail = format!("{:.12}", created.container);
            Ok((created, detail))
        })
        .await
    }

    /// Brings the mirror up to date, and begins to read from it what is cloned in a moment.
    async fn bring_up(&self, spec: &OpenWorkspace) -> Result<Source, Refusal> {
        let shown = crate::git::without_password(&spec.repository);
        self.step("mirror", shown, async {
            let mirror = self.context.mirrors.lock(&spec.repository).await?;
            let prepared = mirror.prepare(spec.base_branch.as_deref(), &spec.branch).await?;
            let bundle = mirror.start_bundle(&prepared, &spec.branch)?;
            let detail = format!("based on {}", prepared.base_branch);
            Ok((Source { mirror, prepared, bundle }, detail))
        })
        .await
    }

    /// Tells the start and the end of one provisioning step.
    async fn step<T>(
        &self,
        name: &str,
        detail: String,
        work: impl Future<Output = Result<(T, String), Refusal>>,
    ) -> Result<T, Refusal> {
        self.tell(name, StepState::Started, detail).await?;
        match work.await {
            Ok((done, detail)) => {
                self.tell(name, StepState::Completed, detail).await?;
                Ok(done)
            }
            Err(refusal) => {
                self.tell(name, StepState::Failed, refusal.reason.clone()).await?;
                Err(refusal)
            }
        }
    }

    async fn tell(&self, step: &str, state: StepState, detail: String) -> Result<(), Refusal> {
        let (workspace, step) = (self.id, step.to_string());
        let report = Report::BootStep { workspace, step, state, detail };
        self.context.journal.append_soon(&report).await?;
        Ok(())
    }

    async fn start_session(&mut self, start: StartSession) -> Result<OrderOutcome, Refusal> {
        if !matches!(&self.record, Some(Record { opened: Some(_), .. })) {
            return Err(Refusal::unknown(self.id));
        }
        crash_point!("agent.session.before_start");
        let known = self.context.sessions.get(start.session);
        if let Some(live) = known.as_ref().filter(|live| live.epoch > start.epoch) {
            let reason = format!("the session is attached under epoch {} already", live.epoch);
            return Err(Refusal::new(RefusalKind::Unknown, reason));
        }
        let handle = match known {
            Some(live) if live.epoch == start.epoch && live.workspace == self.id => live.handle,
            older => {
                if let Some(live) = older {
                    // Two coding agents in one conversation would talk over each other.
                    let _ = timeout(STOP_PERIOD_MAX, live.handle.stop()).await;
                }
                match attachment::begin(&self.context, &start).await {
                    Ok(handle) => handle,
                    Err(refusal) => return Err(self.interrupted(refusal).await),
                }
            }
        };
        let (workspace, epoch) = (self.id, start.epoch);
        self.context.sessions.put(start.session, Live { workspace, epoch, handle: handle.clone() });
        let started = match handle.started().await {
            Ok(started) => started,
            Err(refusal) => return Err(self.interrupted(refusal.into()).await),
        };
        crash_point!("agent.session.after_start");
        Ok(OrderOutcome::SessionStarted {
            agent_name: started.agent_name,
            agent_version: started.agent_version,
            acp_session: started.acp_session,
        })
    }

    /// Tells a container that died from a coding agent that does not work.
    async fn interrupted(&self, refusal: Refusal) -> Refusal {
        match bringing::has_died(&self.context, self.id).await {
            true => Refusal::new(RefusalKind::Interrupted, refusal.reason),
            false => refusal,
        }
    }

    async fn publish(
        &mut self,
        target: PublishTarget,
        commit_message: String,
    ) -> Result<OrderOutcome, Refusal> {
        let Some(Record { spec, opened: Some(opened), .. }) = &self.record else {
            return Err(Refusal::unknown(self.id));
        };
        crash_point!("agent.publish.before_bundle");
        let mirror = self.context.mirrors.lock(&spec.repository).await?;
        let incoming = mirror.incoming_file(self.id);
        let is_rescue = matches!(target, PublishTarget::Checkpoint { .. });
        let context = &self.context;
        let made =
            bringing::bring_out(context, self.id, commit_message, is_rescue, &incoming).await?;
        let bundle = (made.n_bytes > 0).then_some(incoming.as_path());
        mirror.keep(self.id, bundle, &made.head).await?;
        let _ = tokio::fs::remove_file(&incoming).await;
        crash_point!("agent.publish.after_bundle");
        let changed = changes::between(&mirror, &opened.base_commit, &made.head).await?;
        crash_point!("agent.publish.before_push");
        let reference = if made.head == opened.base_commit {
            None // Nothing was changed, so there is nothing to push.
        } else {
            Some(push(&mirror, spec, &target, &made.head).await?)
        };
        crash_point!("agent.publish.after_push");
        Ok(OrderOutcome::Published(Published {
            reference,
            head: made.head,
            base: opened.base_commit.clone(),
            commits: changed.commits,
            files: changed.files,
            diff: changed.diff,
            is_diff_cut: changed.is_diff_cut,
        }))
    }

    async fn close(&mut self) -> Result<OrderOutcome, Refusal> {
        for (_, live) in self.context.sessions.take_of(self.id) {
            let _ = timeout(STOP_PERIOD_MAX, live.handle.stop()).await;
        }
        self.remove().await?;
        Ok(OrderOutcome::Done)
    }

    /// Removes everything there is, in an order in which a crash leaves the record to the last.
    async fn remove(&mut self) -> Result<(), Refusal> {
        crash_point!("agent.workspace.before_remove");
        self.context.ready_links.forget(self.id);
        if self.is_asked_for.load(Ordering::Relaxed) {
            self.context.engine.remove(self.id).await?;
        }
        crash_point!("agent.workspace.after_remove");
        for (session, _) in self.context.journal.sessions(self.id).await? {
            attachment::forget_secrets(&self.context, session);
        }
        if let Some(record) = &self.record
            && let Ok(mirror) = self.context.mirrors.lock(&record.spec.repository).await
        {
            // Only a ref that nobody reads any more; the mirror is fetched anew anyway.
            let _ = mirror.forget(self.id).await;
        }
        self.context.journal.remove_workspace(self.id).await?;
        self.record = None;
        Ok(())
    }

    async fn remember(&mut self, record: Record) -> Result<(), Refusal> {
        self.write_down(&record).await?;
        self.record = Some(record);
        Ok(())
    }

    async fn write_down(&self, record: &Record) -> Result<(), Refusal> {
        let written = serde_json::to_string(record).map_err(Refusal::machine)?;
        self.context.journal.put_workspace(self.id, &written).await?;
        Ok(())
    }
}

fn opened_outcome(opened: &Opened) -> OrderOutcome {
    let Opened { container, base_branch, base_commit } = opened.clone();
    OrderOutcome::WorkspaceOpened { container, base_branch, base_commit }
}

async fn push(
    mirror: &Mirror,
    spec: &OpenWorkspace,
    target: &PublishTarget,
    head: &str,
) -> Result<String, Refusal> {
    match target {
        PublishTarget::Branch => Ok(mirror.push_branch(head, &spec.branch).await?),
        PublishTarget::Checkpoint { execution } => {
            let reference = format!("refs/sam/checkpoints/{execution}");
            if let Err(error) = mirror.push_checkpoint(head, &reference).await {
                tracing::info!(%error, "the remote takes no checkpoint; the mirror keeps it");
                mirror.keep_checkpoint(head, &reference).await?;
                return Ok(format!("mirror:{reference}"));
            }
            Ok(reference)
        }
    }
}

/// Settles an order that may have brought variables: from now on the container alone has them.
pub async fn settle_order(context: &Context, key: Uuid, outcome: OrderOutcome) {
    settle(&context.journal, key, outcome).await;
    if let Err(error) = context.secrets.remove_variables(key) {
        tracing::error!(order.key = %key, %error, "a workspace's variables could not be deleted");
    }
}

/// Writes an outcome down, however long the disk stays full: an outcome that is lost would leave the
/// control plane waiting for ever.
pub async fn settle(journal: &Journal, key: Uuid, outcome: OrderOutcome) {
    while let Err(error) = journal.settle(key, outcome.clone()).await {
        tracing::error!(%error, "an outcome cannot be written down yet");
        tokio::time::sleep(JOURNAL_RETRY_PERIOD).await;
    }
}
