//! `sam ideas`, `projects`, `nodes` and `workspaces`: from the running server, or from its data.

use anyhow::Context as _;
use clap::Args;
use domain::retention::RULES;
use serde::Serialize;

use crate::{
    cli::{client::Client, console, data_directory, offline::Offline},
    config::Settings,
    queries::{ideas::Idea, nodes::Node, projects::Project, workspaces::Workspace},
};

#[derive(Args, Clone, Copy, Debug)]
pub(super) struct ListingArguments {
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

/// Where listings come from.
pub(super) enum Source {
    Server(Client),
    Stored(Box<Offline>),
}

pub(super) async fn source(settings: &Settings) -> anyhow::Result<Source> {
    Ok(match data_directory::find(&settings.data_dir).await? {
        Some(server) => Source::Server(Client::new(&server)?),
        None => Source::Stored(Box::new(Offline::open(settings).await?)),
    })
}

pub(super) async fn ideas(settings: &Settings, arguments: ListingArguments) -> anyhow::Result<()> {
    let ideas = match source(settings).await? {
        Source::Stored(stored) => stored.ideas().await?,
        Source::Server(client) => {
            let mut all = Vec::<Idea>::new();
            for project in client.get::<Vec<Project>>("/projects").await? {
                let path = format!("/projects/{}/ideas", project.id);
                all.extend(client.get::<Vec<Idea>>(&path).await?);
            }
            all
        }
    };
    print(arguments, &ideas, |idea| {
        let branch = idea.branch.as_deref().unwrap_or("-");
        [idea.id.to_string(), word(&idea.stage), branch.to_owned(), idea.title.clone()].to_vec()
    })
}

pub(super) async fn projects(
    settings: &Settings,
    arguments: ListingArguments,
) -> anyhow::Result<()> {
    let projects: Vec<Project> = match source(settings).await? {
        Source::Stored(stored) => stored.projects().await?,
        Source::Server(client) => client.get("/projects").await?,
    };
    print(arguments, &projects, |project| {
        vec![project.id.to_string(), project.name.clone(), project.repository.clone()]
    })
}

pub(super) async fn nodes(settings: &Settings, arguments: ListingArguments) -> anyhow::Result<()> {
    let nodes: Vec<Node> = match source(settings).await? {
        Source::Stored(stored) => stored.nodes().await?,
        Source::Server(client) => client.get("/nodes").await?,
    };
    print(arguments, &nodes, |node| {
        let room = format!("{}/{}", node.placed.len(), node.slots);
        vec![node.id.to_string(), word(&node.state), room, node.name.clone()]
    })
}

pub(super) async fn workspaces(
    settings: &Settings,
    arguments: ListingArguments,
) -> anyhow::Result<()> {
    let workspaces: Vec<Workspace> = match source(settings).await? {
        Source::Stored(stored) => stored.workspaces().await?,
        Source::Server(client) => client.get("/workspaces").await?,
    };
    print(arguments, &workspaces, |workspace| {
        vec![workspace.id.to_string(), word(&workspace.state), workspace.branch.clone()]
    })
}

/// What is kept of each kind of stream. The rules are the program's: no server is asked.
pub(super) fn retention(arguments: ListingArguments) -> anyhow::Result<()> {
    print(arguments, &RULES, |rule| {
        vec![rule.kind.to_owned(), rule.keep.to_string(), rule.why.to_owned()]
    })
}

/// A word of the wire, as it is there.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

pub(super) fn print<T: Serialize>(
    arguments: ListingArguments,
    rows: &[T],
    columns: impl Fn(&T) -> Vec<String>,
) -> anyhow::Result<()> {
    if arguments.json {
        console::result(&serde_json::to_string_pretty(rows).context("rows are JSON")?);
        return Ok(());
    }
    for row in rows {
        console::result(&columns(row).join("  "));
    }
    if rows.is_empty() {
        console::progress("nothing yet");
    }
    Ok(())
}
