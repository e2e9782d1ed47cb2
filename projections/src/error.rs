//! What can go wrong with a database, sorted by what the caller should do next.

/// Why a database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Worth another try: no connection, busy, restarting.
    #[error("the database is not available")]
    Unavailable {
        #[source]
        source: sqlx::Error,
    },
    /// Worth another try once somebody has freed space. Nothing of it was written.
    #[error("the database's disk is full")]
    Full {
        #[source]
        source: sqlx::Error,
    },
    /// A row with this key exists already.
    #[error("a row with this key exists already")]
    Duplicate {
        #[source]
        source: sqlx::Error,
    },
    /// The storage itself failed. What was written last is in doubt: stop, and start again.
    #[error("the storage failed")]
    Broken {
        #[source]
        source: sqlx::Error,
    },
    /// Trying again cannot help: the statement or a stored row is wrong.
    #[error("the database refused: {reason}")]
    Failed { reason: String },
}

impl DatabaseError {
    /// Tells whether the same call may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }

    /// Tells whether what is stored is damaged, as against a disk that does not take anything.
    pub(crate) fn is_damage(&self) -> bool {
        let Self::Broken { source: sqlx::Error::Database(error) } = self else { return false };
        let code = error.code().unwrap_or_default();
        match error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
            Some(_) => is_postgres_damage(&code),
            None => is_sqlite_damage(&code),
        }
    }

    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into() }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(source: sqlx::Error) -> Self {
        match &source {
            sqlx::Error::Database(error) if error.is_unique_violation() => {
                Self::Duplicate { source }
            }
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                let is_postgres =
                    error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some();
                match if is_postgres { postgres_verdict(&code) } else { sqlite_verdict(&code) } {
                    Verdict::Later => Self::Unavailable { source },
                    Verdict::Full => Self::Full { source },
                    Verdict::Broken => Self::Broken { source },
                    Verdict::Wrong => Self::Failed { reason: source.to_string() },
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable { source },
            _ => Self::Failed { reason: source.to_string() },
        }
    }
}

impl From<sqlx::migrate::MigrateError> for DatabaseError {
    fn from(source: sqlx::migrate::MigrateError) -> Self {
        match source {
            sqlx::migrate::MigrateError::Execute(source)
            | sqlx::migrate::MigrateError::ExecuteMigration(source, _) => source.into(),
            other => Self::failed(other.to_string()),
        }
    }
}

enum Verdict {
    Later,
    Full,
    Broken,
    Wrong,
}

fn postgres_verdict(sql_state: &str) -> Verdict {
    match sql_state {
        // Serialization failure, deadlock, lock timeout, and a server that stops or is starting.
        "40001" | "40P01" | "55P03" | "57P01" | "57P02" | "57P03" | "57014" | "25P03" => {
            Verdict::Later
        }
        "53100" => Verdict::Full,
        _ if is_postgres_damage(sql_state) => Verdict::Broken,
        // Connection trouble, resources used up, errors of the system below.
        _ if ["08", "53", "58"].contains(&sql_state.get(..2).unwrap_or_default()) => Verdict::Later,
        _ => Verdict::Wrong,
    }
}

/// Pages or indexes.
fn is_postgres_damage(sql_state: &str) -> bool {
    matches!(sql_state, "XX001" | "XX002")
}

/// Corrupt, or not a database.
fn is_sqlite_damage(extended_code: &str) -> bool {
    extended_code.parse::<i32>().is_ok_and(|code| matches!(code & PRIMARY_CODE, 11 | 26))
}

/// The part of an extended code that says what is wrong; the rest says where.
const PRIMARY_CODE: i32 = 0xff;

fn sqlite_verdict(extended_code: &str) -> Verdict {
    // The index of the write-ahead log cannot grow; nothing was written yet.
    const IOERR_SHMSIZE: i32 = 4874;
    let code = extended_code.parse::<i32>().unwrap_or_default();
    match code & PRIMARY_CODE {
        _ if code == IOERR_SHMSIZE => Verdict::Full,
        13 => Verdict::Full,
        // Busy, locked, out of memory.
        5..=7 => Verdict::Later,
        _ if is_sqlite_damage(extended_code) => Verdict::Broken,
        // Read-only, I/O error, cannot open.
        8 | 10 | 14 => Verdict::Broken,
        _ => Verdict::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, is_sqlite_damage, postgres_verdict, sqlite_verdict};

    #[test]
    fn an_io_error_of_sqlite_breaks_the_store_and_a_full_disk_does_not() {
        const IOERR_FSYNC: &str = "1034";
        assert!(matches!(sqlite_verdict(IOERR_FSYNC), Verdict::Broken));
        assert!(matches!(sqlite_verdict("13"), Verdict::Full));
        assert!(matches!(sqlite_verdict("4874"), Verdict::Full));
        assert!(matches!(sqlite_verdict("1"), Verdict::Wrong));
        const CORRUPT_INDEX: &str = "779";
        assert!(is_sqlite_damage(CORRUPT_INDEX) && !is_sqlite_damage(IOERR_FSYNC));
    }

    #[test]
    fn a_stopping_postgres_is_worth_another_try() {
        assert!(matches!(postgres_verdict("57P01"), Verdict::Later));
        assert!(matches!(postgres_verdict("08006"), Verdict::Later));
        assert!(matches!(postgres_verdict("53300"), Verdict::Later));
        assert!(matches!(postgres_verdict("53100"), Verdict::Full));
        assert!(matches!(postgres_verdict("42601"), Verdict::Wrong));
    }
}
