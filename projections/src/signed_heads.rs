//! Signed heads: what the whole log was, up to a position, as the installation's key vouches for it.
//!
//! The running hash goes through all streams in position order; each head covers the one before. This
//! module knows what is signed and keeps the rows. It cannot sign or check a signature itself.
//!
//! Invariant: heads are numbered 1, 2, 3 …; of two makers at once one gets the number.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    database::Database,
    error::DatabaseError,
    event_log::{Hash, Position},
    hex,
    sql::{IntoValues, SqlPool, SqlRow},
};

/// What a head is signed as.
pub const PURPOSE: &str = "log head 1";

/// The running hash before the first event, and what the first head says is before it.
pub const NO_HASH: Hash = [0; 32];

/// The running hash after one more event: SHA-256(previous running hash ‖ hash of the event).
#[must_use]
pub fn running(previous: &Hash, event: &Hash) -> Hash {
    Sha256::new().chain_update(previous).chain_update(event).finalize().into()
}

/// A statement about the whole log up to a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    pub installation: Uuid,
    /// Of the installation, at the time.
    pub epoch: u64,
    pub position: Position,
    /// The running hash there.
    pub hash: Hash,
    /// The [`Self::digest`] of the head before; [`NO_HASH`] for the first.
    pub previous: Hash,
    /// To the microsecond.
    pub at: DateTime<Utc>,
    pub signature: [u8; 64],
}

impl SignedHead {
    /// The bytes that are signed under [`PURPOSE`]. All fields have a fixed length.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(104);
        message.extend_from_slice(self.installation.as_bytes());
        message.extend_from_slice(&self.epoch.to_be_bytes());
        message.extend_from_slice(&self.position.to_be_bytes());
        message.extend_from_slice(&self.hash);
        message.extend_from_slice(&self.previous);
        message.extend_from_slice(&self.at.timestamp_micros().to_be_bytes());
        message
    }

    /// What the next head names this one by.
    #[must_use]
    pub fn digest(&self) -> Hash {
        Sha256::new().chain_update(self.message()).chain_update(self.signature).finalize().into()
    }
}

/// A head as one JSON document, in files.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct HeadLine {
    installation: Uuid,
    epoch: u64,
    position: Position,
    hash: String,
    previous: String,
    at: DateTime<Utc>,
    signature: String,
}

impl From<&SignedHead> for HeadLine {
    fn from(head: &SignedHead) -> Self {
        Self {
            installation: head.installation,
            epoch: head.epoch,
            position: head.position,
            hash: hex::encode(&head.hash),
            previous: hex::encode(&head.previous),
            at: head.at,
            signature: hex::encode(&head.signature),
        }
    }
}

impl HeadLine {
    /// The head; None where a hash or the signature is none.
    #[must_use]
    pub fn read(&self) -> Option<SignedHead> {
        Some(SignedHead {
            installation: self.installation,
            epoch: self.epoch,
            position: self.position,
            hash: hex::decode(&self.hash)?,
            previous: hex::decode(&self.previous)?,
            at: self.at,
            signature: hex::decode(&self.signature)?,
        })
    }
}

/// The table of heads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SignedHeads {
    pool: SqlPool,
}

const COLUMNS: &str = "number, installation, epoch, position, hash, previous, signed_at, signature";

impl SignedHeads {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.log().clone() }
    }

    /// Stores a head under the next number. False where the installation's epoch is another one, or
    /// the lease, if one is named, has passed on: then nothing is stored.
    ///
    /// [`DatabaseError::Duplicate`] where somebody else has made one of this number.
    pub async fn put(
        &self,
        number: u64,
        head: &SignedHead,
        lease: Option<u64>,
    ) -> Result<bool, DatabaseError> {
        let held = match lease {
            Some(epoch) => {
                format!("AND EXISTS (SELECT 1 FROM lease WHERE name = 'main' AND epoch = {epoch})")
            }
            None => String::new(),
        };
        let put = format!(
            "INSERT INTO signed_heads ({COLUMNS}) SELECT $1, $2, $3, $4, $5, $6, $7, $8
             WHERE EXISTS (SELECT 1 FROM log_head WHERE epoch = $3) {held}"
        );
        Ok(self.pool.execute(&put, values(number, head)).await? > 0)
    }

    /// Stores a head of a log that is moved, unless there is one of its number already.
    pub async fn put_as_it_was(&self, number: u64, head: &SignedHead) -> Result<(), DatabaseError> {
        let put = format!(
            "INSERT INTO signed_heads ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (number) DO NOTHING"
        );
        self.pool.execute(&put, values(number, head)).await.map(drop)
    }

    /// The newest head and its number.
    pub async fn newest(&self) -> Result<Option<(u64, SignedHead)>, DatabaseError> {
        let newest = format!("SELECT {COLUMNS} FROM signed_heads ORDER BY number DESC LIMIT 1");
        self.pool.fetch_optional(&newest, ()).await?.as_ref().map(numbered).transpose()
    }

    /// Heads behind a number, in order.
    pub async fn list(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, SignedHead)>, DatabaseError> {
        let list = format!(
            "SELECT {COLUMNS} FROM signed_heads WHERE number > $1 ORDER BY number LIMIT $2"
        );
        self.pool.fetch_all(&list, (after, limit)).await?.iter().map(numbered).collect()
    }

    /// The number of this very head, if it is stored.
    pub async fn find(&self, head: &SignedHead) -> Result<Option<u64>, DatabaseError> {
        let find = "SELECT number FROM signed_heads WHERE signature = $1";
        let row = self.pool.fetch_optional(find, (&head.signature[..],)).await?;
        row.map(|row| row.count("number")).transpose()
    }

    /// How many there are.
    pub async fn count(&self) -> Result<u64, DatabaseError> {
        let row = self.pool.fetch_optional("SELECT COUNT(*) AS n FROM signed_heads", ()).await?;
        row.ok_or_else(|| DatabaseError::failed("nothing was counted"))?.count("n")
    }

    /// Hashes of the events behind a position, in order.
    pub async fn event_hashes(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(Position, Hash)>, DatabaseError> {
        let list = "SELECT position, hash FROM events
            WHERE position > $1 ORDER BY position LIMIT $2";
        let rows = self.pool.fetch_all(list, (after, limit)).await?;
        rows.iter().map(|row| Ok((row.count("position")?, array(row, "hash")?))).collect()
    }
}

fn values(number: u64, head: &SignedHead) -> impl IntoValues {
    let SignedHead { installation, epoch, position, hash, previous, at, signature } = head.clone();
    (number, installation, epoch, position, hash, previous, at, signature.to_vec())
}

fn numbered(row: &SqlRow) -> Result<(u64, SignedHead), DatabaseError> {
    let head = SignedHead {
        installation: row.uuid("installation")?,
        epoch: row.count("epoch")?,
        position: row.count("position")?,
        hash: array(row, "hash")?,
        previous: array(row, "previous")?,
        at: row.time("signed_at")?,
        signature: array(row, "signature")?,
    };
    Ok((row.count("number")?, head))
}

fn array<const N: usize>(row: &SqlRow, column: &str) -> Result<[u8; N], DatabaseError> {
    let bytes = row.bytes(column)?;
    bytes.try_into().map_err(|_| DatabaseError::failed(format!("column {column} is too short")))
}
