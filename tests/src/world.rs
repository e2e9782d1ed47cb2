//! A whole SAM for a test: the real `sam`, a real repository, and a driver that waits for conditions.
//!
//! Everything lives in one temporary folder. Containers, volumes and processes carry the installation's id, so
//! [`World::end`] can tell whether anything was left over, which fails the test. A world can be killed and started again at
//! any moment; that is what the crash test does.

mod repository;
mod server;
mod traces;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

pub use repository::Repository;
pub use server::{Server, binary};
pub use traces::processes;

/// How long a condition may take on a busy machine with two cores.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at a condition.
const GLANCE: Duration = Duration::from_millis(40);

/// Where the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Sqlite,
    Postgres,
}

/// A running SAM with one linked repository.
#[derive(Debug)]
pub struct World {
    folder: PathBuf,
    settings: Vec<(String, String)>,
    server: Option<Server>,
    /// As the server said; its file is gone while it starts again.
    installation: Option<String>,
    pub repository: Repository,
    pub project: Uuid,
}

impl World {
    /// Starts SAM on an empty store, links a repository with one commit, and waits until its project is shown: what a
    /// test reads first it may read once.
    pub async fn start(name: &str, store: Store) -> Result<Self> {
        Self::start_with(name, store, &[]).await
    }

    /// The same with settings of the server's environment.
    pub async fn start_with(name: &str, store: Store, settings: &[(&str, &str)]) -> Result<Self> {
        let unique = format!("sam-{name}-{}-{}", std::process::id(), random());
        let folder = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&folder)?;
        let repository = Repository::create(&folder.join("remote.git"))?;
        let mut settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        if store == Store::Postgres {
            settings.push(("SAM_DATABASE_URL".into(), crate::postgres::database()?));
        }
        let (server, installation) = (None, None);
        let project = random();
        let mut world = Self { folder, settings, server, installation, repository, project };
        world.resume().await?;
        world.link().await?;
        world.until(&format!("projects/{}", world.project), |_| true).await?;
        Ok(world)
    }

    /// Starts the server (again), with the settings it always has.
    pub async fn resume(&mut self) -> Result<()> {
        self.resume_with(&[]).await
    }

    /// Starts the server with more settings, such as a crash point.
    pub async fn resume_with(&mut self, more: &[(&str, &str)]) -> Result<()> {
        let mut settings = self.settings.clone();
        settings.extend(more.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        self.server = Some(Server::start(&self.data_dir(), &settings).await?);
        self.installation = traces::installation(&self.data_dir()).or(self.installation.take());
        Ok(())
    }

    /// Kills the server with SIGKILL. Its node's agent and the containers go on.
    pub async fn kill(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => server.kill().await,
            None => Ok(()),
        }
    }

    pub fn server(&self) -> Result<&Server> {
        self.server.as_ref().context("the server is not running")
    }

    pub fn server_mut(&mut self) -> Result<&mut Server> {
        self.server.as_mut().context("the server is not running")
    }

    /// A setting that the server is always started with.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let found = self.settings.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What the server's database is called, to look into it from beside.
    pub fn database_url(&self) -> &str {
        let set = self.settings.iter().find(|(name, _)| name == "SAM_DATABASE_URL");
        set.map_or("sqlite:", |(_, url)| url)
    }

    /// The installation's id, with which everything at the engine is labelled.
    pub fn installation(&self) -> Result<String> {
        self.installation.clone().context("the server says which installation it is")
    }

    fn owner(&self) -> traces::Owner {
        traces::Owner { data_dir: self.data_dir(), installation: self.installation.clone() }
    }

    async fn link(&self) -> Result<()> {
        let body =
            json!({ "id": self.project, "repository": self.repository.path(), "name": "Story" });
        self.server()?.post("projects", &body).await?;
        Ok(())
    }

    /// Submits an idea to the demo agent; tells the execution's id.
    pub async fn submit(&self, idea: Uuid, text: &str) -> Result<Uuid> {
        Ok(self.submit_at(idea, text).await?.0)
    }

    /// The same; tells also the position of the answer.
    pub async fn submit_at(&self, idea: Uuid, text: &str) -> Result<(Uuid, u64)> {
        let body = json!({
            "idea": idea, "description": text, "stage": "executing", "codingAgent": "demo",
        });
        let path = format!("projects/{}/ideas", self.project);
        let accepted = self.server()?.post(&path, &body).await?;
        let position =
            accepted["position"].as_u64().context("an accepted command has a position")?;
        Ok((id_in(&accepted, "execution")?, position))
    }

    /// Waits until a document satisfies a condition; fails with the document when it never does.
    pub async fn until(&self, path: &str, is_met: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let (status, document) = self.server()?.ask(Method::GET, path, None).await?;
            // What was accepted is in the log, and may not be in the read models yet; or the server is busy.
            let is_there = ![404, 503].contains(&status);
            if is_there && status >= 400 {
                bail!("GET {path}: {status} {document}");
            }
            if is_there && is_met(&document) {
                return Ok(document);
            }
            if tokio::time::Instant::now() > deadline {
                bail!(
                    "{path} never came to what was expected: {document:#}\n{}",
                    self.server()?.said()
                );
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until an execution is over, whatever its end.
    pub async fn ended(&self, execution: Uuid) -> Result<Value> {
        let is_over = |document: &Value| {
            ["done", "failed", "cancelled"]
                .contains(&document["state"].as_str().unwrap_or_default())
        };
        self.until(&format!("executions/{execution}"), is_over).await
    }

    /// The whole conversation, oldest first.
    pub async fn conversation(&self, session: &str) -> Result<Vec<Value>> {
        let document = self.server()?.get(&format!("sessions/{session}/items?limit=500")).await?;
        document["items"].as_array().cloned().context("a conversation has items")
    }

    /// Stops everything, and fails if a container, volume or process is left.
    pub async fn end(mut self) -> Result<()> {
        let wait = self.until("workspaces", all_stopped).await;
        let stopped = traces::stop_node(&self).await;
        if let Some(server) = self.server.take() {
            server.stop().await?;
        }
        let owner = self.owner();
        let left = tokio::task::spawn_blocking(move || {
            let left = owner.left();
            owner.remove();
            left
        });
        let left = left.await?;
        wait?;
        stopped?;
        if !left.is_empty() {
            bail!("left over: {left:?}");
        }
        std::fs::remove_dir_all(&self.folder)?;
        Ok(())
    }
}

impl Drop for World {
    /// After a failed test nothing may go on running.
    fn drop(&mut self) {
        if self.folder.exists() {
            self.owner().remove();
        }
    }
}

fn all_stopped(workspaces: &Value) -> bool {
    let is_stopped = |workspace: &Value| workspace["state"] == "stopped";
    workspaces.as_array().is_some_and(|workspaces| workspaces.iter().all(is_stopped))
}

/// The id that a document has under a name.
pub fn id_in(document: &Value, name: &str) -> Result<Uuid> {
    let text = document[name].as_str().with_context(|| format!("no {name} in {document}"))?;
    Ok(text.parse()?)
}

/// A new id.
#[expect(clippy::disallowed_methods, reason = "tests choose ids as browsers do")]
pub fn random() -> Uuid {
    Uuid::new_v4()
}
