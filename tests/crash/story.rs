//! One round: an idea on its way to a branch, with a kill in between.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use tests::world::{Store, World, random};
use tokio::{process::Command, time::Instant};
use uuid::Uuid;

use crate::checks;

/// What the demo agent is told. Doing it twice gives the same files.
pub(crate) const IDEA: &str = "plan: write; run; stream\n\
    write notes.txt: kept\n\
    run: printf 'made\\n' > made.txt\n\
    stream: 30 30\n\
    say: finished";

/// How long the empty machine waits before it is given back, which is part of the story: what the
/// timers do is passed by nothing else.
const WARM_MS: &str = "500";

/// How often the log's head is signed: often enough to happen in each story.
const HEAD_MS: &str = "300";

/// How long a round may take in all.
const ROUND: Duration = Duration::from_secs(150);

/// Between two looks at the execution.
const GLANCE: Duration = Duration::from_millis(50);

/// Who is killed, and when.
#[derive(Clone, Debug)]
pub(crate) enum Kill {
    /// Itself, at a named crash point.
    AtPoint(String),
    /// One of the three, some time after the submission.
    AtRandom { who: Who, after: Duration },
    /// The holder, some time into the coding agent's turn.
    InTurn { after: Duration },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Sam,
    Agent,
    Holder,
}

impl Kill {
    pub(crate) fn at(point: &str) -> Self {
        Self::AtPoint(point.to_owned())
    }

    /// Whether the story has to come by. A moment may be too late.
    pub(crate) fn is_certain(&self) -> bool {
        matches!(self, Self::AtPoint(_))
    }

    pub(crate) fn holder(number: u32) -> Self {
        Self::InTurn { after: Duration::from_millis(u64::from(number % 10) * 100) }
    }

    /// The moments differ from run to run; each is printed when it fails.
    pub(crate) fn random(number: u32) -> Self {
        let (noise, _) = random().as_u64_pair();
        let who = match number % 3 {
            0 => Who::Sam,
            1 => Who::Agent,
            _ => Who::Holder,
        };
        Self::AtRandom { who, after: Duration::from_millis(noise % 2_500) }
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtPoint(point) => write!(f, "at {point}"),
            Self::AtRandom { who, after } => write!(f, "{who:?} after {after:?}"),
            Self::InTurn { after } => write!(f, "the holder {after:?} into the turn"),
        }
    }
}

pub(crate) struct Story {
    world: World,
    idea: Uuid,
    execution: Option<Uuid>,
    /// Of the submission: read models that are asked have to show it.
    position: u64,
    /// When to kill, until it is done.
    due: Option<Instant>,
    was_killed: bool,
    /// A person had to say "continue": the turn was asked twice.
    was_continued: bool,
}

impl Story {
    /// Plays a round and checks its end; tells whether anything was killed.
    pub(crate) async fn play(store: Store, kill: &Kill) -> Result<bool> {
        let settings = [("SAM_NODE_WARM_TIMEOUT_MS", WARM_MS), ("SAM_HEAD_PERIOD_MS", HEAD_MS)];
        let world = World::start_with("crash", store, &settings).await?;
        let mark = world.folder().join("killed");
        let mut story = Self {
            world,
            idea: random(),
            execution: None,
            position: 0,
            due: None,
            was_killed: false,
            was_continued: false,
        };
        if let Kill::AtPoint(point) = kill {
            let mark = mark.to_str().context("a readable path")?;
            story.world.kill().await?;
            let settings = [("SAM_CRASH_POINT", point.as_str()), ("SAM_CRASH_MARK", mark)];
            // Some points are passed before the server is up.
            if story.world.resume_with(&settings).await.is_err() {
                story.world.resume().await?;
            }
        }
        let whole = async {
            story.go_on(kill).await?;
            story.settle_down().await
        };
        let played = tokio::time::timeout(ROUND, whole).await;
        if let Err(error) = played.unwrap_or_else(|_| Err(anyhow::anyhow!("it hangs"))) {
            return Err(error.context(story.circumstances().await));
        }
        story.was_killed |= mark.exists();
        let Self { world, idea, execution, position, was_killed, was_continued, .. } = story;
        let execution = execution.context("it was submitted")?;
        checks::hold(&world, execution, was_continued).await?;
        checks::promises(&world, idea, position).await?;
        world.end().await?;
        Ok(was_killed)
    }

    /// What can be told of a round that went wrong, for whoever has to find out why.
    async fn circumstances(&self) -> String {
        let Ok(server) = self.world.server() else { return "no server".to_owned() };
        let mut told = format!("the server said:\n{}", server.said());
        let execution = self.execution.unwrap_or_default();
        for path in ["workspaces", "nodes", &format!("executions/{execution}/timeline")] {
            match tokio::time::timeout(Duration::from_secs(5), server.get(path)).await {
                Ok(Ok(document)) => told.push_str(&format!("\n{path}: {document}")),
                other => told.push_str(&format!("\n{path}: {other:?}")),
            }
        }
        let of_processes = tests::world::processes(&self.world.data_dir());
        told.push_str(&format!("\nprocesses: {of_processes:?}"));
        let grep = Command::new("grep")
            .args(["-r", "", "--include=agent.log*"])
            .arg(self.world.data_dir())
            .output()
            .await;
        if let Ok(found) = grep {
            told.push_str(&format!("\n{}", String::from_utf8_lossy(&found.stdout)));
        }
        told
    }

    /// Carries the idea to its end, as a patient person with a browser would.
    async fn go_on(&mut self, kill: &Kill) -> Result<()> {
        if let Kill::AtRandom { after, .. } = kill {
            self.due = Some(Instant::now() + *after);
        }
        loop {
            if self.world.server_mut()?.is_dead() {
                self.was_killed = true;
                self.world.resume().await?;
            }
            match self.look(kill).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // A request that was cut off is sent again; an answer that is wrong is not.
                Err(error) if !self.is_going_down(&error).await => return Err(error),
                Err(_) => {}
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until container and machine are given back; what is killed meanwhile is started again.
    async fn settle_down(&mut self) -> Result<()> {
        loop {
            if self.world.server_mut()?.is_dead() {
                self.was_killed = true;
                self.world.resume().await?;
            }
            match self.is_settled().await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if !self.is_going_down(&error).await => return Err(error),
                Err(_) => {}
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Whether nothing is left to be done for the execution. A server that is about to die at its last
    /// point is still there at this look, and dead at the next: hence twice.
    async fn is_settled(&self) -> Result<bool> {
        for _ in 0..2 {
            let server = self.world.server()?;
            let are = |listed: &Value, state: &str| {
                listed.as_array().is_some_and(|all| all.iter().all(|one| one["state"] == state))
            };
            let (workspaces, nodes) = (server.get("workspaces").await?, server.get("nodes").await?);
            if !are(&workspaces, "stopped") || !are(&nodes, "stopped") {
                return Ok(false);
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(true)
    }

    /// A connection error means that the server died, or is about to be found dead.
    async fn is_going_down(&mut self, error: &anyhow::Error) -> bool {
        if error.downcast_ref::<reqwest::Error>().is_none() {
            return false;
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if self.world.server_mut().is_ok_and(|server| server.is_dead()) {
                return true;
            }
            tokio::time::sleep(GLANCE).await;
        }
        false
    }

    /// One look at the execution, and what a person would do about it. True at its end.
    async fn look(&mut self, kill: &Kill) -> Result<bool> {
        let Some(execution) = self.execution else {
            let (execution, position) = self.world.submit_at(self.idea, IDEA).await?;
            (self.execution, self.position) = (Some(execution), position);
            return Ok(false);
        };
        let server = self.world.server()?;
        let path = format!("executions/{execution}?after={}", self.position);
        let (status, document) = server.ask(Method::GET, &path, None).await?;
        match status {
            // A server that was killed keeps its lease for some seconds, in which nobody acts.
            404 => return Ok(false),
            400.. => bail!("GET {path}: {status} {document}"),
            _ => {}
        }
        self.kill_if_due(kill, &document).await?;
        match document["state"].as_str() {
            Some("done" | "failed" | "cancelled") => Ok(true),
            Some("needs_input") => {
                let body = json!({ "choice": "continue" });
                self.world.server()?.post(&format!("executions/{execution}/input"), &body).await?;
                self.was_continued = true;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    async fn kill_if_due(&mut self, kill: &Kill, execution: &Value) -> Result<()> {
        if let (Kill::InTurn { after }, "running", None, false) =
            (kill, execution["step"].as_str().unwrap_or_default(), self.due, self.was_killed)
        {
            self.due = Some(Instant::now() + *after);
        }
        if self.due.is_none_or(|due| Instant::now() < due) {
            return Ok(());
        }
        let who = match kill {
            Kill::AtRandom { who, .. } => *who,
            Kill::AtPoint(_) | Kill::InTurn { .. } => Who::Holder,
        };
        if self.kill_now(who).await? {
            self.due = None;
            self.was_killed = true;
        }
        Ok(())
    }

    /// Kills a process of this world; false if there is none (yet, or any more).
    async fn kill_now(&mut self, who: Who) -> Result<bool> {
        let data_dir = self.world.data_dir();
        let wanted = |line: &str| match who {
            Who::Sam => false,
            Who::Agent => line.contains("sam-agent"),
            Who::Holder => false,
        };
        match who {
            Who::Sam => {
                self.world.kill().await?;
                self.world.resume().await?;
                Ok(true)
            }
            Who::Agent => {
                let agents = tests::world::processes(&data_dir);
                let agent = agents.into_iter().find(|(_, line)| wanted(line));
                let Some((id, _)) = agent else { return Ok(false) };
                Ok(signal(id).await)
            }
            Who::Holder => match holder(&self.world.installation()?).await? {
                Some(id) => Ok(signal(id).await),
                None => Ok(false),
            },
        }
    }
}

/// The process of a holder of this installation, as the host sees it.
async fn holder(installation: &str) -> Result<Option<u32>> {
    let filter = format!("label=sam.installation={installation}");
    let listed = Command::new("docker").args(["ps", "-q", "--filter", &filter]).output().await?;
    for container in String::from_utf8_lossy(&listed.stdout).lines() {
        let words = ["top", container, "-eo", "pid,args"];
        let top = Command::new("docker").args(words).output().await?;
        for line in String::from_utf8_lossy(&top.stdout).lines() {
            let Some((id, command)) = line.trim().split_once(' ') else { continue };
            if command.contains("/.sam/holder serve") {
                return Ok(Some(id.parse()?));
            }
        }
    }
    Ok(None)
}

async fn signal(id: u32) -> bool {
    let killed = Command::new("kill").args(["-9", &id.to_string()]).status().await;
    killed.is_ok_and(|status| status.success())
}

/// Fails unless both are equal, naming what was compared.
pub(crate) fn same<T: PartialEq + fmt::Debug>(what: &str, is: &T, should: &T) -> Result<()> {
    if is != should {
        bail!("{what}: {is:?} should be {should:?}");
    }
    Ok(())
}
