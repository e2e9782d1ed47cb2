//! Opaque tokens: browser sessions, sign-in links, bootstrap tokens. Stored by their SHA-256 only.
//!
//! Time comes in from the caller's clock, so that tests can move it.
//!
//! Invariant: of any number of callers that consume one token at once, one succeeds.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    database::Database,
    error::DatabaseError,
    sql::{SqlPool, SqlRow},
};

/// The SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

/// What is known about a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub hash: TokenHash,
    /// What it is good for; a token of one kind is never taken for another.
    pub kind: String,
    /// Whom or what it stands for.
    pub subject: Uuid,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub used_at: Option<DateTime<Utc>>,
}

/// The table of tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    pool: SqlPool,
}

const COLUMNS: &str = "hash, kind, subject, created_at, expires_at, used_at";

impl Tokens {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.log().clone() }
    }

    pub async fn put(&self, token: &Token) -> Result<(), DatabaseError> {
        let put = format!("INSERT INTO tokens ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)");
        let Token { hash, kind, subject, created_at, expires_at, used_at } = token;
        let values = (hash.0, kind, subject, created_at, expires_at, *used_at);
        self.pool.execute(&put, values).await?;
        Ok(())
    }

    /// Ends everything that anybody was let in by.
    pub async fn remove_all(&self) -> Result<u64, DatabaseError> {
        self.pool.execute("DELETE FROM tokens", ()).await
    }

    /// Finds a token that may still be used, without using it up.
    pub async fn find(
        &self,
        hash: TokenHash,
        kind: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Token>, DatabaseError> {
        let find = format!(
            "SELECT {COLUMNS} FROM tokens
             WHERE hash = $1 AND kind = $2 AND expires_at > $3 AND used_at IS NULL"
        );
        let row = self.pool.fetch_optional(&find, (hash.0, kind, now)).await?;
        row.as_ref().map(token).transpose()
    }

    /// Uses a token up. `None` when it is unknown, of another kind, expired or used already.
    pub async fn consume(
        &self,
        hash: TokenHash,
        kind: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Token>, DatabaseError> {
        let consume = format!(
            "UPDATE tokens SET used_at = $3
             WHERE hash = $1 AND kind = $2 AND expires_at > $3 AND used_at IS NULL
             RETURNING {COLUMNS}"
        );
        let row = self.pool.execute_returning(&consume, (hash.0, kind, now)).await?;
        row.as_ref().map(token).transpose()
    }

    /// Moves the end of a token that may still be used; tells whether there was one.
    pub async fn prolong(
        &self,
        hash: TokenHash,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<bool, DatabaseError> {
        let prolong = "UPDATE tokens SET expires_at = $3
            WHERE hash = $1 AND expires_at > $2 AND used_at IS NULL";
        Ok(self.pool.execute(prolong, (hash.0, now, expires_at)).await? > 0)
    }

    /// Lists the tokens of a subject that may still be used, oldest first.
    pub async fn list(
        &self,
        subject: Uuid,
        kind: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Token>, DatabaseError> {
        let list = format!(
            "SELECT {COLUMNS} FROM tokens
             WHERE subject = $1 AND kind = $2 AND expires_at > $3 AND used_at IS NULL
             ORDER BY created_at, hash"
        );
        self.pool.fetch_all(&list, (subject, kind, now)).await?.iter().map(token).collect()
    }

    /// Revokes one token; tells whether it was there.
    pub async fn revoke(&self, hash: TokenHash) -> Result<bool, DatabaseError> {
        Ok(self.pool.execute("DELETE FROM tokens WHERE hash = $1", (hash.0,)).await? > 0)
    }

    /// Revokes all tokens of a kind, or only those of one subject; tells how many there were.
    pub async fn revoke_all(
        &self,
        kind: &str,
        subject: Option<Uuid>,
    ) -> Result<u64, DatabaseError> {
        match subject {
            Some(subject) => {
                let revoke = "DELETE FROM tokens WHERE kind = $1 AND subject = $2";
                self.pool.execute(revoke, (kind, subject)).await
            }
            None => self.pool.execute("DELETE FROM tokens WHERE kind = $1", (kind,)).await,
        }
    }

    /// Revokes whatever stands for a subject; tells how many there were.
    pub async fn revoke_of(&self, subject: Uuid) -> Result<u64, DatabaseError> {
        self.pool.execute("DELETE FROM tokens WHERE subject = $1", (subject,)).await
    }

    /// Forgets tokens that expired before a time; tells how many there were.
    pub async fn forget_expired(&self, before: DateTime<Utc>) -> Result<u64, DatabaseError> {
        self.pool.execute("DELETE FROM tokens WHERE expires_at < $1", (before,)).await
    }
}

fn token(row: &SqlRow) -> Result<Token, DatabaseError> {
    let hash = row.bytes("hash")?.try_into();
    Ok(Token {
        hash: TokenHash(hash.map_err(|_| DatabaseError::failed("a token hash has not 32 bytes"))?),
        kind: row.text("kind")?,
        subject: row.uuid("subject")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        used_at: row.time_option("used_at")?,
    })
}
