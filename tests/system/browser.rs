//! A browser as the server sees one: the app's host, its origin, a cookie, a live feed.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};
use tests::world::{PATIENCE, World};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, handshake::client::generate_key, http::Request},
};

const DOMAIN: &str = "sam.localhost";

pub(crate) struct Browser {
    client: reqwest::Client,
    port: u16,
    cookie: Option<String>,
}

/// Status, media type and body of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media_type: String,
    pub(crate) headers: header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// Fails unless this is a problem of a status and a code, with something to say to a person.
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Result<()> {
        let is_right = self.status == status
            && self.body["status"] == status
            && self.body["code"] == code
            && self.media_type == "application/problem+json"
            && self.body["detail"].as_str().is_some_and(|detail| detail.len() > 10);
        if !is_right {
            bail!("{status} {code} was expected: {self:?}");
        }
        Ok(())
    }
}

impl Browser {
    pub(crate) fn new(world: &World) -> Result<Self> {
        let address = world.server()?.address;
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .resolve(&format!("app.{DOMAIN}"), address)
            .timeout(PATIENCE)
            .build()?;
        Ok(Self { client, port: address.port(), cookie: None })
    }

    /// A browser that has used the link which the server printed.
    pub(crate) async fn signed_in(world: &World) -> Result<Self> {
        let mut browser = Self::new(world)?;
        let answer = browser.sign_in(&link_token(&world.data_dir())?).await?;
        if answer.status != 204 {
            bail!("the link is good: {answer:?}");
        }
        Ok(browser)
    }

    /// Uses a link's token; keeps the cookie if it gets one.
    pub(crate) async fn sign_in(&mut self, token: &str) -> Result<Answer> {
        let answer = self.post("/api/auth/link", &json!({ "token": token })).await?;
        if let Some(cookie) = answer.headers.get(header::SET_COOKIE) {
            let cookie = cookie.to_str()?;
            if !cookie.contains("HttpOnly") || !cookie.contains("SameSite=Strict") {
                bail!("a page could read this cookie, or another site send it: {cookie}");
            }
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        Ok(answer)
    }

    /// The same browser after the server came back on another port.
    pub(crate) fn moved_to(&self, world: &World) -> Result<Self> {
        Ok(Self { cookie: self.cookie.clone(), ..Self::new(world)? })
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://app.{DOMAIN}:{}", self.port)
    }

    /// A request with this browser's cookie, to any host that the server may be called by.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.origin()));
        match &self.cookie {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        answer(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.write(Method::POST, path, body).await
    }

    pub(crate) async fn write(&self, method: Method, path: &str, body: &Value) -> Result<Answer> {
        let request = self.request(method, path).header(header::ORIGIN, self.origin());
        answer(request.json(body)).await
    }

    /// Opens the live feed; `origin` is what the browser says whose page it shows.
    pub(crate) async fn feed(&self, after: Option<u64>, origin: &str) -> Result<Feed> {
        let after = after.map(|after| format!("?after={after}")).unwrap_or_default();
        let request = Request::builder()
            .uri(format!("ws://127.0.0.1:{}/api/live{after}", self.port))
            .header("host", format!("app.{DOMAIN}:{}", self.port))
            .header("origin", origin)
            .header("cookie", self.cookie.clone().unwrap_or_default())
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key())
            .body(())?;
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        Ok(Feed { socket })
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default().to_owned();
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answer { status, media_type, headers, body })
}

/// The token of the newest link that the server printed.
pub(crate) fn link_token(data_dir: &Path) -> Result<String> {
    let said = std::fs::read_to_string(data_dir.with_extension("log"))?;
    let token = said.lines().rev().find_map(|line| line.split_once("/sign-in#"));
    Ok(token.context("the server prints a link")?.1.trim().to_owned())
}

pub(crate) struct Feed {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Feed {
    pub(crate) async fn send(&mut self, frame: &Value) -> Result<()> {
        Ok(self.socket.send(Message::text(frame.to_string())).await?)
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Result<Value> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            let message = message.context("the live feed is silent")?;
            match message.context("the live feed was closed")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(_) => bail!("the live feed was closed"),
                _ => {}
            }
        }
    }

    /// Frames up to the first that satisfies a condition, with that one.
    pub(crate) async fn until(&mut self, is_met: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await?;
            let is_last = is_met(&frame);
            frames.push(frame);
            if is_last {
                return Ok(frames);
            }
        }
    }
}
