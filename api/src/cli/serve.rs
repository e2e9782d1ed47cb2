//! `sam serve`: the server, until it is told to stop.

use std::net::TcpListener;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::{
        client::Client,
        console, control_plane,
        data_directory::{self, Holder},
        setup,
    },
    config::Settings,
};

/// Serves until SIGTERM or SIGINT.
pub(super) async fn serve(settings: Settings) -> anyhow::Result<()> {
    let address = settings.listen_address()?;
    let lock = match data_directory::take(&settings.data_dir).await? {
        Holder::Us(lock) => lock,
        Holder::Other(other) => bail!(
            "SAM runs already, at {} (process {})",
            other.app_origin.unwrap_or_else(|| format!("http://{}", other.address)),
            other.pid
        ),
    };
    let listener = TcpListener::bind(address).with_context(|| {
        format!("{address} cannot be listened on; choose another with --listen")
    })?;
    if !settings.no_local_node {
        setup::on_first_need(&settings.workspace_image).await?;
    }
    let mut told = Signals::new()?;
    let control_plane = control_plane::start(settings, lock, listener, true).await?;
    let origin = control_plane.announcement.app_origin.clone().unwrap_or_default();
    console::result(&format!("SAM is at {origin}"));
    let link = control_plane.new_sign_in_link().await?;
    console::result(&format!("Sign in (one use): {link}"));
    let ended = tokio::select! {
        () = told.wait() => Ok(()),
        reason = control_plane.failed() => Err(reason),
    };
    console::progress("stopping …");
    control_plane.stop().await;
    ended.map_err(|reason| anyhow::anyhow!("the log cannot be written: {reason}"))
}

/// Asks the running server for a new link.
pub(super) async fn print_new_link(settings: &Settings) -> anyhow::Result<()> {
    let Some(other) = data_directory::find(&settings.data_dir).await? else {
        bail!("SAM does not run: start it with `sam serve`, which prints a link");
    };
    console::result(&Client::new(&other)?.new_sign_in_link().await?);
    Ok(())
}

/// What tells this program to stop.
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
