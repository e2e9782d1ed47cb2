//! How long is a chunk on its way from a coding agent's stdout to a WebSocket client?
//!
//! Budget, with 20 sessions that stream 50 chunks a second each: half of them within 5 ms, 99 % within 50 ms,
//! none lost and none twice. One client follows all sessions.
//!
//! The demo agent writes the time into each chunk. In each round all sessions wait for a permission, so that
//! they begin together. The client merges as a browser does: by chunk number, with the recorded item filling
//! what was not streamed; such a chunk counts with the time at which it came.
//!
//! The baseline is as many demo agents under plain `docker exec`, each read by the pipe of its command: no log, no spool,
//! no other programs than the engine's. Both sides take turns, and while one streams the other waits.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _, future::try_join_all};
use serde_json::{Value, json};
use tests::{
    bench::{Figures, Folder, Goal, Samples, run, say},
    plain_agent::Conversation,
    world::{Server, Store, World, id_in, random},
};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, handshake::client::generate_key, http::Request},
};
use uuid::Uuid;

const N_SESSIONS: usize = 20;
const N_ROUNDS: usize = 5;
const N_CHUNKS: usize = 500;
const IMAGE: &str = "sam-base:1";
const P50_MS_MAX: f64 = 5.0;
const P99_MS_MAX: f64 = 50.0;

type Feed = WebSocketStream<TcpStream>;

#[tokio::main]
async fn main() -> Result<()> {
    let slots = N_SESSIONS.to_string();
    let settings = [("SAM_NODE_SLOTS", slots.as_str())];
    let world = World::start_with("bench-stream", Store::Sqlite, &settings).await?;
    let mut feed = connect(world.server()?).await?;
    let mut executions = Vec::new();
    let mut viewers = HashMap::new();
    for _ in 0..N_SESSIONS {
        let (execution, session) = submit(&world).await?;
        executions.push(execution);
        viewers.insert(session, Viewer::default());
        let frame = json!({ "type": "follow", "session": session });
        feed.send(Message::text(frame.to_string())).await?;
    }
    let folder = Folder::new("stream")?;
    let mut plain = Plain::start(&folder)?;
    plain.open().await?;
    let [mut p50, mut p99, mut p50_plain, mut p99_plain]: [Samples; 4] = Default::default();
    let mut totals = Totals::default();
    for round in 1..=N_ROUNDS {
        let asked = all_asked(&mut feed, &mut viewers).await?;
        let answers = try_join_all(asked.iter().map(|asked| allow(&world, asked)));
        let (_, ()) = tokio::try_join!(answers, all_streamed(&mut feed, &mut viewers, round))?;
        let mut latencies = Samples::default();
        for viewer in viewers.values_mut() {
            viewer.close_round(&mut latencies, &mut totals);
        }
        ensure!(!latencies.is_empty(), "nothing was streamed");
        let (half, most) = (latencies.median(), latencies.percentile(99.0));
        let baseline = plain.stream().await?;
        let (half_plain, most_plain) = (baseline.median(), baseline.percentile(99.0));
        say(&format!(
            "round {round}: {} chunks, p50 {half:.2} ms, p99 {most:.2} ms; \
             docker exec {} chunks, p50 {half_plain:.2} ms, p99 {most_plain:.2} ms",
            latencies.len(),
            baseline.len()
        ));
        p50.push(half);
        p99.push(most);
        p50_plain.push(half_plain);
        p99_plain.push(most_plain);
    }
    drop(feed);
    drop(plain);
    for execution in executions {
        let ended = world.ended(execution).await?;
        ensure!(ended["state"] == "done", "an execution failed: {ended:#}");
    }
    world.end().await?;
    let mut figures = Figures::default();
    figures.add("stream/p50", p50.median(), "ms", Goal::AtMost(P50_MS_MAX));
    figures.add("stream/p99", p99.median(), "ms", Goal::AtMost(P99_MS_MAX));
    figures.add("stream/docker_exec_p50", p50_plain.median(), "ms", Goal::None);
    figures.add("stream/docker_exec_p99", p99_plain.median(), "ms", Goal::None);
    figures.add("stream/lost", totals.n_lost, "chunks", Goal::AtMost(0.0));
    figures.add("stream/twice", totals.n_twice, "chunks", Goal::AtMost(0.0));
    figures.close()
}

/// The baseline: a container for each session, and in each a demo agent under `docker exec`.
struct Plain {
    containers: Vec<String>,
    agents: Vec<(Child, Conversation)>,
}

impl Plain {
    fn start(folder: &Folder) -> Result<Self> {
        let holder = folder.path().join("holder");
        fs::write(&holder, agent::holder::BINARY)?;
        fs::set_permissions(&holder, fs::Permissions::from_mode(0o755))?;
        let volume = format!("{}:/holder:ro", holder.display());
        // From here on what was started goes with this, also after an error.
        let mut plain = Self { containers: Vec::new(), agents: Vec::new() };
        for _ in 0..N_SESSIONS {
            let name = format!("sam-bench-stream-{}", random());
            let started = ["run", "--detach", "--rm", "--name", &name, "--volume", &volume];
            let command = ["--entrypoint", "sleep", IMAGE, "infinity"];
            run("docker", &[started.as_slice(), &command].concat())?;
            plain.containers.push(name);
        }
        for name in &plain.containers {
            let mut child = Command::new("docker")
                .args(["exec", "--interactive", "--env", "SAM_HOLDER_DIR=/tmp/holder", name])
                .args(["/holder", "demo-agent"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let conversation = Conversation::with(&mut child)?;
            plain.agents.push((child, conversation));
        }
        Ok(plain)
    }

    async fn open(&mut self) -> Result<()> {
        for (_, conversation) in &mut self.agents {
            conversation.open("/tmp").await?;
        }
        Ok(())
    }

    /// A round: all stream at once.
    async fn stream(&mut self) -> Result<Samples> {
        let streams = self.agents.iter_mut().map(|(_, conversation)| async move {
            let id = conversation.prompt(&format!("stream: {N_CHUNKS} 50")).await?;
            let mut latencies = Vec::new();
            let heard = conversation.hear(|said| {
                let now = now_micros();
                let text = said["params"]["update"]["content"]["text"].as_str();
                let written = text.and_then(|text| text.trim_end().split_once(' '));
                if let Some(Ok(written)) = written.map(|(_, written)| written.parse::<u128>()) {
                    latencies.push(since_ms(now, written));
                }
                said["id"] == id
            });
            heard.await?;
            Ok::<_, anyhow::Error>(latencies)
        });
        let mut samples = Samples::default();
        try_join_all(streams).await?.into_iter().flatten().for_each(|ms| samples.push(ms));
        ensure!(!samples.is_empty(), "nothing was streamed under docker exec");
        Ok(samples)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        for name in &self.containers {
            if let Err(error) = run("docker", &["rm", "--force", name]) {
                say(&format!("{name} stays: {error:#}"));
            }
        }
    }
}

async fn submit(world: &World) -> Result<(Uuid, Uuid)> {
    let round = format!("ask: go on?\nstream: {N_CHUNKS} 50\n");
    let body = json!({
        "idea": random(), "description": round.repeat(N_ROUNDS), "stage": "executing",
        "codingAgent": "demo", "permissions": "ask",
    });
    let path = format!("projects/{}/ideas", world.project);
    let accepted = world.server()?.post(&path, &body).await?;
    Ok((id_in(&accepted, "execution")?, id_in(&accepted, "session")?))
}

async fn connect(server: &Server) -> Result<Feed> {
    let host = format!("api.sam.localhost:{}", server.address.port());
    let request = Request::get(format!("ws://{host}/api/live"))
        .header("Host", host)
        .header("Authorization", format!("Bearer {}", server.token()))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", generate_key())
        .body(())?;
    let stream = TcpStream::connect(server.address).await?;
    stream.set_nodelay(true)?;
    Ok(client_async(request, stream).await?.0)
}

/// A permission that somebody waits for.
#[derive(Clone)]
struct Asked {
    session: Uuid,
    request: Uuid,
    option: String,
}

async fn allow(world: &World, asked: &Asked) -> Result<()> {
    let path = format!("sessions/{}/permissions/{}", asked.session, asked.request);
    world.server()?.post(&path, &json!({ "option": asked.option })).await?;
    Ok(())
}

/// Reads until every session waits for a permission that nobody has given yet.
async fn all_asked(feed: &mut Feed, viewers: &mut HashMap<Uuid, Viewer>) -> Result<Vec<Asked>> {
    while viewers.values().any(|viewer| viewer.asked.is_none()) {
        take(feed, viewers).await?;
    }
    Ok(viewers.values_mut().filter_map(|viewer| viewer.asked.take()).collect())
}

/// Reads until every session has streamed all of a round, or is beyond it.
async fn all_streamed(
    feed: &mut Feed,
    viewers: &mut HashMap<Uuid, Viewer>,
    round: usize,
) -> Result<()> {
    let is_beyond = |viewer: &Viewer| {
        viewer.seen.len() >= N_CHUNKS
            || viewer.asked.is_some()
            || (round == N_ROUNDS && viewer.has_ended)
    };
    while !viewers.values().all(is_beyond) {
        take(feed, viewers).await?;
    }
    Ok(())
}

async fn take(feed: &mut Feed, viewers: &mut HashMap<Uuid, Viewer>) -> Result<()> {
    let message = feed.next().await.context("the live feed was closed")??;
    let now = now_micros();
    let Message::Text(text) = message else { return Ok(()) };
    let frame: Value = serde_json::from_str(&text)?;
    if frame["type"] == "lagging" {
        bail!("the client was too slow for the feed");
    }
    let session = frame["session"].as_str().and_then(|id| id.parse().ok());
    let Some(session): Option<Uuid> = session else { return Ok(()) };
    if let Some(viewer) = viewers.get_mut(&session) {
        viewer.take(session, &frame, now);
    }
    Ok(())
}

#[derive(Default)]
struct Totals {
    n_lost: f64,
    n_twice: f64,
}

/// What the client has of one session.
#[derive(Default)]
struct Viewer {
    messages: HashMap<String, Merged>,
    asked: Option<Asked>,
    answered: BTreeSet<Uuid>,
    has_ended: bool,
    /// Numbers of this round.
    seen: BTreeSet<u32>,
    latencies_ms: Vec<f64>,
    n_twice: u32,
}

/// A message, as far as it came.
#[derive(Default)]
struct Merged {
    n_chunks: u64,
    /// The beginning of a line whose end has not come.
    n_bytes_read: usize,
    text: String,
}

impl Viewer {
    fn take(&mut self, session: Uuid, frame: &Value, now: u128) {
        match frame["type"].as_str() {
            Some("chunk") => {
                let message = frame["message"].as_str().unwrap_or_default();
                let number = frame["chunk"].as_u64().unwrap_or_default();
                let text = frame["text"].as_str().unwrap_or_default();
                let merged = self.messages.entry(message.to_owned()).or_default();
                if number == merged.n_chunks {
                    merged.n_chunks += 1;
                    merged.text.push_str(text);
                    self.read(message, now);
                }
            }
            Some("open") => {
                for open in frame["messages"].as_array().into_iter().flatten() {
                    let first = open["firstChunk"].as_u64().unwrap_or_default();
                    let message = open["message"].as_str().unwrap_or_default();
                    if first == 0 {
                        self.replace(message, open, now);
                    }
                }
            }
            Some("item") => self.item(session, &frame["item"], now),
            Some("changed") => self.has_ended |= frame["event"] == "session/turn_ended",
            _ => {}
        }
    }

    fn item(&mut self, session: Uuid, item: &Value, now: u128) {
        match item["item"].as_str() {
            Some("message") if item["author"] == "agent" => {
                let key = item["key"].as_str().unwrap_or_default();
                // The key names the message behind its kind.
                let message = key.rsplit(['/', ':', ' ']).next().unwrap_or_default().to_owned();
                self.replace(&message, item, now);
            }
            Some("permission") if item["answer"].is_null() => {
                let request = item["request"].as_str().and_then(|id| id.parse().ok());
                let option = item["options"][0]["id"].as_str();
                if let (Some(request), Some(option)) = (request, option)
                    && self.answered.insert(request)
                {
                    self.asked = Some(Asked { session, request, option: option.to_owned() });
                }
            }
            _ => {}
        }
    }

    fn replace(&mut self, message: &str, whole: &Value, now: u128) {
        let n_chunks = whole["nChunks"].as_u64().unwrap_or_default();
        let merged = self.messages.entry(message.to_owned()).or_default();
        if n_chunks > merged.n_chunks {
            merged.n_chunks = n_chunks;
            merged.text = whole["text"].as_str().unwrap_or_default().to_owned();
            self.read(message, now);
        }
    }

    /// Reads the lines that are new: a number, and when it was written.
    fn read(&mut self, message: &str, now: u128) {
        let Some(merged) = self.messages.get_mut(message) else { return };
        let new = merged.text.get(merged.n_bytes_read..).unwrap_or_default();
        let whole = new.rfind('\n').map_or(0, |end| end + 1);
        for line in new[..whole].lines() {
            let Some((number, written)) = line.split_once(' ') else { continue };
            let (Ok(number), Ok(written)) = (number.parse(), written.parse::<u128>()) else {
                continue;
            };
            if self.seen.insert(number) {
                self.latencies_ms.push(since_ms(now, written));
            } else {
                self.n_twice += 1;
            }
        }
        merged.n_bytes_read += whole;
    }

    fn close_round(&mut self, latencies: &mut Samples, totals: &mut Totals) {
        self.latencies_ms.drain(..).for_each(|latency| latencies.push(latency));
        totals.n_lost += N_CHUNKS.saturating_sub(self.seen.len()) as f64;
        totals.n_twice += f64::from(std::mem::take(&mut self.n_twice));
        self.seen.clear();
    }
}

#[expect(clippy::disallowed_methods, reason = "the demo agent writes the machine's time, too")]
fn now_micros() -> u128 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros())
}

fn since_ms(now: u128, written: u128) -> f64 {
    f64::from(u32::try_from(now.saturating_sub(written)).unwrap_or(u32::MAX)) / 1000.0
}
