//! Whose texts were destroyed: a ledger of signed entries, and the destruction itself.
//!
//! A content row without ciphertext is a tombstone. It is valid only if the ledger has an entry for its
//! project; anything else that lacks its text was tampered with. Entry and destruction of the key are one
//! transaction, and no key is ever made for a project that is in the ledger, so nothing can be written that
//! would have to be erased again. In the same way a credential's entry goes with its secret in the vault, and an
//! account's with all that it was signed in by.
//!
//! This module knows what is signed and keeps the rows. It cannot sign or check a signature itself.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    database::Database,
    error::DatabaseError,
    event_log::{Hash, Position},
    hex,
    sql::{SqlPool, SqlRow, SqlTransaction},
};

/// What an entry is signed as.
pub const PURPOSE: &str = "erasure 1";

/// What the first entry says is before it.
pub const NO_HASH: Hash = [0; 32];

/// Whose texts an entry is about, where it is a project.
pub const PROJECT: &str = "project";

/// The same, where it is an account: its credentials have entries of their own.
pub const ACCOUNT: &str = "account";

/// The same, where it is a secret in the vault.
pub const CREDENTIAL: &str = "credential";

/// How many content rows are emptied in one transaction.
const ROWS_PER_TRANSACTION: usize = 2_000;

/// How often SQLite's write-ahead log is tried to be emptied, and how long after each other.
const EMPTYINGS_MAX: u32 = 50;
const EMPTYING_PERIOD: Duration = Duration::from_millis(20);

/// The statement that somebody's texts are destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedErasure {
    pub installation: Uuid,
    /// 1, 2, 3 …
    pub number: u64,
    /// [`PROJECT`], [`ACCOUNT`] or [`CREDENTIAL`].
    pub kind: String,
    pub subject: Uuid,
    /// The end of the log when it was signed.
    pub position: Position,
    /// The [`Self::digest`] of the entry before; [`NO_HASH`] for the first.
    pub previous: Hash,
    /// To the microsecond.
    pub at: DateTime<Utc>,
    pub signature: [u8; 64],
}

impl SignedErasure {
    /// The bytes that are signed under [`PURPOSE`]. All fields but the last have a fixed length.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(128);
        message.extend_from_slice(self.installation.as_bytes());
        message.extend_from_slice(&self.number.to_be_bytes());
        message.extend_from_slice(self.subject.as_bytes());
        message.extend_from_slice(&self.position.to_be_bytes());
        message.extend_from_slice(&self.previous);
        message.extend_from_slice(&self.at.timestamp_micros().to_be_bytes());
        message.extend_from_slice(self.kind.as_bytes());
        message
    }

    /// What the next entry names this one by.
    #[must_use]
    pub fn digest(&self) -> Hash {
        Sha256::new().chain_update(self.message()).chain_update(self.signature).finalize().into()
    }
}

/// An entry as one JSON document, in files.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ErasureLine {
    installation: Uuid,
    number: u64,
    kind: String,
    subject: Uuid,
    position: Position,
    previous: String,
    at: DateTime<Utc>,
    signature: String,
}

impl From<&SignedErasure> for ErasureLine {
    fn from(entry: &SignedErasure) -> Self {
        Self {
            installation: entry.installation,
            number: entry.number,
            kind: entry.kind.clone(),
            subject: entry.subject,
            position: entry.position,
            previous: hex::encode(&entry.previous),
            at: entry.at,
            signature: hex::encode(&entry.signature),
        }
    }
}

impl ErasureLine {
    /// The entry; None where a hash or the signature is none.
    #[must_use]
    pub fn read(&self) -> Option<SignedErasure> {
        Some(SignedErasure {
            installation: self.installation,
            number: self.number,
            kind: self.kind.clone(),
            subject: self.subject,
            position: self.position,
            previous: hex::decode(&self.previous)?,
            at: self.at,
            signature: hex::decode(&self.signature)?,
        })
    }
}

/// What there is of a project's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    pub project: Uuid,
    pub has_tombstones: bool,
    pub has_texts: bool,
    pub has_key: bool,
}

/// The table of erasures, and what they are about. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ErasureLedger {
    pool: SqlPool,
}

const COLUMNS: &str =
    "subject, kind, number, installation, position, previous, signed_at, signature";

impl ErasureLedger {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.log().clone() }
    }

    /// All entries, in the order in which they were signed.
    pub async fn list(&self) -> Result<Vec<SignedErasure>, DatabaseError> {
        let list = format!("SELECT {COLUMNS} FROM erasures ORDER BY number, subject");
        self.pool.fetch_all(&list, ()).await?.iter().map(entry).collect()
    }

    /// How many entries there are. None is ever removed, so the same number means the same entries.
    pub async fn count(&self) -> Result<u64, DatabaseError> {
        let count = "SELECT COUNT(*) AS n_entries FROM erasures";
        let row = self.pool.fetch_optional(count, ()).await?;
        row.map_or(Ok(0), |row| row.count("n_entries"))
    }

    pub async fn find(&self, subject: Uuid) -> Result<Option<SignedErasure>, DatabaseError> {
        let find = format!("SELECT {COLUMNS} FROM erasures WHERE subject = $1");
        self.pool.fetch_optional(&find, (subject,)).await?.as_ref().map(entry).transpose()
    }

    /// Enters an erasure and destroys the subject's content key, its secret, and what signs in as it, in one
    /// transaction. Can be repeated.
    pub async fn destroy_key(&self, entry: &SignedErasure) -> Result<(), DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        // The head lock: whoever makes a key or stores a secret for the same waits, and then finds the entry.
        transaction.execute("UPDATE log_head SET position = position WHERE id = 1", ()).await?;
        let put = format!(
            "INSERT INTO erasures ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (subject) DO NOTHING"
        );
        let values = (
            entry.subject,
            &entry.kind,
            entry.number,
            entry.installation,
            entry.position,
            entry.previous,
            entry.at,
            &entry.signature[..],
        );
        transaction.execute(&put, values).await?;
        let destroy = "DELETE FROM keys WHERE purpose = 'content' AND scope = $1";
        transaction.execute(destroy, (entry.subject,)).await?;
        transaction.execute("DELETE FROM vault WHERE id = $1", (entry.subject,)).await?;
        transaction.execute("DELETE FROM tokens WHERE subject = $1", (entry.subject,)).await?;
        transaction.commit().await?;
        if !self.pool.is_postgres() {
            self.empty_write_ahead_log().await?;
        }
        Ok(())
    }

    /// The row of a key or secret must not stay readable in SQLite's write-ahead log.
    async fn empty_write_ahead_log(&self) -> Result<(), DatabaseError> {
        for _ in 0..EMPTYINGS_MAX {
            let emptied =
                self.pool.execute_returning("PRAGMA wal_checkpoint(TRUNCATE)", ()).await?;
            if emptied.map_or(Ok(0), |row| row.int("busy"))? == 0 {
                return Ok(());
            }
            // Somebody else brings it in at this moment, and leaves it as long as it is.
            tokio::time::sleep(EMPTYING_PERIOD).await;
        }
        tracing::warn!(
            "a reader keeps the write-ahead log open: what was erased is overwritten later"
        );
        Ok(())
    }

    /// Takes the ciphertexts out of a project's content rows, which stay as tombstones. Can be repeated;
    /// tells how many it emptied.
    pub async fn empty_contents(&self, project: Uuid) -> Result<u64, DatabaseError> {
        let empty = "UPDATE contents SET nonce = $2, ciphertext = $2 WHERE id IN (
            SELECT id FROM contents WHERE project = $1 AND length(ciphertext) > 0 LIMIT $3)";
        let mut n_emptied = 0;
        loop {
            let n =
                self.pool.execute(empty, (project, Vec::<u8>::new(), ROWS_PER_TRANSACTION)).await?;
            if n == 0 {
                return Ok(n_emptied);
            }
            n_emptied += n;
        }
    }

    /// What there is of each project's texts, in one look.
    pub async fn holdings(&self) -> Result<Vec<Holding>, DatabaseError> {
        let list = "SELECT project,
                COUNT(CASE WHEN length(ciphertext) = 0 THEN 1 END) AS n_tombstones,
                COUNT(CASE WHEN length(ciphertext) > 0 THEN 1 END) AS n_texts,
                (SELECT COUNT(*) FROM keys WHERE purpose = 'content' AND scope = contents.project)
                    AS n_keys
            FROM contents GROUP BY project ORDER BY project";
        let rows = self.pool.fetch_all(list, ()).await?;
        let holding = |row: &SqlRow| {
            Ok(Holding {
                project: row.uuid("project")?,
                has_tombstones: row.count("n_tombstones")? > 0,
                has_texts: row.count("n_texts")? > 0,
                has_key: row.count("n_keys")? > 0,
            })
        };
        rows.iter().map(holding).collect()
    }

    /// All entries as [`Self::list`] has them, each with whether its subject has a content key or a secret in
    /// spite of it, in one look.
    pub async fn list_with_keys(&self) -> Result<Vec<(SignedErasure, bool)>, DatabaseError> {
        let list = format!(
            "SELECT {COLUMNS}, (SELECT COUNT(*) FROM keys
                WHERE purpose = 'content' AND scope = erasures.subject)
                + (SELECT COUNT(*) FROM vault WHERE id = erasures.subject) AS n_keys
             FROM erasures ORDER BY number, subject"
        );
        let rows = self.pool.fetch_all(&list, ()).await?;
        rows.iter().map(|row| Ok((entry(row)?, row.count("n_keys")? > 0))).collect()
    }

    /// Subjects of the ledger of whom something could still be read or used: a content key, a ciphertext, a
    /// secret, or a token is there.
    pub async fn unfinished(&self) -> Result<Vec<Uuid>, DatabaseError> {
        let list = "SELECT subject FROM erasures WHERE
            EXISTS (SELECT 1 FROM keys WHERE purpose = 'content' AND scope = erasures.subject)
            OR EXISTS (SELECT 1 FROM contents
                WHERE project = erasures.subject AND length(ciphertext) > 0)
            OR EXISTS (SELECT 1 FROM vault WHERE id = erasures.subject)
            OR EXISTS (SELECT 1 FROM tokens WHERE subject = erasures.subject)";
        let rows = self.pool.fetch_all(list, ()).await?;
        rows.iter().map(|row| row.uuid("subject")).collect()
    }
}

/// Tells within a transaction that holds the head lock whether a subject was erased.
pub(crate) async fn is_erased(
    transaction: &mut SqlTransaction,
    subject: Uuid,
) -> Result<bool, DatabaseError> {
    let find = "SELECT subject FROM erasures WHERE subject = $1";
    Ok(transaction.fetch_optional(find, (subject,)).await?.is_some())
}

fn entry(row: &SqlRow) -> Result<SignedErasure, DatabaseError> {
    Ok(SignedErasure {
        installation: row.uuid("installation")?,
        number: row.count("number")?,
        kind: row.text("kind")?,
        subject: row.uuid("subject")?,
        position: row.count("position")?,
        previous: array(row, "previous")?,
        at: row.time("signed_at")?,
        signature: array(row, "signature")?,
    })
}

fn array<const N: usize>(row: &SqlRow, column: &str) -> Result<[u8; N], DatabaseError> {
    let bytes = row.bytes(column)?;
    bytes.try_into().map_err(|_| DatabaseError::failed(format!("column {column} is too short")))
}
