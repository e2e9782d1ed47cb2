//! The database that batches are committed to.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::{
    database::Database,
    error::DatabaseError,
    event_log::{
        AppendError, Appended,
        append::describe,
        batch::{Prepared, Verdict},
        postgres::PostgresStore,
        sqlite::SqliteStore,
    },
    sql::SqlPool,
};

/// What became of each append of a committed batch.
pub(super) type Outcomes = Vec<Result<Appended, AppendError>>;

/// Why a batch was not committed, or may not have been.
#[derive(Debug)]
pub(super) enum CommitError {
    /// Whether it was committed is unknown if the connection was lost. Commit it again: what is there
    /// already will be found by command id, under the head lock.
    Unavailable(DatabaseError),
    /// The database did not like one of the rows. Commit the appends one by one.
    Rejected(String),
    /// The installation has a newer epoch: it was restored, or belongs to somebody else now.
    Fenced,
    /// The storage failed; nothing can be acknowledged any more.
    Broken(String),
}

impl From<DatabaseError> for CommitError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Unavailable { .. } | DatabaseError::Full { .. } => {
                Self::Unavailable(error)
            }
            DatabaseError::Broken { .. } => Self::Broken(describe(&error)),
            DatabaseError::Duplicate { .. } | DatabaseError::Failed { .. } => {
                Self::Rejected(describe(&error))
            }
        }
    }
}

impl From<sqlx::Error> for CommitError {
    fn from(error: sqlx::Error) -> Self {
        DatabaseError::from(error).into()
    }
}

#[derive(Debug)]
pub(super) enum Store {
    Sqlite(Box<SqliteStore>),
    Postgres(Box<PostgresStore>),
}

impl Store {
    /// How long a commit takes that is worth sharing, even if somebody has to wait for it. PostgreSQL works for one
    /// while others decide what they want next; SQLite takes the processor from them.
    pub(super) fn long_commit(&self) -> Duration {
        match self {
            Self::Sqlite(_) => Duration::from_micros(300),
            Self::Postgres(_) => Duration::from_millis(2),
        }
    }

    pub(super) async fn open(database: &Database) -> Result<Self, DatabaseError> {
        let row = database.log().fetch_optional("SELECT epoch FROM log_head WHERE id = 1", ());
        let row = row.await?.ok_or_else(|| DatabaseError::failed("the log has no head row"))?;
        let epoch = row.int("epoch")?;
        Ok(match (database.log(), database.postgres_log_options()) {
            (SqlPool::Sqlite { writer, .. }, _) => {
                Self::Sqlite(Box::new(SqliteStore::new(writer.clone(), epoch)))
            }
            (SqlPool::Postgres(_), options) => {
                let options =
                    options.ok_or_else(|| DatabaseError::failed("PostgreSQL without options"))?;
                Self::Postgres(Box::new(PostgresStore::new(options, epoch)))
            }
        })
    }

    /// Boxed, because the compiler cannot see through the whole of it that it is `Send`.
    pub(super) fn commit<'a>(
        &'a mut self,
        batch: &'a [Prepared],
    ) -> BoxFuture<'a, Result<Outcomes, CommitError>> {
        match self {
            Self::Sqlite(store) => Box::pin(store.commit(batch)),
            Self::Postgres(store) => Box::pin(store.commit(batch)),
        }
    }
}

pub(super) fn outcomes(verdicts: Vec<Verdict>) -> Outcomes {
    verdicts
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Won { appended, .. } | Verdict::Repeated(appended) => Ok(appended),
            Verdict::Refused(error) => Err(error),
        })
        .collect()
}

pub(super) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).expect("positions and sequences stay far below 2^63")
}

pub(super) fn to_u64(number: i64) -> Result<u64, CommitError> {
    u64::try_from(number).map_err(|_| CommitError::Broken("a negative position".into()))
}
