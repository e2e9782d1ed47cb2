//! Keys, wrapped by the master key, which is a file outside of the database.
//!
//! Destroying a project's key makes all of its content unreadable. A backup from before still has it:
//! that is what the ledger of erasures is for ([`crate::erasure_ledger`]).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    database::Database,
    erasure_ledger::is_erased,
    error::DatabaseError,
    sql::{SqlPool, SqlRow, SqlTransaction},
};

/// A key that only its wrapping key can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    pub id: Uuid,
    /// What it is for, for example `content`, `vault` or `signing`.
    pub purpose: String,
    /// Whose it is, for example a project; none for keys of the installation.
    pub scope: Option<Uuid>,
    /// The key it is wrapped by; none is the master key.
    pub wrapped_by: Option<Uuid>,
    pub nonce: Vec<u8>,
    pub wrapped: Vec<u8>,
    pub created_at: DateTime<Utc>,
}

/// The table of keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keys {
    pool: SqlPool,
}

const COLUMNS: &str = "id, purpose, scope, wrapped_by, nonce, wrapped, created_at";

impl Keys {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.log().clone() }
    }

    /// Stores a key unless its purpose and scope has one already, and returns the one that counts.
    ///
    /// Of two callers that make a key for a project at once, both get the same one.
    pub async fn put_first(&self, key: &WrappedKey) -> Result<WrappedKey, DatabaseError> {
        let mut transaction = self.lock().await?;
        let counts = put_first_in(&mut transaction, key).await?;
        transaction.commit().await?;
        Ok(counts)
    }

    /// The same for the texts of somebody; none where these were destroyed, for which a new key is never
    /// made.
    pub async fn put_first_unless_erased(
        &self,
        key: &WrappedKey,
    ) -> Result<Option<WrappedKey>, DatabaseError> {
        let mut transaction = self.lock().await?;
        if let Some(scope) = key.scope
            && is_erased(&mut transaction, scope).await?
        {
            return Ok(None);
        }
        let counts = put_first_in(&mut transaction, key).await?;
        transaction.commit().await?;
        Ok(Some(counts))
    }

    /// Taking the head lock makes two callers wait for one another on either database.
    async fn lock(&self) -> Result<SqlTransaction, DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        transaction.execute("UPDATE log_head SET position = position WHERE id = 1", ()).await?;
        Ok(transaction)
    }

    /// Stores a key beside others of its purpose; the newest counts.
    pub async fn put(&self, key: &WrappedKey) -> Result<(), DatabaseError> {
        let put = format!("INSERT INTO keys ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)");
        self.pool.execute(&put, values_of(key)).await?;
        Ok(())
    }

    pub async fn get(&self, id: Uuid) -> Result<Option<WrappedKey>, DatabaseError> {
        let get = format!("SELECT {COLUMNS} FROM keys WHERE id = $1");
        self.pool.fetch_optional(&get, (id,)).await?.as_ref().map(wrapped_key).transpose()
    }

    /// Finds the newest key of a purpose and scope.
    pub async fn find(
        &self,
        purpose: &str,
        scope: Option<Uuid>,
    ) -> Result<Option<WrappedKey>, DatabaseError> {
        let find = format!(
            "SELECT {COLUMNS} FROM keys
             WHERE purpose = $1 AND (scope = $2 OR ($3 AND scope IS NULL))
             ORDER BY created_at DESC, id DESC LIMIT 1"
        );
        let values = (purpose, scope, scope.is_none());
        self.pool.fetch_optional(&find, values).await?.as_ref().map(wrapped_key).transpose()
    }

    pub async fn list(&self) -> Result<Vec<WrappedKey>, DatabaseError> {
        let list = format!("SELECT {COLUMNS} FROM keys ORDER BY created_at, id");
        self.pool.fetch_all(&list, ()).await?.iter().map(wrapped_key).collect()
    }

    /// Destroys a key, and with it the meaning of all that is encrypted under it.
    pub async fn destroy(&self, id: Uuid) -> Result<bool, DatabaseError> {
        Ok(self.pool.execute("DELETE FROM keys WHERE id = $1", (id,)).await? > 0)
    }
}

async fn put_first_in(
    transaction: &mut SqlTransaction,
    key: &WrappedKey,
) -> Result<WrappedKey, DatabaseError> {
    let find = format!(
        "SELECT {COLUMNS} FROM keys
         WHERE purpose = $1 AND (scope = $2 OR ($3 AND scope IS NULL))
         ORDER BY created_at DESC, id DESC LIMIT 1"
    );
    let values = (&key.purpose, key.scope, key.scope.is_none());
    if let Some(row) = transaction.fetch_optional(&find, values).await? {
        return wrapped_key(&row);
    }
    let put = format!("INSERT INTO keys ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)");
    transaction.execute(&put, values_of(key)).await?;
    // Read back, so that the first caller gets what every later one will.
    let row = transaction.fetch_optional(&find, (&key.purpose, key.scope, key.scope.is_none()));
    wrapped_key(&row.await?.ok_or_else(|| DatabaseError::failed("a key went missing"))?)
}

fn values_of(key: &WrappedKey) -> impl crate::sql::IntoValues {
    let WrappedKey { id, purpose, scope, wrapped_by, nonce, wrapped, created_at } = key.clone();
    (id, purpose, scope, wrapped_by, nonce, wrapped, created_at)
}

fn wrapped_key(row: &SqlRow) -> Result<WrappedKey, DatabaseError> {
    Ok(WrappedKey {
        id: row.uuid("id")?,
        purpose: row.text("purpose")?,
        scope: row.uuid_option("scope")?,
        wrapped_by: row.uuid_option("wrapped_by")?,
        nonce: row.bytes("nonce")?,
        wrapped: row.bytes("wrapped")?,
        created_at: row.time("created_at")?,
    })
}
