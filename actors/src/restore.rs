//! Lets a log go on that was restored from a backup: under a new epoch, which a signed head says so of.
//!
//! The epoch fences whatever still runs on the state before. The head names the one that the restored state
//! ended with, so everybody who checks heads sees what was given up. All sign-ins end, because the
//! backup may know tokens that were revoked since.
//!
//! A restore that is cut off is run again: a head outside that was signed over this very state is taken into
//! the log, so that nobody is asked again what may be given up. It goes on with a further epoch, since somebody
//! may have come further with the one before.
//!
//! Invariant: nobody goes behind the heads that are kept outside the database without having said that
//! it is on purpose.

use domain::{ids::InstallationId, values::Timestamp};
use projections::{
    database::Database,
    error::DatabaseError,
    event_log::{Hash, Position, RawLog},
    signed_heads::{NO_HASH, PURPOSE, SignedHead, SignedHeads},
    tokens::Tokens,
};

use crate::{
    audit::{self, Trusted},
    signed_heads::{HeadsError, file::HeadsFile, signed},
    signing::{PublicKey, SigningKey},
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
    #[error(
        "the newest head in {path} is not signed by the key of this log: if the file is another \
         installation's, move it away"
    )]
    Foreign { path: String },
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

/// A log that may go on: nothing is changed yet.
#[derive(Debug)]
pub struct Checked {
    position: Position,
    hash: Hash,
    epoch: u64,
    /// The heads outside.
    written: Vec<SignedHead>,
    /// The last of them that are over this very state, which does not have them.
    lacking: Vec<SignedHead>,
    given_up: Option<Position>,
}

/// A log that goes on, as soon as this is said outside too.
#[derive(Debug)]
pub struct Begun {
    pub restored: Restored,
    /// To be written behind the heads outside.
    pub heads: Vec<SignedHead>,
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
    let checked = check(database, key, file, is_older_accepted).await?;
    let Begun { restored, heads } = begin(database, installation, key, checked, now).await?;
    file.append_now(&heads)?;
    Ok(restored)
}

/// Holds a restored log against itself and against the heads outside. Changes nothing.
pub async fn check(
    database: &Database,
    key: &SigningKey,
    file: &HeadsFile,
    is_older_accepted: bool,
) -> Result<Checked, RestoreError> {
    let (end, written) = (RawLog::new(database).end().await?, file.read()?);
    let path = || file.path().display().to_string();
    if written.last().is_some_and(|last| !is_signed(last, key.public())) {
        return Err(RestoreError::Foreign { path: path() });
    }
    let trusted = Trusted { key: Some(key.public()), ..Trusted::default() };
    let report = audit::verify_database(database, trusted).await?;
    if let Some(finding) = report.damage() {
        return Err(RestoreError::Damaged(finding.what.clone()));
    }
    let heads = SignedHeads::new(database);
    let newest = heads.newest().await?.map_or(NO_HASH, |(_, head)| head.digest());
    let state = (end.position, report.hash);
    let n_lacking = count_lacking(&written, state, newest, key.public());
    let (before, lacking) = written.split_at(written.len() - n_lacking);
    let given_up = match before.last() {
        Some(last) if heads.find(last).await?.is_none() || last.position > end.position => {
            Some(last.position)
        }
        _ => None,
    };
    // The first head behind those that are given up is of a restore: it was said then.
    let is_older_accepted = is_older_accepted || !lacking.is_empty();
    if let Some(signed) = given_up.filter(|_| !is_older_accepted) {
        return Err(RestoreError::Older { position: end.position, signed, path: path() });
    }
    let lacking = lacking.to_vec();
    let (position, hash, epoch) = (end.position, report.hash, end.epoch);
    Ok(Checked { position, hash, epoch, written, lacking, given_up })
}

/// Makes a log go on that was checked. What is signed has to be written outside after that.
pub async fn begin(
    database: &Database,
    installation: InstallationId,
    key: &SigningKey,
    checked: Checked,
    now: Timestamp,
) -> Result<Begun, RestoreError> {
    let Checked { position, hash, epoch, written, lacking, given_up } = checked;
    let signed_epoch = written.iter().map(|head| head.epoch).max().unwrap_or_default();
    let epoch = epoch.max(signed_epoch) + 1;
    RawLog::new(database).set_epoch(epoch).await?;
    Tokens::new(database).remove_all().await?;
    let restored = Restored { position, epoch, given_up };
    if position == 0 {
        return Ok(Begun { restored, heads: Vec::new() });
    }
    let heads = SignedHeads::new(database);
    let (mut number, mut previous) = match heads.newest().await? {
        Some((number, newest)) => (number, newest.digest()),
        None => (0, NO_HASH),
    };
    for head in &lacking {
        number += 1;
        heads.put_as_it_was(number, head).await?;
        previous = head.digest();
    }
    number += 1;
    let head = SignedHead {
        installation: installation.0,
        epoch,
        position,
        hash,
        previous,
        at: now,
        signature: [0; 64],
    };
    let head = signed(key, head);
    if !heads.put(number, &head, None).await? {
        return Err(HeadsError::Fenced.into());
    }
    let mut missing = missing_in(&heads, &written, number).await?;
    // Behind heads that are given up an older one would be out of place. The log has it, and the head of the
    // restore leads to it.
    missing.retain(|head| given_up.is_none() || head.epoch > signed_epoch);
    missing.push(head);
    Ok(Begun { restored, heads: missing })
}

/// How many of the last heads outside were signed over this very state and are not in it: by a restore that was
/// cut off before its log was in its place, or by a server right after the backup.
///
/// The first of them names the newest that the state has, and nothing was signed after the last: so with them
/// the state has all there is.
fn count_lacking(
    written: &[SignedHead],
    (position, hash): (Position, Hash),
    newest: Hash,
    key: PublicKey,
) -> usize {
    let mut expected: Option<Hash> = None;
    for (n_after, head) in written.iter().rev().enumerate() {
        let is_next = expected.is_none_or(|expected| head.digest() == expected);
        let is_same = (head.position, head.hash) == (position, hash);
        if !is_next || !is_same || !is_signed(head, key) {
            return 0;
        }
        if head.previous == newest {
            return n_after + 1;
        }
        expected = Some(head.previous);
    }
    0
}

fn is_signed(head: &SignedHead, key: PublicKey) -> bool {
    key.verify(PURPOSE, &head.message(), &head.signature)
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
