//! `sam backup` and `sam restore`.
//!
//! A backup is a folder with the log's database as it was at one moment, the signed heads up to then, and
//! a manifest that is written last: without it, it is none. Read models are not in it, for they are made
//! from the log; nor is the master key, unless it is asked for. PostgreSQL has its own tools for the first half;
//! the second is the same.
//!
//! Read next: `backup/put_back.rs`.

mod files;
mod put_back;

use std::{
    fs::{DirBuilder, File},
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
};

use actors::{
    audit::{self as checks, Trusted},
    clock::{Clock as _, system::SystemClock},
    signed_heads::file::HeadsFile,
};
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use projections::{
    database::{Database, LOG_FILE},
    hex,
    meta::Meta,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    cli::{
        audit,
        backup::files::{copy_file, write_file},
        console, log_move,
    },
    config::Settings,
};

const MANIFEST: &str = "backup.json";
const MASTER_KEY: &str = "master.key";
const HEADS: &str = "heads.ndjson";
const VERSION: u32 = 1;

#[derive(Args, Debug)]
pub(super) struct BackupArguments {
    /// The folder to make; it must not exist.
    directory: PathBuf,
    /// Put the master key into it. Whoever has such a backup can read everything in it.
    #[arg(long)]
    with_master_key: bool,
}

#[derive(Args, Debug)]
pub(super) struct RestoreArguments {
    /// The folder that `sam backup` made. Without it: the database was restored by its own tools.
    directory: Option<PathBuf>,
    /// The master key, where it is neither in the data directory nor in the backup.
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
    /// Give up what was recorded after this state, although signed heads say that there was more.
    #[arg(long)]
    accept_older_log: bool,
}

/// What a backup is.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    version: u32,
    installation: Uuid,
    taken_at: DateTime<Utc>,
    position: u64,
    /// The running hash there.
    hash: String,
}

/// Works beside a running server, which goes on writing.
pub(super) async fn backup(settings: &Settings, arguments: BackupArguments) -> anyhow::Result<()> {
    let directory = &arguments.directory;
    if Database::sqlite_directory(&settings.database_url, &settings.data_dir).is_none() {
        bail!("PostgreSQL is backed up with its own tools: see ops/backup.md");
    }
    let made = DirBuilder::new().mode(0o700).create(directory);
    made.with_context(|| format!("{} cannot be made", directory.display()))?;
    // Before the log, so that the backup has no head of what it does not have.
    let heads = settings.heads_file();
    if heads.exists() {
        copy_file(&heads, &directory.join(HEADS))?;
    }
    let database = audit::open_log(settings).await?;
    database.snapshot_log(&directory.join(LOG_FILE)).await?;
    database.close().await;
    if arguments.with_master_key {
        copy_file(&settings.data_dir.join(MASTER_KEY), &directory.join(MASTER_KEY))?;
    }
    // A backup that was never read is none.
    let copy = Database::open_log_read_only("sqlite:", directory).await?;
    let installation = Meta::new(&copy).get("installation").await?.unwrap_or_default();
    let outside = Some(HeadsFile::new(directory.join(HEADS)).read()?);
    let trusted =
        Trusted { key: Some(audit::own_public_key(settings)?), outside, ..Trusted::default() };
    let report = checks::verify_database(&copy, trusted).await?;
    copy.close().await;
    if let Some(finding) = report.damage() {
        bail!("the log is damaged, so this is no backup: {}", finding.what);
    }
    let manifest = Manifest {
        version: VERSION,
        installation: installation.parse().context("the log has no installation")?,
        taken_at: SystemClock.now(),
        position: report.position,
        hash: hex::encode(&report.hash),
    };
    write_file(&directory.join(MANIFEST), &serde_json::to_vec_pretty(&manifest)?)?;
    File::open(directory)?.sync_all()?;
    if arguments.with_master_key {
        console::progress("the master key is in it: keep it where nobody else can read it");
    } else {
        console::progress(&format!(
            "the master key is not in it: keep a copy of {} elsewhere, without which the backup stays closed",
            settings.data_dir.join(MASTER_KEY).display()
        ));
    }
    console::result(&format!(
        "{}: the log up to position {}",
        directory.display(),
        report.position
    ));
    Ok(())
}

/// Puts a backup where the server looks for its log, or lets a restored database go on.
pub(super) async fn restore(
    settings: &Settings,
    arguments: RestoreArguments,
) -> anyhow::Result<()> {
    let _lock = log_move::stopped(settings).await?;
    let restored = match &arguments.directory {
        None => put_back::in_place(settings, &arguments).await?,
        Some(directory) => put_back::from_folder(settings, directory, &arguments).await?,
    };
    if let Some(given_up) = restored.given_up {
        console::progress(&format!(
            "what had been signed up to position {given_up} is given up from position {} on",
            restored.position
        ));
    }
    console::progress("all sign-ins have ended; `sam serve` prints a new link");
    console::result(&format!(
        "the log goes on behind position {}, in epoch {}",
        restored.position, restored.epoch
    ));
    Ok(())
}
