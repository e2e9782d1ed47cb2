//! How a restored log comes to where the server looks for it.
//!
//! Everything is checked in a folder of its own: the log against its manifest, the heads, and whether the master
//! key opens it. Only then something is put into place: the master key, the heads, and last the log. Read models
//! that are there go before that, since they are of another log, and are made again.
//!
//! Invariant: where there is a log, everything else is in place. So a restore that is cut off has done nothing,
//! or all of it, and is run again; the head that it may have signed is found outside ([`actors::restore`]).

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use actors::{
    audit::{self as checks, Trusted},
    clock::{Clock as _, system::SystemClock},
    restore::{self, Begun, Checked, Restored},
    sealing::Sealing,
    signed_heads::file::HeadsFile,
    signing::SigningKey,
};
use anyhow::{Context as _, bail};
use domain::ids::InstallationId;
use projections::{
    database::{Database, LOG_FILE},
    error::DatabaseError,
    event_log::{EventLog, Options, RawLog},
    hex,
    meta::Meta,
    signed_heads::{SignedHead, SignedHeads},
};

use crate::{
    cli::{
        backup::{HEADS, MANIFEST, MASTER_KEY, Manifest, RestoreArguments, VERSION, files},
        console,
    },
    config::Settings,
};

const STAGING: &str = "restoring";
/// What is made again from the log: read models, and those of a rebuild that was cut off.
const DERIVED: [&str; 2] = ["views.db", "views.next.db"];
/// What SQLite keeps in files beside a database.
const WRITE_AHEAD: &str = "-wal";
const SHARED_MEMORY: &str = "-shm";

/// Puts a backup where the server looks for its log.
pub(super) async fn from_folder(
    settings: &Settings,
    directory: &Path,
    arguments: &RestoreArguments,
) -> anyhow::Result<Restored> {
    let place = Database::sqlite_directory(&settings.database_url, &settings.data_dir);
    let Some(place) = place else {
        bail!(
            "PostgreSQL is restored with its own tools, then `sam restore` without a folder: see ops/backup.md"
        );
    };
    let manifest = manifest(directory)?;
    let target = place.join(LOG_FILE);
    if target.exists() {
        // Cut off when all was done.
        if let Some(restored) = restored_before(&place, &manifest).await {
            remove_staging(&place)?;
            return Ok(restored);
        }
        bail!(
            "there is a log already: move {} away first, and the file with {WRITE_AHEAD} behind its name",
            target.display()
        );
    }
    refuse_write_ahead(&target)?;
    let master_key = find_master_key(settings, arguments)?;
    let staging = make_staging(&place)?;
    let staged = stage(settings, directory, (&staging, &master_key), arguments, &manifest).await;
    let Begun { restored, heads } = match staged {
        Ok(begun) => begun,
        Err(error) => {
            remove_staging(&place)?;
            return Err(error);
        }
    };
    put_master_key(settings, &staging)?;
    put_heads(settings, directory, &staging, &heads)?;
    remove_derived(&place)?;
    for suffix in [WRITE_AHEAD, SHARED_MEMORY] {
        files::remove_if_there(&files::with_suffix(&target, suffix))?;
    }
    files::put(&staging.join(LOG_FILE), &target)?;
    remove_staging(&place)?;
    Ok(restored)
}

/// Lets a database go on that was restored by its own tools.
pub(super) async fn in_place(
    settings: &Settings,
    arguments: &RestoreArguments,
) -> anyhow::Result<Restored> {
    let place = Database::sqlite_directory(&settings.database_url, &settings.data_dir);
    // Opening would make an empty one.
    if let Some(place) = place.as_ref().filter(|place| !place.join(LOG_FILE).exists()) {
        bail!("there is no log in {}: name the folder of a backup", place.display());
    }
    let master_key = find_master_key(settings, arguments)?;
    let staging = make_staging(&settings.data_dir)?;
    let staged = files::copy_file(&master_key, &staging.join(MASTER_KEY));
    let restored = match staged {
        Ok(()) => go_on(settings, place.as_deref(), (&staging, &master_key), arguments).await,
        Err(error) => Err(error),
    };
    remove_staging(&settings.data_dir)?;
    restored
}

async fn go_on(
    settings: &Settings,
    place: Option<&Path>,
    (staging, master_key): (&Path, &Path),
    arguments: &RestoreArguments,
) -> anyhow::Result<Restored> {
    let open = || Database::open(&settings.database_url, &settings.data_dir);
    let database = open().await?;
    let file = HeadsFile::new(settings.heads_file());
    let examined = examine(&database, (staging, master_key), &file, arguments).await;
    database.close().await;
    let (identity, checked) = examined?;
    put_master_key(settings, staging)?;
    // Those of PostgreSQL were restored with the log, and show no more than it has.
    if let Some(place) = place {
        remove_derived(place)?;
    }
    let database = open().await?;
    let begun = identity.begin(&database, checked).await;
    database.close().await;
    let Begun { restored, heads } = begun?;
    file.append_now(&heads)?;
    Ok(restored)
}

/// Makes a log that goes on in the folder beside its place.
async fn stage(
    settings: &Settings,
    directory: &Path,
    (staging, master_key): (&Path, &Path),
    arguments: &RestoreArguments,
    manifest: &Manifest,
) -> anyhow::Result<Begun> {
    files::copy_file(master_key, &staging.join(MASTER_KEY))?;
    let log = staging.join(LOG_FILE);
    files::copy_file(&directory.join(LOG_FILE), &log)?;
    let outside = settings.heads_file();
    let file = HeadsFile::new(if outside.exists() { outside } else { directory.join(HEADS) });
    let database = Database::open("sqlite:", staging).await?;
    let begun = async {
        matches_manifest(&database, manifest).await?;
        let (identity, checked) =
            examine(&database, (staging, master_key), &file, arguments).await?;
        identity.begin(&database, checked).await
    };
    let begun = begun.await;
    database.close().await;
    let begun = begun?;
    let write_ahead = files::with_suffix(&log, WRITE_AHEAD);
    if fs::metadata(&write_ahead).is_ok_and(|file| file.len() > 0) {
        bail!("{} was not taken into the log: run the restore again", write_ahead.display());
    }
    File::open(&log)?.sync_all()?;
    Ok(begun)
}

/// Whose log it is.
struct Identity {
    installation: InstallationId,
    key: SigningKey,
}

impl Identity {
    async fn begin(&self, database: &Database, checked: Checked) -> anyhow::Result<Begun> {
        let (installation, now) = (self.installation, SystemClock.now());
        Ok(restore::begin(database, installation, &self.key, checked, now).await?)
    }
}

/// Whether the master key opens the log, and whether it may go on.
async fn examine(
    database: &Database,
    (staging, master_key): (&Path, &Path),
    file: &HeadsFile,
    arguments: &RestoreArguments,
) -> anyhow::Result<(Identity, Checked)> {
    let installation = Meta::new(database).get("installation").await?;
    let installation = installation.and_then(|text| text.parse().ok());
    let installation = InstallationId(installation.context("this log has no installation")?);
    let key = signing_key(database, staging, master_key).await?;
    let checked = restore::check(database, &key, file, arguments.accept_older_log).await?;
    Ok((Identity { installation, key }, checked))
}

/// Opened by the copy of the master key in the staging folder; `master_key` is where that is from.
async fn signing_key(
    database: &Database,
    staging: &Path,
    master_key: &Path,
) -> anyhow::Result<SigningKey> {
    let log = EventLog::open(database, Options::default()).await?;
    let key = match Sealing::open(database, &log, staging, Arc::new(SystemClock)) {
        Ok(sealing) => sealing.find_signing_key().await,
        Err(error) => Err(error),
    };
    log.close().await;
    let other = || {
        format!(
            "{} is not the master key that this log was written under: name that one with --master-key",
            master_key.display()
        )
    };
    key.with_context(other)?.context("this log has no signing key")
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

/// Whether the log in its place is this very backup, restored, with nothing recorded since. That it is what it
/// says is checked by whoever starts on it.
async fn restored_before(place: &Path, manifest: &Manifest) -> Option<Restored> {
    let database = Database::open_log_read_only("sqlite:", place).await.ok()?;
    let found = newest_restore(&database).await;
    database.close().await;
    let head = found.ok().flatten()?;
    let is_same = head.position == manifest.position
        && hex::encode(&head.hash) == manifest.hash
        && head.installation == manifest.installation;
    let (position, epoch) = (head.position, head.epoch);
    is_same.then_some(Restored { position, epoch, given_up: None })
}

/// The head that a restore signed, where it is the newest and the log ends there.
async fn newest_restore(database: &Database) -> Result<Option<SignedHead>, DatabaseError> {
    let (end, heads) = (RawLog::new(database).end().await?, SignedHeads::new(database));
    let Some((number, newest)) = heads.newest().await? else { return Ok(None) };
    let before = match number {
        1 => Vec::new(),
        number => heads.list(number - 2, 1).await?,
    };
    // The first epoch is of no restore.
    let epoch = before.first().map_or(1, |(_, head)| head.epoch);
    let is_of_restore = newest.epoch > epoch && newest.epoch == end.epoch;
    Ok((is_of_restore && newest.position == end.position).then_some(newest))
}

/// What belongs to a log that was moved away would be taken for the restored one's.
fn refuse_write_ahead(log: &Path) -> anyhow::Result<()> {
    let write_ahead = files::with_suffix(log, WRITE_AHEAD);
    if fs::metadata(&write_ahead).is_ok_and(|file| file.len() > 0) {
        bail!(
            "{} has the last events of the log that was here: move it to where that is",
            write_ahead.display()
        );
    }
    Ok(())
}

/// Nothing of a restored log can be opened without it. It is put nowhere before it was tried.
fn find_master_key(settings: &Settings, arguments: &RestoreArguments) -> anyhow::Result<PathBuf> {
    let place = settings.data_dir.join(MASTER_KEY);
    if let Some(named) = &arguments.master_key {
        let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
        // The one that is there may be the only copy, and open another log.
        if place.exists() && read(named)? != read(&place)? {
            bail!(
                "{} is another master key than {}: move the latter away first, or leave --master-key out",
                named.display(),
                place.display()
            );
        }
        return Ok(named.clone());
    }
    if place.exists() {
        return Ok(place);
    }
    let in_backup = arguments.directory.as_ref().map(|directory| directory.join(MASTER_KEY));
    in_backup.filter(|path| path.exists()).with_context(|| {
        format!(
            "the master key is missing: put your copy of it at {}, or name it with --master-key",
            place.display()
        )
    })
}

fn put_master_key(settings: &Settings, staging: &Path) -> anyhow::Result<()> {
    let place = settings.data_dir.join(MASTER_KEY);
    if place.exists() { Ok(()) } else { files::put_copy(&staging.join(MASTER_KEY), &place) }
}

/// Says outside where the log goes on, behind what is said there, or in the backup where nothing is.
fn put_heads(
    settings: &Settings,
    directory: &Path,
    staging: &Path,
    heads: &[SignedHead],
) -> anyhow::Result<()> {
    let outside = settings.heads_file();
    let (in_backup, staged) = (directory.join(HEADS), staging.join(HEADS));
    if outside.exists() || !in_backup.exists() {
        return Ok(HeadsFile::new(outside).append_now(heads)?);
    }
    files::copy_file(&in_backup, &staged)?;
    HeadsFile::new(staged.clone()).append_now(heads)?;
    files::put_copy(&staged, &outside)
}

/// Read models of another log would show what is not in this one, and never what comes.
fn remove_derived(place: &Path) -> anyhow::Result<()> {
    let mut n_removed = 0;
    for name in DERIVED {
        for suffix in ["", WRITE_AHEAD, SHARED_MEMORY] {
            let path = files::with_suffix(&place.join(name), suffix);
            n_removed += usize::from(files::remove_if_there(&path)?);
        }
    }
    if n_removed > 0 {
        File::open(place)?.sync_all()?;
        console::progress(
            "the read models that were there are removed: they are made again from the log",
        );
    }
    Ok(())
}

/// An empty folder for its owner only: a copy of the master key comes into it.
fn make_staging(place: &Path) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(place)?;
    // Left by a restore that was cut off.
    remove_staging(place)?;
    let staging = place.join(STAGING);
    let made = DirBuilder::new().mode(0o700).create(&staging);
    made.with_context(|| format!("{} cannot be made", staging.display()))?;
    Ok(staging)
}

fn remove_staging(place: &Path) -> anyhow::Result<()> {
    let staging = place.join(STAGING);
    if staging.exists() {
        let removed = fs::remove_dir_all(&staging);
        removed.with_context(|| format!("{} cannot be removed", staging.display()))?;
    }
    Ok(())
}
