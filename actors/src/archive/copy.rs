//! Copies a log from one database into another. Run again, it goes on where it was.
//!
//! With it go what the installation needs to go on there: its id and epoch, its wrapped keys, the vault,
//! the signed heads and the ledger of erasures. What was erased or removed since then goes from the copy, too.
//! Not tokens: everybody signs in again. The master key is in the data directory and stays there.

use projections::{
    database::Database,
    erasure_ledger::ErasureLedger,
    event_log::{Hash, RawLog},
    keys::Keys,
    meta::Meta,
    signed_heads::SignedHeads,
    vault::Vault,
};
use uuid::Uuid;

use crate::{
    archive::{ArchiveError, EVENTS_PER_BATCH, line::contents_of},
    audit::{self, Trusted},
    sealing::VAULT,
};

const HEADS_PER_READ: usize = 1000;

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    pub n_events: u64,
    /// How many of them were there already.
    pub n_before: u64,
    /// The running hash, which is the same on both sides.
    pub hash: Hash,
}

/// Copies everything into a log that is empty, or that is the beginning of the same one.
///
/// Neither may be in use. At the end both are read, and compared by their hashes.
pub async fn copy(from: &Database, to: &Database) -> Result<Copied, ArchiveError> {
    let (source, target) = (RawLog::new(from), RawLog::new(to));
    let (end, before) = (source.end().await?, target.end().await?);
    settle(from, to, &source, &target).await?;
    let mut position = before.position;
    while position < end.position {
        let events = source.events(position, end.position, EVENTS_PER_BATCH).await?;
        let Some(last) = events.last().map(|event| event.position) else {
            let reason = format!("the events behind position {position} are missing");
            return Err(ArchiveError::Refused(reason));
        };
        let ids: Vec<Uuid> = events.iter().flat_map(|event| contents_of(&event.payload)).collect();
        target.put(position, &events, &source.contents(&ids).await?).await?;
        position = last;
    }
    target.set_epoch(end.epoch).await?;
    copy_small_tables(from, to).await?;
    let (one, other) = (
        audit::verify_database(from, Trusted::default()).await?,
        audit::verify_database(to, Trusted::default()).await?,
    );
    if !other.is_intact() || (one.n_events, one.hash) != (other.n_events, other.hash) {
        return Err(ArchiveError::Refused(
            "the copy is not what was copied: run `sam audit verify` on both".to_owned(),
        ));
    }
    Ok(Copied { n_events: other.n_events, n_before: before.position, hash: other.hash })
}

async fn settle(
    from: &Database,
    to: &Database,
    source: &RawLog,
    target: &RawLog,
) -> Result<(), ArchiveError> {
    let installation = Meta::new(from).get("installation").await?;
    let installation =
        installation.and_then(|text| text.parse::<Uuid>().ok()).ok_or_else(|| {
            ArchiveError::Refused("there is no log to copy from in the first database".to_owned())
        })?;
    let is_same = Meta::new(to).installation(installation).await? == installation;
    let position = target.end().await?.position;
    let last =
        |events: Vec<projections::event_log::RawEvent>| events.first().map(|event| event.hash);
    let continues = position == 0
        || last(source.events(position - 1, position, 1).await?)
            == last(target.events(position - 1, position, 1).await?);
    if is_same && continues {
        return Ok(());
    }
    Err(ArchiveError::Refused(format!(
        "the second database has a log of its own, with {position} events: copy into an empty one"
    )))
}

async fn copy_small_tables(from: &Database, to: &Database) -> Result<(), ArchiveError> {
    // First, so that a key which an earlier copy brought over does not outlive its erasure.
    let ledger = ErasureLedger::new(to);
    for entry in ErasureLedger::new(from).list().await? {
        ledger.destroy_key(&entry).await?;
        ledger.empty_contents(entry.subject).await?;
    }
    let (keys, source) = (Keys::new(to), Keys::new(from).list().await?);
    for key in &source {
        if keys.get(key.id).await?.is_none() {
            keys.put(key).await?;
        }
    }
    copy_secrets(from, to).await?;
    // A vault's key that was replaced. Those of texts go with an erasure only, and never because they are missing.
    let is_there = |id: Uuid| source.iter().any(|key| key.id == id);
    for key in keys.list().await? {
        if key.purpose == VAULT && !is_there(key.id) {
            keys.destroy(key.id).await?;
        }
    }
    let (source, target, mut number) = (SignedHeads::new(from), SignedHeads::new(to), 0);
    loop {
        let page = source.list(number, HEADS_PER_READ).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        number = *last;
        for (number, head) in &page {
            target.put_as_it_was(*number, head).await?;
        }
    }
}

/// The secrets as they are now: what was removed after an earlier copy is not to be found in this one.
async fn copy_secrets(from: &Database, to: &Database) -> Result<(), ArchiveError> {
    let (vault, source) = (Vault::new(to), Vault::new(from).list().await?);
    for copied in vault.list().await? {
        if source.iter().all(|secret| secret.id != copied.id) {
            vault.delete(copied.id).await?;
        }
    }
    for secret in &source {
        vault.put(secret).await?;
    }
    Ok(())
}
