//! A `sam serve` of a test's own, and the machine API that it answers.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::{Child, Command};

use super::{GLANCE, PATIENCE};

/// The host under which machines are served; it resolves to nothing here, so the client is told.
const HOST: &str = "api.sam.localhost";

#[derive(Debug)]
pub struct Server {
    child: Child,
    client: reqwest::Client,
    pub address: SocketAddr,
    token: String,
    output: PathBuf,
}

impl Server {
    /// Starts it on a free port and waits until it has said where it is and how to sign in.
    pub async fn start(data_dir: &Path, settings: &[(String, String)]) -> Result<Self> {
        let output = data_dir.with_extension("log");
        let file = File::options().create(true).append(true).open(&output)?;
        let n_bytes_before = usize::try_from(file.metadata()?.len())?;
        let mut command = Command::new(binary("sam")?);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true);
        let child = command.spawn()?;
        let id = child.id().context("it has just been started")?;
        let mut starting = Starting { child, output, n_bytes_before };
        let (address, token) = starting.announced(&data_dir.join("server.json"), id).await?;
        let builder = reqwest::Client::builder().resolve(HOST, address).no_proxy();
        let client = builder.timeout(PATIENCE).build()?;
        Ok(Self { child: starting.child, client, address, token, output: starting.output })
    }

    /// Asks for a document.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let (status, document) = self.ask(reqwest::Method::GET, path, None).await?;
        if status >= 400 {
            bail!("GET {path}: {status} {document}");
        }
        Ok(document)
    }

    /// Sends a command that is expected to be accepted.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let (status, document) = self.ask(reqwest::Method::POST, path, Some(body)).await?;
        if status >= 400 {
            bail!("POST {path}: {status} {document}");
        }
        Ok(document)
    }

    /// Any request; tells status and document.
    pub async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value)> {
        let url = format!("http://{HOST}:{}/api/{path}", self.address.port());
        let mut request = self.client.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// A text such as a diff.
    pub async fn text(&self, path: &str) -> Result<String> {
        let (status, document) = self.ask(reqwest::Method::GET, path, None).await?;
        match document {
            Value::String(text) if status < 400 => Ok(text),
            other => bail!("GET {path}: {status} {other}"),
        }
    }

    /// The bearer token of `server.json`.
    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// True once it is dead, by whatever hand.
    pub fn is_dead(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits.
    pub async fn stop(mut self) -> Result<()> {
        let Some(id) = self.child.id() else { return Ok(()) };
        Command::new("kill").arg(id.to_string()).status().await?;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.context("it did not end when asked to")??;
        Ok(())
    }

    /// The end of what it printed, for the message of a failed test.
    pub fn said(&self) -> String {
        last_lines(&self.output)
    }
}

struct Starting {
    child: Child,
    output: PathBuf,
    /// What earlier servers of the same data directory have printed.
    n_bytes_before: usize,
}

impl Starting {
    /// Waits for the file in which a server says where it is, and for the link that it prints after that.
    async fn announced(&mut self, file: &Path, id: u32) -> Result<(SocketAddr, String)> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Ok(text) = std::fs::read_to_string(file)
                && let Ok(said) = serde_json::from_str::<Value>(&text)
                && said["pid"] == id
                && self.has_printed_its_link()
            {
                let address = said["address"].as_str().context("an address")?;
                let token = said["token"].as_str().context("a token")?;
                return Ok((address.parse()?, token.to_owned()));
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("sam ended at once ({status}):\n{}", last_lines(&self.output));
            }
            if tokio::time::Instant::now() > deadline {
                bail!("sam did not say where it is:\n{}", last_lines(&self.output));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Each start has a link of its own, and a line that has no end yet may not be the whole of it.
    fn has_printed_its_link(&self) -> bool {
        let said = std::fs::read(&self.output).unwrap_or_default();
        let own = String::from_utf8_lossy(said.get(self.n_bytes_before..).unwrap_or_default());
        own.split_inclusive('\n').any(|line| line.contains("/sign-in#") && line.ends_with('\n'))
    }
}

fn last_lines(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// A program of ours, which `cargo build --workspace` puts beside the folder of the test programs.
/// `SAM_BIN_DIR` names another folder.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = match std::env::var_os("SAM_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let beside = own.parent().and_then(Path::parent);
            beside.context("a test runs in target/…/deps")?.to_path_buf()
        }
    };
    let path = folder.join(name);
    if !path.exists() {
        bail!("{} is missing: run `cargo build --workspace --all-targets` first", path.display());
    }
    Ok(path)
}
