//! The end of the internal socket that asks: whoever has the lease gives orders through it, and every
//! replica follows streamed text.
//!
//! The agents at the other end are put among this server's own links: who waits for an agent, or gives
//! it an order, does not see the difference. When the connection breaks they are taken out again, and
//! orders wait for the next one.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{
    agent_protocol::{ControlFrame, LiveChunk},
    ids::{NodeId, SessionId},
};
use projections::replica_list::Replica;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
    time::MissedTickBehavior,
};
use uuid::Uuid;

use crate::{
    agent_link::AgentLinks,
    live_hub::{FOLLOWER_CHUNKS_MAX, Following, OpenMessage},
    replica::{
        channel::{self, End, SILENCE_PERIOD_MAX, Sender},
        frames::{GuestFrame, HomeFrame},
        home::{BEAT_PERIOD, receive_all},
    },
    silence::Silence,
    tasks::Tasks,
};

const FRAMES_WAITING_MAX: usize = 1024;
const CONNECT_PERIOD_MAX: Duration = Duration::from_secs(5);

/// The homes that this server is connected to. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Homes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connected: Mutex<HashMap<Uuid, Connection>>,
    /// Counts connections that came and went.
    changes: watch::Sender<u64>,
    numbers: AtomicU64,
}

#[derive(Debug)]
struct Connection {
    frames: mpsc::Sender<GuestFrame>,
    waiting: HashMap<u64, Waiting>,
    trouble: Option<String>,
}

/// Who waits for an answer.
#[derive(Debug)]
enum Waiting {
    Provided(oneshot::Sender<Option<String>>),
    Opened(oneshot::Sender<Following>),
    Chunks(mpsc::Sender<LiveChunk>),
}

impl Homes {
    pub(crate) fn new() -> Self {
        let shared = Shared {
            connected: Mutex::default(),
            changes: watch::channel(0).0,
            numbers: AtomicU64::new(1),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Counts connections that came and went.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// What is wrong with a machine at this moment, as its home says.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.lock().values().find_map(|connection| connection.trouble.clone())
    }

    /// Asks a home to start or stop its machine; waits until there is one. None: done.
    pub(crate) async fn provide(&self, ask: impl Fn(u64) -> GuestFrame) -> Option<String> {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            if let Some(answer) = self.ask(&ask)
                && let Ok(refusal) = answer.await
            {
                return refusal;
            }
            // It cannot end before `self`, which holds the sender.
            let _ = changes.changed().await;
        }
    }

    fn ask(&self, ask: impl Fn(u64) -> GuestFrame) -> Option<oneshot::Receiver<Option<String>>> {
        let (reply, answer) = oneshot::channel();
        self.send(&ask, Waiting::Provided(reply)).then_some(answer)
    }

    /// Follows a session where its text comes in. None while no home is connected.
    pub(crate) async fn follow(&self, session: SessionId) -> Option<Following> {
        let (reply, answer) = oneshot::channel();
        let asked =
            self.send(|number| GuestFrame::Follow { number, session }, Waiting::Opened(reply));
        if !asked {
            return None;
        }
        answer.await.ok()
    }

    fn send(&self, ask: impl Fn(u64) -> GuestFrame, waiting: Waiting) -> bool {
        let number = self.shared.numbers.fetch_add(1, Ordering::Relaxed);
        let mut connected = self.lock();
        let Some(connection) = connected.values_mut().next() else { return false };
        if connection.frames.try_send(ask(number)).is_err() {
            return false;
        }
        connection.waiting.insert(number, waiting);
        true
    }

    fn connect(&self, home: Uuid, frames: mpsc::Sender<GuestFrame>) {
        let connection = Connection { frames, waiting: HashMap::new(), trouble: None };
        self.lock().insert(home, connection);
        self.shared.changes.send_modify(|changes| *changes += 1);
    }

    /// Whoever waits sees the end of the channel, and asks again. A newer connection to the same home stays.
    fn disconnect(&self, home: Uuid, frames: &mpsc::Sender<GuestFrame>) {
        let mut connected = self.lock();
        if connected.get(&home).is_some_and(|one| one.frames.same_channel(frames)) {
            connected.remove(&home);
        }
        drop(connected);
        self.shared.changes.send_modify(|changes| *changes += 1);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Connection>> {
        self.shared.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, home: Uuid, number: u64, open: Vec<OpenMessage>) {
        let mut connected = self.lock();
        let Some(connection) = connected.get_mut(&home) else { return };
        let Some(Waiting::Opened(reply)) = connection.waiting.remove(&number) else { return };
        let (sender, chunks) = mpsc::channel(FOLLOWER_CHUNKS_MAX);
        if reply.send(Following::elsewhere(open, chunks)).is_ok() {
            connection.waiting.insert(number, Waiting::Chunks(sender));
        } else {
            let _ = connection.frames.try_send(GuestFrame::Unfollow { number });
        }
    }

    fn chunk(&self, home: Uuid, number: u64, chunk: LiveChunk) {
        let mut connected = self.lock();
        let Some(connection) = connected.get_mut(&home) else { return };
        let Some(Waiting::Chunks(sender)) = connection.waiting.get(&number) else { return };
        if sender.try_send(chunk).is_err() {
            // Too slow or gone: its receiver sees the end.
            connection.waiting.remove(&number);
            let _ = connection.frames.try_send(GuestFrame::Unfollow { number });
        }
    }

    fn provided(&self, home: Uuid, number: u64, refusal: Option<String>) {
        let mut connected = self.lock();
        let waiting = connected.get_mut(&home).and_then(|one| one.waiting.remove(&number));
        if let Some(Waiting::Provided(reply)) = waiting {
            // Nobody minds when the asker has gone.
            let _ = reply.send(refusal);
        }
    }

    fn forget(&self, home: Uuid, number: u64) {
        if let Some(connection) = self.lock().get_mut(&home) {
            connection.waiting.remove(&number);
        }
    }

    fn note_trouble(&self, home: Uuid, trouble: Option<String>) {
        if let Some(connection) = self.lock().get_mut(&home) {
            connection.trouble = trouble;
        }
    }
}

/// Calls homes.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) own: Uuid,
    pub(crate) key: [u8; 32],
    pub(crate) links: AgentLinks,
    pub(crate) homes: Homes,
}

impl Caller {
    /// Keeps a conversation with one home until it breaks.
    pub(crate) async fn call(self, home: Replica) {
        let greeting = async {
            let stream = TcpStream::connect(&home.address).await?;
            let (mut sender, receiver) = channel::open(stream, &self.key, End::Guest).await?;
            sender.send(&GuestFrame::Hello { replica: self.own }).await?;
            Ok::<_, io::Error>((sender, receiver))
        };
        let greeted = tokio::time::timeout(CONNECT_PERIOD_MAX, greeting).await;
        let (sender, receiver) = match greeted {
            Ok(Ok(halves)) => halves,
            Ok(Err(error)) => return tracing::debug!(%error, home = %home.id, "no answer"),
            Err(_) => return tracing::debug!(home = %home.id, "no answer in time"),
        };
        let work = Tasks::new();
        let (arrived, incoming) = mpsc::channel(FRAMES_WAITING_MAX);
        work.start("home's frames", receive_all(receiver, arrived));
        let (out, outgoing) = mpsc::channel(FRAMES_WAITING_MAX);
        // Also when this is dropped: whoever waits must not wait for ever.
        let talk = Talk {
            caller: &self,
            home: home.id,
            work: &work,
            out: out.clone(),
            attached: Mutex::default(),
        };
        self.homes.connect(home.id, out);
        let ended = talk.converse(sender, incoming, outgoing).await;
        tracing::info!(home = %home.id, error = ?ended.err(), "the connection to a home ended");
    }
}

/// One conversation with a home.
struct Talk<'a> {
    caller: &'a Caller,
    home: Uuid,
    work: &'a Tasks,
    out: mpsc::Sender<GuestFrame>,
    /// The agents there, with the numbers of their places among the links here.
    attached: Mutex<HashMap<NodeId, u64>>,
}

impl Drop for Talk<'_> {
    fn drop(&mut self) {
        self.caller.homes.disconnect(self.home, &self.out);
        for (node, number) in self.attached().drain() {
            self.caller.links.detach(node, number);
        }
    }
}

impl Talk<'_> {
    fn attached(&self) -> MutexGuard<'_, HashMap<NodeId, u64>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn converse(
        &self,
        mut sender: Sender,
        mut incoming: mpsc::Receiver<io::Result<HomeFrame>>,
        mut outgoing: mpsc::Receiver<GuestFrame>,
    ) -> io::Result<()> {
        let mut beat = tokio::time::interval(BEAT_PERIOD);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silence = Silence::new(SILENCE_PERIOD_MAX);
        loop {
            tokio::select! {
                frame = silence.broken_by(incoming.recv()) => {
                    self.take(frame?.ok_or(io::ErrorKind::UnexpectedEof)??);
                }
                Some(frame) = outgoing.recv() => sender.send(&frame).await?,
                _ = beat.tick() => sender.send(&GuestFrame::Beat).await?,
            }
        }
    }

    fn take(&self, frame: HomeFrame) {
        let (homes, home) = (&self.caller.homes, self.home);
        match frame {
            HomeFrame::Nodes { nodes, trouble } => {
                homes.note_trouble(home, trouble);
                self.compare(nodes);
            }
            HomeFrame::Settled { node, key, outcome } => {
                let recorded = self.caller.links.settle(node, key, outcome);
                let out = self.out.clone();
                self.work.start("outcome from a home", async move {
                    if let Some(recorded) = recorded {
                        // Dropped when the outcome is recorded, or was given up: either way it is done.
                        let _ = recorded.await;
                    }
                    let _ = out.send(GuestFrame::Recorded { key }).await;
                });
            }
            HomeFrame::Provided { number, refusal } => homes.provided(home, number, refusal),
            HomeFrame::Open { number, open } => homes.opened(home, number, open),
            HomeFrame::Chunk { number, chunk } => homes.chunk(home, number, chunk),
            HomeFrame::CutOff { number } => homes.forget(home, number),
        }
    }

    /// Puts the agents that are there among the links, and takes out those that are not.
    fn compare(&self, nodes: Vec<crate::agent_link::NodeHealth>) {
        let links = &self.caller.links;
        let mut attached = self.attached();
        attached.retain(|node, number| {
            let is_there = nodes.iter().any(|health| health.hello.node == *node);
            if !is_there {
                links.detach(*node, *number);
            }
            is_there
        });
        for health in nodes {
            let node = health.hello.node;
            if let Some(number) = attached.get(&node)
                && links.refresh(*number, &health)
            {
                continue;
            }
            let (number, mut frames) = links.attach(health);
            attached.insert(node, number);
            let out = self.out.clone();
            self.work.start("orders to a home", async move {
                while let Some(frame) = frames.recv().await {
                    if let ControlFrame::Order { key, epoch, order } = frame
                        && out.send(GuestFrame::Order { node, key, epoch, order }).await.is_err()
                    {
                        return;
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_ends_late_takes_no_newer_one_with_it() {
        let (homes, home) = (Homes::new(), Uuid::from_u128(1));
        let [(older, _older), (newer, mut sent)] = [(); 2].map(|()| mpsc::channel(4));
        homes.connect(home, older.clone());
        homes.connect(home, newer.clone());
        homes.disconnect(home, &older);
        let ask = |number| GuestFrame::Unfollow { number };
        assert!(homes.ask(ask).is_some() && sent.try_recv().is_ok());
        homes.disconnect(home, &newer);
        assert!(homes.ask(ask).is_none());
    }
}
