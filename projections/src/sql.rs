//! One way to talk to both databases: portable values, rows, pools and transactions.
//!
//! A statement is written once, with `$1`, `$2` … and in the SQL that both understand. A [`Value`]
//! is bound as each database likes it best: a UUID is `UUID` in PostgreSQL and text in SQLite; a time
//! is a number of microseconds in both, so that it sorts and subtracts the same. Integer columns are
//! `BIGINT` in PostgreSQL.
//!
//! The append path does not go through here: it is hot, and each database has its own best way.

use chrono::{DateTime, Utc};
use sqlx::{
    Postgres, Row, Sqlite, Transaction,
    postgres::{PgArguments, PgPool, PgRow},
    query::Query,
    sqlite::{SqliteArguments, SqlitePool, SqliteRow},
};
use uuid::Uuid;

use crate::{error::DatabaseError, task};

mod value;

pub(crate) use value::Column;
pub use value::{IntoValues, Value};

/// A pool of connections to one database: the log's or the read models'.
#[derive(Clone, Debug)]
pub enum SqlPool {
    /// SQLite has one writer; readers go beside it.
    Sqlite {
        readers: SqlitePool,
        writer: SqlitePool,
    },
    Postgres(PgPool),
}

impl SqlPool {
    /// Reads all rows of a query that writes nothing.
    pub async fn fetch_all(
        &self,
        sql: &str,
        values: impl IntoValues,
    ) -> Result<Vec<SqlRow>, DatabaseError> {
        let values = values.into_values();
        Ok(match self {
            Self::Sqlite { readers, .. } => {
                let rows = bind_sqlite(sql, values).fetch_all(readers).await?;
                rows.into_iter().map(SqlRow::Sqlite).collect()
            }
            Self::Postgres(pool) => {
                let rows = bind_postgres(sql, values).fetch_all(pool).await?;
                rows.into_iter().map(SqlRow::Postgres).collect()
            }
        })
    }

    /// Reads the first row of a query that writes nothing, if there is one.
    pub async fn fetch_optional(
        &self,
        sql: &str,
        values: impl IntoValues,
    ) -> Result<Option<SqlRow>, DatabaseError> {
        let values = values.into_values();
        Ok(match self {
            Self::Sqlite { readers, .. } => {
                bind_sqlite(sql, values).fetch_optional(readers).await?.map(SqlRow::Sqlite)
            }
            Self::Postgres(pool) => {
                bind_postgres(sql, values).fetch_optional(pool).await?.map(SqlRow::Postgres)
            }
        })
    }

    /// Runs one writing statement in a transaction of its own and tells how many rows it touched.
    pub async fn execute(&self, sql: &str, values: impl IntoValues) -> Result<u64, DatabaseError> {
        let values = values.into_values();
        Ok(match self {
            Self::Sqlite { writer, .. } => {
                bind_sqlite(sql, values).execute(writer).await?.rows_affected()
            }
            Self::Postgres(pool) => bind_postgres(sql, values).execute(pool).await?.rows_affected(),
        })
    }

    /// Runs one writing statement with `RETURNING` and gives its first row.
    pub async fn execute_returning(
        &self,
        sql: &str,
        values: impl IntoValues,
    ) -> Result<Option<SqlRow>, DatabaseError> {
        let values = values.into_values();
        Ok(match self {
            Self::Sqlite { writer, .. } => {
                bind_sqlite(sql, values).fetch_optional(writer).await?.map(SqlRow::Sqlite)
            }
            Self::Postgres(pool) => {
                bind_postgres(sql, values).fetch_optional(pool).await?.map(SqlRow::Postgres)
            }
        })
    }

    /// Starts a writing transaction. Dropped without a commit, it is rolled back.
    pub async fn begin(&self) -> Result<SqlTransaction, DatabaseError> {
        Ok(match self {
            Self::Sqlite { writer, .. } => {
                // To its end even if the caller goes away: cut short between the statement and its
                // answer, it would leave the one writing connection within a transaction for ever.
                let writer = writer.clone();
                let begin = async move { writer.begin_with("BEGIN IMMEDIATE").await };
                let begun = task::to_its_end(begin).await;
                let begun = begun.ok_or_else(|| DatabaseError::failed("the program ends"))?;
                SqlTransaction::Sqlite(begun?)
            }
            Self::Postgres(pool) => SqlTransaction::Postgres(pool.begin().await?),
        })
    }

    /// Tells which of the two databases this is, for the few statements that cannot be shared.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// This database's own time in microseconds, as an expression.
    pub(crate) fn now(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
            Self::Postgres(_) => "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT",
        }
    }

    /// What is true of the events of a stream: of kind `$1` and with id `$2`. SQLite finds them by its number.
    pub(crate) fn of_stream(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => {
                "stream = (SELECT number FROM streams
                    WHERE aggregate_type = $1 AND aggregate_id = $2)"
            }
            Self::Postgres(_) => "aggregate_type = $1 AND aggregate_id = $2",
        }
    }

    /// What is true of the events of all streams about which something is true.
    pub(crate) fn of_streams(&self, condition: &str) -> String {
        match self {
            Self::Sqlite { .. } => {
                format!("stream IN (SELECT number FROM streams WHERE {condition})")
            }
            Self::Postgres(_) => condition.to_owned(),
        }
    }

    /// Closes all connections and waits until they are.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A writing transaction on either database.
#[derive(Debug)]
pub enum SqlTransaction {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl SqlTransaction {
    pub async fn execute(
        &mut self,
        sql: &str,
        values: impl IntoValues,
    ) -> Result<u64, DatabaseError> {
        let values = values.into_values();
        Ok(match self {
            Self::Sqlite(transaction) => {
                bind_sqlite(sql, values).execute(&mut **transaction).await?.rows_affected()
            }
            Self::Postgres(transaction) => {
                bind_postgres(sql, values).execute(&mut **transaction).await?.rows_affected()
            }
        })
    }

    /// Runs a statement over the values of many rows, which only PostgreSQL takes as columns.
    pub(crate) async fn execute_columns(
        &mut self,
        sql: &str,
        columns: Vec<Column>,
    ) -> Result<u64, DatabaseError> {
        let Self::Postgres(transaction) = self else {
            return Err(DatabaseError::failed("SQLite takes no columns"));
        };
        let query = columns.into_iter().fold(sqlx::query(sql), |query, column| match column {
            Column::Int(values) => query.bind(values),
            Column::Real(values) => query.bind(values),
            Column::Text(values) => query.bind(values),
            Column::Bytes(values) => query.bind(values),
            Column::Bool(values) => query.bind(values),
            Column::Uuid(values) => query.bind(values),
        });
        Ok(query.execute(&mut **transaction).await?.rows_affected())
    }

    pub async fn fetch_all(
        &mut self,
        sql: &str,
        values: impl IntoValues,
    ) -> Result<Vec<SqlRow>, DatabaseError> {
        let values = values.into_values();
        Ok(match self {
            Self::Sqlite(transaction) => {
                let rows = bind_sqlite(sql, values).fetch_all(&mut **transaction).await?;
                rows.into_iter().map(SqlRow::Sqlite).collect()
            }
            Self::Postgres(transaction) => {
                let rows = bind_postgres(sql, values).fetch_all(&mut **transaction).await?;
                rows.into_iter().map(SqlRow::Postgres).collect()
            }
        })
    }

    pub async fn fetch_optional(
        &mut self,
        sql: &str,
        values: impl IntoValues,
    ) -> Result<Option<SqlRow>, DatabaseError> {
        Ok(self.fetch_all(sql, values).await?.into_iter().next())
    }

    pub async fn commit(self) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await?,
            Self::Postgres(transaction) => transaction.commit().await?,
        }
        Ok(())
    }
}

/// One row of an answer. Columns are read by name and by the type they are wanted as.
pub enum SqlRow {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl std::fmt::Debug for SqlRow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SqlRow")
    }
}

/// Reads one column; the same Rust type decodes from both databases.
macro_rules! column {
    ($row:expr, $name:expr, $type:ty) => {
        match $row {
            SqlRow::Sqlite(row) => row.try_get::<$type, _>($name),
            SqlRow::Postgres(row) => row.try_get::<$type, _>($name),
        }
        .map_err(DatabaseError::from)
    };
}

impl SqlRow {
    pub fn int(&self, column: &str) -> Result<i64, DatabaseError> {
        column!(self, column, i64)
    }

    pub fn int_option(&self, column: &str) -> Result<Option<i64>, DatabaseError> {
        column!(self, column, Option<i64>)
    }

    /// Reads a number that is never negative, such as a position or a count.
    pub fn count(&self, column: &str) -> Result<u64, DatabaseError> {
        u64::try_from(self.int(column)?)
            .map_err(|_| DatabaseError::failed(format!("column {column} is negative")))
    }

    pub fn count_option(&self, column: &str) -> Result<Option<u64>, DatabaseError> {
        self.int_option(column)?
            .map(u64::try_from)
            .transpose()
            .map_err(|_| DatabaseError::failed(format!("column {column} is negative")))
    }

    pub fn real(&self, column: &str) -> Result<f64, DatabaseError> {
        column!(self, column, f64)
    }

    pub fn text(&self, column: &str) -> Result<String, DatabaseError> {
        column!(self, column, String)
    }

    pub fn text_option(&self, column: &str) -> Result<Option<String>, DatabaseError> {
        column!(self, column, Option<String>)
    }

    pub fn bytes(&self, column: &str) -> Result<Vec<u8>, DatabaseError> {
        column!(self, column, Vec<u8>)
    }

    pub fn bytes_option(&self, column: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        column!(self, column, Option<Vec<u8>>)
    }

    pub fn bool(&self, column: &str) -> Result<bool, DatabaseError> {
        column!(self, column, bool)
    }

    pub fn uuid(&self, column: &str) -> Result<Uuid, DatabaseError> {
        self.uuid_option(column)?
            .ok_or_else(|| DatabaseError::failed(format!("column {column} is null")))
    }

    pub fn uuid_option(&self, column: &str) -> Result<Option<Uuid>, DatabaseError> {
        match self {
            Self::Postgres(row) => Ok(row.try_get(column)?),
            Self::Sqlite(row) => {
                let text: Option<&str> = row.try_get(column)?;
                text.map(Uuid::parse_str).transpose().map_err(|error| {
                    DatabaseError::failed(format!("column {column} is no UUID: {error}"))
                })
            }
        }
    }

    pub fn time(&self, column: &str) -> Result<DateTime<Utc>, DatabaseError> {
        self.time_option(column)?
            .ok_or_else(|| DatabaseError::failed(format!("column {column} is null")))
    }

    pub fn time_option(&self, column: &str) -> Result<Option<DateTime<Utc>>, DatabaseError> {
        self.int_option(column)?
            .map(|micros| {
                DateTime::from_timestamp_micros(micros).ok_or_else(|| {
                    DatabaseError::failed(format!("column {column} is beyond all calendars"))
                })
            })
            .transpose()
    }
}

pub(crate) type SqliteQuery<'q> = Query<'q, Sqlite, SqliteArguments<'q>>;
pub(crate) type PostgresQuery<'q> = Query<'q, Postgres, PgArguments>;

pub(crate) fn bind_sqlite(sql: &str, values: Vec<Value>) -> SqliteQuery<'_> {
    values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Null => query.bind(None::<i64>),
        Value::Int(value) => query.bind(value),
        Value::Real(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
        Value::Bool(value) => query.bind(value),
        Value::Uuid(value) => query.bind(value.to_string()),
        Value::Time(value) => query.bind(value.timestamp_micros()),
    })
}

pub(crate) fn bind_postgres(sql: &str, values: Vec<Value>) -> PostgresQuery<'_> {
    values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Null => query.bind(value::UntypedNull),
        Value::Int(value) => query.bind(value),
        Value::Real(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
        Value::Bool(value) => query.bind(value),
        Value::Uuid(value) => query.bind(value),
        Value::Time(value) => query.bind(value.timestamp_micros()),
    })
}
