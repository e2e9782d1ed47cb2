//! A small control plane: it welcomes, gives orders, keeps what it is told, and acknowledges.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::{
    agent_protocol::{
        AgentFrame, ControlClaims, ControlFrame, Hello, LiveChunk, Order, OrderOutcome, Report,
    },
    ids::{InstallationId, NodeId},
};
use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{mpsc, watch},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};
use uuid::Uuid;

/// Longer than anything takes; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An Ed25519 key made of one repeated byte.
pub(crate) struct Key(Vec<u8>);

impl Key {
    pub(crate) fn of(byte: u8) -> Self {
        let mut der = vec![0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b];
        der.extend([0x65, 0x70, 0x04, 0x22, 0x04, 0x20]);
        der.extend([byte; 32]);
        Self(der)
    }

    fn encoding(&self) -> EncodingKey {
        EncodingKey::from_ed_der(&self.0)
    }

    /// The public half, as the agent gets it in a file.
    pub(crate) fn public_jwk(&self) -> String {
        let jwk = Jwk::from_encoding_key(&self.encoding(), Algorithm::EdDSA).unwrap();
        serde_json::to_string(&jwk).unwrap()
    }

    pub(crate) fn sign(&self, claims: &ControlClaims) -> String {
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &self.encoding()).unwrap()
    }
}

/// What the control plane shows and does; changed while it runs.
#[derive(Clone)]
pub(crate) struct Manner {
    pub(crate) epoch: u64,
    pub(crate) acknowledges: bool,
    pub(crate) token: Arc<dyn Fn(&ControlClaims) -> String + Send + Sync>,
}

/// Everything it was told.
#[derive(Clone, Default)]
pub(crate) struct Heard {
    pub(crate) hellos: Vec<Hello>,
    pub(crate) reports: BTreeMap<u64, Report>,
    /// Numbers in the order of arrival, repetitions included.
    pub(crate) arrivals: Vec<u64>,
    pub(crate) chunks: Vec<LiveChunk>,
    pub(crate) n_heartbeats: u32,
    pub(crate) n_closed: u32,
}

impl Heard {
    pub(crate) fn outcome(&self, wanted: Uuid) -> Option<OrderOutcome> {
        self.reports.values().find_map(|report| match report {
            Report::OrderSettled { key, outcome } if *key == wanted => Some(outcome.clone()),
            _ => None,
        })
    }
}

enum Say {
    Frame(Box<ControlFrame>),
    HangUp,
}

pub(crate) struct ControlPlane {
    heard: watch::Receiver<Heard>,
    say: mpsc::Sender<Say>,
    pub(crate) manner: Arc<Mutex<Manner>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ControlPlane {
    /// Listens; remembers nothing of an earlier life but what `acknowledged` says.
    pub(crate) fn listen(
        socket: &Path,
        installation: InstallationId,
        node: NodeId,
        heard: Heard,
    ) -> Self {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let key = Key::of(7);
        let manner = Manner {
            epoch: 1,
            acknowledges: true,
            token: Arc::new(move |claims| key.sign(claims)),
        };
        let manner = Arc::new(Mutex::new(manner));
        let (tell, heard) = watch::channel(heard);
        let (say, sayings) = mpsc::channel(64);
        let serving =
            Serving { installation, node, manner: Arc::clone(&manner), heard: tell, sayings };
        let task = spawned(serving.run(listener));
        Self { heard, say, manner, task }
    }

    pub(crate) fn heard(&self) -> Heard {
        self.heard.borrow().clone()
    }

    /// Waits until something was heard.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut found: impl FnMut(&Heard) -> Option<T>,
    ) -> T {
        let mut heard = self.heard.clone();
        let waiting = async {
            loop {
                if let Some(found) = found(&heard.borrow_and_update()) {
                    return found;
                }
                heard.changed().await.expect("the control plane runs");
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited
            .unwrap_or_else(|_| panic!("{what} did not come; reports: {:#?}", self.heard().reports))
    }

    pub(crate) async fn connected(&self, n_times: usize) {
        self.until("a hello", |heard| (heard.hellos.len() >= n_times).then_some(())).await;
    }

    pub(crate) async fn give(&self, key: Uuid, order: Order) {
        let epoch = self.manner.lock().unwrap().epoch;
        self.give_under(epoch, key, order).await;
    }

    pub(crate) async fn give_under(&self, epoch: u64, key: Uuid, order: Order) {
        self.say
            .send(Say::Frame(Box::new(ControlFrame::Order { key, epoch, order })))
            .await
            .unwrap();
    }

    pub(crate) async fn say(&self, frame: ControlFrame) {
        self.say.send(Say::Frame(Box::new(frame))).await.unwrap();
    }

    pub(crate) async fn hang_up(&self) {
        self.say.send(Say::HangUp).await.unwrap();
    }

    /// Gives an order and waits for its outcome.
    pub(crate) async fn order(&self, order: Order) -> OrderOutcome {
        let key = Uuid::from_u128(u128::from(rand()));
        self.give(key, order).await;
        self.outcome(key).await
    }

    pub(crate) async fn outcome(&self, key: Uuid) -> OrderOutcome {
        self.until("an outcome", |heard| heard.outcome(key)).await
    }
}

/// Different in every call of one test run; tests need no more.
pub(crate) fn rand() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[expect(clippy::disallowed_methods, reason = "a test's own task")]
pub(crate) fn spawned<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(future)
}

struct Serving {
    installation: InstallationId,
    node: NodeId,
    manner: Arc<Mutex<Manner>>,
    heard: watch::Sender<Heard>,
    sayings: mpsc::Receiver<Say>,
}

impl Serving {
    async fn run(mut self, listener: UnixListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { continue };
            self.converse(socket).await;
            self.heard.send_modify(|heard| heard.n_closed += 1);
        }
    }

    async fn converse(&mut self, mut socket: WebSocketStream<UnixStream>) {
        let mut is_greeted = false;
        loop {
            tokio::select! {
                message = socket.next() => {
                    let Some(Ok(Message::Text(text))) = message else { return };
                    if let Some(frame) = self.answer(serde_json::from_str(&text).unwrap()) {
                        let text = serde_json::to_string(&frame).unwrap();
                        if socket.send(Message::text(text)).await.is_err() {
                            return;
                        }
                        is_greeted = true;
                    }
                }
                say = self.sayings.recv(), if is_greeted => match say {
                    Some(Say::Frame(frame)) => {
                        let text = serde_json::to_string(&frame).unwrap();
                        if socket.send(Message::text(text)).await.is_err() {
                            return;
                        }
                    }
                    Some(Say::HangUp) | None => return,
                },
            }
        }
    }

    fn answer(&self, frame: AgentFrame) -> Option<ControlFrame> {
        let manner = self.manner.lock().unwrap().clone();
        let mut answer = None;
        self.heard.send_modify(|heard| match frame {
            AgentFrame::Hello(hello) => {
                heard.hellos.push(hello);
                let claims = self.claims(manner.epoch);
                let acknowledged = if manner.acknowledges {
                    heard.reports.keys().next_back().copied().unwrap_or(0)
                } else {
                    0
                };
                let token = (manner.token)(&claims);
                let installation = self.installation;
                answer = Some(ControlFrame::Welcome { installation, acknowledged, token });
            }
            AgentFrame::Report { number, report } => {
                heard.arrivals.push(number);
                let known = heard.reports.insert(number, report.clone());
                assert!(known.is_none_or(|known| known == report), "a number was used twice");
                answer = manner.acknowledges.then_some(ControlFrame::Acknowledge { number });
            }
            AgentFrame::Chunk(chunk) => heard.chunks.push(chunk),
            AgentFrame::Heartbeat { .. } => heard.n_heartbeats += 1,
        });
        answer
    }

    fn claims(&self, epoch: u64) -> ControlClaims {
        ControlClaims {
            iss: format!("sam:{}", self.installation),
            aud: "sam-agent".into(),
            sub: self.node.to_string(),
            epoch,
            exp: agent::clock::now().timestamp() + 3600,
        }
    }
}
