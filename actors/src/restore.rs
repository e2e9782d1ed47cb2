//! Lets a log go on that was restored from a backup: under a new epoch, which a signed head says so of.
//!
//! The epoch fences whatever still runs on the state before. The head names the one that the restored state
//! ended with, so everybody who checks heads sees what was given up. All sign-ins end, because the
//! backup may know tokens that were revoked since.
//!
//! Invariant: nobody goes behind the heads that are kept outside the database without having said that
//! it is on purpose.

use domain::{ids::InstallationId, values::Timestamp};
use projections::{
    database::Database,
    error::DatabaseError,
    event_log::{Position, RawLog},
    signed_heads::{NO_HASH, SignedHead, SignedHeads},
    tokens::Tokens,
};

use crate::{
    audit::{self, Trusted},
    signed_heads::{HeadsError, file::HeadsFile, signed},
    signing::SigningKey,
};

const HEADS_PER_READ: usize = 1000;

/// Why a restored log does not go on.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Heads(#[from] HeadsError),
    #[error(
        "this state ends at position {position}, and {path} has a head at position {signed}: what was \
         recorded since would be given up. If that is meant, say --accept-older-log"
    )]
    Older { position: Position, signed: Position, path: String },
    #[error("the restored log is damaged, so it does not go on: {0}")]
    Damaged(String),
}

/// What goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    pub position: Position,
    pub epoch: u64,
    /// Up to where there had been signed heads that this state does not have.
    pub given_up: Option<Position>,
}

/// Raises the epoch of a restored log, ends all sign-ins, and signs where it goes on.
///
/// The log must not be in use. Can be interrupted and run again.
pub async fn begin_epoch(
    database: &Database,
    installation: InstallationId,
    key: &SigningKey,
    file: &HeadsFile,
    now: Timestamp,
    is_older_accepted: bool,
) -> Result<Restored, RestoreError> {
    let (log, heads) = (RawLog::new(database), SignedHeads::new(database));
    let (end, written) = (log.end().await?, file.read()?);
    let given_up = match written.last() {
        Some(last) if heads.find(last).await?.is_none() || last.position > end.position => {
            Some(last.position)
        }
        _ => None,
    };
    if let Some(signed) = given_up.filter(|_| !is_older_accepted) {
        let path = file.path().display().to_string();
        return Err(RestoreError::Older { position: end.position, signed, path });
    }
    let trusted = Trusted { key: Some(key.public()), ..Trusted::default() };
    let report = audit::verify_database(database, trusted).await?;
    if let Some(finding) = report.damage() {
        return Err(RestoreError::Damaged(finding.what.clone()));
    }
    let signed_epoch = written.iter().map(|head| head.epoch).max().unwrap_or_default();
    let epoch = end.epoch.max(signed_epoch) + 1;
    log.set_epoch(epoch).await?;
    Tokens::new(database).remove_all().await?;
    if end.position > 0 {
        let newest = heads.newest().await?;
        let number = newest.as_ref().map_or(0, |(number, _)| *number) + 1;
        let head = SignedHead {
            installation: installation.0,
            epoch,
            position: end.position,
            hash: report.hash,
            previous: newest.as_ref().map_or(NO_HASH, |(_, head)| head.digest()),
            at: now,
            signature: [0; 64],
        };
        let head = signed(key, head);
        if !heads.put(number, &head, None).await? {
            return Err(HeadsError::Fenced.into());
        }
        let mut missing = missing_in(&heads, &written, number).await?;
        missing.push(head);
        file.append_now(&missing)?;
    }
    Ok(Restored { position: end.position, epoch, given_up })
}

/// Heads that the file should have before the one of this number: a backup's file may be shorter.
async fn missing_in(
    heads: &SignedHeads,
    written: &[SignedHead],
    number: u64,
) -> Result<Vec<SignedHead>, DatabaseError> {
    let mut last = 0;
    for head in written.iter().rev() {
        if let Some(found) = heads.find(head).await? {
            last = found;
            break;
        }
    }
    let mut missing = Vec::new();
    while last + 1 < number {
        let page = heads.list(last, HEADS_PER_READ).await?;
        let Some((newest, _)) = page.last() else { break };
        last = *newest;
        missing.extend(page.into_iter().filter(|(n, _)| *n < number).map(|(_, head)| head));
    }
    Ok(missing)
}
