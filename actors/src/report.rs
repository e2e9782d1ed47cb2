//! Brings what agents report into the log.
//!
//! A report's command id follows from journal and number, so one that is sent again after a lost
//! connection changes nothing. It is acknowledged once it, and every report before it, is in the log
//! or was refused for good. Reports of one session are dealt with in their order; those of different
//! ones do not wait for each other.
//!
//! An agent is not trusted: it may speak only of workspaces on its own node, and of the session that
//! is attached there.
//!
//! Read next: `report/translation.rs` says which command each report becomes.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{
    agent_protocol::Report,
    ids::{
        AccountId, CommandId, ContentId, JournalId, NodeId, ProjectId, SessionId, WorkspaceId,
        derived,
    },
    session::Session,
    workspace::Workspace,
};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::{
    agent_link::AgentLinks,
    caller::Caller,
    dispatcher::{DispatchError, Dispatcher},
    live_hub::LiveHub,
    report::translation::{About, Translated},
    sealing::Sealing,
    tasks::Tasks,
};

mod translation;

const N_LANES: usize = 64;
/// How many reports may wait in a lane before the link is no longer read.
const REPORTS_WAITING_MAX: usize = 256;
const RETRY_PERIOD: Duration = Duration::from_millis(250);
/// How often a report is tried that no waiting helps.
const MENDING_PERIOD: Duration = Duration::from_secs(2);

/// Whose report it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reporter {
    pub(crate) node: NodeId,
    pub(crate) journal: JournalId,
}

/// A report on its way into the log.
#[derive(Debug)]
struct Received {
    reporter: Reporter,
    number: u64,
    report: Report,
}

/// How far a journal's reports have come.
#[derive(Debug)]
struct Progress {
    /// The highest number that arrived.
    received: u64,
    /// Done, but not all before it are.
    done: BTreeSet<u64>,
    acknowledged: watch::Sender<u64>,
}

/// Takes reports from all links. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Reports {
    desk: Desk,
    tasks: Tasks,
    lanes: Arc<Vec<mpsc::Sender<Received>>>,
}

/// What a report is dealt with by.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) sealing: Sealing,
    pub(crate) hub: LiveHub,
    pub(crate) links: AgentLinks,
    journals: Arc<Mutex<HashMap<JournalId, Progress>>>,
}

impl Desk {
    pub(crate) fn new(
        dispatcher: &Dispatcher,
        sealing: &Sealing,
        hub: &LiveHub,
        links: &AgentLinks,
    ) -> Self {
        Self {
            dispatcher: dispatcher.clone(),
            sealing: sealing.clone(),
            hub: hub.clone(),
            links: links.clone(),
            journals: Arc::default(),
        }
    }
}

impl Reports {
    /// Starts the lanes.
    pub(crate) fn start(desk: Desk, tasks: &Tasks) -> Self {
        let lanes = (0..N_LANES).map(|_| {
            let (sender, mut waiting) = mpsc::channel::<Received>(REPORTS_WAITING_MAX);
            let desk = desk.clone();
            tasks.start("reports", async move {
                while let Some(received) = waiting.recv().await {
                    desk.deal_with(received).await;
                }
            });
            sender
        });
        let lanes = Arc::new(lanes.collect());
        Self { desk, tasks: tasks.clone(), lanes }
    }

    /// Up to which number a journal's reports are acknowledged.
    pub(crate) fn acknowledged(&self, journal: JournalId) -> watch::Receiver<u64> {
        self.desk.progress(journal, |progress| progress.acknowledged.subscribe())
    }

    /// Takes a report. Waits when too many wait already.
    pub(crate) async fn receive(&self, reporter: Reporter, number: u64, report: Report) {
        if !self.desk.is_news(reporter.journal, number) {
            return;
        }
        if let Report::OrderSettled { key, outcome } = report {
            let recorded = self.desk.links.settle(reporter.node, key, outcome);
            let desk = self.desk.clone();
            self.tasks.start("settled order", async move {
                if let Some(recorded) = recorded {
                    // Dropped when the outcome is recorded, or was given up: either way it is done.
                    let _ = recorded.await;
                }
                desk.done(reporter.journal, number);
            });
            return;
        }
        let mut hasher = DefaultHasher::new();
        translation::about(&report).hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % N_LANES as u64).unwrap_or_default();
        // A closed lane means the end of the program; the report comes again at the next start.
        let _ = self.lanes[lane].send(Received { reporter, number, report }).await;
    }
}

impl Desk {
    async fn deal_with(&self, received: Received) {
        let Received { reporter, number, report } = received;
        loop {
            match self.record(reporter, number, &report).await {
                Ok(()) => break,
                Err(error) if error.is_temporary() => {
                    tracing::debug!(number, %error, "a report is recorded again");
                    tokio::time::sleep(RETRY_PERIOD).await;
                }
                // Stale or late reports are normal. Sending it again would change nothing.
                Err(error @ DispatchError::Refused { .. }) => {
                    tracing::debug!(number, %error, "a report was refused");
                    break;
                }
                Err(error @ DispatchError::Damaged { .. }) => {
                    tracing::error!(number, %error, "a report cannot be recorded");
                    break;
                }
                // Somebody has to mend something. What comes after it in its session waits, and nothing is lost.
                Err(error) => {
                    tracing::error!(number, %error, "a report cannot be recorded yet");
                    tokio::time::sleep(MENDING_PERIOD).await;
                }
            }
        }
        self.done(reporter.journal, number);
    }

    async fn record(
        &self,
        reporter: Reporter,
        number: u64,
        report: &Report,
    ) -> Result<(), DispatchError> {
        let about = translation::about(report);
        let project = self.project_of(reporter.node, about).await?;
        let command = derived(reporter.journal.0, &number.to_string());
        let Translated { sealed, command: translated } = translation::translated(report);
        let (content, rows) = match sealed {
            Some(text) => {
                let id = ContentId(derived(command, "content"));
                let (content, row) = self.sealing.seal(project, id, &text).await?;
                (Some(content), vec![row])
            }
            None => (None, Vec::new()),
        };
        let Some(translated) = translated(content) else { return Ok(()) };
        let caller = Caller {
            actor: format!("agent/{}", reporter.node),
            account: AccountId(Uuid::nil()),
            command: CommandId(command),
            correlation: about.uuid(),
            causation: None,
        };
        crash_point::crash_point!("report.before_commit");
        self.dispatcher.send(&caller, translated, rows).await?;
        crash_point::crash_point!("report.after_commit");
        self.tell_hub(report);
        Ok(())
    }

    fn tell_hub(&self, report: &Report) {
        match report {
            Report::Segment(segment) => {
                let next = segment.first_chunk.saturating_add(segment.n_chunks);
                self.hub.recorded(segment.session, segment.message, next, segment.is_last);
            }
            Report::TurnEnded { session, .. } | Report::SessionLost { session, .. } => {
                self.hub.close(*session);
            }
            _ => {}
        }
    }

    /// The project of what a report is about, if the reporter may speak of it.
    async fn project_of(&self, node: NodeId, about: About) -> Result<ProjectId, DispatchError> {
        let workspace = match about {
            About::Workspace(workspace) => Some(workspace),
            About::Session(session) => self.workspace_of(session).await?,
        };
        let not_yours = || DispatchError::Refused {
            code: "not_yours".to_owned(),
            reason: format!("node {node} reports of what is not on it"),
        };
        let workspace = workspace.ok_or_else(not_yours)?;
        match &*self.dispatcher.state::<Workspace>(workspace.0).await? {
            Workspace::Known { spec, .. } if spec.node == node => Ok(spec.project),
            _ => Err(not_yours()),
        }
    }

    async fn workspace_of(&self, session: SessionId) -> Result<Option<WorkspaceId>, DispatchError> {
        Ok(self.dispatcher.state::<Session>(session.0).await?.workspace())
    }

    /// Notes that a report arrived; false for one that is being dealt with or was before.
    fn is_news(&self, journal: JournalId, number: u64) -> bool {
        self.progress(journal, |progress| {
            if progress.received == 0 {
                // The first since this program started: what came before it was acknowledged then.
                progress.acknowledged.send_replace(number.saturating_sub(1));
            }
            let is_news = number > progress.received;
            progress.received = progress.received.max(number);
            is_news
        })
    }

    fn done(&self, journal: JournalId, number: u64) {
        self.progress(journal, |progress| {
            progress.done.insert(number);
            progress.acknowledged.send_if_modified(|acknowledged| {
                let before = *acknowledged;
                while progress.done.remove(&(*acknowledged + 1)) {
                    *acknowledged += 1;
                }
                *acknowledged > before
            });
        });
    }

    fn progress<T>(&self, journal: JournalId, change: impl FnOnce(&mut Progress) -> T) -> T {
        let mut journals: MutexGuard<'_, _> =
            self.journals.lock().unwrap_or_else(PoisonError::into_inner);
        change(journals.entry(journal).or_insert_with(|| Progress {
            received: 0,
            done: BTreeSet::new(),
            acknowledged: watch::channel(0).0,
        }))
    }
}
