//! `sam backup` and `sam restore`.
//!
//! A backup is a folder with the log's database as it was at one moment, the signed heads up to then, and
//! a manifest that is written last: without it, it is none. Read models are not in it, for they are made
//! from the log; nor is the master key, unless it is asked for. PostgreSQL has its own tools for the first half;
//! the second is the same.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use actors::{
    audit::{self as checks, Trusted},
    clock::{Clock as _, system::SystemClock},
    restore,
    sealing::Sealing,
    signed_heads::file::HeadsFile,
    signing::SigningKey,
};
use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use domain::ids::InstallationId;
use projections::{
    database::{Database, LOG_FILE},
    event_log::{EventLog, Options},
    hex,
    meta::Meta,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    cli::{audit, console, log_move},
    config::Settings,
};

const MANIFEST: &str = "backup.json";
const MASTER_KEY: &str = "master.key";
const HEADS: &str = "heads.ndjson";
const STAGING: &str = "restoring";
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
    let made = fs::DirBuilder::new().mode(0o700).create(directory);
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
    find_master_key(settings, &arguments)?;
    let is_older_accepted = arguments.accept_older_log;
    let restored = match &arguments.directory {
        None => {
            let database = Database::open(&settings.database_url, &settings.data_dir).await?;
            let restored = go_on(settings, &database, is_older_accepted).await;
            database.close().await;
            restored?
        }
        Some(directory) => put_back(settings, directory, is_older_accepted).await?,
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

async fn put_back(
    settings: &Settings,
    directory: &Path,
    is_older_accepted: bool,
) -> anyhow::Result<restore::Restored> {
    let place = Database::sqlite_directory(&settings.database_url, &settings.data_dir);
    let Some(place) = place else {
        bail!(
            "PostgreSQL is restored with its own tools, then `sam restore` without a folder: see ops/backup.md"
        );
    };
    let target = place.join(LOG_FILE);
    if target.exists() {
        bail!("there is a log already: move {} away first", target.display());
    }
    let manifest = manifest(directory)?;
    fs::create_dir_all(&place)?;
    let staging = place.join(STAGING);
    // Left by a restore that was cut off.
    if staging.exists() {
        fs::remove_dir_all(&staging)?;
    }
    fs::create_dir(&staging)?;
    copy_file(&directory.join(LOG_FILE), &staging.join(LOG_FILE))?;
    let heads = settings.heads_file();
    if !heads.exists() && directory.join(HEADS).exists() {
        copy_file(&directory.join(HEADS), &heads)?;
    }
    let database = Database::open("sqlite:", &staging).await?;
    let restored = match matches_manifest(&database, &manifest).await {
        Ok(()) => go_on(settings, &database, is_older_accepted).await,
        Err(error) => Err(error),
    };
    database.close().await;
    let restored = restored?;
    let wal = staging.join(format!("{LOG_FILE}-wal"));
    if fs::metadata(&wal).is_ok_and(|wal| wal.len() > 0) {
        bail!("{} was not taken into the log: run the restore again", wal.display());
    }
    File::open(staging.join(LOG_FILE))?.sync_all()?;
    fs::rename(staging.join(LOG_FILE), &target)?;
    File::open(&place)?.sync_all()?;
    fs::remove_dir_all(&staging)?;
    Ok(restored)
}

fn manifest(directory: &Path) -> anyhow::Result<Manifest> {
    let path = directory.join(MANIFEST);
    let text = fs::read(&path)
        .with_context(|| format!("{} is no whole backup: no {MANIFEST}", directory.display()))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    if manifest.version != VERSION {
        bail!(
            "the backup has version {}, and this SAM knows {VERSION}: take a newer one",
            manifest.version
        );
    }
    Ok(manifest)
}

async fn matches_manifest(database: &Database, manifest: &Manifest) -> anyhow::Result<()> {
    let report = checks::verify_database(database, Trusted::default()).await?;
    let is_same =
        report.position == manifest.position && hex::encode(&report.hash) == manifest.hash;
    if let Some(finding) = report.damage() {
        bail!("the backup is damaged: {}", finding.what);
    }
    if !is_same {
        bail!("the backup is not what its {MANIFEST} says: it was changed after it was made");
    }
    Ok(())
}

async fn go_on(
    settings: &Settings,
    database: &Database,
    is_older_accepted: bool,
) -> anyhow::Result<restore::Restored> {
    let installation = Meta::new(database).get("installation").await?;
    let installation = installation.and_then(|text| text.parse().ok());
    let installation = installation.context("this log has no installation")?;
    let key = signing_key(settings, database).await?;
    let file = HeadsFile::new(settings.heads_file());
    let (id, now) = (InstallationId(installation), SystemClock.now());
    Ok(restore::begin_epoch(database, id, &key, &file, now, is_older_accepted).await?)
}

async fn signing_key(settings: &Settings, database: &Database) -> anyhow::Result<SigningKey> {
    let log = EventLog::open(database, Options::default()).await?;
    let sealing = Sealing::open(database, &log, &settings.data_dir, Arc::new(SystemClock))?;
    let key = sealing.find_signing_key().await;
    log.close().await;
    let key = key.context("the master key is not the one that this log was written under")?;
    key.context("this log has no signing key")
}

/// Nothing of a restored log can be opened without it, so it comes first.
fn find_master_key(settings: &Settings, arguments: &RestoreArguments) -> anyhow::Result<()> {
    let place = settings.data_dir.join(MASTER_KEY);
    if place.exists() {
        return Ok(());
    }
    let in_backup = arguments.directory.as_ref().map(|directory| directory.join(MASTER_KEY));
    let given = arguments.master_key.clone().or(in_backup.filter(|path| path.exists()));
    let Some(given) = given else {
        bail!(
            "the master key is missing: put your copy of it at {}, or name it with --master-key",
            place.display()
        );
    };
    copy_file(&given, &place)
}

/// Copies a file for its owner only; it is on disk when this returns.
fn copy_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copy = || -> std::io::Result<()> {
        let mut source = File::open(from)?;
        let mut target = create(to)?;
        std::io::copy(&mut source, &mut target)?;
        target.sync_all()
    };
    copy().with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))
}

fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
