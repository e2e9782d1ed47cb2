//! What a session gets from its workspace: a place in the journal, a way out for its text, and a way
//! to the holder in the container.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use domain::{
    agent_protocol::{LiveChunk, Report, StartSession},
    ids::{SessionId, WorkspaceId},
};
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::mpsc,
};

use crate::{
    coding_agent::{self, HOLDER_PATH, ModelProxy},
    engine::{Attached, EngineError},
    session::{
        self, HolderConnection, HolderLink, LinkError, SessionConfig, SessionHandle, SessionParts,
        SessionStore, Sink,
        progress::{Phase, SessionProgress},
    },
    tasks,
    workspace::{Context, bringing, refusal::Refusal, sessions::Live},
};

/// Ways to holders that were opened before anybody asked: running a program in a container takes an
/// engine a tenth of a second, which a new workspace spends beside its clone.
#[derive(Default)]
pub struct ReadyLinks(Mutex<HashMap<WorkspaceId, Attached>>);

impl ReadyLinks {
    /// Keeps one for whoever comes next.
    pub fn put(&self, workspace: WorkspaceId, link: Attached) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(workspace, link);
    }

    fn take(&self, workspace: WorkspaceId) -> Option<Attached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&workspace)
    }

    /// The workspace is going.
    pub fn forget(&self, workspace: WorkspaceId) {
        drop(self.take(workspace));
    }
}

/// Opens the way to a workspace's holder for the first session. Where that fails, the session finds
/// out why for itself.
pub async fn open_ahead(context: &Context, workspace: WorkspaceId) {
    match bringing::attach(context, workspace, &["attach".into()]).await {
        Ok(link) => context.ready_links.put(workspace, link),
        Err(error) => tracing::debug!(workspace.id = %workspace, %error, "no link ahead of time"),
    }
}

/// Starts a session, or takes one up again after a restart of the agent.
pub async fn begin(context: &Arc<Context>, start: &StartSession) -> Result<SessionHandle, Refusal> {
    let written = serde_json::to_string(start).map_err(Refusal::machine)?;
    context.journal.put_session(start.session, start.workspace, &written).await?;
    let proxy = match context.secrets.get(start.session).map_err(Refusal::machine)? {
        Some(secrets) => {
            let base_url = context.proxy.admit(start.session, &secrets).await?;
            Some(ModelProxy { base_url, token: secrets.token })
        }
        None => None,
    };
    let launch = coding_agent::launch(start.coding_agent.kind, proxy.as_ref());
    let holder = context.engine.holder_path(start.workspace);
    let argv = launch.argv.into_iter();
    let config = SessionConfig {
        session: start.session,
        epoch: start.epoch,
        kind: start.coding_agent.kind,
        permissions: start.permissions,
        argv: argv.map(|word| if word == HOLDER_PATH { holder.clone() } else { word }).collect(),
        env: launch.env,
        cwd: context.engine.repository_directory(start.workspace),
    };
    let link = WorkspaceLink { context: Arc::clone(context), workspace: start.workspace };
    let parts = SessionParts {
        store: Arc::new(JournalStore { context: Arc::clone(context) }),
        sink: Arc::new(ChunkSink(context.chunks.clone())),
        link: Arc::new(link),
    };
    let (handle, life) = session::open(config, parts);
    tasks::spawn("session", life);
    Ok(handle)
}

/// Takes up the sessions of a workspace that were running when the agent was killed.
pub async fn resume(context: &Arc<Context>, workspace: WorkspaceId) -> Result<(), Refusal> {
    for (session, record) in context.journal.sessions(workspace).await? {
        let start: StartSession = serde_json::from_str(&record).map_err(Refusal::machine)?;
        let progress = context.journal.session(session).await?;
        let progress: Option<SessionProgress> =
            progress.as_deref().and_then(|progress| serde_json::from_str(progress).ok());
        if progress.is_some_and(|progress| matches!(progress.phase, Phase::Ended { .. })) {
            continue;
        }
        let handle = begin(context, &start).await?;
        let live = Live { workspace, epoch: start.epoch, handle };
        context.sessions.put(session, live);
    }
    Ok(())
}

/// Deletes a session's key and closes its way to the model.
pub fn forget_secrets(context: &Context, session: SessionId) {
    context.proxy.dismiss(session);
    if let Err(error) = context.secrets.remove(session) {
        tracing::error!(session.id = %session, %error, "a session's key could not be deleted");
    }
}

/// The journal, as a session sees it.
struct JournalStore {
    context: Arc<Context>,
}

impl SessionStore for JournalStore {
    fn load(&self, session: SessionId) -> BoxFuture<'_, anyhow::Result<Option<SessionProgress>>> {
        Box::pin(async move {
            let record = self.context.journal.session(session).await?;
            Ok(record.map(|record| serde_json::from_str(&record)).transpose()?)
        })
    }

    fn record<'a>(
        &'a self,
        session: SessionId,
        progress: &'a SessionProgress,
        reports: Vec<Report>,
    ) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            let written = serde_json::to_string(progress)?;
            self.context.journal.append_with_session(&reports, session, written).await?;
            if let Phase::Ended { .. } = progress.phase {
                forget_secrets(&self.context, session);
            }
            Ok(())
        })
    }
}

/// The link's queue of live chunks; a full one drops what comes.
struct ChunkSink(mpsc::Sender<LiveChunk>);

impl Sink for ChunkSink {
    fn chunk(&self, chunk: LiveChunk) {
        let _ = self.0.try_send(chunk);
    }
}

/// The way to the holder of one workspace.
struct WorkspaceLink {
    context: Arc<Context>,
    workspace: WorkspaceId,
}

impl HolderLink for WorkspaceLink {
    fn connect(&self) -> BoxFuture<'_, Result<HolderConnection, LinkError>> {
        Box::pin(async move {
            let attached = match self.context.ready_links.take(self.workspace) {
                Some(ready) => Ok(ready),
                None => bringing::attach(&self.context, self.workspace, &["attach".into()]).await,
            };
            match attached {
                Ok(Attached { stdin, stdout, exit, .. }) => {
                    // The exit owns the process: it has to live as long as somebody reads.
                    let reader = Kept { stdout, _exit: exit };
                    Ok(HolderConnection { reader: Box::new(reader), writer: Box::new(stdin) })
                }
                Err(error @ (EngineError::Gone { .. } | EngineError::Stopped { .. })) => {
                    Err(LinkError::Gone { reason: error.to_string() })
                }
                Err(error) => Err(LinkError::Busy(error.into())),
            }
        })
    }
}

/// A program's output that keeps the program.
struct Kept {
    stdout: std::pin::Pin<Box<dyn AsyncRead + Send>>,
    _exit: BoxFuture<'static, Result<i64, EngineError>>,
}

impl AsyncRead for Kept {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        self.stdout.as_mut().poll_read(context, buffer)
    }
}
