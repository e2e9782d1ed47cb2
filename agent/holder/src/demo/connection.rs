//! JSON-RPC over stdout, one message a line.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt, stdout},
    sync::{mpsc, oneshot},
};

use crate::tasks::spawn;

/// Messages that wait for a client which does not read; then the demo agent waits too.
const QUEUE_MAX: usize = 256;

#[derive(Clone)]
pub(super) struct Connection {
    messages: mpsc::Sender<Value>,
    asked: Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>,
    n_asked: Arc<AtomicU64>,
}

impl Connection {
    pub(super) fn new() -> Self {
        let (messages, queue) = mpsc::channel(QUEUE_MAX);
        spawn(write(queue));
        Self { messages, asked: Arc::default(), n_asked: Arc::default() }
    }

    pub(super) async fn answer(&self, id: &Value, answer: Result<Value, (i32, String)>) {
        let message = match answer {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
            Err((code, message)) => json!({
                "jsonrpc": "2.0",
                "id": id,
                "error": { "code": code, "message": message },
            }),
        };
        self.send(message).await;
    }

    pub(super) async fn update(&self, session: &str, update: Value) {
        let parameters = json!({ "sessionId": session, "update": update });
        let message = json!({ "jsonrpc": "2.0", "method": "session/update", "params": parameters });
        self.send(message).await;
    }

    /// Asks the client something, and waits for its answer.
    pub(super) async fn ask(&self, method: &str, parameters: Value) -> Value {
        let id = self.n_asked.fetch_add(1, Ordering::Relaxed);
        let (settle, answer) = oneshot::channel();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(id, settle);
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters });
        self.send(message).await;
        answer.await.unwrap_or_default()
    }

    /// Takes the client's answer to something that was asked.
    pub(super) fn settle(&self, message: &Value) {
        let Some(id) = message["id"].as_u64() else { return };
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(asked) = asked {
            // A turn that was cancelled no longer waits.
            let _ = asked.send(message["result"].clone());
        }
    }

    async fn send(&self, message: Value) {
        // Without a writer stdout is closed, and nobody listens any more.
        let _ = self.messages.send(message).await;
    }
}

async fn write(mut queue: mpsc::Receiver<Value>) {
    let mut stdout = stdout();
    while let Some(message) = queue.recv().await {
        let line = format!("{message}\n");
        if stdout.write_all(line.as_bytes()).await.is_err() || stdout.flush().await.is_err() {
            return;
        }
    }
}
