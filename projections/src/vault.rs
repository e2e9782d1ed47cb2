//! Ciphertext of secrets: cloud tokens, model keys. Never in events, never read back by a browser.
//!
//! This module keeps bytes; who encrypts and decrypts them is elsewhere. The label says what the
//! secret is for and is bound to the ciphertext as associated data, so that a row moved under another
//! label no longer opens.

use uuid::Uuid;

use crate::{
    database::Database,
    erasure_ledger::is_erased,
    error::DatabaseError,
    sql::{SqlPool, SqlRow},
};

/// One encrypted secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecret {
    pub id: Uuid,
    /// The key it is encrypted under.
    pub key_id: Uuid,
    pub nonce: Vec<u8>,
    pub ciphertext: Vec<u8>,
    /// The associated data.
    pub label: String,
}

/// The table of secrets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vault {
    pool: SqlPool,
}

const PUT: &str = "INSERT INTO vault (id, key_id, nonce, ciphertext, label)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO UPDATE SET key_id = excluded.key_id, nonce = excluded.nonce,
        ciphertext = excluded.ciphertext, label = excluded.label";

impl Vault {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.log().clone() }
    }

    /// Stores a secret, in place of the one with the same id if there is one.
    pub async fn put(&self, secret: &SealedSecret) -> Result<(), DatabaseError> {
        let SealedSecret { id, key_id, nonce, ciphertext, label } = secret;
        self.pool.execute(PUT, (id, key_id, nonce, ciphertext, label)).await?;
        Ok(())
    }

    /// The same, unless what it belongs to was erased, for which none is ever stored; tells whether it was.
    pub async fn put_unless_erased(&self, secret: &SealedSecret) -> Result<bool, DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        // The head lock: an erasure waits, and then destroys what is stored here.
        transaction.execute("UPDATE log_head SET position = position WHERE id = 1", ()).await?;
        if is_erased(&mut transaction, secret.id).await? {
            return Ok(false);
        }
        let SealedSecret { id, key_id, nonce, ciphertext, label } = secret;
        transaction.execute(PUT, (id, key_id, nonce, ciphertext, label)).await?;
        transaction.commit().await?;
        Ok(true)
    }

    pub async fn get(&self, id: Uuid) -> Result<Option<SealedSecret>, DatabaseError> {
        let get = "SELECT id, key_id, nonce, ciphertext, label FROM vault WHERE id = $1";
        self.pool.fetch_optional(get, (id,)).await?.as_ref().map(secret).transpose()
    }

    /// Removes a secret; tells whether it was there.
    pub async fn delete(&self, id: Uuid) -> Result<bool, DatabaseError> {
        Ok(self.pool.execute("DELETE FROM vault WHERE id = $1", (id,)).await? > 0)
    }

    /// Lists what is encrypted under a key, for example to encrypt it again under the next one.
    pub async fn list_by_key(&self, key_id: Uuid) -> Result<Vec<SealedSecret>, DatabaseError> {
        let list = "SELECT id, key_id, nonce, ciphertext, label FROM vault
            WHERE key_id = $1 ORDER BY id";
        self.pool.fetch_all(list, (key_id,)).await?.iter().map(secret).collect()
    }

    pub async fn list(&self) -> Result<Vec<SealedSecret>, DatabaseError> {
        let list = "SELECT id, key_id, nonce, ciphertext, label FROM vault ORDER BY id";
        self.pool.fetch_all(list, ()).await?.iter().map(secret).collect()
    }
}

fn secret(row: &SqlRow) -> Result<SealedSecret, DatabaseError> {
    Ok(SealedSecret {
        id: row.uuid("id")?,
        key_id: row.uuid("key_id")?,
        nonce: row.bytes("nonce")?,
        ciphertext: row.bytes("ciphertext")?,
        label: row.text("label")?,
    })
}
