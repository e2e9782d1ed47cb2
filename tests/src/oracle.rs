//! Tells whether a log and what was made of it kept the promises, whatever happened on the way.
//!
//! It reads a finished log and the views of either database with statements of its own, so that an
//! error in a reader of ours cannot hide itself. What it checks, by the names that reports use:
//!
//! - S1 durability: every acknowledged command is recorded where its answer said.
//! - S2 single history: positions and sequences without a gap, and an unbroken chain.
//! - S3 idempotence: one set of events per command of a stream, and equal answers.
//! - S4 completeness: a reader saw every event once and in order.
//! - S5 projections are folds: the tables are those that an empty database gets from the same log.
//! - S14 determinism: folding twice gives the same, and a process decides again what it decided.
//!
//! [`Oracle::check`] asks all of it. Nothing may be written meanwhile. Read next: `oracle/history.rs`.

mod determinism;
mod history;
mod read_side;

use std::{fmt, path::Path};

use anyhow::{Context as _, Result, bail};
use projections::{
    database::Database,
    event_log::{Hash, Position, StreamId},
};
use uuid::Uuid;

/// A promise of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    Durability,
    SingleHistory,
    Idempotence,
    Completeness,
    ProjectionIsFold,
    Determinism,
}

impl Invariant {
    /// The number by which the standards know it.
    pub fn number(self) -> &'static str {
        match self {
            Self::Durability => "S1",
            Self::SingleHistory => "S2",
            Self::Idempotence => "S3",
            Self::Completeness => "S4",
            Self::ProjectionIsFold => "S5",
            Self::Determinism => "S14",
        }
    }
}

/// A promise that was not kept, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    pub invariant: Invariant,
    pub what: String,
}

impl Violation {
    pub fn new(invariant: Invariant, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: {}", self.invariant.number(), self.invariant, self.what)
    }
}

/// What a client was told about a command that recorded something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    pub stream: StreamId,
    pub command: Uuid,
    /// Of its last event.
    pub position: Position,
}

/// One row of the log, as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub position: Position,
    pub stream: StreamId,
    pub sequence: u64,
    pub event_type: String,
    pub event_version: String,
    pub payload: String,
    pub metadata: String,
    pub command: Uuid,
    pub ordinal: u64,
    pub hash: Hash,
}

/// A log that was read, with the database it is from.
#[derive(Debug)]
pub struct Oracle {
    database: Database,
    /// In the order of their positions.
    entries: Vec<Entry>,
    /// What the log itself takes for its last position.
    head: Position,
}

const READ: &str = "
    SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version,
        CAST(payload AS TEXT) AS payload, CAST(metadata AS TEXT) AS metadata,
        command_id, command_ordinal, hash
    FROM events WHERE position > $1 ORDER BY position LIMIT 1000";

impl Oracle {
    /// Opens what a URL names, without changing anything: see [`Database::open_read_only`].
    pub async fn open(url: &str, data_dir: &Path) -> Result<Self> {
        let database = Database::open_read_only(url, data_dir).await?;
        Self::read(&database).await
    }

    /// Reads the whole log of an open database.
    pub async fn read(database: &Database) -> Result<Self> {
        let head = "SELECT position FROM log_head WHERE id = 1";
        let head = database.log().fetch_optional(head, ()).await?;
        let head = head.context("the log has a head row")?.count("position")?;
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map_or(0, |entry| entry.position);
            let rows = database.log().fetch_all(READ, (after,)).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let hash = row.bytes("hash")?;
                entries.push(Entry {
                    position: row.count("position")?,
                    stream: StreamId::new(
                        row.text("aggregate_type")?,
                        row.text("aggregate_id")?.parse()?,
                    ),
                    sequence: row.count("sequence")?,
                    event_type: row.text("event_type")?,
                    event_version: row.text("event_version")?,
                    payload: row.text("payload")?,
                    metadata: row.text("metadata")?,
                    command: row.uuid("command_id")?,
                    ordinal: row.count("command_ordinal")?,
                    hash: hash.try_into().ok().context("a hash has 32 bytes")?,
                });
            }
        }
        Ok(Self { database: database.clone(), entries, head })
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// S1, S2, S3 and S14: what the log alone shows, and what clients were told.
    pub fn check_log(&self, acknowledged: &[Acknowledged]) -> Vec<Violation> {
        let mut violations = history::single_history(&self.entries, self.head);
        violations.extend(history::idempotence(&self.entries, acknowledged));
        violations.extend(history::durability(&self.entries, acknowledged));
        violations.extend(determinism::folds(&self.entries));
        violations.extend(determinism::decisions(&self.entries));
        violations
    }

    /// S4: a reader that noted each position it got, in the order in which it got them.
    pub fn check_reader(&self, name: &str, seen: &[Position]) -> Vec<Violation> {
        history::completeness(&self.entries, name, seen)
    }

    /// S4 and S5: the processes' and projections' checkpoints and rows, against an empty database that is
    /// given the same log.
    pub async fn check_read_side(&self) -> Result<Vec<Violation>> {
        let mut violations = determinism::processes_saw_everything(self).await?;
        violations.extend(read_side::against_a_fresh_one(self).await?);
        Ok(violations)
    }

    /// Everything; fails with all that was violated.
    pub async fn check(&self, acknowledged: &[Acknowledged]) -> Result<()> {
        let mut violations = self.check_log(acknowledged);
        violations.extend(self.check_read_side().await?);
        if violations.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = violations.iter().take(20).map(Violation::to_string).collect();
        bail!("{} violations: {}", violations.len(), lines.join("; "))
    }
}
