//! Commits a batch to PostgreSQL, on a connection of the appender's own.
//!
//! In one round trip where the appender knows enough: a statement that moves the head only from where it
//! is believed to be, and writes only if it moved, is a transaction by itself. In four where the log has to
//! be asked: then the transaction is spoken by hand, and `BEGIN` travels with the statement that takes
//! the head. Whenever something goes wrong the connection is dropped, which rolls back whatever was open.

use std::time::Duration;

use sqlx::{
    ConnectOptions, Executor as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow},
};

use crate::event_log::{
    Appended,
    batch::{Known, Prepared, contents_won, judge, rows_won},
    heads::{Foreseen, Heads},
    reader::to_hash,
    store::{CommitError, Outcomes, outcomes, to_i64, to_u64},
};

/// Takes the head lock until the transaction ends.
const TAKE_HEAD: &str =
    "BEGIN; SELECT position, epoch::BIGINT AS epoch FROM log_head WHERE id = 1 FOR UPDATE";

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

/// Moves the head, and with it writes all rows; answers with no row, and writes none, if the head was
/// not where it was believed to be. The rows that win have all the positions behind it, in their order.
macro_rules! append {
    ($($more:literal)?) => {
        concat!(
            "
    WITH head AS (
        UPDATE log_head SET position = $1 WHERE id = 1 AND position = $2 AND epoch = $3
        RETURNING id
    ), recorded AS (
        INSERT INTO events (position, aggregate_type, aggregate_id, sequence, event_type,
            event_version, payload, metadata, command_id, command_ordinal, hash)
        SELECT $2::bigint + n, kind, row.id, sequence, type, version, payload::json,
            metadata::json, command, ordinal, hash
        FROM head, UNNEST($4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::uuid[], $12::bigint[], $13::bytea[])
            WITH ORDINALITY AS row (kind, id, sequence, type, version, payload, metadata,
                command, ordinal, hash, n)
    )",
            $($more,)?
            "
    SELECT id FROM head"
        )
    };
}

/// Most batches have no content, and a table that nothing is written to is not opened either.
const APPEND: &str = append!();

const APPEND_WITH_CONTENTS: &str = append!(
    ", stored AS (
        INSERT INTO contents (id, project, nonce, ciphertext)
        SELECT row.id, project, nonce, ciphertext
        FROM head, UNNEST($14::uuid[], $15::uuid[], $16::bytea[], $17::bytea[])
            AS row (id, project, nonce, ciphertext)
    )"
);

/// A head lock that is not had in this time is somebody's open transaction, which [`crate::database`] ends where it is idle.
const LOCK_TIMEOUT: &str = "10s";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct PostgresStore {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    epoch: i64,
    heads: Heads,
}

impl PostgresStore {
    pub(super) fn new(options: PgConnectOptions, epoch: i64) -> Self {
        let options = options.options([("lock_timeout", LOCK_TIMEOUT)]);
        Self { options, connection: None, epoch, heads: Heads::default() }
    }

    pub(super) async fn commit(&mut self, batch: &[Prepared]) -> Result<Outcomes, CommitError> {
        // Taken out, so that an error or a cancelled call drops it and with it the transaction.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let written = self.write(&mut connection, batch).await;
        match &written {
            Ok(_) => self.connection = Some(connection),
            Err(_) => self.heads.forget(),
        }
        written
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
        &mut self,
        connection: &mut PgConnection,
        batch: &[Prepared],
    ) -> Result<Outcomes, CommitError> {
        if let Some(foreseen) = self.heads.foresee(batch) {
            match append(connection, batch, &foreseen, self.epoch).await {
                Ok(true) => {
                    let Foreseen { verdicts, position, .. } = foreseen;
                    self.heads.advance(batch, &verdicts, position);
                    return Ok(outcomes(verdicts));
                }
                // The log will say what was different.
                Ok(false) | Err(CommitError::Rejected(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.write_asking(connection, batch).await
    }

    /// Decides under the head lock, by what the log says.
    async fn write_asking(
        &mut self,
        connection: &mut PgConnection,
        batch: &[Prepared],
    ) -> Result<Outcomes, CommitError> {
        let head = connection.fetch_one(TAKE_HEAD).await?;
        if head.try_get::<i64, _>("epoch")? != self.epoch {
            return Err(CommitError::Fenced);
        }
        let base = to_u64(head.try_get::<i64, _>("position")?)?;
        let (known, lease_epoch) = look_up(connection, batch).await?;
        self.heads.learn(batch, &known, base);
        let (verdicts, position) = judge(batch, &known, base, lease_epoch);
        if position == base {
            connection.execute("ROLLBACK").await?;
            return Ok(outcomes(verdicts));
        }
        let judged = Foreseen { base, verdicts, position };
        if !append(connection, batch, &judged, self.epoch).await? {
            return Err(CommitError::Broken("the head moved under its lock".into()));
        }
        connection.execute("COMMIT").await?;
        self.heads.advance(batch, &judged.verdicts, position);
        Ok(outcomes(judged.verdicts))
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

/// Writes what won. `false` when the head was elsewhere, and nothing was written.
async fn append(
    connection: &mut PgConnection,
    batch: &[Prepared],
    foreseen: &Foreseen,
    epoch: i64,
) -> Result<bool, CommitError> {
    let rows = &rows_won(batch, &foreseen.verdicts);
    let contents = &contents_won(batch, &foreseen.verdicts);
    assert!(
        rows.iter().zip(foreseen.base + 1..).all(|(row, position)| row.position == position),
        "positions have no gaps"
    );
    fn column<'r, R, T>(rows: &'r [R], value: impl Fn(&'r R) -> T) -> Vec<T> {
        rows.iter().map(value).collect()
    }
    let sql = if contents.is_empty() { APPEND } else { APPEND_WITH_CONTENTS };
    let mut query = sqlx::query(sql)
        .bind(to_i64(foreseen.position))
        .bind(to_i64(foreseen.base))
        .bind(epoch)
        .bind(column(rows, |row| row.append.stream.kind.as_str()))
        .bind(column(rows, |row| row.append.stream_id_text.as_str()))
        .bind(column(rows, |row| to_i64(row.sequence)))
        .bind(column(rows, |row| row.event.event_type.as_str()))
        .bind(column(rows, |row| row.event.event_version.as_str()))
        .bind(column(rows, |row| row.event.payload.as_str()))
        .bind(column(rows, |row| row.append.metadata_text.as_str()))
        .bind(column(rows, |row| row.append.command))
        .bind(column(rows, |row| to_i64(row.ordinal)))
        .bind(column(rows, |row| row.event.hash.as_slice()));
    if !contents.is_empty() {
        query = query
            .bind(column(contents, |content| content.id))
            .bind(column(contents, |content| content.project))
            .bind(column(contents, |content| content.nonce.as_slice()))
            .bind(column(contents, |content| content.ciphertext.as_slice()));
    }
    Ok(query.fetch_optional(connection).await?.is_some())
}
