//! The command line as a client of the server of its data directory.
//!
//! It connects to the address of `server.json` and names the host in a header: `*.localhost` is
//! nothing that every resolver knows.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Method, header};
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{handshake::client::generate_key, http::Request},
};

use crate::{cli::data_directory::Announcement, problem::Problem};

const REQUEST_PERIOD_MAX: Duration = Duration::from_secs(60);

/// Speaks with a running server.
pub struct Client {
    http: reqwest::Client,
    server: Announcement,
}

/// The live feed, as a client sees it.
pub type Feed = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Client {
    pub fn new(server: &Announcement) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(REQUEST_PERIOD_MAX).build()?;
        Ok(Self { http, server: server.clone() })
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let text = self.ask(Method::GET, path, None::<&()>).await?;
        serde_json::from_str(&text).with_context(|| format!("the answer of {path} is malformed"))
    }

    /// The same, and none where there is no such thing.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) => match error.downcast_ref::<Problem>() {
                Some(problem) if problem.code == "not_found" => Ok(None),
                _ => Err(error),
            },
        }
    }

    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let text = self.ask(method, path, Some(body)).await?;
        let text = if text.is_empty() { "null" } else { &text };
        serde_json::from_str(text).with_context(|| format!("the answer of {path} is malformed"))
    }

    /// A link that signs one browser in.
    pub async fn new_sign_in_link(&self) -> anyhow::Result<String> {
        self.send(Method::POST, "/sign-in-links", &()).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<String> {
        let url = format!("http://{}/api{path}", self.server.address);
        let mut request = self
            .http
            .request(method, url)
            .header(header::HOST, &self.server.api_host)
            .bearer_auth(&self.server.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.context("SAM does not answer")?;
        let status = answer.status();
        let text = answer.text().await.context("SAM stopped answering")?;
        if status.is_success() {
            return Ok(text);
        }
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => Err(problem.into()),
            Err(_) => bail!("SAM answered {status}"),
        }
    }

    /// Opens the live feed.
    pub async fn feed(&self) -> anyhow::Result<Feed> {
        let address = self.server.address;
        let request = Request::builder()
            .uri(format!("ws://{address}/api/live"))
            .header("host", &self.server.api_host)
            .header("authorization", format!("Bearer {}", self.server.token))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key())
            .body(())?;
        let (feed, _) = tokio_tungstenite::connect_async(request)
            .await
            .context("the live feed cannot be opened")?;
        Ok(feed)
    }
}
