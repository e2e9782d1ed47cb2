//! The end of the internal socket where the machine is: passes orders to its agent, starts and stops it,
//! and tells of streamed text.
//!
//! All of it is bounded: connections, frames, and what waits to be sent; a follower that does not keep up
//! is cut off by the hub.

use std::{collections::HashMap, fmt, io, sync::Arc, time::Duration};

use domain::{ids::SessionId, values::NodeSpec};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, oneshot},
    time::MissedTickBehavior,
};
use uuid::Uuid;

use crate::{
    agent_link::AgentLinks,
    live_hub::LiveHub,
    provider::Provider,
    replica::{
        channel::{
            self, End, FRAME_BYTES_MAX, HELLO_BYTES_MAX, Receiver, SILENCE_PERIOD_MAX, Sender,
        },
        frames::{GuestFrame, HomeFrame},
    },
    silence::Silence,
    tasks::Tasks,
};

/// Far more replicas than one database carries.
const CONNECTIONS_MAX: usize = 32;
const FRAMES_WAITING_MAX: usize = 1024;
/// How many followed sessions one replica may have at once, over all of its browsers.
const FOLLOWED_MAX: usize = 4096;
const GREETING_PERIOD_MAX: Duration = Duration::from_secs(5);
/// Both ends say something this often; several times nothing means that nobody is there.
pub(super) const BEAT_PERIOD: Duration = Duration::from_secs(2);
const ACCEPT_RETRY_PERIOD: Duration = Duration::from_millis(100);

/// What a home answers with.
pub(crate) struct Home {
    pub(crate) key: [u8; 32],
    pub(crate) links: AgentLinks,
    pub(crate) hub: LiveHub,
    pub(crate) provider: Arc<dyn Provider>,
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").finish_non_exhaustive()
    }
}

impl Home {
    /// Takes calls for ever.
    pub(crate) async fn listen(self: Arc<Self>, listener: TcpListener, tasks: Tasks) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Whoever comes when it is full is hung up on, and calls again.
                    let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
                    let home = Arc::clone(&self);
                    tasks.start("replica connection", async move {
                        if let Err(error) = home.serve(stream).await {
                            tracing::info!(%error, "the connection of another replica ended");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a call of another replica could not be taken");
                    tokio::time::sleep(ACCEPT_RETRY_PERIOD).await;
                }
            }
        }
    }

    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let greeting = async {
            let (sender, mut receiver) = channel::open(stream, &self.key, End::Home).await?;
            match receiver.receive(HELLO_BYTES_MAX).await? {
                GuestFrame::Hello { replica } => Ok((sender, receiver, replica)),
                _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
            }
        };
        let greeted = tokio::time::timeout(GREETING_PERIOD_MAX, greeting).await;
        let (sender, receiver, replica) = greeted.map_err(|_| io::ErrorKind::TimedOut)??;
        tracing::info!(%replica, "another replica is connected");
        let work = Tasks::new();
        let ended = self.converse(sender, receiver, &work).await;
        // With it go the orders that nobody hears the outcome of: they will be given again.
        work.stop().await;
        ended
    }

    async fn converse(
        &self,
        mut sender: Sender,
        receiver: Receiver,
        work: &Tasks,
    ) -> io::Result<()> {
        let (out, mut outgoing) = mpsc::channel(FRAMES_WAITING_MAX);
        let (arrived, mut incoming) = mpsc::channel(FRAMES_WAITING_MAX);
        work.start("replica's frames", receive_all(receiver, arrived));
        let mut conversation = Conversation {
            home: self,
            work,
            out,
            orders: HashMap::new(),
            followed: HashMap::new(),
        };
        let mut changes = self.links.changes();
        let mut beat = tokio::time::interval(BEAT_PERIOD);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silence = Silence::new(SILENCE_PERIOD_MAX);
        loop {
            tokio::select! {
                frame = silence.broken_by(incoming.recv()) => {
                    conversation.take(frame?.ok_or(io::ErrorKind::UnexpectedEof)??);
                }
                Some(frame) = outgoing.recv() => sender.send(&frame).await?,
                _ = beat.tick() => sender.send(&self.nodes()).await?,
                Ok(()) = changes.changed() => sender.send(&self.nodes()).await?,
            }
        }
    }

    fn nodes(&self) -> HomeFrame {
        HomeFrame::Nodes { nodes: self.links.all(), trouble: self.provider.trouble() }
    }
}

/// Reads frames to the end of a connection. Apart from everything else, since a frame that is read half
/// must be read on.
pub(super) async fn receive_all<T: serde::de::DeserializeOwned>(
    mut receiver: Receiver,
    arrived: mpsc::Sender<io::Result<T>>,
) {
    loop {
        let frame = receiver.receive(FRAME_BYTES_MAX).await;
        let is_last = frame.is_err();
        if arrived.send(frame).await.is_err() || is_last {
            return;
        }
    }
}

/// What one other replica wants at this moment.
struct Conversation<'a> {
    home: &'a Home,
    work: &'a Tasks,
    out: mpsc::Sender<HomeFrame>,
    /// Orders by their keys; dropping the sender lets the agent forget the outcome.
    orders: HashMap<Uuid, oneshot::Sender<()>>,
    /// Dropping the sender ends the following.
    followed: HashMap<u64, oneshot::Sender<()>>,
}

impl Conversation<'_> {
    fn take(&mut self, frame: GuestFrame) {
        match frame {
            GuestFrame::Hello { .. } | GuestFrame::Beat => {}
            GuestFrame::Order { node, key, epoch, order } => {
                self.home.links.saw_epoch(epoch);
                if self.orders.contains_key(&key) {
                    return;
                }
                let (recorded, is_recorded) = oneshot::channel();
                self.orders.insert(key, recorded);
                let (links, out) = (self.home.links.clone(), self.out.clone());
                self.work.start("order of another replica", async move {
                    let settled = links.order(node, key, epoch, order).await;
                    let outcome = settled.outcome.clone();
                    if out.send(HomeFrame::Settled { node, key, outcome }).await.is_ok() {
                        // Either way the outcome is dealt with.
                        let _ = is_recorded.await;
                    }
                    drop(settled);
                });
            }
            GuestFrame::Recorded { key } => drop(self.orders.remove(&key)),
            GuestFrame::StartNode { number, node, spec } => self.start_node(number, node, spec),
            GuestFrame::StopNode { number, node } => {
                let (provider, out) = (Arc::clone(&self.home.provider), self.out.clone());
                self.work.start("stop for another replica", async move {
                    let refusal = provider.stop(node).await.err().map(|error| error.to_string());
                    let _ = out.send(HomeFrame::Provided { number, refusal }).await;
                });
            }
            GuestFrame::Follow { number, session } => self.follow(number, session),
            GuestFrame::Unfollow { number } => drop(self.followed.remove(&number)),
        }
    }

    fn start_node(&self, number: u64, node: domain::ids::NodeId, spec: NodeSpec) {
        let (provider, out) = (Arc::clone(&self.home.provider), self.out.clone());
        self.work.start("start for another replica", async move {
            let refusal = provider.start(node, &spec).await.err().map(|error| error.to_string());
            // Nobody is there to hear it when the connection has gone.
            let _ = out.send(HomeFrame::Provided { number, refusal }).await;
        });
    }

    fn follow(&mut self, number: u64, session: SessionId) {
        self.followed.retain(|_, end| !end.is_closed());
        let (end, ended) = oneshot::channel::<()>();
        let out = self.out.clone();
        if self.followed.len() >= FOLLOWED_MAX {
            self.work.start("refused following", async move {
                let _ = out.send(HomeFrame::CutOff { number }).await;
            });
            return;
        }
        self.followed.insert(number, end);
        let mut following = self.home.hub.follow(session);
        self.work.start("following of another replica", async move {
            let tell = async {
                let open = std::mem::take(&mut following.open);
                out.send(HomeFrame::Open { number, open }).await.ok()?;
                while let Some(chunk) = following.next().await {
                    out.send(HomeFrame::Chunk { number, chunk }).await.ok()?;
                }
                out.send(HomeFrame::CutOff { number }).await.ok()
            };
            tokio::select! {
                _ = ended => {}
                _ = tell => {}
            }
        });
    }
}
