//! ACP with a demo agent that nothing stands before: the baselines' side of a benchmark.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
};

/// The stdio of a demo agent.
#[derive(Debug)]
pub struct Conversation {
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    session: Value,
    n_asked: u32,
}

impl Conversation {
    /// Takes the stdio of a child, which has to be piped.
    pub fn with(child: &mut Child) -> Result<Self> {
        let stdin = child.stdin.take().context("it is piped")?;
        let stdout = child.stdout.take().context("it is piped")?;
        let lines = BufReader::new(stdout).lines();
        Ok(Self { stdin, lines, session: Value::Null, n_asked: 0 })
    }

    /// Opens a session in a directory.
    pub async fn open(&mut self, directory: &str) -> Result<()> {
        let parameters = json!({ "protocolVersion": 1, "clientCapabilities": {} });
        let id = self.ask("initialize", parameters).await?;
        self.hear(|said| said["id"] == id).await?;
        let id = self.ask("session/new", json!({ "cwd": directory, "mcpServers": [] })).await?;
        let opened = self.hear(|said| said["id"] == id).await?;
        self.session = opened["result"]["sessionId"].clone();
        Ok(())
    }

    /// Gives a prompt, and does not wait for anything; tells the id of its answer.
    pub async fn prompt(&mut self, text: &str) -> Result<u32> {
        let prompt = json!([{ "type": "text", "text": text }]);
        let parameters = json!({ "sessionId": self.session, "prompt": prompt });
        self.ask("session/prompt", parameters).await
    }

    async fn ask(&mut self, method: &str, parameters: Value) -> Result<u32> {
        self.n_asked += 1;
        let id = self.n_asked;
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters });
        self.stdin.write_all(format!("{request}\n").as_bytes()).await?;
        self.stdin.flush().await?;
        Ok(id)
    }

    /// Reads until the demo agent says what is waited for.
    pub async fn hear(&mut self, mut is_it: impl FnMut(&Value) -> bool) -> Result<Value> {
        while let Some(line) = self.lines.next_line().await? {
            let said: Value = serde_json::from_str(&line)?;
            if said.get("error").is_some() {
                bail!("the demo agent refused: {said}");
            }
            if is_it(&said) {
                return Ok(said);
            }
        }
        bail!("the demo agent ended early")
    }
}
