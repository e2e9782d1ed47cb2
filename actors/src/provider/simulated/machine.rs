//! The simulated machine: its journal, its containers, and the branches that it pushed.
//!
//! Orders are known by their keys: one that comes again has its first outcome reported again. All of
//! it is in memory and lives as long as the test holds the machine.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::DateTime;
use domain::{
    agent_protocol::{
        Commit, Environment, FileChange, Hello, LiveChunk, OpenWorkspace, Order, OrderOutcome,
        PROTOCOL_VERSION, PublishTarget, Published, RefusalKind, Report, StepState,
    },
    ids::{JournalId, NodeId, SessionId, WorkspaceId},
};
use tokio::sync::watch;
use uuid::Uuid;

use super::turn;
use crate::random;

/// Which kind of order is refused, for tests of bad luck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refuse {
    OpenWorkspace,
    StartSession,
    Prompt,
    Publish,
}

/// A simulated machine. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct Machine {
    state: Arc<Mutex<State>>,
    outbox: watch::Sender<u64>,
    cuts: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct State {
    journal: JournalId,
    version: String,
    slots: u8,
    is_rented: bool,
    is_lost: bool,
    n_reports: u64,
    reports: BTreeMap<u64, Report>,
    chunks: Vec<LiveChunk>,
    settled: HashMap<Uuid, OrderOutcome>,
    highest_epoch: u64,
    n_stale: u64,
    pub(super) workspaces: BTreeMap<WorkspaceId, SimulatedWorkspace>,
    pub(super) sessions: BTreeMap<SessionId, turn::SimulatedSession>,
    branches: BTreeSet<String>,
    refusals: HashMap<Refuse, u32>,
    n_carried_out: u64,
}

/// A container that is not there.
#[derive(Debug)]
pub(super) struct SimulatedWorkspace {
    branch: String,
    pub(super) environment: Environment,
}

impl Machine {
    #[must_use]
    pub fn new(slots: u8, version: &str) -> Self {
        let state = State {
            journal: JournalId(random::uuid()),
            version: version.to_owned(),
            slots,
            is_rented: false,
            is_lost: false,
            n_reports: 0,
            reports: BTreeMap::new(),
            chunks: Vec::new(),
            settled: HashMap::new(),
            highest_epoch: 0,
            n_stale: 0,
            workspaces: BTreeMap::new(),
            sessions: BTreeMap::new(),
            branches: BTreeSet::new(),
            refusals: HashMap::new(),
            n_carried_out: 0,
        };
        let (outbox, cuts) = (watch::channel(0).0, watch::channel(0).0);
        Self { state: Arc::new(Mutex::new(state)), outbox, cuts }
    }

    /// Whether somebody would be billed for it.
    #[must_use]
    pub fn is_rented(&self) -> bool {
        self.lock().is_rented
    }

    /// The containers there are.
    #[must_use]
    pub fn workspaces(&self) -> Vec<WorkspaceId> {
        self.lock().workspaces.keys().copied().collect()
    }

    /// The refs that were pushed.
    #[must_use]
    pub fn branches(&self) -> BTreeSet<String> {
        self.lock().branches.clone()
    }

    /// How many orders were carried out; one that comes again under its key is not.
    #[must_use]
    pub fn n_carried_out(&self) -> u64 {
        self.lock().n_carried_out
    }

    /// How many orders were refused because a newer control plane had spoken before.
    #[must_use]
    pub fn n_stale(&self) -> u64 {
        self.lock().n_stale
    }

    /// Refuses the next orders of a kind.
    pub fn refuse(&self, kind: Refuse, n_times: u32) {
        self.lock().refusals.insert(kind, n_times);
    }

    /// Cuts the link; the agent dials again at once.
    pub fn cut_link(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Kills everything in a session, as when its container dies, and reports it.
    pub fn lose_sessions(&self) {
        let mut state = self.lock();
        for (id, session) in std::mem::take(&mut state.sessions) {
            let prompt = session.turn.as_ref().map(|turn| turn.message);
            let reason = "the coding agent is gone".to_owned();
            state.report(Report::SessionLost { session: id, epoch: session.epoch, reason, prompt });
        }
        self.tell(&state);
    }

    /// Nobody reaches it any more, until it is [found](Self::found).
    pub fn lose(&self) {
        self.lock().is_lost = true;
        self.cut_link();
    }

    /// It is back, with all that it had.
    pub fn found_whole(&self) {
        self.lock().is_lost = false;
    }

    /// It is back, with nothing of what it had.
    pub fn found(&self) {
        let mut state = self.lock();
        state.is_lost = false;
        state.journal = JournalId(random::uuid());
        state.n_reports = 0;
        state.reports.clear();
        state.chunks.clear();
        state.settled.clear();
        state.workspaces.clear();
        state.sessions.clear();
    }

    /// A container that nobody knows of.
    pub fn leave_container(&self, workspace: WorkspaceId) {
        let unknown =
            SimulatedWorkspace { branch: String::new(), environment: Environment::default() };
        self.lock().workspaces.insert(workspace, unknown);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lock().is_lost
    }

    pub(super) fn rent(&self) {
        self.lock().is_rented = true;
    }

    pub(super) fn give_back(&self) {
        self.lock().is_rented = false;
    }

    pub(super) fn outbox(&self) -> watch::Receiver<u64> {
        self.outbox.subscribe()
    }

    pub(super) fn cuts(&self) -> watch::Receiver<u64> {
        self.cuts.subscribe()
    }

    pub(super) fn hello(&self, node: NodeId) -> Hello {
        let state = self.lock();
        Hello {
            node,
            journal: state.journal,
            protocol: PROTOCOL_VERSION,
            version: state.version.clone(),
            engine: Some("simulated".to_owned()),
            slots: state.slots,
        }
    }

    pub(super) fn acknowledge(&self, number: u64) {
        self.lock().reports.retain(|reported, _| *reported > number);
    }

    pub(super) fn reports_after(&self, number: u64) -> Vec<(u64, Report)> {
        let state = self.lock();
        state.reports.range(number + 1..).map(|(n, report)| (*n, report.clone())).collect()
    }

    pub(super) fn take_chunks(&self) -> Vec<LiveChunk> {
        std::mem::take(&mut self.lock().chunks)
    }

    pub(super) fn order(&self, key: Uuid, epoch: u64, order: Order) {
        let mut state = self.lock();
        state.carry_out(key, epoch, order);
        self.tell(&state);
    }

    fn tell(&self, state: &State) {
        self.outbox.send_modify(|told| *told = (*told).max(state.n_reports) + 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn report(&mut self, report: Report) {
        self.n_reports += 1;
        self.reports.insert(self.n_reports, report);
    }

    pub(super) fn chunk(&mut self, chunk: LiveChunk) {
        self.chunks.push(chunk);
    }

    /// As the agent's journal does: of an epoch that is over not even a known order is answered.
    fn carry_out(&mut self, key: Uuid, epoch: u64, order: Order) {
        if epoch < self.highest_epoch {
            self.n_stale += 1;
            let reason = "a newer control plane has spoken".to_owned();
            let outcome = OrderOutcome::Refused { kind: RefusalKind::Stale, reason };
            self.report(Report::OrderSettled { key, outcome });
            return;
        }
        self.highest_epoch = epoch;
        if let Some(outcome) = self.settled.get(&key).cloned() {
            self.report(Report::OrderSettled { key, outcome });
            return;
        }
        // How often it is swept depends on the time that passes, and says nothing of a story.
        self.n_carried_out += u64::from(!matches!(order, Order::RemoveLeftovers { .. }));
        let outcome = self.outcome_of(&order);
        self.settled.insert(key, outcome.clone());
        self.report(Report::OrderSettled { key, outcome });
        self.go_on(&order);
    }

    fn outcome_of(&mut self, order: &Order) -> OrderOutcome {
        if let Some(refused) = self.refused(order) {
            return refused;
        }
        match order {
            Order::OpenWorkspace(open) => self.open(open),
            Order::StartSession(start) => {
                if !self.workspaces.contains_key(&start.workspace) {
                    return unknown();
                }
                let session = turn::SimulatedSession {
                    workspace: start.workspace,
                    epoch: start.epoch,
                    permissions: start.permissions,
                    turn: None,
                };
                self.sessions.insert(start.session, session);
                OrderOutcome::SessionStarted {
                    agent_name: "simulated".to_owned(),
                    agent_version: "1".to_owned(),
                    acp_session: start.session.to_string(),
                }
            }
            Order::Prompt { session, epoch, message, text } => {
                match self.sessions.get_mut(session) {
                    Some(live) if live.epoch == *epoch => {
                        live.begin(*message, text);
                        OrderOutcome::Done
                    }
                    _ => unknown(),
                }
            }
            Order::AnswerPermission { session, .. } if !self.sessions.contains_key(session) => {
                unknown()
            }
            Order::AnswerPermission { .. } | Order::CancelTurn { .. } => OrderOutcome::Done,
            Order::StopSession { session } => {
                self.sessions.remove(session);
                OrderOutcome::Done
            }
            Order::Publish { workspace, target, commit_message } => {
                self.publish(*workspace, target, commit_message)
            }
            Order::CloseWorkspace { workspace } => {
                self.sessions.retain(|_, session| session.workspace != *workspace);
                self.workspaces.remove(workspace);
                OrderOutcome::Done
            }
            Order::RemoveLeftovers { keep } => {
                self.workspaces.retain(|workspace, _| keep.contains(workspace));
                OrderOutcome::Done
            }
            Order::Retire => {
                self.sessions.clear();
                self.workspaces.clear();
                OrderOutcome::Done
            }
        }
    }

    fn refused(&mut self, order: &Order) -> Option<OrderOutcome> {
        let kind = match order {
            Order::OpenWorkspace(_) => Refuse::OpenWorkspace,
            Order::StartSession(_) => Refuse::StartSession,
            Order::Prompt { .. } => Refuse::Prompt,
            Order::Publish { .. } => Refuse::Publish,
            _ => return None,
        };
        let left = self.refusals.get_mut(&kind).filter(|left| **left > 0)?;
        *left -= 1;
        let reason = format!("{kind:?} is refused on purpose");
        Some(OrderOutcome::Refused { kind: RefusalKind::Machine, reason })
    }

    fn open(&mut self, open: &OpenWorkspace) -> OrderOutcome {
        for step in ["mirror", "container", "checkout"] {
            for state in [StepState::Started, StepState::Completed] {
                let (step, detail) = (step.to_owned(), String::new());
                let workspace = open.workspace;
                self.report(Report::BootStep { workspace, step, state, detail });
            }
        }
        let (branch, environment) = (open.branch.clone(), open.environment.clone());
        let workspace = SimulatedWorkspace { branch, environment };
        self.workspaces.insert(open.workspace, workspace);
        OrderOutcome::WorkspaceOpened {
            container: open.workspace.to_string(),
            base_branch: open.base_branch.clone().unwrap_or_else(|| "main".to_owned()),
            base_commit: "b".repeat(40),
        }
    }

    fn publish(
        &mut self,
        workspace: WorkspaceId,
        target: &PublishTarget,
        commit_message: &str,
    ) -> OrderOutcome {
        let Some(SimulatedWorkspace { branch, .. }) = self.workspaces.get(&workspace) else {
            return unknown();
        };
        let reference = match target {
            PublishTarget::Branch => branch.clone(),
            PublishTarget::Checkpoint { execution } => format!("refs/sam/checkpoints/{execution}"),
        };
        self.branches.insert(reference.clone());
        let commit = Commit {
            id: "c".repeat(40),
            subject: commit_message.to_owned(),
            author: "SAM".to_owned(),
            at: DateTime::UNIX_EPOCH,
        };
        OrderOutcome::Published(Published {
            reference: Some(reference),
            head: commit.id.clone(),
            base: "b".repeat(40),
            commits: vec![commit],
            files: vec![FileChange { path: "README.md".to_owned(), added: 1, removed: 0 }],
            diff: "+a line\n".to_owned(),
            is_diff_cut: false,
        })
    }
}

fn unknown() -> OrderOutcome {
    let reason = "there is no such workspace or session here".to_owned();
    OrderOutcome::Refused { kind: RefusalKind::Unknown, reason }
}
