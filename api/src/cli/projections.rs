//! `sam projections`: how the read models are, and having one try again or made again.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use crate::{
    cli::{client::Client, console, data_directory, offline::Offline},
    config::Settings,
    queries::projections::{Projection, ProjectionState, Projections},
};

#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ProjectionArguments {
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<ProjectionCommand>,
}

#[derive(Clone, Debug, Subcommand)]
enum ProjectionCommand {
    /// Have a parked read model try again at the event that stopped it.
    Retry {
        /// As `sam projections` calls it.
        name: String,
    },
    /// Have the tables of a read model made again from the whole log.
    Rebuild {
        /// As `sam projections` calls it.
        name: String,
    },
}

pub(super) async fn run(settings: &Settings, arguments: ProjectionArguments) -> anyhow::Result<()> {
    let server = data_directory::find(&settings.data_dir).await?;
    let client = server.as_ref().map(Client::new).transpose()?;
    let asked = match &arguments.command {
        None => return list(settings, client, arguments.json).await,
        Some(ProjectionCommand::Retry { name }) => format!("/projections/{name}/retry"),
        Some(ProjectionCommand::Rebuild { name }) => format!("/projections/{name}/rebuild"),
    };
    let Some(client) = client else {
        bail!("SAM does not run, so nothing is projected: start it with `sam serve`")
    };
    client.send::<Value>(Method::POST, &asked, &Value::Null).await?;
    console::progress("asked; `sam projections` shows what becomes of it");
    Ok(())
}

async fn list(settings: &Settings, client: Option<Client>, is_json: bool) -> anyhow::Result<()> {
    let document: Projections = match client {
        Some(client) => client.get("/projections").await?,
        None => Offline::open(settings).await?.projections().await?,
    };
    for damaged in &document.damaged_streams {
        let (kind, stream, reason) = (&damaged.kind, damaged.stream, &damaged.reason);
        console::progress(&format!("damaged: {kind}/{stream} at {}: {reason}", damaged.sequence));
    }
    if is_json {
        let text = serde_json::to_string_pretty(&document.projections);
        console::result(&text.context("rows are JSON")?);
        return Ok(());
    }
    for projection in &document.projections {
        console::result(&line(projection));
    }
    Ok(())
}

fn line(projection: &Projection) -> String {
    let Projection { name, position, lag, .. } = projection;
    let state = match projection.state {
        ProjectionState::Running => "running",
        ProjectionState::Parked => "parked",
        ProjectionState::Rebuilding => "rebuilding",
    };
    let age = projection.lag_ms.map_or_else(|| "?".to_owned(), |age| age.to_string());
    let mut line = format!("{name:<24}{state:<12}{position:>10}  {lag} events, {age} ms behind");
    if let (Some(at), Some(reason)) = (projection.parked_position, &projection.reason) {
        line.push_str(&format!("  stopped by event {at}: {reason}"));
    }
    line
}
