//! A model that follows a script: enough of the Anthropic Messages API for Claude Code to work with.
//!
//! Which step comes next follows from the conversation that the request carries: as many steps are
//! done as it has tool results after the newest prompt. So it keeps no state, and a request that is
//! repeated gets the same answer. Requests without tools, for titles and the like, get a word, or what a
//! script of their own says.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What the model does in answer to one request.
#[derive(Clone, Debug)]
pub enum Step {
    /// Calls one of the coding agent's own tools.
    Tool { name: String, input: Value },
    /// Says something and ends its turn.
    Say(String),
}

/// What comes of one request without tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Say(String),
    /// Fails with a status of HTTP.
    Fail(u16),
    /// Sends this with status 200.
    Send(Vec<u8>),
    /// Sends this instead of an answer of HTTP, and hangs up.
    Break,
    /// No answer, ever.
    Hang,
}

/// The last one is for all requests from then on; without any they get a word.
type Replies = Arc<Mutex<VecDeque<Reply>>>;

/// A model server on loopback, while it lives.
pub struct ScriptedModel {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    replies: Replies,
    _connections: JoinSet<()>,
}

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method and path.
    pub line: String,
    /// The `x-api-key` header, or the bearer token.
    pub key: Option<String>,
    /// The name of the model that is wanted.
    pub model: Option<String>,
    /// The text, where a request has only one and nothing around it.
    pub text: Option<String>,
}

impl ScriptedModel {
    /// Listens on a free port of loopback, or of the address that containers reach.
    pub async fn start(host: &str, steps: Vec<Step>) -> io::Result<Self> {
        let listener = TcpListener::bind((host, 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let replies = Replies::default();
        let script = Arc::new(Script { steps, seen: seen.clone(), replies: replies.clone() });
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let script = script.clone();
                connections.spawn(async move {
                    // A client that goes away in the middle is its own business.
                    let _ = serve(stream, &script).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, seen, replies, _connections: accepting })
    }

    /// What requests without tools get from now on.
    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        *lock(&self.replies) = replies.into_iter().collect();
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }

    /// The usual script: write `hello.txt` below `directory`, look at it, say so.
    pub fn hello(directory: &str) -> Vec<Step> {
        let path = format!("{directory}/hello.txt");
        vec![
            Step::Tool {
                name: "Write".to_string(),
                input: json!({ "file_path": path, "content": "hello\n" }),
            },
            Step::Tool {
                name: "Bash".to_string(),
                input: json!({ "command": "cat hello.txt > copy.txt", "description": "Copy it" }),
            },
            Step::Say("I wrote hello.txt and copied it.".to_string()),
        ]
    }
}

/// What all connections share.
struct Script {
    steps: Vec<Step>,
    seen: Arc<Mutex<Vec<Seen>>>,
    replies: Replies,
}

impl Script {
    /// What a request without tools gets, if there is a script for those.
    fn reply_to(&self, line: &str, request: &Value) -> Option<Reply> {
        if !line.ends_with("/messages") || has_tools(request) {
            return None;
        }
        let mut replies = lock(&self.replies);
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(stream: TcpStream, script: &Script) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let (mut n_bytes, mut key) = (0, None);
    loop {
        let mut header = String::new();
        if stream.read_line(&mut header).await? == 0 || header.trim().is_empty() {
            break;
        }
        let Some((name, value)) = header.trim().split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => n_bytes = value.trim().parse().unwrap_or(0),
            "x-api-key" => key = Some(value.trim().to_string()),
            "authorization" => key = value.trim().strip_prefix("Bearer ").map(str::to_string),
            _ => {}
        }
    }
    let mut body = vec![0; n_bytes];
    stream.read_exact(&mut body).await?;
    let line = line.trim().trim_end_matches(" HTTP/1.1").to_string();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text_of = |value: &Value| value.as_str().map(str::to_owned);
    let (model, text) = (text_of(&body["model"]), text_of(&body["messages"][0]["content"]));
    lock(&script.seen).push(Seen { line: line.clone(), key, model, text });
    let reply = script.reply_to(&line, &body);
    let (status, kind, answer) = match reply {
        None => {
            let (kind, answer) = answer(&line, &body, &script.steps);
            (200, kind, answer.into_bytes())
        }
        Some(Reply::Say(text)) => {
            let said = said(&body, &Step::Say(text)).to_string();
            (200, "application/json", said.into_bytes())
        }
        Some(Reply::Fail(status)) => (status, "application/json", b"{}".to_vec()),
        Some(Reply::Send(bytes)) => (200, "application/json", bytes),
        Some(Reply::Break) => {
            stream.write_all(b"this is no HTTP\r\n\r\n").await?;
            return stream.shutdown().await;
        }
        Some(Reply::Hang) => std::future::pending().await,
    };
    let length = answer.len();
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    if !line.starts_with("HEAD ") {
        stream.write_all(&answer).await?;
    }
    stream.shutdown().await
}

fn answer(line: &str, request: &Value, steps: &[Step]) -> (&'static str, String) {
    if line.contains("/count_tokens") {
        return ("application/json", json!({ "input_tokens": 10 }).to_string());
    }
    if !line.contains("/messages") {
        return ("application/json", "{}".to_string());
    }
    let step = next_step(request, steps);
    if request["stream"] == Value::Bool(true) {
        return ("text/event-stream", stream_of(request, &step));
    }
    ("application/json", said(request, &step).to_string())
}

/// A whole answer in one piece.
fn said(request: &Value, step: &Step) -> Value {
    let mut message = message(request);
    message["content"] = json!([block(step, n_results(request))]);
    message["stop_reason"] = json!(stop_reason(step));
    message
}

fn has_tools(request: &Value) -> bool {
    request["tools"].as_array().is_some_and(|tools| !tools.is_empty())
}

fn next_step(request: &Value, steps: &[Step]) -> Step {
    if !has_tools(request) {
        return Step::Say("Hello".to_string());
    }
    let over = || Step::Say("There is nothing left in the script.".to_string());
    steps.get(n_results(request)).cloned().unwrap_or_else(over)
}

/// Tool results after the newest prompt.
fn n_results(request: &Value) -> usize {
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut n = 0;
    for message in messages.iter().filter(|message| message["role"] == "user") {
        let blocks = message["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let n_here = blocks.iter().filter(|block| block["type"] == "tool_result").count();
        n = if n_here == 0 { 0 } else { n + n_here };
    }
    n
}

fn message(request: &Value) -> Value {
    json!({
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": { "input_tokens": 10, "output_tokens": 5 },
    })
}

fn block(step: &Step, number: usize) -> Value {
    match step {
        Step::Say(text) => json!({ "type": "text", "text": text }),
        Step::Tool { name, input } => json!({
            "type": "tool_use",
            "id": format!("toolu_scripted_{number}"),
            "name": name,
            "input": input,
        }),
    }
}

fn stop_reason(step: &Step) -> &'static str {
    match step {
        Step::Say(_) => "end_turn",
        Step::Tool { .. } => "tool_use",
    }
}

fn stream_of(request: &Value, step: &Step) -> String {
    let mut begun = block(step, n_results(request));
    let deltas: Vec<Value> = match step {
        Step::Say(text) => {
            begun["text"] = json!("");
            let words = text.split_inclusive(' ');
            words.map(|word| json!({ "type": "text_delta", "text": word })).collect()
        }
        Step::Tool { input, .. } => {
            begun["input"] = json!({});
            vec![json!({ "type": "input_json_delta", "partial_json": input.to_string() })]
        }
    };
    let mut events = vec![
        json!({ "type": "message_start", "message": message(request) }),
        json!({ "type": "content_block_start", "index": 0, "content_block": begun }),
    ];
    for delta in deltas {
        events.push(json!({ "type": "content_block_delta", "index": 0, "delta": delta }));
    }
    let delta = json!({ "stop_reason": stop_reason(step), "stop_sequence": null });
    let usage = json!({ "output_tokens": 5 });
    events.push(json!({ "type": "content_block_stop", "index": 0 }));
    events.push(json!({ "type": "message_delta", "delta": delta, "usage": usage }));
    events.push(json!({ "type": "message_stop" }));
    let lines = events.iter().map(|event| {
        format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
    });
    lines.collect()
}
