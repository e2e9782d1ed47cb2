//! A page that is open on one replica, and opens again when that replica goes away.
//!
//! It merges as browsers do, and fails when what was streamed is not the beginning of what the log says.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tests::world::PATIENCE;
use tokio::{sync::watch, time::Instant};
use tokio_tungstenite::tungstenite::{Message, handshake::client::generate_key, http::Request};
use uuid::Uuid;

use super::{HOST, ORIGIN};

/// Far longer than the pings of the server are apart.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// A message as it is on the screen.
#[derive(Debug, Default)]
struct Shown {
    text: String,
    /// Where each chunk began; none inside of a text that came as a whole.
    starts: Vec<Option<usize>>,
    is_complete: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    messages: BTreeMap<String, Shown>,
    /// Chunks that came ahead of the log.
    pub(crate) n_chunks: usize,
    pub(crate) n_connections: usize,
    /// The last position that was announced; 0 before the first.
    position: u64,
}

impl Seen {
    /// Messages with their texts, and whether they are complete.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        let texts = self.messages.iter();
        texts.map(|(key, shown)| (key.as_str(), shown.text.as_str(), shown.is_complete))
    }

    fn take(&mut self, frame: &Value) -> Result<()> {
        match frame["type"].as_str() {
            Some("chunk") => {
                self.n_chunks += 1;
                let shown = self.message(&frame["message"]);
                let number = usize::try_from(frame["chunk"].as_u64().context("a number")?)?;
                // One that was merged before is passed over; one after a gap comes through the log.
                if number == shown.starts.len() && !shown.is_complete {
                    shown.starts.push(Some(shown.text.len()));
                    shown.text.push_str(frame["text"].as_str().context("a text")?);
                }
            }
            Some("open") => {
                for open in frame["messages"].as_array().context("a list")? {
                    let first = usize::try_from(open["firstChunk"].as_u64().context("first")?)?;
                    let next = usize::try_from(open["nChunks"].as_u64().context("next")?)?;
                    let text = open["text"].as_str().context("a text")?;
                    let shown = self.message(&open["message"]);
                    let Some(start) = shown.start_of(first).filter(|_| !shown.is_complete) else {
                        continue;
                    };
                    if next >= shown.starts.len() {
                        ensure!(
                            text.starts_with(&shown.text[start..]),
                            "{text:?} does not go on with {:?}",
                            &shown.text[start..]
                        );
                        shown.text.truncate(start);
                        shown.text.push_str(text);
                        shown.starts.truncate(first);
                        shown.starts.push(Some(start));
                        shown.starts.resize(next, None);
                    }
                }
            }
            Some("item") if frame["item"]["item"] == "message" => {
                let item = &frame["item"];
                let key = item["key"].as_str().context("a key")?;
                let key = json!(key.rsplit('/').next());
                let text = item["text"].as_str().unwrap_or_default();
                let n_chunks = usize::try_from(item["nChunks"].as_u64().unwrap_or_default())?;
                let is_complete = item["isComplete"] == true;
                let shown = self.message(&key);
                if n_chunks >= shown.starts.len() || is_complete {
                    ensure!(
                        text.starts_with(&shown.text),
                        "the log says {text:?} where {:?} was streamed",
                        shown.text
                    );
                    shown.text = text.to_owned();
                    shown.starts.resize(n_chunks.max(shown.starts.len()), None);
                    shown.is_complete |= is_complete;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn message(&mut self, key: &Value) -> &mut Shown {
        self.messages.entry(key.as_str().unwrap_or_default().to_owned()).or_default()
    }
}

impl Shown {
    /// Where a chunk begins, if it follows on what is there or is a part of it whose beginning is known.
    fn start_of(&self, chunk: usize) -> Option<usize> {
        match self.starts.get(chunk) {
            _ if chunk == 0 => Some(0),
            Some(start) => *start,
            None if chunk == self.starts.len() => Some(self.text.len()),
            None => None,
        }
    }
}

/// What a page needs to open.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Where its replica is at the moment.
    pub(crate) address: watch::Receiver<SocketAddr>,
    pub(crate) cookie: Arc<String>,
    pub(crate) session: Uuid,
    pub(crate) execution: Uuid,
    /// Where to resume from at first.
    pub(crate) after: u64,
    /// Counts the chunks that all pages of this replica saw.
    pub(crate) n_chunks: watch::Sender<usize>,
}

/// Watches until the execution is over, whatever happens to the replica meanwhile.
pub(crate) async fn view(page: Page) -> Result<Seen> {
    let mut seen = Seen::default();
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        match watch_once(&page, &mut seen).await {
            Ok(true) => return Ok(seen),
            Err(error) if error.is::<Broken>() => return Err(error),
            // The replica went away: open the page again.
            Ok(false) | Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
        if Instant::now() > deadline {
            bail!("the page never saw the end: {seen:?}");
        }
    }
}

/// What was shown was wrong: no reason to try again.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the page shows something wrong")
    }
}

async fn watch_once(page: &Page, seen: &mut Seen) -> Result<bool> {
    let address = *page.address.borrow();
    let request = Request::builder()
        .uri(format!("ws://{address}/api/live?after={}", seen.position.max(page.after)))
        .header("host", HOST)
        .header("origin", ORIGIN)
        .header("cookie", page.cookie.as_str())
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key())
        .body(())?;
    let connecting = tokio_tungstenite::connect_async(request);
    let (mut socket, _) = tokio::time::timeout(Duration::from_secs(5), connecting).await??;
    seen.n_connections += 1;
    let follow = json!({ "type": "follow", "session": page.session });
    socket.send(Message::text(follow.to_string())).await?;
    loop {
        let message = tokio::time::timeout(SILENCE_MAX, socket.next()).await?;
        let Message::Text(text) = message.context("the feed was closed")?? else { continue };
        let frame: Value = serde_json::from_str(&text)?;
        let n_chunks = seen.n_chunks;
        seen.take(&frame).context(Broken)?;
        page.n_chunks.send_modify(|n| *n += seen.n_chunks - n_chunks);
        if frame["type"] == "changed" {
            seen.position = frame["position"].as_u64().unwrap_or(seen.position);
        }
        if frame["event"] == "execution/done" && frame["execution"] == json!(page.execution) {
            return Ok(true);
        }
    }
}
