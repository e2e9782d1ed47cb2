//! `sam log tail`: events in the order in which they were recorded.

use clap::Args;

use crate::{
    cli::{client::Client, console, data_directory, offline::Offline, serve::Signals},
    config::Settings,
    queries::log::LogEntry,
};

const EVENTS_PER_READ: usize = 500;
const WAIT_SECONDS: u64 = 20;

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct TailArguments {
    /// Only events behind this position.
    #[arg(long, default_value_t = 0, value_name = "POSITION")]
    after: u64,
    /// Print one JSON document a line.
    #[arg(long)]
    json: bool,
    /// Go on printing what is recorded from now on; needs a running server.
    #[arg(long)]
    follow: bool,
}

pub(super) async fn tail(settings: &Settings, arguments: TailArguments) -> anyhow::Result<()> {
    match data_directory::find(&settings.data_dir).await? {
        Some(server) => {
            let client = Client::new(&server)?;
            let mut told = Signals::new()?;
            tokio::select! {
                () = told.wait() => Ok(()),
                ended = from_server(&client, arguments) => ended,
            }
        }
        None if arguments.follow => {
            anyhow::bail!("SAM does not run, so nothing is recorded: leave --follow out")
        }
        None => from_file(settings, arguments).await,
    }
}

async fn from_server(client: &Client, arguments: TailArguments) -> anyhow::Result<()> {
    let mut position = arguments.after;
    let seconds = if arguments.follow { WAIT_SECONDS } else { 0 };
    loop {
        let path = format!("/log?from={position}&waitSeconds={seconds}");
        let entries: Vec<LogEntry> = client.get(&path).await?;
        match entries.last() {
            Some(last) => position = last.position,
            None if arguments.follow => continue,
            None => return Ok(()),
        }
        for entry in &entries {
            print(entry, arguments)?;
        }
    }
}

async fn from_file(settings: &Settings, arguments: TailArguments) -> anyhow::Result<()> {
    let stored = Offline::open(settings).await?;
    let mut position = arguments.after;
    loop {
        let events = stored.events(position, EVENTS_PER_READ).await?;
        let Some(last) = events.last() else { return Ok(()) };
        position = last.position;
        for event in events {
            print(&LogEntry::from(event), arguments)?;
        }
    }
}

fn print(entry: &LogEntry, arguments: TailArguments) -> anyhow::Result<()> {
    if arguments.json {
        console::result(&serde_json::to_string(entry)?);
        return Ok(());
    }
    let LogEntry { position, at, kind, stream, event, payload, .. } = entry;
    let at = at.format("%Y-%m-%d %H:%M:%S%.3f");
    console::result(&format!("{position:>8}  {at}  {kind}/{stream}  {event}  {payload}"));
    Ok(())
}
