//! Checks that a log is what was recorded: every stream's chain, the order of all streams, and the signed
//! heads, those in the database and those that were kept outside of it.
//!
//! The checking itself is a fold over rows ([`verifier`]), the same for a database and for an export.
//! Nothing is changed here. What cannot be found is said in every report.
//!
//! Read next: `audit/verifier.rs`, `audit/heads.rs`, and `ops/audit.md` for whoever reads a report.

use projections::{
    database::Database,
    error::DatabaseError,
    event_log::{Position, RawLog},
    signed_heads::{SignedHead, SignedHeads},
};

use crate::{
    audit::{heads::Evidence, verifier::Verifier},
    signing::PublicKey,
};

mod heads;
pub mod report;
pub mod verifier;

pub use report::{Finding, FindingKind, Report};

const EVENTS_PER_READ: usize = 1000;
const HEADS_PER_READ: usize = 1000;

/// What somebody who checks a log has in hand.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// None: nobody knows the key, and heads prove nothing.
    pub key: Option<PublicKey>,
    /// Heads that were kept outside the database; None where there are none.
    pub outside: Option<Vec<SignedHead>>,
}

/// Checks the log of a database, while it is being written or not.
pub async fn verify_database(
    database: &Database,
    trusted: Trusted,
) -> Result<Report, DatabaseError> {
    let heads = all_heads(&SignedHeads::new(database)).await?;
    let log = RawLog::new(database);
    // After the heads, so that whatever they protect is there, and no later one is missed.
    let end = log.end().await?;
    let mut verifier = Verifier::new(Evidence { trusted, heads });
    let mut position = 0;
    loop {
        match log.events(position, Position::MAX >> 1, EVENTS_PER_READ).await {
            Ok(events) => {
                let Some(last) = events.last() else { break };
                position = last.position;
                for event in events.iter().take_while(|event| event.position <= end.last) {
                    verifier.event(event);
                }
                if position >= end.last {
                    break;
                }
            }
            Err(error @ DatabaseError::Failed { .. }) => {
                position = find_unreadable(&log, position, &error, &mut verifier).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(verifier.end(Some(end.position)))
}

/// One of the next rows cannot be read: goes on one by one and past it.
async fn find_unreadable(
    log: &RawLog,
    mut position: Position,
    error: &DatabaseError,
    verifier: &mut Verifier,
) -> Result<Position, DatabaseError> {
    for _ in 0..EVENTS_PER_READ {
        let Some(next) = log.next_position(position).await? else { return Ok(position) };
        match log.events(position, next, 1).await {
            Ok(events) => events.iter().for_each(|event| verifier.event(event)),
            Err(DatabaseError::Failed { reason }) => {
                verifier.unreadable(next, &reason);
                return Ok(next);
            }
            Err(error) => return Err(error),
        }
        position = next;
    }
    Err(DatabaseError::Failed { reason: error.to_string() })
}

async fn all_heads(heads: &SignedHeads) -> Result<Vec<SignedHead>, DatabaseError> {
    let (mut all, mut number) = (Vec::new(), 0);
    loop {
        let page = heads.list(number, HEADS_PER_READ).await?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        number = *last;
        all.extend(page.into_iter().map(|(_, head)| head));
    }
}
