//! A holder on this machine in the place of a container, and a journal in memory.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use agent::{
    holder::BINARY,
    session::{
        self, HolderConnection, HolderLink, LinkError, SessionConfig, SessionHandle, SessionParts,
        SessionStore, Sink, progress::SessionProgress,
    },
};
use domain::{
    agent_protocol::{
        CodingAgentKind, LiveChunk, PermissionPolicy, Report, Segment, ToolCall, TurnEnd,
    },
    ids::{MessageId, SessionId, derived},
};
use futures_util::future::BoxFuture;
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::JoinSet,
};
use uuid::Uuid;

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A machine with one workspace.
pub(crate) struct World {
    place: PathBuf,
    serve: Child,
    pub(crate) journal: Arc<Journal>,
    pub(crate) chunks: Arc<Chunks>,
    link: Arc<Link>,
    lives: JoinSet<()>,
    pub(crate) config: SessionConfig,
}

impl World {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("sam-session-test-{}-{number}", std::process::id());
        let place = std::env::temp_dir().join(name);
        fs::create_dir_all(place.join("repository")).unwrap();
        let binary = place.join("holder");
        fs::write(&binary, BINARY).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let mut serve = holder(&place);
        let serve = serve.arg("serve").kill_on_drop(true).spawn().unwrap();
        let argv = vec![binary.to_str().unwrap().to_string(), "demo-agent".to_string()];
        let config = SessionConfig {
            session: SessionId(derived(Uuid::nil(), "session")),
            epoch: 1,
            kind: CodingAgentKind::Demo,
            permissions: PermissionPolicy::Allow,
            argv,
            env: BTreeMap::new(),
            cwd: place.join("repository").to_str().unwrap().to_string(),
        };
        Self {
            serve,
            journal: Arc::default(),
            chunks: Arc::default(),
            link: Arc::new(Link { place: place.clone(), is_gone: AtomicBool::new(false) }),
            lives: JoinSet::new(),
            config,
            place,
        }
    }

    /// Starts the session, or takes it up again.
    pub(crate) fn open(&mut self) -> SessionHandle {
        let parts = SessionParts {
            store: self.journal.clone(),
            sink: self.chunks.clone(),
            link: self.link.clone(),
        };
        let (handle, life) = session::open(self.config.clone(), parts);
        self.lives.spawn(life);
        handle
    }

    /// The agent is killed: nothing of it runs any more, and what was not recorded is forgotten.
    pub(crate) async fn crash(&mut self) {
        self.lives.shutdown().await;
        self.journal.is_crashing.send_replace(false);
    }

    /// The container goes down.
    pub(crate) async fn take_down(&mut self) {
        self.link.is_gone.store(true, Ordering::SeqCst);
        self.serve.kill().await.unwrap();
    }

    pub(crate) fn file(&self, path: &str) -> String {
        fs::read_to_string(self.place.join("repository").join(path)).unwrap_or_default()
    }

    /// What the coding agent was told on its stdin.
    pub(crate) fn stdin(&self) -> String {
        let (session, epoch) = (self.config.session.to_string(), self.config.epoch.to_string());
        fs::read_to_string(self.place.join(session).join(epoch).join("stdin")).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.place);
    }
}

fn holder(place: &Path) -> Command {
    let mut command = Command::new(place.join("holder"));
    command.env("SAM_HOLDER_DIR", place);
    command
}

/// Waits for something that must come.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it did not come about")
}

pub(crate) fn message(number: u32) -> MessageId {
    MessageId(derived(Uuid::nil(), &format!("message {number}")))
}

struct Link {
    place: PathBuf,
    is_gone: AtomicBool,
}

impl HolderLink for Link {
    fn connect(&self) -> BoxFuture<'_, Result<HolderConnection, LinkError>> {
        Box::pin(async {
            if self.is_gone.load(Ordering::SeqCst) {
                return Err(LinkError::Gone { reason: "the container is gone".to_string() });
            }
            let mut attach = holder(&self.place)
                .arg("attach")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .map_err(|error| LinkError::Busy(error.into()))?;
            let reader = Box::new(attach.stdout.take().unwrap());
            let writer = Box::new(attach.stdin.take().unwrap());
            Ok(HolderConnection { reader, writer })
        })
    }
}

/// Collects live chunks.
#[derive(Default)]
pub(crate) struct Chunks(pub(crate) Mutex<Vec<LiveChunk>>);

impl Sink for Chunks {
    fn chunk(&self, chunk: LiveChunk) {
        self.0.lock().unwrap().push(chunk);
    }
}

/// When the agent dies, counted in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    Before(u32),
    After(u32),
}

/// The journal of an agent that can be killed at any record.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// As JSON, because that is how it is stored.
    progress: Mutex<Option<String>>,
    reports: watch::Sender<Vec<Report>>,
    n_records: AtomicU32,
    pub(crate) crash: Mutex<Option<Crash>>,
    is_crashing: watch::Sender<bool>,
}

impl SessionStore for Journal {
    fn load(&self, _session: SessionId) -> BoxFuture<'_, anyhow::Result<Option<SessionProgress>>> {
        let progress = self.progress.lock().unwrap().clone();
        Box::pin(async move { Ok(progress.map(|json| serde_json::from_str(&json)).transpose()?) })
    }

    fn record<'a>(
        &'a self,
        _session: SessionId,
        progress: &'a SessionProgress,
        reports: Vec<Report>,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            let number = self.n_records.fetch_add(1, Ordering::SeqCst) + 1;
            let crash = *self.crash.lock().unwrap();
            if crash == Some(Crash::Before(number)) {
                self.is_crashing.send_replace(true);
                std::future::pending::<()>().await;
            }
            *self.progress.lock().unwrap() = Some(serde_json::to_string(progress)?);
            self.reports.send_modify(|known| known.extend(reports));
            if crash == Some(Crash::After(number)) {
                self.is_crashing.send_replace(true);
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }
}

impl Journal {
    pub(crate) fn reports(&self) -> Vec<Report> {
        self.reports.borrow().clone()
    }

    /// Waits for a report that fits.
    pub(crate) async fn find<T>(&self, mut fits: impl FnMut(&Report) -> Option<T>) -> T {
        let mut reports = self.reports.subscribe();
        loop {
            if let Some(found) = reports.borrow_and_update().iter().find_map(&mut fits) {
                return found;
            }
            reports.changed().await.unwrap();
        }
    }

    pub(crate) async fn turn_end(&self, of: MessageId) -> TurnEnd {
        soon(self.find(|report| match report {
            Report::TurnEnded { message, end, .. } if *message == of => Some(end.clone()),
            _ => None,
        }))
        .await
    }

    pub(crate) async fn crashing(&self) {
        let mut is_crashing = self.is_crashing.subscribe();
        is_crashing.wait_for(|is_crashing| *is_crashing).await.unwrap();
    }

    pub(crate) fn n_records(&self) -> u32 {
        self.n_records.load(Ordering::SeqCst)
    }
}

/// A story without what may differ between two tellings: how text is cut into segments, and which
/// passing states of a tool call were seen.
pub(crate) fn essence(reports: &[Report]) -> Vec<Report> {
    let mut story: Vec<Report> = Vec::new();
    for report in reports {
        match report {
            Report::Segment(segment) => tell_segment(&mut story, segment),
            Report::ToolCall(call) => tell_call(&mut story, call),
            Report::Usage { .. } => {}
            other => story.push(other.clone()),
        }
    }
    story
}

fn tell_segment(story: &mut Vec<Report>, segment: &Segment) {
    for earlier in story.iter_mut() {
        if let Report::Segment(known) = earlier
            && known.message == segment.message
        {
            assert_eq!(known.first_chunk + known.n_chunks, segment.first_chunk, "a chunk is lost");
            assert!(!known.is_last, "a message goes on after its end");
            known.n_chunks += segment.n_chunks;
            known.text.push_str(&segment.text);
            known.is_last = segment.is_last;
            return;
        }
    }
    assert_eq!(segment.first_chunk, 0, "a message begins in the middle");
    story.push(Report::Segment(segment.clone()));
}

fn tell_call(story: &mut Vec<Report>, call: &ToolCall) {
    for earlier in story.iter_mut() {
        if let Report::ToolCall(known) = earlier
            && known.call == call.call
        {
            *known = call.clone();
            return;
        }
    }
    story.push(Report::ToolCall(call.clone()));
}

/// All text of a kind of report, joined.
pub(crate) fn text(reports: &[Report]) -> String {
    let texts = reports.iter().filter_map(|report| match report {
        Report::Segment(segment) => Some(segment.text.as_str()),
        _ => None,
    });
    texts.collect()
}
