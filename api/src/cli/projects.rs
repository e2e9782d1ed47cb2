//! `sam projects`: lists them, and erases one.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    cli::{client::Client, console, data_directory, listings},
    commands::project::EraseProject,
    config::Settings,
    queries::projects::Project,
    wire::Accepted,
};

/// How long `erase` waits for the end: executions may have work to bring to safety first.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const LOOK_PERIOD: Duration = Duration::from_millis(250);

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ProjectsArguments {
    #[command(flatten)]
    listing: listings::ListingArguments,
    #[command(subcommand)]
    command: Option<ProjectsCommand>,
}

#[derive(Debug, Subcommand)]
enum ProjectsCommand {
    /// Destroy all texts of a project, for ever, and wait until that is done.
    Erase(EraseArguments),
}

#[derive(Args, Debug)]
struct EraseArguments {
    /// Id of the project.
    project: Uuid,
    /// The project's name: it cannot be undone.
    #[arg(long, value_name = "NAME")]
    confirm: String,
}

pub(super) async fn projects(
    settings: &Settings,
    arguments: ProjectsArguments,
) -> anyhow::Result<()> {
    match arguments.command {
        None => listings::projects(settings, arguments.listing).await,
        Some(ProjectsCommand::Erase(arguments)) => erase(settings, arguments).await,
    }
}

async fn erase(settings: &Settings, arguments: EraseArguments) -> anyhow::Result<()> {
    let server = data_directory::find(&settings.data_dir).await?;
    let server =
        server.context("no server is running: start one with `sam serve`, then try again")?;
    let client = Client::new(&server)?;
    let EraseArguments { project, confirm } = arguments;
    let path = format!("/projects/{project}");
    let body = EraseProject { confirm };
    let _: Accepted = client.send(Method::DELETE, &path, &body).await?;
    console::progress("what runs in the project is cancelled, then its texts are destroyed");
    let until = Instant::now() + PATIENCE;
    while !client.get::<Project>(&path).await?.is_erased {
        if Instant::now() > until {
            bail!("the project is not erased yet; the server goes on with it");
        }
        tokio::time::sleep(LOOK_PERIOD).await;
    }
    console::result(&project.to_string());
    Ok(())
}
