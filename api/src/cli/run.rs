//! `sam run`: one idea, from the words to the branch, without a browser.
//!
//! Where a server runs, this is its client. Where none does, this becomes the server until its own idea
//! has ended; what else is under way goes on at the next start.
//!
//! Read next: `run/watch.rs` for what is shown meanwhile.

mod watch;

use std::{io::IsTerminal as _, net::TcpListener, path::Path, process::ExitCode, time::Duration};

use clap::Args;
use reqwest::Method;
use uuid::Uuid;

use crate::{
    cli::{
        client::Client,
        console,
        control_plane::{self, ControlPlane},
        data_directory::{self, Holder},
        serve::Signals,
        setup,
    },
    commands::{
        credential::StoreCredential,
        idea::{CreateIdea, FirstStage},
        project::LinkProject,
    },
    config::Settings,
    queries::{
        executions::Execution,
        projects::Project,
        workspaces::{Workspace, WorkspaceState},
    },
    wire::{Accepted, CodingAgentKind, Permissions, StartChoices},
};

const TIDY_PERIOD_MAX: Duration = Duration::from_secs(20);
const LOOK_PERIOD: Duration = Duration::from_millis(100);

/// Given in the environment, it is used for this execution only.
const MODEL_KEY: &str = "ANTHROPIC_API_KEY";

#[derive(Args, Debug)]
pub(super) struct RunArguments {
    /// The repository: a URL that git understands, or a path.
    #[arg(long, value_name = "PATH_OR_URL")]
    repo: String,
    /// The coding agent: claude-code or demo. Without it: a real one if there is a key for it.
    #[arg(long, value_name = "NAME", value_parser = coding_agent)]
    agent: Option<CodingAgentKind>,
    /// The branch to start from. Without it: the repository's default branch.
    #[arg(long, value_name = "BRANCH")]
    base: Option<String>,
    /// Ask before the coding agent does what needs permission. Without a terminal the answer is no.
    #[arg(long)]
    ask: bool,
    /// What you want.
    idea: String,
}

fn coding_agent(name: &str) -> Result<CodingAgentKind, String> {
    let kind = serde_json::from_value(serde_json::Value::String(name.to_owned()));
    kind.map_err(|_| "it is one of claude-code, demo".to_owned())
}

/// Has an idea carried out; the exit code says whether it came to its end.
pub(super) async fn run(settings: Settings, arguments: RunArguments) -> anyhow::Result<ExitCode> {
    let mut told = Signals::new()?;
    let (client, own) = connect(settings).await?;
    let ended = tokio::select! {
        ended = submit_and_watch(&client, &arguments) => ended,
        () = told.wait() => Err(anyhow::anyhow!(match own {
            Some(_) => "interrupted; the execution goes on when SAM runs again",
            None => "interrupted; the execution goes on in the running SAM",
        })),
    };
    if let Some(control_plane) = own {
        if let Ok((_, workspace)) = &ended {
            tidied_up(&client, *workspace).await;
        }
        control_plane.stop().await;
    }
    match ended?.0 {
        watch::End::Done { branch } => {
            if let Some(branch) = branch {
                console::result(&branch);
            } else {
                console::progress("done: no changes");
            }
            Ok(ExitCode::SUCCESS)
        }
        watch::End::NotDone { reason } => {
            console::progress(&format!("error: {reason}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn connect(settings: Settings) -> anyhow::Result<(Client, Option<ControlPlane>)> {
    match data_directory::take(&settings.data_dir).await? {
        Holder::Other(server) => Ok((Client::new(&server)?, None)),
        Holder::Us(lock) => {
            if !settings.no_local_node {
                setup::on_first_need(&settings.workspace_image).await?;
            }
            let listener = TcpListener::bind(("127.0.0.1", 0))?;
            let own = control_plane::start(settings, lock, listener, false).await?;
            Ok((Client::new(&own.announcement)?, Some(own)))
        }
    }
}

async fn submit_and_watch(
    client: &Client,
    arguments: &RunArguments,
) -> anyhow::Result<(watch::End, Option<Uuid>)> {
    let project = linked(client, &arguments.repo).await?;
    let (idea, execution) = (actors::random::uuid(), actors::random::uuid());
    let model_key = std::env::var(MODEL_KEY).ok().filter(|key| !key.trim().is_empty());
    let is_wanted = arguments.agent != Some(CodingAgentKind::Demo);
    let coding_agent = match &model_key {
        Some(secret) if is_wanted => {
            lend(client, execution, secret).await?;
            setup::coding_agent("claude-code").await?;
            Some(CodingAgentKind::ClaudeCode)
        }
        _ => arguments.agent,
    };
    let can_ask = std::io::stdin().is_terminal();
    let create = CreateIdea {
        idea,
        description: arguments.idea.clone(),
        stage: FirstStage::Executing,
        execution: Some(execution),
        choices: StartChoices {
            coding_agent,
            profile: None,
            base_branch: arguments.base.clone(),
            permissions: arguments.ask.then_some(if can_ask {
                Permissions::Ask
            } else {
                Permissions::Deny
            }),
        },
    };
    let path = format!("/projects/{project}/ideas");
    let accepted: Accepted = client.send(Method::POST, &path, &create).await?;
    let end = watch::watch(client, execution, &accepted).await?;
    // How it ended is known either way.
    let ended = client.get::<Execution>(&format!("/executions/{execution}")).await;
    Ok((end, ended.ok().and_then(|ended| ended.workspace)))
}

/// Waits until the container of an ended execution is gone. If that takes too long, the next start
/// sees to it.
async fn tidied_up(client: &Client, workspace: Option<Uuid>) {
    let Some(workspace) = workspace else { return };
    let gone = async {
        loop {
            let path = format!("/workspaces/{workspace}");
            let Ok(workspace) = client.get::<Workspace>(&path).await else { return };
            if matches!(workspace.state, WorkspaceState::Stopped | WorkspaceState::Deleted) {
                return;
            }
            tokio::time::sleep(LOOK_PERIOD).await;
        }
    };
    if tokio::time::timeout(TIDY_PERIOD_MAX, gone).await.is_err() {
        console::progress("the container is removed at the next start");
    }
}

async fn lend(client: &Client, execution: Uuid, secret: &str) -> anyhow::Result<()> {
    let body = StoreCredential { secret: secret.to_owned() };
    let path = format!("/executions/{execution}/model-key");
    client.send::<Option<()>>(Method::PUT, &path, &body).await?;
    Ok(())
}

/// The project of a repository; linked now if it was not.
async fn linked(client: &Client, repository: &str) -> anyhow::Result<Uuid> {
    let repository = address(repository)?;
    let projects: Vec<Project> = client.get("/projects").await?;
    if let Some(known) = projects.iter().find(|project| project.repository == repository) {
        return Ok(known.id);
    }
    let id = actors::random::uuid();
    let link = LinkProject { id, repository, name: None };
    let accepted: Accepted = client.send(Method::POST, "/projects", &link).await?;
    // Whoever lists projects next is to find it.
    client.get::<Project>(&format!("/projects/{id}?after={}", accepted.position)).await?;
    Ok(id)
}

/// A path becomes absolute: the server has another working directory.
fn address(repository: &str) -> anyhow::Result<String> {
    let path = Path::new(repository);
    if repository.contains("://") || (!path.exists() && repository.contains(':')) {
        return Ok(repository.to_owned());
    }
    let absolute = path.canonicalize().or_else(|_| std::path::absolute(path))?;
    Ok(absolute.to_string_lossy().into_owned())
}
