//! The `sam` command: one program that is the server, or speaks with the one that runs.
//!
//! Results go to stdout, the last line being what a script wants; progress goes to stderr. Listings are a
//! JSON array with `--json`, streams are one JSON document a line.
//!
//! Read next: `cli/serve.rs`, `cli/run.rs`, and `cli/data_directory.rs` for who is the server.

mod account;
mod audit;
mod backup;
pub mod client;
mod console;
mod control_plane;
pub mod data_directory;
mod listings;
mod log_move;
mod log_rebuild;
mod log_tail;
mod offline;
mod projections;
mod projects;
mod replay;
mod run;
mod search;
mod serve;
pub mod setup;
mod variables;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    config::{Flags, Settings},
    openapi,
};

/// Turns a written idea into a branch: an AI coding agent works on it in a container.
#[derive(Debug, Parser)]
#[command(name = "sam", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the web UI and the API, and run ideas.
    Serve,
    /// Have one idea carried out, and print the branch.
    Run(run::RunArguments),
    /// Make ready what a node on this machine needs: container engine and base image.
    Setup,
    /// Print a new sign-in link of the running server.
    SignIn,
    /// Erase the account of whoever owns this SAM.
    Account {
        #[command(subcommand)]
        command: account::AccountCommand,
    },
    /// List the ideas of all projects.
    Ideas(listings::ListingArguments),
    /// List the linked projects, or erase one.
    Projects(projects::ProjectsArguments),
    /// List what every workspace of a project has in its environment, or change it.
    Variables(variables::VariablesArguments),
    /// Look for words in everything that was said.
    Search(search::SearchArguments),
    /// List the machines.
    Nodes(listings::ListingArguments),
    /// List the containers.
    Workspaces(listings::ListingArguments),
    /// Tell everything that an execution, or all executions of an idea, did; no model is asked.
    Replay(replay::ReplayArguments),
    /// List the read models: how far behind the log each is, and which are parked.
    Projections(projections::ProjectionArguments),
    /// Read the event log, or move it.
    Log {
        #[command(subcommand)]
        command: LogCommand,
    },
    /// Check the log.
    Audit {
        #[command(subcommand)]
        command: audit::AuditCommand,
    },
    /// Back the log up into a new folder, while the server runs.
    Backup(backup::BackupArguments),
    /// Put a backup back, or let a database go on that was restored by its own tools.
    Restore(backup::RestoreArguments),
    /// Print the description of the browser API.
    #[command(hide = true)]
    Openapi,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Print events in the order in which they were recorded.
    Tail(log_tail::TailArguments),
    /// Make read models again from the log, or compare them with new ones.
    Rebuild(log_rebuild::RebuildArguments),
    /// Write the log into a file, or go on with one.
    Export(log_move::ExportArguments),
    /// Read an export into an empty log, or go on with it.
    Import(log_move::ImportArguments),
    /// Copy the log from one database into another, and compare.
    Copy(log_move::CopyArguments),
    /// Print what is kept of each kind of stream, and for how long.
    Retention(listings::ListingArguments),
}

/// Runs the command that the program was started with.
pub async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match perform(arguments).await {
        Ok(code) => code,
        Err(error) => {
            console::progress(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn perform(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if matches!(arguments.command, Command::Openapi) {
        console::result(openapi::text()?.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::resolve(&arguments.flags)?;
    start_logging(&settings)?;
    match arguments.command {
        Command::Serve => serve::serve(settings).await?,
        Command::Run(arguments) => return run::run(settings, arguments).await,
        Command::Setup => setup::all().await?,
        Command::SignIn => serve::print_new_link(&settings).await?,
        Command::Account { command } => account::account(&settings, command).await?,
        Command::Ideas(arguments) => listings::ideas(&settings, arguments).await?,
        Command::Projects(arguments) => projects::projects(&settings, arguments).await?,
        Command::Variables(arguments) => variables::run(&settings, arguments).await?,
        Command::Search(arguments) => search::search(&settings, arguments).await?,
        Command::Nodes(arguments) => listings::nodes(&settings, arguments).await?,
        Command::Workspaces(arguments) => listings::workspaces(&settings, arguments).await?,
        Command::Replay(arguments) => return replay::replay(&settings, arguments).await,
        Command::Projections(arguments) => projections::run(&settings, arguments).await?,
        Command::Log { command } => return log(&settings, command).await,
        Command::Audit { command: audit::AuditCommand::Verify(arguments) } => {
            return audit::verify(&settings, arguments).await;
        }
        Command::Backup(arguments) => backup::backup(&settings, arguments).await?,
        Command::Restore(arguments) => backup::restore(&settings, arguments).await?,
        Command::Openapi => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn log(settings: &Settings, command: LogCommand) -> anyhow::Result<ExitCode> {
    match command {
        LogCommand::Retention(arguments) => listings::retention(arguments)?,
        LogCommand::Tail(arguments) => log_tail::tail(settings, arguments).await?,
        LogCommand::Rebuild(arguments) => return log_rebuild::rebuild(settings, arguments).await,
        LogCommand::Export(arguments) => log_move::export(settings, arguments).await?,
        LogCommand::Import(arguments) => log_move::import(settings, arguments).await?,
        LogCommand::Copy(arguments) => log_move::copy(settings, arguments).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn start_logging(settings: &Settings) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&settings.log)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    subscriber.with_writer(std::io::stderr).with_target(true).init();
    Ok(())
}
