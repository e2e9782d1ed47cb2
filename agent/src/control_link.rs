//! The agent's one connection: a WebSocket that it dials itself.
//!
//! Orders come in; reports from the outbox and live chunks go out. Reports are read from the
//! journal in their order, again from the acknowledged number after every reconnect. Chunks are best
//! effort: what does not fit into the queue, or comes while nobody is connected, is dropped, since
//! the same text follows in a report.
//!
//! Invariant: no order is taken before the welcome's token was verified, nor after it expired.

use std::{path::Path, sync::Arc, time::Duration};

use domain::{
    agent_protocol::{AgentFrame, ControlFrame, Hello, LiveChunk, Order, PROTOCOL_VERSION},
    ids::{InstallationId, NodeId},
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    net::UnixStream,
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::WebSocketConfig},
};
use uuid::Uuid;

use crate::{
    clock,
    config::ControlAddress,
    crash_point,
    engine::Engine,
    journal::{Journal, JournalError},
    token::{ControlKey, TokenError},
};

/// Longest frame either way: a prompt, or a result with its diff.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many live chunks wait for a slow control plane before new ones are dropped.
pub const CHUNKS_WAITING_MAX: usize = 1024;
/// How many reports are read from the journal at once.
const REPORTS_PER_READ: u32 = 64;
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(60);
const HANDSHAKE_PERIOD_MAX: Duration = Duration::from_secs(10);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(15);
/// A connection that lived this long was a good one: the next attempt starts without delay.
const GOOD_CONNECTION_PERIOD: Duration = Duration::from_secs(30);

/// Something from the control plane for the rest of the agent.
#[derive(Debug)]
pub enum FromControl {
    Order { key: Uuid, epoch: u64, order: Box<Order> },
    Drain,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the control plane cannot be reached: {0}")]
    Unreachable(#[from] std::io::Error),
    #[error("the connection broke: {0}")]
    Broken(Box<tokio_tungstenite::tungstenite::Error>),
    #[error("the control plane closed the connection")]
    Closed,
    #[error("the control plane did not answer in time")]
    Silent,
    #[error("the control plane sent something unreadable: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("the control plane said something else before its welcome")]
    NoWelcome,
    #[error("this node belongs to installation {ours}, not to {theirs}")]
    Foreign { ours: InstallationId, theirs: InstallationId },
    #[error("the control plane's epoch {shown} is below {highest}, which this node has seen")]
    Stale { shown: u64, highest: u64 },
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the control plane's token has expired")]
    Expired,
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the agent is leaving")]
    Leaving,
}

impl From<tokio_tungstenite::tungstenite::Error> for LinkError {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Self {
        Self::Broken(Box::new(error))
    }
}

/// Who calls, and whom.
#[derive(Clone)]
pub struct LinkConfig {
    pub address: ControlAddress,
    pub node: NodeId,
    pub installation: InstallationId,
    pub key: ControlKey,
    pub slots: u8,
}

/// The actor that keeps the connection.
pub struct ControlLink {
    pub config: LinkConfig,
    pub journal: Journal,
    pub engine: Arc<dyn Engine>,
    pub orders: mpsc::Sender<FromControl>,
    pub chunks: mpsc::Receiver<LiveChunk>,
    /// How many workspaces there are, for heartbeats.
    pub n_workspaces: watch::Receiver<u32>,
    /// Whether a control plane is connected.
    pub is_connected: watch::Sender<bool>,
}

type Socket = WebSocketStream<UnixStream>;

impl ControlLink {
    /// Dials again and again until the agent leaves.
    pub async fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        loop {
            let began = Instant::now();
            let ended = self.connect_once().await;
            self.is_connected.send_replace(false);
            match ended {
                Err(LinkError::Leaving) => return,
                Err(error @ LinkError::Unreachable(_)) => {
                    tracing::debug!(%error, "no control plane");
                }
                Err(error) => tracing::warn!(%error, "the link to the control plane ended"),
                Ok(never) => match never {},
            }
            if began.elapsed() >= GOOD_CONNECTION_PERIOD {
                backoff = BACKOFF_MIN;
            }
            if self.wait(jittered(backoff)).await.is_err() {
                return;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Lets time pass while nobody is connected; chunks fall away meanwhile.
    async fn wait(&mut self, period: Duration) -> Result<(), LinkError> {
        let until = Instant::now() + period;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return Ok(()),
                () = self.orders.closed() => return Err(LinkError::Leaving),
                chunk = self.chunks.recv() => {
                    chunk.ok_or(LinkError::Leaving)?;
                }
            }
        }
    }

    async fn connect_once(&mut self) -> Result<std::convert::Infallible, LinkError> {
        let ControlAddress::Unix(path) = &self.config.address;
        let mut socket = tokio::time::timeout(HANDSHAKE_PERIOD_MAX, dial(path))
            .await
            .map_err(|_| LinkError::Silent)??;
        let engine = self.engine.version().await.ok().map(|version| version.to_string());
        let hello = AgentFrame::Hello(Hello {
            node: self.config.node,
            journal: self.journal.id(),
            protocol: PROTOCOL_VERSION,
            version: crate::VERSION.to_string(),
            engine,
            slots: self.config.slots,
        });
        socket.send(encoded(&hello)?).await?;
        let welcomed = tokio::time::timeout(HANDSHAKE_PERIOD_MAX, self.welcome(&mut socket));
        let (acknowledged, expires) = welcomed.await.map_err(|_| LinkError::Silent)??;
        crash_point!("agent.link.after_welcome");
        tracing::info!(acknowledged, "connected to the control plane");
        self.is_connected.send_replace(true);
        self.converse(socket, acknowledged, expires).await
    }

    /// Waits for a welcome and believes it only with a valid token.
    async fn welcome(&self, socket: &mut Socket) -> Result<(u64, Instant), LinkError> {
        let Some(frame) = received(socket.next().await)? else { return Err(LinkError::NoWelcome) };
        let ControlFrame::Welcome { installation, acknowledged, token } = frame else {
            return Err(LinkError::NoWelcome);
        };
        if installation != self.config.installation {
            let (ours, theirs) = (self.config.installation, installation);
            return Err(LinkError::Foreign { ours, theirs });
        }
        let claims = self.config.key.verify(&token)?;
        let highest = self.journal.epoch().await?;
        if claims.epoch < highest {
            return Err(LinkError::Stale { shown: claims.epoch, highest });
        }
        self.journal.acknowledge(acknowledged).await?;
        let left = u64::try_from(claims.exp - clock::now().timestamp()).unwrap_or(0);
        // A token without end is one of a year: enough, and no overflow of the clock.
        let left = Duration::from_secs(left.min(365 * 24 * 3600));
        Ok((acknowledged, Instant::now() + left))
    }

    async fn converse(
        &mut self,
        mut socket: Socket,
        mut sent: u64,
        expires: Instant,
    ) -> Result<std::convert::Infallible, LinkError> {
        let mut outbox = self.journal.watch();
        let mut heartbeat = tokio::time::interval(HEARTBEAT_PERIOD);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        sent = self.send_reports(&mut socket, sent).await?;
        loop {
            tokio::select! {
                frame = socket.next() => self.take(received(frame)?).await?,
                changed = outbox.changed() => {
                    changed.map_err(|_| LinkError::Leaving)?;
                    sent = self.send_reports(&mut socket, sent).await?;
                }
                chunk = self.chunks.recv() => {
                    self.send_chunks(&mut socket, chunk.ok_or(LinkError::Leaving)?).await?;
                }
                _ = heartbeat.tick() => {
                    let workspaces = *self.n_workspaces.borrow();
                    let beat = AgentFrame::Heartbeat { at: clock::now(), workspaces };
                    socket.send(encoded(&beat)?).await?;
                }
                () = tokio::time::sleep_until(expires) => return Err(LinkError::Expired),
                () = self.orders.closed() => return Err(LinkError::Leaving),
            }
        }
    }

    /// Sends what the outbox holds above `sent`, and says how far that was.
    async fn send_reports(&self, socket: &mut Socket, mut sent: u64) -> Result<u64, LinkError> {
        loop {
            let reports = self.journal.reports_after(sent, REPORTS_PER_READ).await?;
            if reports.is_empty() {
                return Ok(sent);
            }
            for (number, report) in reports {
                socket.feed(encoded(&AgentFrame::Report { number, report })?).await?;
                sent = number;
            }
            socket.flush().await?;
            crash_point!("agent.link.after_report_sent");
        }
    }

    /// Sends a chunk and whatever else waits, in one write.
    async fn send_chunks(
        &mut self,
        socket: &mut Socket,
        first: LiveChunk,
    ) -> Result<(), LinkError> {
        let mut next = Some(first);
        while let Some(chunk) = next {
            socket.feed(encoded(&AgentFrame::Chunk(chunk))?).await?;
            next = self.chunks.try_recv().ok();
        }
        Ok(socket.flush().await?)
    }

    async fn take(&self, frame: Option<ControlFrame>) -> Result<(), LinkError> {
        let message = match frame {
            None => return Ok(()),
            Some(ControlFrame::Acknowledge { number }) => {
                // Streamed text shares this loop: it does not wait for the disk.
                self.journal.acknowledge_soon(number).await;
                return Ok(());
            }
            Some(ControlFrame::Welcome { .. }) => return Err(LinkError::NoWelcome),
            Some(ControlFrame::Order { key, epoch, order }) => {
                FromControl::Order { key, epoch, order: Box::new(order) }
            }
            Some(ControlFrame::Drain) => FromControl::Drain,
        };
        self.orders.send(message).await.map_err(|_| LinkError::Leaving)
    }
}

async fn dial(path: &Path) -> Result<Socket, LinkError> {
    let stream = UnixStream::connect(path).await?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let (socket, _) =
        tokio_tungstenite::client_async_with_config("ws://localhost/agent", stream, Some(config))
            .await?;
    Ok(socket)
}

fn encoded(frame: &AgentFrame) -> Result<Message, serde_json::Error> {
    Ok(Message::text(serde_json::to_string(frame)?))
}

/// The frame in a message; none for WebSocket's own pings.
fn received(
    message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
) -> Result<Option<ControlFrame>, LinkError> {
    match message.ok_or(LinkError::Closed)?? {
        Message::Text(text) => Ok(Some(serde_json::from_str(&text)?)),
        Message::Close(_) => Err(LinkError::Closed),
        Message::Binary(_) => Err(LinkError::NoWelcome),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
    }
}

/// Between half and the whole of `period`, so that many agents do not come back at once.
fn jittered(period: Duration) -> Duration {
    let [byte] = clock::random_bytes::<1>();
    period / 2 + period / 2 * u32::from(byte) / 255
}
