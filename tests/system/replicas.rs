//! Two servers on one PostgreSQL behind a proxy that takes them in turn: one is stopped past its lease
//! and goes on, the other is killed, and nobody who uses them loses, repeats or misses anything. When nobody
//! runs any more the oracle is asked about what was acknowledged, and about all that was made of the log.

#![expect(clippy::print_stdout, reason = "how long a takeover took is for people to see")]

mod proxy;
mod viewer;

use std::{
    collections::BTreeMap, net::SocketAddr, path::Path, process::Stdio, sync::Arc, time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use domain::{event_sourced::EventSourced as _, idea::Idea, project::Project};
use projections::{
    database::Database,
    event_log::{EventLog, Options, StreamId},
    read_models,
};
use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};
use tests::{
    oracle::{Acknowledged, Entry, Oracle},
    world::{PATIENCE, Server, Store, World, binary, id_in, random},
};
use tokio::{net::TcpListener, process::Command, sync::watch, task::JoinSet, time::Instant};
use uuid::Uuid;

use crate::{
    browser::link_token,
    replicas::{
        proxy::Backends,
        viewer::{Page, Seen, view},
    },
};

const HOST: &str = "app.sam.localhost";
const ORIGIN: &str = "https://app.sam.localhost";
const IDEA: &str = "write NOTES.md: from a replica\nstream: 60 20\nsay: finished";
/// What is promised.
const TAKEOVER_MAX: Duration = Duration::from_secs(10);
/// From the moment at which one is stopped: the lease has to change hands first.
const SERVED_MAX: Duration = Duration::from_secs(60);

/// A browser on the proxy's address; what it asks is asked again until somebody answers.
#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    cookie: Arc<String>,
}

impl Client {
    /// Uses the link that one server printed at whichever server the proxy takes.
    async fn sign_in(address: SocketAddr, token: &str) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(4))
            .build()?;
        let mut client = Self { http, address, cookie: Arc::default() };
        let body = json!({ "token": token });
        // Nobody is stopped yet, and a link is not good for a second try.
        let request = client.request(Method::POST, "/api/auth/link").timeout(PATIENCE);
        let answer = request.json(&body).send().await?;
        ensure!(answer.status() == 204, "the link is good everywhere: {}", answer.status());
        let cookie = answer.headers().get(header::SET_COOKIE).context("a cookie")?.to_str()?;
        client.cookie = Arc::new(cookie.split(';').next().unwrap_or_default().to_owned());
        Ok(client)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("http://{}{path}", self.address))
            .header(header::HOST, HOST)
            .header(header::ORIGIN, ORIGIN)
            .header(header::COOKIE, self.cookie.as_str())
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.answered(path, || self.request(Method::GET, path)).await
    }

    /// Sends a command until it is accepted, each time under the same id.
    async fn command(
        &self,
        path: &str,
        body: &Value,
        stream: StreamId,
    ) -> Result<(Value, Acknowledged)> {
        let command = random();
        let send = || {
            let request = self.request(Method::POST, path).json(body);
            request.header("idempotency-key", command.to_string())
        };
        let answer = self.answered(path, send).await?;
        let position = answer["position"].as_u64().context("a position")?;
        Ok((answer, Acknowledged { stream, command, position }))
    }

    /// Sends the same request again and again until it has an answer that is no accident.
    async fn answered(&self, path: &str, request: impl Fn() -> RequestBuilder) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let why = match request().send().await {
                Ok(answer) if answer.status().is_success() => return Ok(answer.json().await?),
                // 404: not shown yet. 408: the server was stopped while it read the request.
                Ok(answer)
                    if answer.status().is_client_error()
                        && ![404, 408].contains(&answer.status().as_u16()) =>
                {
                    bail!("{path}: {} {}", answer.status(), answer.text().await?)
                }
                Ok(answer) => answer.status().to_string(),
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline {
                bail!("{path} has no answer: {why}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The pages that are open, and what was promised to whom.
struct Crowd {
    client: Client,
    project: Uuid,
    pages: JoinSet<Result<(Uuid, Seen)>>,
    executions: Vec<Uuid>,
    acknowledged: Vec<Acknowledged>,
    /// Where each replica is, and the chunks seen there.
    replicas: [(watch::Sender<SocketAddr>, watch::Sender<usize>); 2],
}

impl Crowd {
    /// Submits an idea at whichever replica the proxy takes.
    async fn submit(&mut self) -> Result<()> {
        self.submit_at(self.client.address).await?;
        Ok(())
    }

    /// Has an idea carried out, and opens a page on it at each replica; tells the ids of idea and execution.
    async fn submit_at(&mut self, address: SocketAddr) -> Result<(Uuid, Uuid)> {
        let (client, idea) = (Client { address, ..self.client.clone() }, random());
        let body = json!({
            "idea": idea, "description": IDEA, "stage": "executing", "codingAgent": "demo",
        });
        let path = format!("/api/projects/{}/ideas", self.project);
        let stream = StreamId::new(Idea::TYPE, idea);
        let (answer, acknowledged) = client.command(&path, &body, stream).await?;
        let (session, execution) = (id_in(&answer, "session")?, id_in(&answer, "execution")?);
        self.executions.push(execution);
        for (address, n_chunks) in &self.replicas {
            let page = Page {
                address: address.subscribe(),
                cookie: Arc::clone(&self.client.cookie),
                session,
                execution,
                after: acknowledged.position,
                n_chunks: n_chunks.clone(),
            };
            self.pages.spawn(async move { Ok((session, view(page).await?)) });
        }
        self.acknowledged.push(acknowledged);
        Ok((idea, execution))
    }

    /// Waits until one replica alone has accepted an idea, shows it, and has begun to carry it out; tells how
    /// long that took.
    async fn served_by(&mut self, address: SocketAddr) -> Result<Duration> {
        let began = Instant::now();
        let (idea, execution) = self.submit_at(address).await?;
        let client = Client { address, ..self.client.clone() };
        let shown = client.get(&format!("/api/ideas/{idea}")).await?;
        ensure!(shown["stage"] == "executing", "{shown:#}");
        // The first thing that the process of an execution does is to request it.
        client.get(&format!("/api/executions/{execution}")).await?;
        Ok(began.elapsed())
    }

    /// Waits until text is streamed on a page of a replica, from now on.
    async fn streaming(&self, replica: usize) -> Result<()> {
        let mut n_chunks = self.replicas[replica].1.subscribe();
        let before = *n_chunks.borrow_and_update();
        let more = n_chunks.wait_for(|n| *n > before);
        tokio::time::timeout(PATIENCE, more).await.context("nothing is streamed")??;
        Ok(())
    }
}

/// Links projects as fast as they are accepted, until told to stop: what was acknowledged.
async fn link_projects(
    client: Client,
    repository: String,
    stop: watch::Receiver<bool>,
) -> Result<Vec<Acknowledged>> {
    let mut acknowledged = Vec::new();
    while !*stop.borrow() {
        let id = random();
        let body = json!({ "id": id, "repository": repository, "name": "Load" });
        let stream = StreamId::new(Project::TYPE, id);
        acknowledged.push(client.command("/api/projects", &body, stream).await?.1);
    }
    Ok(acknowledged)
}

async fn figure(server: &Server, name: &str) -> Result<u64> {
    let url = format!("http://{}/metrics", server.address);
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(4)).build()?;
    let text = client.get(url).send().await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("no {name} in {text}"))?.parse()?)
}

/// Waits until a figure of a server is as it should be, and tells it.
async fn until_figure(server: &Server, name: &str, is_met: impl Fn(u64) -> bool) -> Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match figure(server, name).await {
            Ok(found) if is_met(found) => return Ok(found),
            other => ensure!(Instant::now() < deadline, "{name}: {other:?}\n{}", server.said()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a server holds the lease or does not, and tells how long that took.
async fn until_held(server: &Server, is_held: bool) -> Result<Duration> {
    let began = Instant::now();
    until_figure(server, "sam_lease_held", |held| held == u64::from(is_held)).await?;
    Ok(began.elapsed())
}

async fn signal(server: &Server, name: &str) -> Result<()> {
    let id = server.id().context("it runs")?.to_string();
    let status = Command::new("kill").args([name, &id]).status().await?;
    ensure!(status.success(), "kill {name} {id}");
    Ok(())
}

async fn second(data_dir: &Path, url: &str) -> Result<Server> {
    let settings =
        [("SAM_DATABASE_URL", url), ("SAM_BEHIND_TLS", "true"), ("SAM_NO_LOCAL_NODE", "true")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Server::start(data_dir, &settings).await
}

#[tokio::test]
async fn a_second_server_starts_only_without_a_machine_of_its_own() -> Result<()> {
    let mut world = World::start("one-machine", Store::Postgres).await?;
    let data_dir = world.folder().join("second");
    is_refused(&data_dir, world.database_url()).await?;
    // For good, and not only as long as the first one runs.
    world.kill().await?;
    is_refused(&data_dir, world.database_url()).await?;
    world.resume().await?;
    std::fs::copy(world.data_dir().join("master.key"), data_dir.join("master.key"))?;
    let other = second(&data_dir, world.database_url()).await?;
    let projects = other.get("projects").await?;
    ensure!(projects[0]["name"] == "Story", "it shows what the first one has: {projects:#}");
    other.stop().await?;
    world.end().await
}

/// A server that would use its machine, beside another one's, says in one sentence what to do, and ends.
async fn is_refused(data_dir: &Path, url: &str) -> Result<()> {
    let mut command = Command::new(binary("sam")?);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--database-url", url, "--data-dir"])
        .arg(data_dir)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    let ended = ended.context("it was not refused")??;
    let (results, said) =
        (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    ensure!(!ended.status.success() && results.is_empty(), "it served: {results}{said}");
    // Above it there may be warnings of a slow machine.
    let last = said.lines().next_back().unwrap_or_default();
    ensure!(last.starts_with("error: ") && last.contains("--no-local-node"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_lose_nothing_when_one_is_stopped_and_the_other_killed() -> Result<()> {
    let mut world =
        World::start_with("replicas", Store::Postgres, &[("SAM_BEHIND_TLS", "true")]).await?;
    let data_dir = world.folder().join("second");
    // Without the key of the first one it says in one sentence what is missing.
    let refused = second(&data_dir, world.database_url()).await.err().context("it has no key")?;
    ensure!(format!("{refused:#}").contains("copy it from"), "{refused:#}");
    std::fs::copy(world.data_dir().join("master.key"), data_dir.join("master.key"))?;
    let other = second(&data_dir, world.database_url()).await?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let backends = Backends::default();
    backends.set(&[world.server()?.address, other.address]);
    let story = story(&world, other, &data_dir, address, &backends);
    let promised = tokio::select! {
        ended = proxy::run(listener, backends.clone()) => {
            ended?;
            bail!("the proxy goes on for ever")
        }
        promised = story => promised?,
    };
    // Nobody may write while the oracle reads.
    stop(&mut world).await?;
    let n_events = check_promises(&world, &promised).await?;
    println!(
        "replicas: {} ideas done, {} pages right, {} commands acknowledged, {n_events} events, \
         0 violations",
        promised.executions.len(),
        promised.n_pages,
        promised.acknowledged.len()
    );
    world.resume().await?;
    world.end().await
}

/// What has to be in the log.
struct Promised {
    acknowledged: Vec<Acknowledged>,
    executions: Vec<Uuid>,
    n_pages: usize,
}

async fn story(
    world: &World,
    other: Server,
    data_dir: &Path,
    address: SocketAddr,
    backends: &Backends,
) -> Result<Promised> {
    let own = world.server()?;
    let client = Client::sign_in(address, &link_token(&world.data_dir())?).await?;
    let at = |address| (watch::channel(address).0, watch::channel(0).0);
    let mut crowd = Crowd {
        client: client.clone(),
        project: world.project,
        pages: JoinSet::new(),
        executions: Vec::new(),
        acknowledged: Vec::new(),
        replicas: [at(own.address), at(other.address)],
    };
    let (stop, stopped) = watch::channel(false);
    let repository = world.repository.path().display().to_string();
    let load = link_projects(client.clone(), repository, stopped);
    let driven = async {
        until_held(own, true).await?;
        crowd.submit().await?;
        crowd.submit().await?;
        crowd.streaming(0).await?;
        // The text comes in at the first replica, and is seen on the second as it comes.
        crowd.streaming(1).await?;

        signal(own, "-STOP").await?;
        let served = tokio::time::timeout(SERVED_MAX, crowd.served_by(other.address));
        let served = async { served.await.context("nobody is served in time")? };
        let (stopped_for, served_for) = tokio::try_join!(until_held(&other, true), served)?;
        println!(
            "replicas: taken over {} ms after SIGSTOP, an idea served after {} ms",
            stopped_for.as_millis(),
            served_for.as_millis()
        );
        let epoch = until_figure(&other, "sam_lease_epoch", |_| true).await?;
        // Stopped for longer than its lease, in the middle of all that it did.
        signal(own, "-CONT").await?;
        until_held(own, false).await?;
        // It looks at the lease now and then, and gave up by its own clock.
        until_figure(own, "sam_lease_epoch", |heard| heard >= epoch).await?;

        // From here on orders go from the second replica to the agent of the first one.
        crowd.submit().await?;
        crowd.submit().await?;
        crowd.streaming(1).await?;
        other.kill().await?;
        backends.set(&[own.address]);
        let killed_for = until_held(own, true).await?;
        println!("replicas: taken over {} ms after SIGKILL", killed_for.as_millis());
        let again = second(data_dir, world.database_url()).await?;
        backends.set(&[own.address, again.address]);
        crowd.replicas[1].0.send_replace(again.address);
        crowd.submit().await?;
        for execution in &crowd.executions {
            let ended = world.ended(*execution).await?;
            ensure!(ended["state"] == "done", "{ended:#}\n{}\n{}", own.said(), again.said());
        }
        stop.send_replace(true);
        let slowest = stopped_for.max(killed_for);
        ensure!(slowest <= TAKEOVER_MAX, "taken over after {slowest:?}");
        Ok::<_, anyhow::Error>(again)
    };
    let (mut acknowledged, again) = tokio::try_join!(load, driven)?;
    let n_pages = check_pages(&client, &mut crowd).await?;
    again.stop().await?;
    acknowledged.append(&mut crowd.acknowledged);
    Ok(Promised { acknowledged, executions: crowd.executions, n_pages })
}

/// Asks the server that is left to end, and waits until it has.
async fn stop(world: &mut World) -> Result<()> {
    signal(world.server()?, "-TERM").await?;
    let deadline = Instant::now() + PATIENCE;
    while !world.server_mut()?.is_dead() {
        ensure!(Instant::now() < deadline, "it does not end:\n{}", world.server()?.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Each page shows what the log says, and nothing else.
async fn check_pages(client: &Client, crowd: &mut Crowd) -> Result<usize> {
    let mut n_pages = 0;
    while let Some(page) = crowd.pages.join_next().await {
        let (session, seen) = page??;
        let path = format!("/api/sessions/{session}/items?limit=500");
        let document = client.get(&path).await?;
        let items = document["items"].as_array().context("items")?;
        let (mut texts, mut whole) = (BTreeMap::new(), String::new());
        for item in items.iter().filter(|item| item["item"] == "message") {
            let key = item["key"].as_str().context("a key")?.rsplit('/').next().unwrap_or_default();
            let text = item["text"].as_str();
            ensure!(texts.insert(key, text).is_none(), "{key} is there twice");
            if item["author"] == "agent" && item["kind"] == "answer" {
                whole.push_str(text.unwrap_or_default());
            }
        }
        ensure!(whole.matches("finished").count() == 1, "once and complete: {whole}");
        let numbers = whole.lines().filter_map(|line| line.split_once(' ')?.0.parse::<u64>().ok());
        ensure!(numbers.eq(0..60), "each line once and in order: {whole}");
        let mut n_shown = 0;
        for (key, text, is_complete) in seen.texts() {
            let told = texts.get(key).copied().flatten().unwrap_or_default();
            ensure!(told.starts_with(text), "{text:?} was shown of {told:?}");
            ensure!(!is_complete || told == text, "{text:?} was shown for {told:?}");
            n_shown += usize::from(is_complete);
        }
        // Who never lost the connection has seen everything live.
        ensure!(n_shown > 0 || seen.n_connections > 1, "a page saw nothing: {seen:?}");
        n_pages += 1;
    }
    Ok(n_pages)
}

/// What was acknowledged is there, and the oracle finds nothing wrong with log and read models; tells how many
/// events there are.
async fn check_promises(world: &World, promised: &Promised) -> Result<usize> {
    let (url, data_dir) = (world.database_url(), world.data_dir());
    // What came last may not be shown yet. As at a next start, tables and checkpoints are gone on from as they
    // are, so that a row too many or too few stays one.
    let database = Database::open(url, &data_dir).await?;
    let log = EventLog::open(&database, Options::default()).await?;
    read_models::projector(&database, &log).catch_up().await?;
    log.close().await;
    database.close().await;
    let oracle = Oracle::open(url, &data_dir).await?;
    oracle.check(&promised.acknowledged).await?;
    // What no answer said: each execution was requested and came to its end, once.
    let count = |execution: Uuid, name: &str| {
        let is_it = |entry: &&Entry| entry.stream.id == execution && entry.event_type == name;
        oracle.entries().iter().filter(is_it).count()
    };
    for execution in &promised.executions {
        ensure!(count(*execution, "requested") == 1 && count(*execution, "done") == 1);
    }
    Ok(oracle.entries().len())
}
