//! Reads an export into a log. Run again, it goes on behind the last event that is there.

use std::{collections::HashSet, path::Path};

use projections::{
    database::Database,
    erasure_ledger::ErasureLedger,
    event_log::{Position, RawEvent, RawLog, StoredContent},
    keys::Keys,
    meta::Meta,
    signed_heads::SignedHeads,
};

use crate::{
    archive::{
        ArchiveError, Contained, EVENTS_PER_BATCH,
        line::Line,
        reading::{self, Lines},
    },
    audit::{self, Trusted},
};

/// What was read in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// How many events the log has now.
    pub n_events: u64,
    /// How many of them were there already.
    pub n_before: u64,
    /// The signing key came along, and with it the heads and the ledger of erasures.
    pub has_heads: bool,
}

/// Reads an export into a log that is empty, or that is the beginning of the very same log.
///
/// The whole file is checked before anything is written. The log must not be in use.
pub async fn import(database: &Database, path: &Path) -> Result<Imported, ArchiveError> {
    let contained = check(path)?;
    let log = RawLog::new(database);
    let n_before = settle(database, &log, path, &contained).await?;
    put_events(&log, path, n_before).await?;
    let has_heads = put_small_tables(database, &contained).await?;
    let report = audit::verify_database(database, Trusted::default()).await?;
    if !report.is_intact() || report.hash != contained.hash || report.n_events != contained.n_events
    {
        return Err(ArchiveError::Refused(
            "what is in the log now is not what is in the file: run `sam audit verify`".to_owned(),
        ));
    }
    Ok(Imported { n_events: contained.n_events, n_before, has_heads })
}

/// Reads the file once, without writing anything.
fn check(path: &Path) -> Result<Contained, ArchiveError> {
    let contained = reading::read(path, |_, _| {})?;
    let report = reading::verify(path, Trusted::default())?;
    if let Some(finding) = report.findings.first() {
        let path = path.display();
        return Err(ArchiveError::Refused(format!("{path} is damaged: {}", finding.what)));
    }
    Ok(contained)
}

/// Makes an empty log the export's, or makes sure that it is; tells how many events it has.
async fn settle(
    database: &Database,
    log: &RawLog,
    path: &Path,
    contained: &Contained,
) -> Result<Position, ArchiveError> {
    let (meta, end) = (Meta::new(database), log.end().await?);
    let installation = meta.installation(contained.installation).await?;
    let is_same = installation == contained.installation;
    if end.position == 0 && is_same {
        log.set_epoch(end.epoch.max(contained.epoch)).await?;
        return Ok(0);
    }
    let refused = |why: &str| {
        Err(ArchiveError::Refused(format!(
            "the log has {} events already, and {why}: import into an empty one",
            end.position
        )))
    };
    if !is_same {
        return refused("they are another installation's");
    }
    if end.position > contained.n_events {
        return refused("goes further than the file");
    }
    let mine = log.events(end.position - 1, end.position, 1).await?;
    let mine = mine.first().map(|event| event.hash);
    if mine.is_none() || mine != hash_at(path, end.position)? {
        return refused("the file goes on differently");
    }
    Ok(end.position)
}

fn hash_at(path: &Path, position: Position) -> Result<Option<[u8; 32]>, ArchiveError> {
    let mut lines = Lines::open(path)?;
    lines.header()?;
    while let Some(Line::Event(line)) = lines.next()? {
        if line.position == position {
            return Ok(line.read().map(|(event, _)| event.hash));
        }
    }
    Ok(None)
}

async fn put_events(log: &RawLog, path: &Path, n_before: Position) -> Result<(), ArchiveError> {
    let mut lines = Lines::open(path)?;
    lines.header()?;
    let mut after = n_before;
    let mut batch: (Vec<RawEvent>, Vec<StoredContent>) = Default::default();
    loop {
        let line = lines.next()?;
        let is_end = !matches!(line, Some(Line::Event(_)));
        if let Some(Line::Event(line)) = line
            && line.position > n_before
        {
            let (event, contents) = line.read().ok_or_else(|| lines.damaged())?;
            batch.0.push(event);
            batch.1.extend(contents);
        }
        if is_end || batch.0.len() == EVENTS_PER_BATCH {
            log.put(after, &batch.0, &batch.1).await?;
            after += batch.0.len() as u64;
            batch.0.clear();
            batch.1.clear();
        }
        if is_end {
            return Ok(());
        }
    }
}

/// Heads and erasures are of use only under the key that signed them; without it, the new log has its own.
async fn put_small_tables(
    database: &Database,
    contained: &Contained,
) -> Result<bool, ArchiveError> {
    let has_heads = contained.keys.iter().any(|key| key.purpose == "signing");
    let mut erased = HashSet::new();
    if has_heads {
        let ledger = ErasureLedger::new(database);
        for entry in &contained.erasures {
            ledger.destroy_key(entry).await?;
            ledger.empty_contents(entry.subject).await?;
            erased.insert(entry.subject);
        }
        let heads = SignedHeads::new(database);
        for (number, head) in (1..).zip(&contained.heads) {
            heads.put_as_it_was(number, head).await?;
        }
    }
    let keys = Keys::new(database);
    for key in &contained.keys {
        let is_erased = key.scope.is_some_and(|scope| erased.contains(&scope));
        if !is_erased && keys.get(key.id).await?.is_none() {
            keys.put(key).await?;
        }
    }
    Ok(has_heads)
}
