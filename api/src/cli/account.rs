//! `sam account`: erases the account of whoever owns this SAM.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use tokio::time::Instant;

use crate::{
    cli::{client::Client, console, data_directory},
    commands::account::EraseAccount,
    config::Settings,
    queries::account::AccountState,
    wire::Accepted,
};

/// How long `erase` waits for the end: executions may have work to bring to safety first.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
const LOOK_PERIOD: Duration = Duration::from_millis(250);

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Erase the account with all its projects and keys, for ever, and wait until that is done.
    Erase(EraseArguments),
}

#[derive(Args, Debug)]
pub(super) struct EraseArguments {
    /// The account's name: it cannot be undone.
    #[arg(long, value_name = "NAME")]
    confirm: String,
}

pub(super) async fn account(settings: &Settings, command: AccountCommand) -> anyhow::Result<()> {
    let AccountCommand::Erase(EraseArguments { confirm }) = command;
    let server = data_directory::find(&settings.data_dir).await?;
    let server =
        server.context("no server is running: start one with `sam serve`, then try again")?;
    let client = Client::new(&server)?;
    // By its id from here on: as soon as somebody asks for a link, there is another owner.
    let AccountState { id, .. } = client.get("/account").await?;
    let _: Accepted = client.send(Method::DELETE, "/account", &EraseAccount { confirm }).await?;
    console::progress("what runs is cancelled, all projects are erased, and keys destroyed");
    let (path, until) = (format!("/accounts/{id}"), Instant::now() + PATIENCE);
    while !client.get::<AccountState>(&path).await?.is_erased {
        if Instant::now() > until {
            bail!("the account is not erased yet; the server goes on with it");
        }
        tokio::time::sleep(LOOK_PERIOD).await;
    }
    console::progress("`sam sign-in` makes a link for a new account");
    console::result(&id.to_string());
    Ok(())
}
