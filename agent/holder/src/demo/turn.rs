//! One turn of the demo agent: it carries out the directives of a prompt and tells what it does.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::{process::Command, sync::watch, time};

use crate::demo::{
    connection::Connection,
    directive::{Directive, directives},
    history::History,
    tour::look_round,
    work_tree,
};

/// The note that it leaves where it was given no directive.
const NOTE: &str = "SAM-DEMO.md";
/// Longest output of a command that it tells.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// About as much text as a model gives at a time.
const PIECE_BYTES: usize = 24;
/// JSON-RPC's code for something that went wrong inside.
const INTERNAL_ERROR: i32 = -32603;

pub(super) struct Turn {
    connection: Connection,
    history: Arc<History>,
    directory: PathBuf,
    cancel: watch::Receiver<bool>,
    /// Ids of tool calls must not repeat within a session.
    turn: u32,
    n_calls: u32,
    plan: Vec<String>,
    n_planned_done: usize,
}

/// Why a turn does not go on.
enum Stop {
    Cancelled,
    Failed { reason: String },
}

impl Turn {
    pub(super) fn new(
        connection: Connection,
        history: Arc<History>,
        directory: PathBuf,
        cancel: watch::Receiver<bool>,
    ) -> Self {
        let (turn, plan) = (history.next_turn(), Vec::new());
        let (n_calls, n_planned_done) = (0, 0);
        Self { connection, history, directory, cancel, turn, n_calls, plan, n_planned_done }
    }

    /// Works to the end of the prompt, or to a cancel. The answer is that of `session/prompt`.
    pub(super) async fn run(mut self, prompt: &str) -> Result<Value, (i32, String)> {
        self.history.remember(&text_update("user_message_chunk", prompt));
        let stopped = match directives(prompt).as_slice() {
            [] => self.tour(prompt).await,
            directives => self.carry_out(directives).await,
        };
        match stopped {
            Ok(()) => {
                self.plan_done(usize::MAX).await;
                let used = prompt.split_whitespace().count();
                self.update(
                    json!({ "sessionUpdate": "usage_update", "used": used, "size": 200_000 }),
                )
                .await;
                Ok(json!({ "stopReason": "end_turn" }))
            }
            Err(Stop::Cancelled) => Ok(json!({ "stopReason": "cancelled" })),
            Err(Stop::Failed { reason }) => Err((INTERNAL_ERROR, reason)),
        }
    }

    async fn carry_out(&mut self, directives: &[Directive]) -> Result<(), Stop> {
        for directive in directives {
            // Whoever is to hang is deaf, also to a cancel that came before it began to.
            if *self.cancel.borrow() && !matches!(directive, Directive::Hang) {
                return Err(Stop::Cancelled);
            }
            self.perform(directive).await?;
            if !matches!(directive, Directive::Plan { .. }) {
                self.plan_done(1).await;
            }
        }
        Ok(())
    }

    async fn perform(&mut self, directive: &Directive) -> Result<(), Stop> {
        match directive {
            Directive::Write { path, text } => {
                self.write(path, &format!("{text}\n")).await;
                Ok(())
            }
            Directive::Run { command } => self.run_command(command).await,
            Directive::Say { text } => {
                self.say(text).await;
                Ok(())
            }
            Directive::Ask { question } => self.ask(question).await,
            Directive::Plan { entries } => {
                self.plan = entries.clone();
                self.n_planned_done = 0;
                self.tell_plan().await;
                Ok(())
            }
            Directive::Sleep { period } => self.pause(*period).await,
            Directive::Stream { n_chunks, per_second } => self.stream(*n_chunks, *per_second).await,
            Directive::Fail { reason } => Err(Stop::Failed { reason: reason.clone() }),
            // Deaf to a cancel, like an agent that is stuck.
            Directive::Hang => std::future::pending().await,
        }
    }

    async fn tour(&mut self, prompt: &str) -> Result<(), Stop> {
        let call = self.begin_call("Look round the repository", "search", json!({})).await;
        let sights = look_round(&self.directory);
        self.end_call(&call, "completed", vec![text_content(&sights.sentence())]).await;
        self.say(&format!(
            "This is the SAM demo agent, which needs no key and understands no ideas. {}",
            sights.sentence()
        ))
        .await;
        if !self.write(NOTE, &sights.note(prompt)).await {
            return Err(Stop::Failed { reason: format!("{NOTE} could not be written") });
        }
        self.say(&format!(
            "I wrote a note about it to {NOTE}. To have a real coding agent work on your ideas, \
             add its key in Settings, or set ANTHROPIC_API_KEY for `sam run --agent claude-code`."
        ))
        .await;
        Ok(())
    }

    async fn write(&mut self, path: &str, text: &str) -> bool {
        let call = self.begin_call(&format!("Write {path}"), "edit", json!({ "path": path })).await;
        match work_tree::write(&self.directory, path, text) {
            Ok(written) => {
                let diff = json!({
                    "type": "diff",
                    "path": written.path,
                    "oldText": written.before,
                    "newText": text,
                });
                self.end_call(&call, "completed", vec![diff]).await;
                true
            }
            Err(error) => {
                self.end_call(&call, "failed", vec![text_content(&error.to_string())]).await;
                false
            }
        }
    }

    async fn run_command(&mut self, command: &str) -> Result<(), Stop> {
        let call = self.begin_call(command, "execute", json!({ "command": command })).await;
        let running = Command::new("sh")
            .args(["-c", command])
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::select! {
            output = running => output,
            () = cancelled(self.cancel.clone()) => {
                self.end_call(&call, "failed", vec![text_content("cancelled")]).await;
                return Err(Stop::Cancelled);
            }
        };
        let (status, text) = match output {
            Ok(output) => {
                let mut bytes = output.stdout;
                bytes.extend(output.stderr);
                bytes.truncate(OUTPUT_BYTES_MAX);
                let status = if output.status.success() { "completed" } else { "failed" };
                (status, String::from_utf8_lossy(&bytes).into_owned())
            }
            Err(error) => ("failed", error.to_string()),
        };
        self.end_call(&call, status, vec![text_content(&text)]).await;
        Ok(())
    }

    async fn ask(&mut self, question: &str) -> Result<(), Stop> {
        let call = self.begin_call(question, "other", json!({})).await;
        let parameters = json!({
            "sessionId": self.history.name(),
            "toolCall": { "toolCallId": call, "title": question, "kind": "other" },
            "options": [
                { "optionId": "yes", "name": "Allow", "kind": "allow_once" },
                { "optionId": "always", "name": "Always allow", "kind": "allow_always" },
                { "optionId": "no", "name": "Reject", "kind": "reject_once" },
            ],
        });
        let answer = tokio::select! {
            answer = self.connection.ask("session/request_permission", parameters) => answer,
            () = cancelled(self.cancel.clone()) => return Err(Stop::Cancelled),
        };
        let is_allowed = matches!(answer["outcome"]["optionId"].as_str(), Some("yes" | "always"));
        let (status, text) = if is_allowed {
            ("completed", "It was allowed.")
        } else {
            ("failed", "It was refused.")
        };
        self.end_call(&call, status, vec![text_content(text)]).await;
        Ok(())
    }

    async fn pause(&mut self, period: Duration) -> Result<(), Stop> {
        tokio::select! {
            () = time::sleep(period) => Ok(()),
            () = cancelled(self.cancel.clone()) => Err(Stop::Cancelled),
        }
    }

    /// Streams numbered chunks with the time at which each was made, for measuring the way they go.
    async fn stream(&mut self, n_chunks: u32, per_second: f64) -> Result<(), Stop> {
        let period = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(Duration::ZERO);
        let begun = time::Instant::now();
        for number in 0..n_chunks {
            if !period.is_zero() {
                let due = begun + period.saturating_mul(number);
                self.pause(due.saturating_duration_since(time::Instant::now())).await?;
            } else if *self.cancel.borrow() {
                return Err(Stop::Cancelled);
            }
            self.tell(&format!("{number} {}\n", unix_micros())).await;
        }
        Ok(())
    }

    /// Says a whole paragraph, a few words at a time.
    async fn say(&mut self, text: &str) {
        let mut piece = String::new();
        for word in text.split_inclusive(' ') {
            piece.push_str(word);
            if piece.len() >= PIECE_BYTES {
                self.tell(&std::mem::take(&mut piece)).await;
            }
        }
        self.tell(&format!("{piece}\n\n")).await;
    }

    async fn tell(&mut self, text: &str) {
        self.update(text_update("agent_message_chunk", text)).await;
    }

    async fn begin_call(&mut self, title: &str, kind: &str, input: Value) -> String {
        self.n_calls += 1;
        let call = format!("call-{}-{}", self.turn, self.n_calls);
        self.update(json!({
            "sessionUpdate": "tool_call",
            "toolCallId": call,
            "title": title,
            "kind": kind,
            "status": "in_progress",
            "rawInput": input,
        }))
        .await;
        call
    }

    async fn end_call(&mut self, call: &str, status: &str, content: Vec<Value>) {
        self.update(json!({
            "sessionUpdate": "tool_call_update",
            "toolCallId": call,
            "status": status,
            "content": content,
        }))
        .await;
    }

    async fn plan_done(&mut self, n: usize) {
        if self.n_planned_done < self.plan.len() {
            self.n_planned_done = self.n_planned_done.saturating_add(n).min(self.plan.len());
            self.tell_plan().await;
        }
    }

    async fn tell_plan(&mut self) {
        let done = self.n_planned_done;
        let entries: Vec<Value> = self
            .plan
            .iter()
            .enumerate()
            .map(|(number, content)| {
                let status = match number {
                    number if number < done => "completed",
                    number if number == done => "in_progress",
                    _ => "pending",
                };
                json!({ "content": content, "priority": "medium", "status": status })
            })
            .collect();
        self.update(json!({ "sessionUpdate": "plan", "entries": entries })).await;
    }

    async fn update(&mut self, update: Value) {
        self.history.remember(&update);
        self.connection.update(self.history.name(), update).await;
    }
}

async fn cancelled(mut cancel: watch::Receiver<bool>) {
    // Without a sender the whole agent is ending.
    let _ = cancel.wait_for(|is_cancelled| *is_cancelled).await;
}

fn text_update(kind: &str, text: &str) -> Value {
    json!({ "sessionUpdate": kind, "content": { "type": "text", "text": text } })
}

fn text_content(text: &str) -> Value {
    json!({ "type": "content", "content": { "type": "text", "text": text } })
}

fn unix_micros() -> u128 {
    #[expect(clippy::disallowed_methods, reason = "a measuring instrument, not a decision")]
    let now = SystemTime::now();
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros())
}
