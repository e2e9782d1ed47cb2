//! `sam variables`: what every workspace of a project has in its environment.
//!
//! A value is read from stdin, since arguments can be seen by everybody on the machine and stay in the shell's
//! history.

use std::io::{IsTerminal as _, Read as _};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use uuid::Uuid;

use crate::{
    cli::{
        client::Client,
        console, data_directory,
        listings::{self, ListingArguments, Source},
    },
    commands::variable::SetVariable,
    config::Settings,
    queries::{projects::Project, variables::Variable},
    wire::Accepted,
};

/// What stands in the place of a value that nobody can read.
const SECRET: &str = "secret, cannot be read again";

#[derive(Args, Debug)]
pub(super) struct VariablesArguments {
    /// Id or name of the project.
    #[arg(long)]
    project: String,
    #[command(flatten)]
    listing: ListingArguments,
    #[command(subcommand)]
    command: Option<VariablesCommand>,
}

#[derive(Debug, Subcommand)]
enum VariablesCommand {
    /// Set a variable to what stdin says, without the last line's end.
    Set {
        name: String,
        /// The value can never be read again.
        #[arg(long)]
        secret: bool,
    },
    /// Remove a variable.
    Remove { name: String },
}

pub(super) async fn run(settings: &Settings, arguments: VariablesArguments) -> anyhow::Result<()> {
    let VariablesArguments { project, listing, command } = arguments;
    match command {
        None => list(settings, &project, listing).await,
        Some(VariablesCommand::Set { name, secret }) => {
            let client = client(settings).await?;
            let path = path_of(&client, &project, &name).await?;
            let body = SetVariable { value: value()?, is_secret: secret };
            let _: Accepted = client.send(Method::PUT, &path, &body).await?;
            console::result(&name);
            Ok(())
        }
        Some(VariablesCommand::Remove { name }) => {
            let client = client(settings).await?;
            let path = path_of(&client, &project, &name).await?;
            let _: Accepted = client.send(Method::DELETE, &path, &()).await?;
            console::result(&name);
            Ok(())
        }
    }
}

async fn list(settings: &Settings, wanted: &str, listing: ListingArguments) -> anyhow::Result<()> {
    let variables: Vec<Variable> = match listings::source(settings).await? {
        Source::Stored(stored) => {
            let project = chosen(stored.projects().await?, wanted)?;
            stored.variables(project).await?
        }
        Source::Server(client) => {
            let project = chosen(client.get("/projects").await?, wanted)?;
            client.get(&format!("/projects/{project}/variables")).await?
        }
    };
    listings::print(listing, &variables, |variable| {
        let value = variable.value.as_deref().unwrap_or(SECRET);
        vec![variable.name.clone(), value.to_owned()]
    })
}

async fn client(settings: &Settings) -> anyhow::Result<Client> {
    let server = data_directory::find(&settings.data_dir).await?;
    let server =
        server.context("no server is running: start one with `sam serve`, then try again")?;
    Client::new(&server)
}

/// Where a variable is. A name that is none is for the server to refuse, so it has to get there whole.
async fn path_of(client: &Client, project: &str, name: &str) -> anyhow::Result<String> {
    let project = chosen(client.get("/projects").await?, project)?;
    let mut url = reqwest::Url::parse("http://localhost")?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.extend(["projects", &project.to_string(), "variables", name]);
    }
    Ok(url.path().to_owned())
}

/// The one project of that id or name.
fn chosen(projects: Vec<Project>, wanted: &str) -> anyhow::Result<Uuid> {
    let is_meant = |project: &&Project| project.name == wanted || project.id.to_string() == wanted;
    let ids: Vec<Uuid> = projects.iter().filter(is_meant).map(|project| project.id).collect();
    match ids[..] {
        [project] => Ok(project),
        [] => bail!("there is no project {wanted}: `sam projects` lists them"),
        [..] => {
            bail!("several projects are called {wanted}: name its id, which `sam projects` tells")
        }
    }
}

fn value() -> anyhow::Result<String> {
    let mut stdin = std::io::stdin().lock();
    if stdin.is_terminal() {
        console::progress("write the value, then a new line and Ctrl-D");
    }
    let mut value = String::new();
    stdin.read_to_string(&mut value).context("the value has to be text in UTF-8")?;
    let without_end =
        value.strip_suffix('\n').map(|value| value.strip_suffix('\r').unwrap_or(value));
    Ok(without_end.unwrap_or(&value).to_owned())
}
