//! Signs a head over the whole log now and then, and writes it down twice: in the database, and in a
//! file beside it that whoever changes the database does not change.
//!
//! Made by the holder of the lease, [`HeadSettings::period`] after the first event that no head
//! protects, or [`HeadSettings::events_max`] events after the last head; a last one is made at the end of
//! a tenure. The running hash goes on from the newest head, so a life that is cut off loses nothing: the row comes first and the
//! file is brought up to it. Nothing new, no head.
//!
//! Invariant: every head in the file is in the table. So a table that lacks the file's newest head was
//! cut back, or is an older state, and nothing is started on it ([`check_high_water`]).
//!
//! Read next: `signed_heads/file.rs`; [`crate::audit`] checks heads.

use std::{path::PathBuf, time::Duration};

use crash_point::crash_point;
use domain::ids::InstallationId;
use futures_util::FutureExt as _;
use projections::{
    database::Database,
    error::DatabaseError,
    event_log::{EventLog, Hash, Position, RawLog},
    meta::Meta,
    signed_heads::{NO_HASH, PURPOSE, SignedHead, SignedHeads, running},
};
use tokio::sync::watch;

use crate::{
    clock::SharedClock, settings::HeadSettings, signed_heads::file::HeadsFile, signing::SigningKey,
};

pub mod file;

/// How many events are folded into one head at most, where many wait.
const HEAD_EVENTS_READ_MAX: usize = 10_000;
const RETRY_PERIOD: Duration = Duration::from_secs(1);
const HEADS_PER_READ: usize = 1000;

/// Why heads cannot be read, made or trusted.
#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("{path}: {source}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}, line {line}: this is no signed head")]
    Malformed { path: String, line: u64 },
    /// Somebody has to look at it: see `ops/audit.md`.
    #[error("{0}")]
    Refused(String),
    /// Another process makes heads now.
    #[error("the lease or the installation's epoch has passed on")]
    Fenced,
}

/// Refuses a database that is behind the heads which were written outside of it.
pub async fn check_high_water(
    database: &Database,
    file: &HeadsFile,
    key: &SigningKey,
) -> Result<(), HeadsError> {
    let Some(last) = file.newest()? else { return Ok(()) };
    let path = file.path().display();
    if !key.public().verify(PURPOSE, &last.message(), &last.signature) {
        return Err(HeadsError::Refused(format!(
            "the newest head in {path} is not signed by this installation's key: the file belongs to \
             another installation, or the key was lost; see ops/audit.md"
        )));
    }
    let end = RawLog::new(database).end().await?;
    let is_known = SignedHeads::new(database).find(&last).await?.is_some();
    if is_known && last.position <= end.position {
        return Ok(());
    }
    Err(HeadsError::Refused(format!(
        "the database is older than {path}, which has a head at position {} of epoch {}; the log ends at \
         {} in epoch {}: it was cut back, or an older state was restored. If that was on purpose, say so with \
         `sam restore --accept-older-log`; see ops/backup.md",
        last.position, last.epoch, end.position, end.epoch
    )))
}

/// Makes heads during one tenure.
#[derive(Clone, Debug)]
pub struct HeadMaker {
    pub database: Database,
    pub log: EventLog,
    pub key: SigningKey,
    pub installation: InstallationId,
    pub file: HeadsFile,
    pub settings: HeadSettings,
    pub clock: SharedClock,
    /// The epoch of the lease; None where there can be only one process.
    pub lease: Option<u64>,
}

/// How far the heads go.
#[derive(Clone, Debug)]
struct Newest {
    number: u64,
    position: Position,
    running: Hash,
    digest: Hash,
}

impl HeadMaker {
    /// Makes heads until `stopped`, and one more.
    pub async fn run(self, stopped: impl Future<Output = ()>) {
        // It is asked again where the last head could not be made.
        let stopped = stopped.shared();
        loop {
            let error = match self.make_heads(stopped.clone()).await {
                Ok(()) => return,
                Err(error) => error,
            };
            match &error {
                HeadsError::Refused(_) | HeadsError::Malformed { .. } => {
                    tracing::error!(%error, "no head is signed: somebody has to look at the log");
                }
                error => tracing::warn!(%error, "a head could not be made and is tried again"),
            }
            tokio::select! {
                () = stopped.clone() => return,
                () = tokio::time::sleep(RETRY_PERIOD) => {}
            }
        }
    }

    async fn make_heads(
        &self,
        stopped: impl Future<Output = ()> + Clone,
    ) -> Result<(), HeadsError> {
        let mut newest = self.resume().await?;
        let mut head = self.log.watch();
        loop {
            let is_stopped = tokio::select! {
                () = stopped.clone() => true,
                () = reached(&mut head, newest.position + 1) => tokio::select! {
                    () = stopped.clone() => true,
                    () = reached(&mut head, newest.position + self.settings.events_max) => false,
                    () = self.clock.pause(self.settings.period) => false,
                },
            };
            self.catch_up(&mut newest).await?;
            if is_stopped {
                return Ok(());
            }
        }
    }

    /// Makes one head over everything that is recorded, if there is anything new.
    pub async fn make_one(&self) -> Result<(), HeadsError> {
        let mut newest = self.resume().await?;
        self.catch_up(&mut newest).await
    }

    /// Finds the newest head and brings the file up to it.
    async fn resume(&self) -> Result<Newest, HeadsError> {
        check_high_water(&self.database, &self.file, &self.key).await?;
        let heads = SignedHeads::new(&self.database);
        let Some((number, newest)) = heads.newest().await? else {
            return Ok(Newest { number: 0, position: 0, running: NO_HASH, digest: NO_HASH });
        };
        if !self.key.public().verify(PURPOSE, &newest.message(), &newest.signature) {
            return Err(HeadsError::Refused(
                "the newest head in the database is not signed by this installation's key".into(),
            ));
        }
        let mut written = match self.file.newest()? {
            Some(last) => heads.find(&last).await?.unwrap_or_default(),
            None => 0,
        };
        while written < number {
            let missing = heads.list(written, HEADS_PER_READ).await?;
            let Some((last, _)) = missing.last() else { break };
            written = *last;
            let missing = missing.into_iter().map(|(_, head)| head).collect();
            self.file.append(missing).await?;
        }
        let (position, running) = (newest.position, newest.hash);
        Ok(Newest { number, position, running, digest: newest.digest() })
    }

    async fn catch_up(&self, newest: &mut Newest) -> Result<(), HeadsError> {
        let heads = SignedHeads::new(&self.database);
        let until = self.log.head().await?;
        if until < newest.position {
            return Err(HeadsError::Refused(format!(
                "the log ends at position {until}, before the head that was signed at {}",
                newest.position
            )));
        }
        while newest.position < until {
            let events = heads.event_hashes(newest.position, HEAD_EVENTS_READ_MAX).await?;
            let (mut position, mut hash) = (newest.position, newest.running);
            for (found, event) in events {
                if found != position + 1 {
                    return Err(HeadsError::Refused(format!(
                        "the event at position {} is missing",
                        position + 1
                    )));
                }
                (position, hash) = (found, running(&hash, &event));
            }
            if position == newest.position {
                return Err(HeadsError::Refused(format!(
                    "the events behind position {position} are missing"
                )));
            }
            self.sign(newest, position, hash).await?;
        }
        Ok(())
    }

    async fn sign(
        &self,
        newest: &mut Newest,
        position: Position,
        hash: Hash,
    ) -> Result<(), HeadsError> {
        let epoch = Meta::new(&self.database).epoch().await?;
        let previous = newest.digest;
        let head = signed(
            &self.key,
            SignedHead {
                installation: self.installation.0,
                epoch,
                position,
                hash,
                previous,
                at: self.clock.now(),
                signature: [0; 64],
            },
        );
        crash_point!("heads.before_put");
        let heads = SignedHeads::new(&self.database);
        if !heads.put(newest.number + 1, &head, self.lease).await? {
            return Err(HeadsError::Fenced);
        }
        crash_point!("heads.after_put");
        let (number, digest) = (newest.number + 1, head.digest());
        self.file.append(vec![head]).await?;
        crash_point!("heads.after_written");
        *newest = Newest { number, position, running: hash, digest };
        Ok(())
    }
}

/// Signs a head; its time is cut to what is kept of it.
#[must_use]
pub fn signed(key: &SigningKey, mut head: SignedHead) -> SignedHead {
    let micros = head.at.timestamp_micros();
    head.at = chrono::DateTime::from_timestamp_micros(micros).unwrap_or(head.at);
    head.signature = key.sign(PURPOSE, &head.message());
    head
}

/// Resolves when the log has come to a position; never, once the log is closed.
async fn reached(head: &mut watch::Receiver<Position>, position: Position) {
    if head.wait_for(|head| *head >= position).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The file of heads unless the settings name another.
#[must_use]
pub fn default_file(data_dir: &std::path::Path) -> PathBuf {
    data_dir.join("heads.ndjson")
}
