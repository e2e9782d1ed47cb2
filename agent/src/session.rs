//! A session is one coding agent's attachment to a workspace, from its start to its end.
//!
//! The coding agent speaks ACP with us through a spool that the holder in the container keeps, and
//! we read that spool by offset. What was made of the spool is recorded together with the offset in
//! one transaction, so an agent that is killed at any point reads on where it was and tells the same
//! story: message ids, chunk numbers and request ids follow from the spool and the recorded progress.
//!
//! Absent on purpose: SQL and containers. They enter as [`SessionStore`] and [`HolderLink`].
//!
//! Read next: `session/attachment.rs` turns the spool into reports, `session/actor.rs` runs it.

mod actor;
mod attachment;
mod holder_client;
mod permission;
pub mod progress;
mod recording;
mod telling;
mod tool_calls;

use std::{collections::BTreeMap, sync::Arc};

use domain::{
    agent_protocol::{CodingAgentKind, LiveChunk, PermissionPolicy, RefusalKind, Report},
    ids::{MessageId, PermissionId, SessionId},
};
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, oneshot},
};

use crate::session::{actor::Actor, progress::SessionProgress};

/// Commands that wait for a session which is busy with its holder or its journal.
const COMMAND_QUEUE_MAX: usize = 32;

/// Keeps what is known about sessions across restarts of the agent.
pub trait SessionStore: Send + Sync + 'static {
    fn load(&self, session: SessionId) -> BoxFuture<'_, anyhow::Result<Option<SessionProgress>>>;

    /// Replaces the progress and appends the reports to the outbox, in one transaction.
    fn record<'a>(
        &'a self,
        session: SessionId,
        progress: &'a SessionProgress,
        reports: Vec<Report>,
    ) -> BoxFuture<'a, anyhow::Result<()>>;
}

/// Where streamed text goes ahead of the log. It may drop chunks, but must not wait.
pub trait Sink: Send + Sync + 'static {
    fn chunk(&self, chunk: LiveChunk);
}

/// A way to the holder in one container: each connection is a `sam-holder attach` in it.
pub trait HolderLink: Send + Sync + 'static {
    fn connect(&self) -> BoxFuture<'_, Result<HolderConnection, LinkError>>;
}

/// Both ends of one `sam-holder attach`; dropping it ends that.
pub struct HolderConnection {
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
}

/// Why there is no connection to a holder.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The container is gone or stopped: so is every coding agent in it.
    #[error("{reason}")]
    Gone { reason: String },
    /// Worth another try: the engine does not answer.
    #[error("the container engine does not answer: {0}")]
    Busy(#[source] anyhow::Error),
}

/// What a session needs to know; the same again when the agent resumes it after a restart.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    pub session: SessionId,
    pub epoch: u32,
    pub kind: CodingAgentKind,
    pub permissions: PermissionPolicy,
    /// What starts the coding agent in the container.
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Its working directory: the repository.
    pub cwd: String,
}

/// What a session works with.
#[derive(Clone)]
pub struct SessionParts {
    pub store: Arc<dyn SessionStore>,
    pub sink: Arc<dyn Sink>,
    pub link: Arc<dyn HolderLink>,
}

/// What [`SessionHandle::started`] tells: the fields of `OrderOutcome::SessionStarted`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    pub agent_name: String,
    pub agent_version: String,
    pub acp_session: String,
}

/// Why a session did not do what was asked: the fields of `OrderOutcome::Refused`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SessionRefusal {
    pub kind: RefusalKind,
    pub reason: String,
}

/// Something a session is told.
#[derive(Debug)]
pub(crate) enum SessionCommand {
    AwaitStart { reply: oneshot::Sender<Result<Started, SessionRefusal>> },
    Prompt { message: MessageId, text: String, reply: Reply },
    AnswerPermission { request: PermissionId, option: String, reply: Reply },
    Cancel { reply: Reply },
    Stop { reply: Reply },
}

pub(crate) type Reply = oneshot::Sender<Result<(), SessionRefusal>>;

/// The way to a running session. Every call may be repeated after a restart of the agent.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    commands: mpsc::Sender<SessionCommand>,
}

/// Begins a session, or takes it up where it was recorded. The future is its life: it is over when
/// every handle is dropped, and until then answers for a coding agent that has ended, too.
pub fn open(config: SessionConfig, parts: SessionParts) -> (SessionHandle, BoxFuture<'static, ()>) {
    let (commands, queue) = mpsc::channel(COMMAND_QUEUE_MAX);
    let session = config.session;
    let life = async move {
        match Actor::load(config, parts, queue).await {
            Ok(actor) => actor.run().await,
            // Dropping the queue tells everybody who asks.
            Err(error) => {
                tracing::error!(session.id = %session, "the session cannot be taken up: {error:#}");
            }
        }
    };
    (SessionHandle { commands }, Box::pin(life))
}

impl SessionHandle {
    /// Waits until the coding agent is ready for a prompt.
    pub async fn started(&self) -> Result<Started, SessionRefusal> {
        self.ask(|reply| SessionCommand::AwaitStart { reply }).await
    }

    /// Gives the coding agent a prompt; back when its stdin has it. A message is given only once.
    pub async fn prompt(&self, message: MessageId, text: String) -> Result<(), SessionRefusal> {
        self.ask(|reply| SessionCommand::Prompt { message, text, reply }).await
    }

    /// Answers a permission request; an answer that is late or repeated changes nothing.
    pub async fn answer_permission(
        &self,
        request: PermissionId,
        option: String,
    ) -> Result<(), SessionRefusal> {
        self.ask(|reply| SessionCommand::AnswerPermission { request, option, reply }).await
    }

    /// Asks the coding agent to end its turn; it is killed if it has not after 5 s.
    pub async fn cancel(&self) -> Result<(), SessionRefusal> {
        self.ask(|reply| SessionCommand::Cancel { reply }).await
    }

    /// Kills the coding agent; back when it is gone.
    pub async fn stop(&self) -> Result<(), SessionRefusal> {
        self.ask(|reply| SessionCommand::Stop { reply }).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, SessionRefusal>>) -> SessionCommand,
    ) -> Result<T, SessionRefusal> {
        let (reply, answer) = oneshot::channel();
        let gone = || SessionRefusal {
            kind: RefusalKind::Unknown,
            reason: "the session has ended".to_string(),
        };
        self.commands.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
