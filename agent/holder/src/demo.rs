//! The SAM demo agent: a real coding agent as far as ACP goes, that needs no key and no model.
//!
//! It does what the directives in the prompt say, one a line, and with any other text it looks round
//! the repository and writes a short note about it. It never claims to be more than a demo.
//!
//! Read next: [`directive`] for the directives, [`turn`] for what they do.

mod connection;
mod directive;
mod history;
mod tour;
mod turn;
mod work_tree;

use std::{collections::HashMap, io, path::PathBuf, sync::Arc};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    sync::watch,
};

use crate::{
    demo::{connection::Connection, history::History, turn::Turn},
    tasks::spawn,
};

const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMETERS: i32 = -32602;
const RESOURCE_NOT_FOUND: i32 = -32002;

/// Answers on stdio until stdin ends.
pub(crate) async fn demo_agent() -> io::Result<()> {
    let mut agent = DemoAgent { connection: Connection::new(), sessions: HashMap::new() };
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Ok(message) = serde_json::from_str::<Value>(&line) {
            agent.receive(&message).await;
        }
    }
    Ok(())
}

struct DemoAgent {
    connection: Connection,
    sessions: HashMap<String, Session>,
}

struct Session {
    directory: PathBuf,
    history: Arc<History>,
    /// Raised to cancel; closed when no turn is running.
    cancel: watch::Sender<bool>,
}

/// A JSON-RPC error: code and message.
type Complaint = (i32, String);

impl DemoAgent {
    async fn receive(&mut self, message: &Value) {
        let parameters = &message["params"];
        match (message["method"].as_str(), message.get("id")) {
            (Some("session/prompt"), Some(id)) => {
                if let Err(complaint) = self.begin_turn(id.clone(), parameters) {
                    self.connection.answer(id, Err(complaint)).await;
                }
            }
            (Some(method), Some(id)) => {
                let answer = self.perform(method, parameters).await;
                self.connection.answer(id, answer).await;
            }
            (Some("session/cancel"), None) => {
                if let Some(session) = self.session(parameters) {
                    session.cancel.send_replace(true);
                }
            }
            (Some(_), None) => {}
            (None, _) => self.connection.settle(message),
        }
    }

    async fn perform(&mut self, method: &str, parameters: &Value) -> Result<Value, Complaint> {
        match method {
            "initialize" => Ok(json!({
                "protocolVersion": 1,
                "agentCapabilities": {
                    "loadSession": true,
                    "promptCapabilities": { "image": false, "audio": false, "embeddedContext": false },
                },
                "agentInfo": {
                    "name": "sam-demo-agent",
                    "title": "SAM demo agent",
                    "version": env!("CARGO_PKG_VERSION"),
                },
                "authMethods": [],
            })),
            "session/new" => {
                let history = History::create().map_err(|error| {
                    (INVALID_REQUEST, format!("no place to keep the conversation: {error}"))
                })?;
                let id = history.name().to_string();
                self.open(id.clone(), parameters, history)?;
                Ok(json!({ "sessionId": id }))
            }
            "session/load" => {
                let id = parameters["sessionId"].as_str().unwrap_or_default().to_string();
                let (history, updates) = History::load(&id)
                    .map_err(|_| (RESOURCE_NOT_FOUND, format!("there is no session {id:?}")))?;
                for update in updates {
                    self.connection.update(&id, update).await;
                }
                self.open(id, parameters, history)?;
                Ok(json!({}))
            }
            _ => Err((METHOD_NOT_FOUND, format!("the demo agent knows no {method}"))),
        }
    }

    fn open(&mut self, id: String, parameters: &Value, history: History) -> Result<(), Complaint> {
        let directory = PathBuf::from(parameters["cwd"].as_str().unwrap_or_default());
        if !directory.is_absolute() || !directory.is_dir() {
            return Err((INVALID_PARAMETERS, "cwd is no directory".to_string()));
        }
        let cancel = watch::Sender::new(false);
        self.sessions.insert(id, Session { directory, history: Arc::new(history), cancel });
        Ok(())
    }

    fn begin_turn(&self, id: Value, parameters: &Value) -> Result<(), Complaint> {
        let unknown = || (INVALID_PARAMETERS, "there is no such session".to_string());
        let session = self.session(parameters).ok_or_else(unknown)?;
        if session.cancel.receiver_count() > 0 {
            return Err((INVALID_REQUEST, "a turn is running".to_string()));
        }
        session.cancel.send_replace(false);
        let blocks = parameters["prompt"].as_array().map(Vec::as_slice).unwrap_or_default();
        let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        let turn = Turn::new(
            self.connection.clone(),
            session.history.clone(),
            session.directory.clone(),
            session.cancel.subscribe(),
        );
        let connection = self.connection.clone();
        let prompt = texts.join("\n");
        spawn(async move {
            let answer = turn.run(&prompt).await;
            connection.answer(&id, answer).await;
        });
        Ok(())
    }

    fn session(&self, parameters: &Value) -> Option<&Session> {
        self.sessions.get(parameters["sessionId"].as_str()?)
    }
}
