//! `sam replay`: what an execution did, what was at a position, and whether it would be decided again.
//!
//! Asks the running server, or reads the log itself, without changing anything, if there is none.
//!
//! Read next: `replay/shown.rs` for how it is printed.

mod shown;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    cli::{client::Client, console, data_directory, offline::Offline, serve::Signals},
    config::Settings,
    queries::{
        ideas::Idea,
        log::LogEntry,
        replay::{ExecutionAt, Verification},
        timeline::Timeline,
    },
};

const WAIT_SECONDS: u64 = 5;

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct ReplayArguments {
    /// An execution, or an idea: then all its executions.
    id: Uuid,
    /// Show the state of everything involved, and the conversation, at this position of the log.
    #[arg(long, value_name = "POSITION", conflicts_with_all = ["follow", "verify"])]
    at: Option<u64>,
    /// Go on printing until the newest execution has ended; needs a running server.
    #[arg(long, conflicts_with = "verify")]
    follow: bool,
    /// Decide once more what was decided, and print what differs; no model is called. Fails if anything does.
    #[arg(long)]
    verify: bool,
    /// Print one JSON document a line.
    #[arg(long)]
    json: bool,
}

/// Where accounts come from.
enum Source {
    Server(Box<Client>),
    Stored(Box<Offline>),
}

pub(super) async fn replay(
    settings: &Settings,
    arguments: ReplayArguments,
) -> anyhow::Result<ExitCode> {
    let source = match data_directory::find(&settings.data_dir).await? {
        Some(server) => Source::Server(Box::new(Client::new(&server)?)),
        None if arguments.follow => {
            bail!("SAM does not run, so nothing is recorded: leave --follow out")
        }
        None => Source::Stored(Box::new(Offline::open_read_only(settings).await?)),
    };
    let executions = source.executions(arguments.id).await?;
    if arguments.verify {
        return verify(&source, &executions, arguments).await;
    }
    if let Some(position) = arguments.at {
        for execution in executions {
            let at = source.at(execution, position).await?;
            print(arguments, &at, || shown::execution_at(execution, &at))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let Some((newest, earlier)) = executions.split_last() else {
        console::progress("this idea was never executed");
        return Ok(ExitCode::SUCCESS);
    };
    for execution in earlier {
        let timeline = source.timeline(*execution).await?;
        print(arguments, &timeline, || shown::timeline(&timeline))?;
    }
    match &source {
        Source::Server(client) if arguments.follow => {
            let mut told = Signals::new()?;
            tokio::select! {
                () = told.wait() => {}
                ended = follow(client, *newest, arguments) => ended?,
            }
        }
        source => {
            let timeline = source.timeline(*newest).await?;
            print(arguments, &timeline, || shown::timeline(&timeline))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn verify(
    source: &Source,
    executions: &[Uuid],
    arguments: ReplayArguments,
) -> anyhow::Result<ExitCode> {
    let mut is_same = true;
    for execution in executions {
        let verified = source.verification(*execution).await?;
        is_same &= verified.is_same;
        print(arguments, &verified, || shown::verification(&verified))?;
    }
    Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints entries as they come until the execution is over.
async fn follow(
    client: &Client,
    execution: Uuid,
    arguments: ReplayArguments,
) -> anyhow::Result<()> {
    let mut position = 0;
    loop {
        let path = format!("/executions/{execution}/timeline");
        let timeline: Timeline = client.get(&path).await?;
        if position == 0 && !arguments.json {
            console::result(&shown::heading(&timeline));
        }
        for entry in timeline.entries.iter().filter(|entry| entry.position > position) {
            print(arguments, entry, || shown::entry(entry))?;
        }
        if is_over(&timeline) {
            return Ok(());
        }
        position = timeline.position;
        let path = format!("/log?from={position}&waitSeconds={WAIT_SECONDS}");
        client.get::<Vec<LogEntry>>(&path).await?;
    }
}

/// A session lets go of an execution after its end. One that it refused, because another was under way in it, it
/// never had.
fn is_over(timeline: &Timeline) -> bool {
    let has = |event: &str| timeline.entries.iter().any(|entry| entry.event == event);
    timeline.ended_at.is_some() && (has("execution_ended") || !has("execution_begun"))
}

impl Source {
    /// The executions that an id means, oldest first.
    async fn executions(&self, id: Uuid) -> anyhow::Result<Vec<Uuid>> {
        let (is_execution, of_idea) = match self {
            Self::Server(client) => {
                let idea: Option<Idea> = client.find(&format!("/ideas/{id}")).await?;
                (true, idea.map(|idea| idea.executions))
            }
            Self::Stored(stored) => {
                (stored.execution(id).await?.is_some(), stored.executions_of(id).await?)
            }
        };
        match of_idea {
            Some(executions) => Ok(executions),
            // The server says so itself if it is none.
            None if is_execution => Ok(vec![id]),
            None => bail!("there is neither an execution nor an idea {id}"),
        }
    }

    async fn timeline(&self, execution: Uuid) -> anyhow::Result<Timeline> {
        match self {
            Self::Server(client) => client.get(&format!("/executions/{execution}/timeline")).await,
            Self::Stored(stored) => {
                let row =
                    stored.execution(execution).await?.context("there is no such execution")?;
                Ok(stored.source().timeline(&row, stored.position().await?).await?)
            }
        }
    }

    async fn at(&self, execution: Uuid, position: u64) -> anyhow::Result<ExecutionAt> {
        match self {
            Self::Server(client) => {
                client.get(&format!("/executions/{execution}/at/{position}")).await
            }
            Self::Stored(stored) => {
                let row =
                    stored.execution(execution).await?.context("there is no such execution")?;
                Ok(stored.source().execution_at(&row, position).await?)
            }
        }
    }

    async fn verification(&self, execution: Uuid) -> anyhow::Result<Verification> {
        match self {
            Self::Server(client) => {
                client.get(&format!("/executions/{execution}/verification")).await
            }
            Self::Stored(stored) => {
                let row =
                    stored.execution(execution).await?.context("there is no such execution")?;
                Ok(stored.source().verification(&row, stored.position().await?).await?)
            }
        }
    }
}

fn print(
    arguments: ReplayArguments,
    document: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let line = if arguments.json { serde_json::to_string(document)? } else { text() };
    console::result(&line);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::{Timeline, is_over};

    fn timeline(is_ended: bool, events: &[&str]) -> Timeline {
        let (id, at) = (Uuid::nil(), "2026-01-01T12:00:00Z");
        let entry = |event: &&str| {
            json!({
                "position": 1, "at": at, "kind": "session", "stream": id, "sequence": 1,
                "event": event, "summary": "", "actor": "", "cause": null, "attempt": 1,
                "phase": null, "sinceMs": 0, "tookMs": null,
            })
        };
        let document = json!({
            "execution": id, "idea": id, "position": 1, "requestedAt": at,
            "endedAt": is_ended.then_some(at), "phases": [],
            "entries": events.iter().map(entry).collect::<Vec<_>>(),
        });
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn an_execution_is_over_when_it_has_ended_and_its_session_does_not_have_it() {
        let begun = ["requested", "execution_begun"];
        assert!(!is_over(&timeline(false, &begun)));
        assert!(!is_over(&timeline(true, &begun)), "the session still has it");
        assert!(is_over(&timeline(true, &["execution_begun", "done", "execution_ended"])));
        assert!(!is_over(&timeline(false, &["requested"])), "the session will have it");
        assert!(is_over(&timeline(true, &["requested", "failed"])), "the session refused it");
    }
}
