//! `sam log export`, `import` and `copy`: a log as a file, and from one database to another.

use std::{path::PathBuf, sync::Arc};

use actors::{
    archive::{
        copy,
        export::{self, Choices},
        import,
    },
    clock::system::SystemClock,
    sealing::Sealing,
};
use anyhow::bail;
use clap::Args;
use projections::{
    database::Database,
    event_log::{EventLog, Options},
    hex,
};

use crate::{
    cli::{
        audit, console,
        data_directory::{self, Holder, Lock},
    },
    config::Settings,
};

#[derive(Args, Debug)]
pub(super) struct ExportArguments {
    /// Where to write it. One that was cut off, or that has become old, is continued.
    file: PathBuf,
    /// Write texts also as they are, readable for everybody who has the file.
    #[arg(long)]
    with_content: bool,
    /// Write the wrapped keys of projects and of signing too; only the master key opens them.
    #[arg(long)]
    with_keys: bool,
}

#[derive(Args, Debug)]
pub(super) struct ImportArguments {
    /// What `sam log export` wrote.
    file: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct CopyArguments {
    /// The database to copy from: `sqlite:`, `sqlite:FOLDER` or `postgres://…`
    from: String,
    /// The database to copy into, which is empty or the beginning of a copy.
    to: String,
}

/// Works beside a running server: it writes what is recorded at this moment.
pub(super) async fn export(settings: &Settings, arguments: ExportArguments) -> anyhow::Result<()> {
    let database = audit::open_log(settings).await?;
    let texts = match arguments.with_content {
        true => {
            let log = EventLog::open(&database, Options::default()).await?;
            Some(Sealing::open(&database, &log, &settings.data_dir, Arc::new(SystemClock))?)
        }
        false => None,
    };
    let choices = Choices { texts, has_keys: arguments.with_keys };
    let exported = export::export(&database, &arguments.file, &choices).await?;
    console::progress(&format!(
        "{} events written, {} were there before",
        exported.n_events - exported.n_before,
        exported.n_before
    ));
    let hash = hex::encode(&exported.hash);
    console::result(&format!("{} events, running hash {hash}", exported.n_events));
    Ok(())
}

pub(super) async fn import(settings: &Settings, arguments: ImportArguments) -> anyhow::Result<()> {
    let _lock = stopped(settings).await?;
    let database = Database::open(&settings.database_url, &settings.data_dir).await?;
    let imported = import::import(&database, &arguments.file).await?;
    database.close().await;
    console::progress(&format!(
        "{} events read in, {} were there before",
        imported.n_events - imported.n_before,
        imported.n_before
    ));
    if !imported.has_heads {
        console::progress(
            "the export has no keys: texts stay closed, and the log gets a signing key of its own; keep \
             the export, whose heads protect what it has",
        );
    }
    console::result(&format!("{} events", imported.n_events));
    Ok(())
}

pub(super) async fn copy(settings: &Settings, arguments: CopyArguments) -> anyhow::Result<()> {
    let _lock = stopped(settings).await?;
    let from = Database::open(&arguments.from, &settings.data_dir).await?;
    let to = Database::open(&arguments.to, &settings.data_dir).await?;
    let copied = copy::copy(&from, &to).await?;
    from.close().await;
    to.close().await;
    let hash = hex::encode(&copied.hash);
    console::progress(&format!("{} events were there before", copied.n_before));
    console::result(&format!("{} events, running hash {hash} on both sides", copied.n_events));
    Ok(())
}

/// The right to write where the server would.
pub(super) async fn stopped(settings: &Settings) -> anyhow::Result<Lock> {
    match data_directory::take(&settings.data_dir).await? {
        Holder::Us(lock) => Ok(lock),
        Holder::Other(other) => {
            bail!(
                "SAM runs (process {}): stop it first, so that nothing is recorded meanwhile",
                other.pid
            )
        }
    }
}
