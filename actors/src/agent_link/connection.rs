//! One conversation with one agent, from its greeting to the end of the link.

use std::time::Duration;

use domain::{
    agent_protocol::{AgentFrame, ControlFrame, Hello, PROTOCOL_VERSION},
    ids::{InstallationId, NodeId},
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{net::UnixStream, sync::watch};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use crate::{
    agent_link::{AgentLinks, NodeHealth, signing::Signing},
    clock::SharedClock,
    live_hub::LiveHub,
    report::{Reporter, Reports},
    silence::Silence,
};

/// Longest frame either way: a prompt, or a result with its diff.
const FRAME_BYTES_MAX: usize = 16 << 20;
const GREETING_PERIOD_MAX: Duration = Duration::from_secs(10);
/// Agents beat at least each minute; three missed beats mean that nobody is there.
const SILENCE_PERIOD_MAX: Duration = Duration::from_secs(180);

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the connection broke: {0}")]
    Broken(Box<tokio_tungstenite::tungstenite::Error>),
    #[error("the agent hung up")]
    Closed,
    #[error("the agent said nothing for too long")]
    Silent,
    #[error("the agent sent something unreadable: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("the agent did not greet")]
    NoGreeting,
    #[error("node {node} does not belong here")]
    Stranger { node: NodeId },
    #[error("no token could be made: {0}")]
    Token(#[from] jsonwebtoken::errors::Error),
    #[error("another connection of the same node took over, or this one was too slow")]
    Replaced,
}

impl From<tokio::time::error::Elapsed> for LinkError {
    fn from(_: tokio::time::error::Elapsed) -> Self {
        Self::Silent
    }
}

impl From<tokio_tungstenite::tungstenite::Error> for LinkError {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Self {
        Self::Broken(Box::new(error))
    }
}

/// What is needed to talk to agents.
pub(crate) struct Reception {
    pub(crate) installation: InstallationId,
    /// The only node that calls on this socket.
    pub(crate) node: NodeId,
    /// The version that agents should have.
    pub(crate) version: String,
    pub(crate) signing: Signing,
    pub(crate) links: AgentLinks,
    pub(crate) reports: Reports,
    pub(crate) hub: LiveHub,
    pub(crate) clock: SharedClock,
}

type Socket = WebSocketStream<UnixStream>;

impl Reception {
    /// Greets an agent, and listens to it until the link ends.
    pub(crate) async fn serve(&self, stream: UnixStream) -> Result<(), LinkError> {
        let greeting = tokio::time::timeout(GREETING_PERIOD_MAX, greeted(stream));
        let (mut socket, hello) = greeting.await.map_err(|_| LinkError::NoGreeting)??;
        let node = hello.node;
        if node != self.node {
            return Err(LinkError::Stranger { node });
        }
        let now = self.clock.now();
        let is_draining = hello.protocol != PROTOCOL_VERSION || hello.version != self.version;
        let mut acknowledged = self.reports.acknowledged(hello.journal);
        crash_point::crash_point!("link.before_welcome");
        let welcome = ControlFrame::Welcome {
            installation: self.installation,
            acknowledged: *acknowledged.borrow_and_update(),
            token: self.signing.token(node, self.links.epoch(), now)?,
        };
        socket.send(encoded(&welcome)?).await?;
        crash_point::crash_point!("link.after_welcome");
        tracing::info!(node.id = %node, version = hello.version, is_draining, "an agent is connected");
        if is_draining {
            socket.send(encoded(&ControlFrame::Drain)?).await?;
        }
        let reporter = Reporter { node, journal: hello.journal };
        let health = NodeHealth {
            hello,
            connected_at: now,
            last_heard_at: now,
            n_workspaces: 0,
            is_draining,
        };
        let (number, outgoing) = self.links.attach(health);
        let ended = self.converse(socket, reporter, outgoing, acknowledged).await;
        self.links.detach(node, number);
        ended
    }

    async fn converse(
        &self,
        mut socket: Socket,
        reporter: Reporter,
        mut outgoing: tokio::sync::mpsc::Receiver<ControlFrame>,
        mut acknowledged: watch::Receiver<u64>,
    ) -> Result<(), LinkError> {
        let mut silence = Silence::new(SILENCE_PERIOD_MAX);
        loop {
            tokio::select! {
                frame = silence.broken_by(socket.next()) => {
                    let Some(frame) = received(frame?)? else { continue };
                    self.take(reporter, frame).await?;
                }
                frame = outgoing.recv() => {
                    let frame = frame.ok_or(LinkError::Replaced)?;
                    silence.while_telling(socket.send(encoded(&frame)?)).await??;
                }
                changed = acknowledged.changed() => {
                    changed.map_err(|_| LinkError::Closed)?;
                    let number = *acknowledged.borrow_and_update();
                    crash_point::crash_point!("report.before_acknowledge");
                    let told = socket.send(encoded(&ControlFrame::Acknowledge { number })?);
                    silence.while_telling(told).await??;
                }
            }
        }
    }

    async fn take(&self, reporter: Reporter, frame: AgentFrame) -> Result<(), LinkError> {
        let mut n_workspaces = None;
        match frame {
            AgentFrame::Chunk(chunk) => {
                self.hub.chunk(chunk);
                return Ok(());
            }
            AgentFrame::Report { number, report } => {
                self.reports.receive(reporter, number, report).await;
            }
            AgentFrame::Heartbeat { workspaces, .. } => n_workspaces = Some(workspaces),
            AgentFrame::Hello(_) => return Err(LinkError::NoGreeting),
        }
        self.links.heard(reporter.node, self.clock.now(), n_workspaces);
        Ok(())
    }
}

async fn greeted(stream: UnixStream) -> Result<(Socket, Hello), LinkError> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let mut socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    loop {
        match received(socket.next().await)? {
            Some(AgentFrame::Hello(hello)) => return Ok((socket, hello)),
            Some(_) => return Err(LinkError::NoGreeting),
            None => {}
        }
    }
}

fn encoded(frame: &ControlFrame) -> Result<Message, serde_json::Error> {
    Ok(Message::text(serde_json::to_string(frame)?))
}

/// The frame in a message; none for WebSocket's own pings.
fn received(
    message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
) -> Result<Option<AgentFrame>, LinkError> {
    match message.ok_or(LinkError::Closed)?? {
        Message::Text(text) => Ok(Some(serde_json::from_str(&text)?)),
        Message::Close(_) => Err(LinkError::Closed),
        Message::Binary(_) => Err(LinkError::NoGreeting),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
    }
}
