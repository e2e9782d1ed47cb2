//! Commits a batch to SQLite: one transaction, on disk when it returns.

use std::time::Duration;

use planted_bug::is_planted;
use serde_json::json;
use sqlx::{Row as _, Sqlite, SqlitePool, Transaction, sqlite::SqliteRow};

use crate::event_log::{
    Appended, NewContent,
    batch::{Known, Prepared, Row, contents_won, judge, rows_won},
    reader::to_hash,
    store::{CommitError, Outcomes, n_events, outcomes, to_i64, to_u64},
};

const TAKE_HEAD: &str =
    "UPDATE log_head SET position = position + $1 WHERE id = 1 RETURNING position, epoch";

const SET_HEAD: &str = "UPDATE log_head SET position = $1 WHERE id = 1";

/// For each append: the head of its stream, and the last event of its command.
const LOOK_UP: &str = "
    SELECT head.sequence AS head_sequence, head.hash AS head_hash,
        answer.position AS position, answer.sequence AS sequence, answer.hash AS hash
    FROM json_each($1) AS asked
    LEFT JOIN events AS head ON head.position = (
        SELECT position FROM events
        WHERE aggregate_type = asked.value ->> 0 AND aggregate_id = asked.value ->> 1
        ORDER BY sequence DESC LIMIT 1)
    LEFT JOIN events AS answer ON answer.position = (
        SELECT position FROM events
        WHERE aggregate_type = asked.value ->> 0 AND aggregate_id = asked.value ->> 1
            AND command_id = asked.value ->> 2
        ORDER BY command_ordinal DESC LIMIT 1)
    ORDER BY asked.key";

const LEASE_EPOCH: &str = "SELECT epoch FROM lease WHERE name = 'main'";

const INSERT_EVENTS: &str = "INSERT INTO events (position, aggregate_type, aggregate_id, sequence, \
    event_type, event_version, payload, metadata, command_id, command_ordinal, hash) VALUES ";

const EVENT_COLUMNS: usize = 11;

/// Long enough for others to come in between, where a bug is planted.
const PLANTED_PAUSE: Duration = Duration::from_millis(50);

/// Rows per statement, largest first: few enough texts that all of them stay prepared.
const CHUNKS: [usize; 4] = [64, 16, 4, 1];

#[derive(Debug)]
pub(super) struct SqliteStore {
    writer: SqlitePool,
    epoch: i64,
    /// One insert statement for each size in [`CHUNKS`].
    inserts: [String; CHUNKS.len()],
}

impl SqliteStore {
    pub(super) fn new(writer: SqlitePool, epoch: i64) -> Self {
        let inserts = CHUNKS.map(|n_rows| {
            let row = |n: usize| {
                let places: Vec<String> =
                    (1..=EVENT_COLUMNS).map(|k| format!("${}", n * EVENT_COLUMNS + k)).collect();
                format!("({})", places.join(","))
            };
            let rows: Vec<String> = (0..n_rows).map(row).collect();
            format!("{INSERT_EVENTS}{}", rows.join(","))
        });
        Self { writer, epoch, inserts }
    }

    pub(super) async fn commit(&self, batch: &[Prepared]) -> Result<Outcomes, CommitError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let n_events = n_events(batch);
        let head = sqlx::query(TAKE_HEAD).bind(n_events).fetch_one(&mut *transaction).await?;
        if head.try_get::<i64, _>("epoch")? != self.epoch {
            return Err(CommitError::Fenced);
        }
        let base = to_u64(head.try_get::<i64, _>("position")? - n_events)?;
        if is_planted("read_by_identity_column") {
            transaction.commit().await?;
            tokio::time::sleep(PLANTED_PAUSE * u32::from(base % 3 == 0)).await;
            transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        }
        let known = look_up(&mut transaction, batch).await?;
        let lease_epoch = match batch.iter().any(|append| append.epoch.is_some()) {
            true => sqlx::query_scalar::<_, i64>(LEASE_EPOCH)
                .fetch_optional(&mut *transaction)
                .await?
                .map(to_u64)
                .transpose()?,
            false => None,
        };
        let (verdicts, position) = judge(batch, &known, base, lease_epoch);
        let rows = rows_won(batch, &verdicts);
        if rows.is_empty() {
            // Dropping the transaction gives the head back.
            return Ok(outcomes(verdicts));
        }
        self.insert(&mut transaction, &rows).await?;
        for content in contents_won(batch, &verdicts) {
            insert_content(&mut transaction, content).await?;
        }
        if i64::try_from(rows.len()).unwrap_or_default() != n_events {
            let set_head = sqlx::query(SET_HEAD).bind(to_i64(position));
            set_head.execute(&mut *transaction).await?;
        }
        if is_planted("acknowledge_before_commit") {
            let commit = async move {
                tokio::time::sleep(PLANTED_PAUSE).await;
                transaction.commit().await
            };
            #[expect(clippy::disallowed_methods, reason = "a planted bug supervises nothing")]
            drop(tokio::spawn(commit));
            return Ok(outcomes(verdicts));
        }
        transaction.commit().await?;
        Ok(outcomes(verdicts))
    }

    async fn insert(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        mut rows: &[Row<'_>],
    ) -> Result<(), CommitError> {
        for (n_rows, sql) in CHUNKS.iter().zip(&self.inserts) {
            while rows.len() >= *n_rows {
                let (chunk, rest) = rows.split_at(*n_rows);
                rows = rest;
                let mut query = sqlx::query(sql);
                for row in chunk {
                    query = query
                        .bind(to_i64(row.position))
                        .bind(row.append.stream.kind.as_str())
                        .bind(row.append.stream_id_text.as_str())
                        .bind(to_i64(row.sequence))
                        .bind(row.event.event_type.as_str())
                        .bind(row.event.event_version.as_str())
                        .bind(row.event.payload.as_str())
                        .bind(row.append.metadata.as_str())
                        .bind(row.append.command.to_string())
                        .bind(to_i64(row.ordinal))
                        .bind(row.event.hash.as_slice());
                }
                query.execute(&mut **transaction).await?;
            }
        }
        assert!(rows.is_empty(), "the smallest chunk is one row");
        Ok(())
    }
}

async fn insert_content(
    transaction: &mut Transaction<'static, Sqlite>,
    content: &NewContent,
) -> Result<(), CommitError> {
    sqlx::query("INSERT INTO contents (id, project, nonce, ciphertext) VALUES ($1, $2, $3, $4)")
        .bind(content.id.to_string())
        .bind(content.project.to_string())
        .bind(content.nonce.as_slice())
        .bind(content.ciphertext.as_slice())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn look_up(
    transaction: &mut Transaction<'static, Sqlite>,
    batch: &[Prepared],
) -> Result<Vec<Known>, CommitError> {
    let asked: Vec<_> = batch
        .iter()
        .map(|append| json!([append.stream.kind, append.stream_id_text, append.command]))
        .collect();
    let asked = serde_json::Value::from(asked).to_string();
    let rows = sqlx::query(LOOK_UP).bind(asked).fetch_all(&mut **transaction).await?;
    rows.iter().map(known).collect()
}

fn known(row: &SqliteRow) -> Result<Known, CommitError> {
    let mut known = Known::default();
    if let Some(sequence) = row.try_get::<Option<i64>, _>("head_sequence")? {
        known.head = Some((to_u64(sequence)?, to_hash(row.try_get("head_hash")?)?));
    }
    if let Some(position) = row.try_get::<Option<i64>, _>("position")? {
        known.answer = Some(Appended {
            position: to_u64(position)?,
            sequence: to_u64(row.try_get("sequence")?)?,
            hash: to_hash(row.try_get("hash")?)?,
            is_repeat: true,
        });
    }
    Ok(known)
}
