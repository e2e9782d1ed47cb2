//! Shows one execution on the terminal until it ends: steps, answer, tool calls, what is asked.

use std::{collections::HashMap, io::IsTerminal as _, time::Duration};

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Method;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    time::Instant,
};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::{
    cli::{
        client::{Client, Feed},
        console,
    },
    commands::{
        execution::{AnswerInput, InputChoice},
        session::AnswerPermission,
    },
    live::frames::{ClientFrame, FollowedSession, ServerFrame},
    problem::Problem,
    queries::{
        executions::{Execution, ExecutionState, Step, StepState},
        items::{
            Author, Item, ItemPage, MessageItem, PermissionItem, PlanEntry, TextKind,
            ToolCallStatus,
        },
    },
    wire::{Accepted, StepName},
};

/// How many of the newest items are read at the end: as many as a page has at most.
const REST_ITEMS_MAX: usize = 500;

const AWAY_PERIOD_MAX: Duration = Duration::from_secs(30);
const RETRY_PERIOD: Duration = Duration::from_millis(500);

/// How an execution ended, for a script.
pub(super) enum End {
    /// None: nothing was changed.
    Done {
        branch: Option<String>,
    },
    NotDone {
        reason: String,
    },
}

/// Shows an execution until it ends.
pub(super) async fn watch(
    client: &Client,
    execution: Uuid,
    accepted: &Accepted,
) -> anyhow::Result<End> {
    let mut watcher = Watcher::new(client, execution, accepted.session);
    let end = loop {
        let mut feed = patiently(async || client.feed().await).await?;
        if let Some(session) = watcher.session {
            let follow = ClientFrame::Follow(FollowedSession { session });
            feed.send(Message::text(serde_json::to_string(&follow)?)).await?;
        }
        if let Some(end) = watcher.follow(&mut feed).await? {
            break end;
        }
        // The feed was cut; what was missed is read again.
    };
    // How it ended is known either way.
    if let Err(error) = watcher.show_rest().await {
        watcher.line(&format!("what was said last could not be read: {error:#}"));
    }
    Ok(end)
}

/// Tries again for a while: the server, or its database, may be away for a moment.
async fn patiently<T>(attempt: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let until = Instant::now() + AWAY_PERIOD_MAX;
    loop {
        match attempt().await {
            Err(error) if Instant::now() < until && !is_final(&error) => {}
            outcome => return outcome,
        }
        tokio::time::sleep(RETRY_PERIOD).await;
    }
}

fn is_final(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Problem>().is_some_and(|problem| problem.status < 500)
}

struct Watcher<'client> {
    client: &'client Client,
    execution: Uuid,
    session: Option<Uuid>,
    /// The newest step that was shown.
    shown_step: Option<StepName>,
    shown_reason: Option<String>,
    /// How much of each message was shown.
    messages: HashMap<String, Shown>,
    tool_calls: HashMap<String, ToolCallStatus>,
    permissions: HashMap<Uuid, bool>,
    /// What was last shown of each item that is shown as a whole.
    told: HashMap<String, String>,
    has_open_line: bool,
    has_asked: bool,
}

#[derive(Default)]
struct Shown {
    n_bytes: usize,
    next_chunk: u32,
}

impl<'client> Watcher<'client> {
    fn new(client: &'client Client, execution: Uuid, session: Option<Uuid>) -> Self {
        Self {
            client,
            execution,
            session,
            shown_step: None,
            shown_reason: None,
            messages: HashMap::new(),
            tool_calls: HashMap::new(),
            permissions: HashMap::new(),
            told: HashMap::new(),
            has_open_line: false,
            has_asked: false,
        }
    }

    /// Shows what comes on the feed, until the execution ends; none where the feed ends first.
    async fn follow(&mut self, feed: &mut Feed) -> anyhow::Result<Option<End>> {
        while let Some(message) = feed.next().await {
            let text = match message {
                Ok(Message::Text(text)) => text,
                Ok(Message::Close(_)) | Err(_) => return Ok(None),
                Ok(_) => continue,
            };
            match serde_json::from_str(&text).context("a frame of the live feed is malformed")? {
                // What has happened up to here is not told on this feed; all that comes after it is.
                ServerFrame::Hello(hello) => {
                    if let Some(execution) = self.read(hello.position).await?
                        && let Some(end) = self.show_execution(execution).await?
                    {
                        return Ok(Some(end));
                    }
                }
                ServerFrame::Changed(changed) if changed.execution == Some(self.execution) => {
                    if let Some(execution) = self.read(changed.position).await?
                        && let Some(end) = self.show_execution(execution).await?
                    {
                        return Ok(Some(end));
                    }
                }
                ServerFrame::Changed(_) => {}
                ServerFrame::Item(changed) => self.show(changed.item).await?,
                ServerFrame::Chunk(chunk) => {
                    let key = chunk.message.to_string();
                    let shown = self.messages.entry(key).or_default();
                    if chunk.chunk == shown.next_chunk {
                        shown.next_chunk += 1;
                        shown.n_bytes += chunk.text.len();
                        self.stream(chunk.kind, &chunk.text);
                    }
                }
                ServerFrame::Open(open) => {
                    for message in open.messages {
                        let key = message.message.to_string();
                        let shown = self.messages.entry(key).or_default();
                        if message.first_chunk == shown.next_chunk {
                            shown.next_chunk = message.n_chunks;
                            shown.n_bytes += message.text.len();
                            self.stream(message.kind, &message.text);
                        }
                    }
                }
                ServerFrame::Lagging => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Reads the execution; none where the process that makes it has not come to it yet.
    async fn read(&self, position: u64) -> anyhow::Result<Option<Execution>> {
        let path = format!("/executions/{}?after={position}", self.execution);
        // What is missed may be the end.
        patiently(async || self.client.find(&path).await).await
    }

    /// Shows what was said and is not shown yet. An end is read from the newest state: what came before it may
    /// still be on its way here, or was told while the feed was cut.
    async fn show_rest(&mut self) -> anyhow::Result<()> {
        let Some(session) = self.session else { return Ok(()) };
        let path = format!("/sessions/{session}/items?limit={REST_ITEMS_MAX}");
        let Some(page) = self.client.find::<ItemPage>(&path).await? else { return Ok(()) };
        for item in page.items {
            match item {
                // It is too late for an answer.
                Item::Permission(permission) if permission.answer.is_none() => {}
                item => self.show(item).await?,
            }
        }
        Ok(())
    }

    /// Shows what is new about the execution; tells its end.
    async fn show_execution(&mut self, execution: Execution) -> anyhow::Result<Option<End>> {
        self.show_steps(&execution);
        let reason = execution.reason.clone();
        match execution.state {
            ExecutionState::Done => {
                let result = execution.result.and_then(|result| result.reference);
                return Ok(Some(End::Done { branch: result.map(|_| execution.branch) }));
            }
            ExecutionState::Failed | ExecutionState::Cancelled => {
                let kept = execution.checkpoint.map(|kept| format!("; the work is kept as {kept}"));
                let reason = reason.unwrap_or_else(|| "it was cancelled".to_owned());
                let reason = format!("{reason}{}", kept.unwrap_or_default());
                return Ok(Some(End::NotDone { reason }));
            }
            ExecutionState::NeedsInput if !self.has_asked => {
                self.has_asked = true;
                let reason = reason.unwrap_or_default();
                if !std::io::stdin().is_terminal() {
                    let reason = format!("it needs a person to decide: {reason}");
                    return Ok(Some(End::NotDone { reason }));
                }
                self.ask_input(&reason).await?;
            }
            ExecutionState::NeedsInput => {}
            _ => self.has_asked = false,
        }
        Ok(None)
    }

    fn show_steps(&mut self, execution: &Execution) {
        let is_shown = |step: &&Step| {
            !matches!(step.state, StepState::Pending | StepState::Skipped)
                && self.shown_step.is_none_or(|shown| step.step > shown)
        };
        let new: Vec<&Step> = execution.steps.iter().filter(is_shown).collect();
        for step in new {
            let reason = step.reason.as_deref().unwrap_or_default();
            self.line(&format!("● {} — {reason}", words(step.step)));
            self.shown_step = Some(step.step);
        }
        if execution.reason.is_some() && execution.reason != self.shown_reason {
            self.line(&format!("  {}", execution.reason.clone().unwrap_or_default()));
        }
        self.shown_reason.clone_from(&execution.reason);
    }

    async fn show(&mut self, item: Item) -> anyhow::Result<()> {
        match item {
            Item::Message(message) => self.show_message(&message),
            Item::ToolCall(call) => {
                let known = self.tool_calls.insert(call.key.clone(), call.status);
                if known != Some(call.status) {
                    let mark = match call.status {
                        ToolCallStatus::Pending | ToolCallStatus::InProgress => "▸",
                        ToolCallStatus::Completed => "✓",
                        ToolCallStatus::Failed => "✗",
                    };
                    self.line(&format!("{mark} {}", call.title));
                }
            }
            Item::Plan(plan) => {
                let line = |entry: &PlanEntry| {
                    let mark = if entry.status == "completed" { "☑" } else { "☐" };
                    format!("{mark} {}", entry.content)
                };
                let lines: Vec<String> = plan.entries.iter().map(line).collect();
                self.tell(plan.key, lines.join("\n"));
            }
            Item::Permission(permission) => self.show_permission(permission).await?,
            Item::TurnEnd(end) if end.reason != "end_turn" => {
                self.tell(end.key, format!("the turn ended: {}", end.reason));
            }
            Item::TurnEnd(_) => {}
            Item::Notice(notice) => self.tell(notice.key, notice.text),
        }
        Ok(())
    }

    /// Shows an item as a whole, unless just this was shown of it.
    fn tell(&mut self, key: String, text: String) {
        if self.told.get(&key) != Some(&text) {
            self.line(&text);
            self.told.insert(key, text);
        }
    }

    fn show_message(&mut self, message: &MessageItem) {
        if message.author == Author::Person {
            return;
        }
        // The key of a message is its id, perhaps with a word before it.
        let key = message.key.rsplit('/').next().unwrap_or_default().to_owned();
        let shown = self.messages.entry(key).or_default();
        let rest = message.text.get(shown.n_bytes..).unwrap_or_default().to_owned();
        shown.n_bytes = shown.n_bytes.max(message.text.len());
        shown.next_chunk = shown.next_chunk.max(message.n_chunks);
        if !rest.is_empty() {
            self.stream(message.kind, &rest);
        }
        if message.is_complete && self.has_open_line {
            self.line("");
        }
    }

    async fn show_permission(&mut self, permission: PermissionItem) -> anyhow::Result<()> {
        let is_open = permission.answer.is_none();
        if self.permissions.insert(permission.request, is_open) == Some(is_open) {
            return Ok(());
        }
        match &permission.answer {
            Some(answer) => self.line(&format!("  {}: {}", permission.title, answer.name)),
            None if std::io::stdin().is_terminal() => self.ask_permission(&permission).await?,
            None => self.line(&format!("  {}: waiting for an answer", permission.title)),
        }
        Ok(())
    }

    async fn ask_permission(&mut self, permission: &PermissionItem) -> anyhow::Result<()> {
        self.line(&format!("? {}", permission.title));
        for (number, option) in (1..).zip(&permission.options) {
            self.line(&format!("  {number}) {}", option.name));
        }
        let n_options = permission.options.len();
        let chosen = choose(n_options).await?;
        let option = permission.options.get(chosen).map(|option| option.id.clone());
        let Some(session) = self.session else { bail!("the permission has no session") };
        let path = format!("/sessions/{session}/permissions/{}", permission.request);
        let answer = AnswerPermission { option: option.unwrap_or_default() };
        self.client.send::<Accepted>(Method::POST, &path, &answer).await?;
        Ok(())
    }

    async fn ask_input(&mut self, reason: &str) -> anyhow::Result<()> {
        self.line(&format!("? {reason}"));
        self.line("  1) continue: ask the coding agent again");
        self.line("  2) park: stop here and keep the work");
        let choice = if choose(2).await? == 0 { InputChoice::Continue } else { InputChoice::Park };
        let path = format!("/executions/{}/input", self.execution);
        self.client.send::<Accepted>(Method::POST, &path, &AnswerInput { choice }).await?;
        Ok(())
    }

    fn stream(&mut self, kind: TextKind, text: &str) {
        if kind == TextKind::Thought {
            return;
        }
        console::stream(text);
        self.has_open_line = !text.ends_with('\n');
    }

    fn line(&mut self, text: &str) {
        if std::mem::take(&mut self.has_open_line) {
            console::stream("\n");
        }
        if !text.is_empty() {
            console::progress(text);
        }
    }
}

fn words(step: StepName) -> &'static str {
    match step {
        StepName::NodeSelection => "choosing a machine",
        StepName::NodeProvisioning => "making a machine",
        StepName::NodeAgentReady => "waiting for the machine",
        StepName::WorkspaceCreation => "making the workspace",
        StepName::WorkspaceReady => "workspace ready",
        StepName::AgentSession => "starting the coding agent",
        StepName::Running => "running",
    }
}

/// Asks for a number until there is one; the answer counts from 0.
async fn choose(n_options: usize) -> anyhow::Result<usize> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        console::stream(&format!("  1–{n_options}: "));
        let line = lines.next_line().await?.context("nobody answers")?;
        match line.trim().parse::<usize>() {
            Ok(number) if (1..=n_options).contains(&number) => return Ok(number - 1),
            _ => {}
        }
    }
}
