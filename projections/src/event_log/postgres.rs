//! Commits a batch to PostgreSQL in four round trips, on a connection of the appender's own.
//!
//! The transaction is spoken by hand: `BEGIN` travels with the statement that takes the head, and the
//! notification with the insert. Whenever something goes wrong the connection is dropped, which rolls
//! back whatever was open.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Executor as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow},
};

use crate::event_log::{
    Appended,
    batch::{Known, Prepared, Row, contents_won, judge, rows_won},
    reader::to_hash,
    store::{CommitError, Outcomes, n_events, outcomes, to_i64, to_u64},
    wake::CHANNEL,
};

/// For each append: the head of its stream, and the last event of its command; beside it the epoch
/// of the lease. A statement of its own, so that its snapshot is younger than the head lock.
const LOOK_UP: &str = "
    SELECT head.sequence AS head_sequence, head.hash AS head_hash,
        answer.position AS position, answer.sequence AS sequence, answer.hash AS hash,
        (SELECT epoch FROM lease WHERE name = 'main') AS lease_epoch
    FROM UNNEST($1::text[], $2::text[], $3::uuid[]) WITH ORDINALITY AS asked (kind, id, command, n)
    LEFT JOIN LATERAL (
        SELECT sequence, hash FROM events
        WHERE aggregate_type = asked.kind AND aggregate_id = asked.id
        ORDER BY sequence DESC LIMIT 1) AS head ON true
    LEFT JOIN LATERAL (
        SELECT position, sequence, hash FROM events
        WHERE aggregate_type = asked.kind AND aggregate_id = asked.id
            AND command_id = asked.command
        ORDER BY command_ordinal DESC LIMIT 1) AS answer ON true
    ORDER BY asked.n";

const INSERT: &str = "
    WITH recorded AS (
        INSERT INTO events (position, aggregate_type, aggregate_id, sequence, event_type,
            event_version, payload, metadata, command_id, command_ordinal, hash)
        SELECT position, kind, id, sequence, type, version, payload::json, metadata::json,
            command, ordinal, hash
        FROM UNNEST($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[],
            $7::text[], $8::text[], $9::uuid[], $10::bigint[], $11::bytea[])
            AS row (position, kind, id, sequence, type, version, payload, metadata, command,
                ordinal, hash)
    ), stored AS (
        INSERT INTO contents (id, project, nonce, ciphertext)
        SELECT * FROM UNNEST($12::uuid[], $13::uuid[], $14::bytea[], $15::bytea[])
    )
    SELECT pg_notify($16, $17)";

/// A head lock that is not had in this time is somebody's open transaction; see the options below.
const LOCK_TIMEOUT: &str = "10s";

/// A replica that was stopped within its transaction loses it after this, and with it the head lock.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "5s";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct PostgresStore {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    epoch: i64,
}

impl PostgresStore {
    pub(super) fn new(options: PgConnectOptions, epoch: i64) -> Self {
        let options = options.options([
            ("lock_timeout", LOCK_TIMEOUT),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
        ]);
        Self { options, connection: None, epoch }
    }

    pub(super) async fn commit(&mut self, batch: &[Prepared]) -> Result<Outcomes, CommitError> {
        // Taken out, so that an error or a cancelled call drops it and with it the transaction.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let outcomes = self.write(&mut connection, batch).await?;
        self.connection = Some(connection);
        Ok(outcomes)
    }

    async fn connect(&self) -> Result<PgConnection, CommitError> {
        let connect = tokio::time::timeout(CONNECT_TIMEOUT, self.options.connect());
        let mut connection = connect.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        // An acknowledged append survives a power cut, whatever the server's default is.
        let durable = "SELECT set_config('synchronous_commit', 'on', false)
            WHERE current_setting('synchronous_commit') = 'off'";
        connection.execute(durable).await?;
        Ok(connection)
    }

    async fn write(
        &self,
        connection: &mut PgConnection,
        batch: &[Prepared],
    ) -> Result<Outcomes, CommitError> {
        let n_events = n_events(batch);
        let begin = format!(
            "BEGIN; UPDATE log_head SET position = position + {n_events} WHERE id = 1 \
             RETURNING position, epoch"
        );
        let head = connection.fetch_one(begin.as_str()).await?;
        if head.try_get::<i64, _>("epoch")? != self.epoch {
            return Err(CommitError::Fenced);
        }
        let base = to_u64(head.try_get::<i64, _>("position")? - n_events)?;
        let (known, lease_epoch) = look_up(connection, batch).await?;
        let (verdicts, position) = judge(batch, &known, base, lease_epoch);
        let rows = rows_won(batch, &verdicts);
        if rows.is_empty() {
            connection.execute("ROLLBACK").await?;
            return Ok(outcomes(verdicts));
        }
        insert(connection, &rows, &contents_won(batch, &verdicts), position).await?;
        if i64::try_from(rows.len()).unwrap_or_default() != n_events {
            let set_head = sqlx::query("UPDATE log_head SET position = $1 WHERE id = 1");
            set_head.bind(to_i64(position)).execute(&mut *connection).await?;
        }
        connection.execute("COMMIT").await?;
        Ok(outcomes(verdicts))
    }
}

async fn look_up(
    connection: &mut PgConnection,
    batch: &[Prepared],
) -> Result<(Vec<Known>, Option<u64>), CommitError> {
    let kinds: Vec<&str> = batch.iter().map(|append| append.stream.kind.as_str()).collect();
    let ids: Vec<&str> = batch.iter().map(|append| append.stream_id_text.as_str()).collect();
    let commands: Vec<_> = batch.iter().map(|append| append.command).collect();
    let query = sqlx::query(LOOK_UP).bind(kinds).bind(ids).bind(commands);
    let rows = query.fetch_all(connection).await?;
    let lease_epoch = match rows.first() {
        Some(row) => row.try_get::<Option<i64>, _>("lease_epoch")?.map(to_u64).transpose()?,
        None => None,
    };
    Ok((rows.iter().map(known).collect::<Result<_, _>>()?, lease_epoch))
}

fn known(row: &PgRow) -> Result<Known, CommitError> {
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

async fn insert(
    connection: &mut PgConnection,
    rows: &[Row<'_>],
    contents: &[&crate::event_log::NewContent],
    position: u64,
) -> Result<(), CommitError> {
    fn column<'a, T>(rows: &[Row<'a>], value: impl Fn(&Row<'a>) -> T) -> Vec<T> {
        rows.iter().map(value).collect()
    }
    sqlx::query(INSERT)
        .bind(column(rows, |row| to_i64(row.position)))
        .bind(column(rows, |row| row.append.stream.kind.as_str()))
        .bind(column(rows, |row| row.append.stream_id_text.as_str()))
        .bind(column(rows, |row| to_i64(row.sequence)))
        .bind(column(rows, |row| row.event.event_type.as_str()))
        .bind(column(rows, |row| row.event.event_version.as_str()))
        .bind(column(rows, |row| row.event.payload.as_str()))
        .bind(column(rows, |row| row.append.metadata.as_str()))
        .bind(column(rows, |row| row.append.command))
        .bind(column(rows, |row| to_i64(row.ordinal)))
        .bind(column(rows, |row| row.event.hash.as_slice()))
        .bind(contents.iter().map(|content| content.id).collect::<Vec<_>>())
        .bind(contents.iter().map(|content| content.project).collect::<Vec<_>>())
        .bind(contents.iter().map(|content| content.nonce.as_slice()).collect::<Vec<_>>())
        .bind(contents.iter().map(|content| content.ciphertext.as_slice()).collect::<Vec<_>>())
        .bind(CHANNEL)
        .bind(position.to_string())
        .execute(connection)
        .await?;
    Ok(())
}
