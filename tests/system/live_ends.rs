//! A live feed lasts as long as the sign-in that opened it: until somebody signs out, at whichever server, until it
//! expires, or until the account is erased. And all servers agree on who owns the installation after that.

use std::time::{Duration, Instant};

use actors::sign_in::END_PERIOD_MAX;
use anyhow::{Context as _, Result, bail, ensure};
use futures_util::StreamExt as _;
use projections::{
    database::Database,
    tokens::{TokenHash, Tokens},
};
use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};
use tests::world::{PATIENCE, Server, Store, World, random};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, handshake::client::generate_key, http::Request},
};

/// The code of a feed whose sign-in has ended.
const SIGNED_OUT: u16 = 4401;

/// One of so many sign-outs is told at once, however busy the machine is.
const TRIES_MAX: usize = 5;

/// A signed-in browser; each server of the database lets it in.
struct Visitor {
    http: reqwest::Client,
    token: String,
}

impl Visitor {
    /// Signs in with a new link of a server.
    async fn sign_in(server: &Server) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let visitor = Self { http, token: String::new() };
        let link = new_link(server).await?;
        let body = json!({ "token": link });
        let request = visitor.request(server, Method::POST, "/api/auth/link").json(&body);
        let answer = request.send().await?;
        ensure!(answer.status() == 204, "the link is new: {}", answer.status());
        let cookie = answer.headers().get(header::SET_COOKIE).context("a cookie")?.to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default();
        let token = cookie.strip_prefix("sam=").context("SAM's cookie")?.to_owned();
        Ok(Self { token, ..visitor })
    }

    fn request(&self, server: &Server, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("http://{}{path}", server.address))
            .header(header::HOST, host(server))
            .header(header::ORIGIN, format!("http://{}", host(server)))
            .header(header::COOKIE, self.cookie())
    }

    fn cookie(&self) -> String {
        format!("sam={}", self.token)
    }

    /// Opens a page at a server, up to its first frame.
    async fn open(&self, server: &Server) -> Result<Page> {
        let request = Request::builder()
            .uri(format!("ws://{}/api/live", server.address))
            .header("host", host(server))
            .header("origin", format!("http://{}", host(server)))
            .header("cookie", self.cookie())
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key())
            .body(())?;
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        let mut page = Page { socket };
        page.hears("type", "hello").await?;
        Ok(page)
    }

    async fn sign_out(&self, server: &Server) -> Result<()> {
        let answer = self.request(server, Method::POST, "/api/auth/sign-out").send().await?;
        ensure!(answer.status() == 204, "{}", answer.status());
        Ok(())
    }

    async fn erase_account(&self, server: &Server, name: &Value) -> Result<()> {
        let body = json!({ "confirm": name });
        let request = self.request(server, Method::DELETE, "/api/account").json(&body);
        let answer = request.send().await?;
        ensure!(answer.status() == 202, "{}", answer.text().await?);
        Ok(())
    }

    /// As if it had stayed away for a month.
    async fn expire(&self, world: &World) -> Result<()> {
        let database = Database::open(world.database_url(), &world.data_dir()).await?;
        let (hash, long_ago) = (TokenHash::of(&self.token), chrono::DateTime::UNIX_EPOCH);
        let was_good = Tokens::new(&database).prolong(hash, long_ago, long_ago).await?;
        database.close().await;
        ensure!(was_good, "it was signed in");
        Ok(())
    }
}

fn host(server: &Server) -> String {
    format!("app.sam.localhost:{}", server.address.port())
}

/// The token of a new link.
async fn new_link(server: &Server) -> Result<String> {
    let link = server.post("sign-in-links", &json!({})).await?;
    let token = link.as_str().and_then(|link| link.split_once("/sign-in#"));
    Ok(token.context("a link has a token")?.1.to_owned())
}

/// An open live feed.
struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Page {
    async fn next(&mut self) -> Result<Message> {
        let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
        Ok(message.context("the page is silent")?.context("the page was cut off")??)
    }

    /// Waits for a frame that says something.
    async fn hears(&mut self, name: &str, said: &str) -> Result<()> {
        loop {
            match self.next().await? {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text)?;
                    if frame[name] == said {
                        return Ok(());
                    }
                }
                Message::Close(frame) => bail!("the page was closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// Waits until the server closes it for want of a sign-in.
    async fn is_signed_out(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Message::Close(frame) = self.next().await? {
                let code = u16::from(frame.context("it says why")?.code);
                ensure!(code == SIGNED_OUT, "closed with {code}");
                return Ok(());
            }
            // A live feed is never silent for long.
            ensure!(Instant::now() < deadline, "the page stays live");
        }
    }
}

/// Has something happen that every page is told of.
async fn rename(world: &World) -> Result<()> {
    let path = format!("projects/{}", world.project);
    let body = json!({ "name": "Renamed" });
    let (status, answer) = world.server()?.ask(Method::PATCH, &path, Some(&body)).await?;
    ensure!(status == 202, "{answer}");
    Ok(())
}

/// Waits until an account is erased, as whoever may read the data directory can.
async fn until_erased(world: &World, account: &Value) -> Result<()> {
    let id = account["id"].as_str().context("an account has an id")?;
    world.until(&format!("accounts/{id}"), |account| account["isErased"] == true).await?;
    Ok(())
}

/// Signs out with two pages open; tells how long it took until both were closed.
async fn leaves(server: &Server) -> Result<Duration> {
    let leaving = Visitor::sign_in(server).await?;
    let mut left = [leaving.open(server).await?, leaving.open(server).await?];
    let began = Instant::now();
    leaving.sign_out(server).await?;
    for page in &mut left {
        page.is_signed_out().await?;
    }
    let took = began.elapsed();
    ensure!(leaving.open(server).await.is_err(), "nor does it come back");
    Ok(took)
}

#[tokio::test]
async fn a_live_feed_ends_when_its_own_browser_signs_out() -> Result<()> {
    let world = World::start("live-sign-out", Store::Sqlite).await?;
    let server = world.server()?;
    let staying = Visitor::sign_in(server).await?;
    let mut kept = staying.open(server).await?;
    let mut took = Vec::new();
    // Whoever is not told finds out too, but hardly in half of the time.
    while took.last().is_none_or(|took| *took >= END_PERIOD_MAX / 2) {
        ensure!(took.len() < TRIES_MAX, "who signs out here is told at once, not after {took:?}");
        took.push(leaves(server).await?);
    }
    rename(&world).await?;
    kept.hears("event", "project/renamed").await?;
    world.end().await
}

#[tokio::test]
async fn all_live_feeds_end_when_their_account_is_erased() -> Result<()> {
    let world = World::start("live-erasure", Store::Sqlite).await?;
    let server = world.server()?;
    let visitors = [Visitor::sign_in(server).await?, Visitor::sign_in(server).await?];
    let mut pages = [visitors[0].open(server).await?, visitors[1].open(server).await?];
    let account = server.get("account").await?;
    visitors[0].erase_account(server, &account["name"]).await?;
    for page in &mut pages {
        page.is_signed_out().await?;
    }
    until_erased(&world, &account).await?;
    world.end().await
}

/// Another server on the world's database.
async fn another(world: &World) -> Result<Server> {
    let data_dir = world.folder().join("another");
    std::fs::create_dir_all(&data_dir)?;
    std::fs::copy(world.data_dir().join("master.key"), data_dir.join("master.key"))?;
    let settings = [("SAM_DATABASE_URL", world.database_url()), ("SAM_NO_LOCAL_NODE", "true")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Server::start(&data_dir, &settings).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_at_one_server_ends_at_the_others() -> Result<()> {
    let world = World::start("live-replicas", Store::Postgres).await?;
    let (own, other) = (world.server()?, another(&world).await?);
    let (leaving, expiring) = (Visitor::sign_in(own).await?, Visitor::sign_in(own).await?);
    let staying = Visitor::sign_in(own).await?;
    let mut kept = staying.open(&other).await?;

    let mut left = leaving.open(&other).await?;
    leaving.sign_out(own).await?;
    left.is_signed_out().await?;
    let mut expired = expiring.open(&other).await?;
    expiring.expire(&world).await?;
    expired.is_signed_out().await?;
    // Looked at more than once by now.
    rename(&world).await?;
    kept.hears("event", "project/renamed").await?;

    let old = own.get("account").await?;
    ensure!(other.get("account").await? == old, "both have the same owner");
    staying.erase_account(own, &old["name"]).await?;
    kept.is_signed_out().await?;
    until_erased(&world, &old).await?;
    let project = json!({ "id": random(), "repository": world.repository.path() });
    for server in [own, &other] {
        let (status, problem) = server.ask(Method::POST, "projects", Some(&project)).await?;
        ensure!(status == 409 && problem["code"] == "erased", "nobody is there: {problem}");
    }
    new_link(own).await?;
    let new = own.get("account").await?;
    ensure!(new["id"] != old["id"], "somebody else: {new}");
    ensure!(other.get("account").await? == new, "at the other server, too, without a restart");
    other.post("projects", &project).await?;
    other.stop().await?;
    world.end().await
}
