//! Checks that a log is what was recorded: every stream's chain, the order of all streams, the signed heads,
//! those in the database and those that were kept outside of it, and that texts are missing only where a
//! signed erasure says so.
//!
//! The checking itself is a fold over rows ([`verifier`], [`texts`]), the same for a database and for an export.
//! Nothing is changed here. What cannot be found is said in every report.
//!
//! Read next: `audit/verifier.rs`, `audit/heads.rs`, `audit/texts.rs`, and `ops/audit.md` for whoever reads a report.

use std::collections::BTreeSet;

use projections::{
    database::Database,
    erasure_ledger::{ErasureLedger, SignedErasure},
    error::DatabaseError,
    event_log::{Position, RawEvent, RawLog},
    signed_heads::{SignedHead, SignedHeads},
};
use uuid::Uuid;

use crate::{
    archive::contents_of,
    audit::{
        heads::Evidence,
        texts::{Beside, Texts},
        verifier::Verifier,
    },
    signing::PublicKey,
};

mod heads;
pub mod report;
pub mod texts;
pub mod verifier;

pub use report::{Finding, FindingKind, Report};

const EVENTS_PER_READ: usize = 1000;
const HEADS_PER_READ: usize = 1000;

/// What somebody who checks a log has in hand.
#[derive(Clone, Debug, Default)]
pub struct Trusted {
    /// None: nobody knows the key, and neither heads nor erasures prove anything.
    pub key: Option<PublicKey>,
    /// Heads that were kept outside the database; None where there are none.
    pub outside: Option<Vec<SignedHead>>,
    /// Erasures that were kept outside the database.
    pub erasures: Vec<SignedErasure>,
}

/// Checks the log of a database, while it is being written or not.
pub async fn verify_database(
    database: &Database,
    mut trusted: Trusted,
) -> Result<Report, DatabaseError> {
    let heads = all_heads(&SignedHeads::new(database)).await?;
    let log = RawLog::new(database);
    // After the heads, so that whatever they protect is there, and no later one is missed.
    let end = log.end().await?;
    let texts = Texts::new(trusted.key, std::mem::take(&mut trusted.erasures));
    let texts = trusted.key.is_some().then_some(texts);
    let verifier = Verifier::new(Evidence { trusted, heads });
    let mut check = Check { log: &log, verifier, texts };
    let mut position = 0;
    while position < end.last {
        match log.events(position, end.last, EVENTS_PER_READ).await {
            Ok(events) => {
                let Some(last) = events.last() else { break };
                position = last.position;
                check.events(&events).await?;
            }
            Err(DatabaseError::Failed { .. }) => {
                position = check.beyond_unreadable(position, end.last).await?;
            }
            Err(error) => return Err(error),
        }
    }
    let mut report = check.verifier.end(Some(end.position));
    report.add(misplaced(&log).await?);
    if let Some(mut texts) = check.texts {
        let beside = beside(&ErasureLedger::new(database), &mut texts).await?;
        texts.end(&beside, &mut report);
    }
    Ok(report)
}

/// A check of a database's rows on its way.
struct Check<'a> {
    log: &'a RawLog,
    verifier: Verifier,
    /// None where nobody knows the key, so that erasures prove nothing.
    texts: Option<Texts>,
}

impl Check<'_> {
    /// Takes the next rows.
    async fn events(&mut self, events: &[RawEvent]) -> Result<(), DatabaseError> {
        events.iter().for_each(|event| self.verifier.event(event));
        match &mut self.texts {
            Some(texts) => look_for_texts(self.log, events, texts).await,
            None => Ok(()),
        }
    }

    /// One of the next rows cannot be read: takes those before it one by one, and goes past it.
    async fn beyond_unreadable(
        &mut self,
        mut position: Position,
        last: Position,
    ) -> Result<Position, DatabaseError> {
        let mut events = Vec::new();
        for _ in 0..EVENTS_PER_READ {
            let next = self.log.next_position(position).await?;
            let Some(next) = next.filter(|next| *next <= last) else { break };
            position = next;
            match self.log.events(next - 1, next, 1).await {
                Ok(event) => events.extend(event),
                Err(DatabaseError::Failed { reason }) => {
                    self.events(&events).await?;
                    self.verifier.unreadable(next, &reason);
                    return Ok(next);
                }
                Err(error) => return Err(error),
            }
        }
        // Somebody has mended it meanwhile.
        self.events(&events).await?;
        Ok(position)
    }
}

/// Events that are what was recorded, and that nobody would find who reads their stream.
async fn misplaced(log: &RawLog) -> Result<Vec<Finding>, DatabaseError> {
    let positions = log.misplaced(report::FINDINGS_MAX).await?;
    let finding = |position| Finding {
        kind: FindingKind::Changed,
        position: Some(position),
        stream: None,
        what: format!("the event at position {position} is not kept among those of its stream"),
    };
    Ok(positions.into_iter().map(finding).collect())
}

/// Finds events whose texts have no row.
async fn look_for_texts(
    log: &RawLog,
    events: &[RawEvent],
    texts: &mut Texts,
) -> Result<(), DatabaseError> {
    let mut references = Vec::new();
    for event in events {
        texts.event(event);
        let ids = contents_of(&event.payload);
        references.extend(ids.into_iter().map(|id| (event.position, id)));
    }
    let ids: Vec<Uuid> = references.iter().map(|(_, id)| *id).collect();
    for missing in log.missing_contents(&ids).await? {
        let first = references.iter().find(|(_, id)| *id == missing);
        texts.missing(first.map_or(0, |(position, _)| *position), missing);
    }
    Ok(())
}

/// After the events, and the ledger last: whatever the rows say of an erasure, its entry was there before.
async fn beside(ledger: &ErasureLedger, texts: &mut Texts) -> Result<Beside, DatabaseError> {
    let mut keyless = BTreeSet::new();
    for holding in ledger.holdings().await? {
        if holding.has_tombstones {
            texts.row(holding.project, true);
        }
        if holding.has_texts {
            texts.row(holding.project, false);
            if !holding.has_key {
                keyless.insert(holding.project);
            }
        }
    }
    let (mut entries, mut keyed) = (Vec::new(), BTreeSet::new());
    for (entry, has_key) in ledger.list_with_keys().await? {
        if has_key {
            keyed.insert(entry.subject);
        }
        entries.push(entry);
    }
    Ok(Beside { ledger: entries, keyless: Some(keyless), keyed })
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
