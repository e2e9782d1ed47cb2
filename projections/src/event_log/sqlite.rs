//! Commits a batch to SQLite: one transaction, on disk when it returns.
//!
//! How long that takes depends on how many pages it writes, which is why events are found by the number of their
//! stream: see `migrations/sqlite/log/0006_streams.sql`.

use std::time::Duration;

use planted_bug::is_planted;
use serde_json::json;
use sqlx::{Row as _, Sqlite, SqlitePool, Transaction, sqlite::SqliteRow};

use crate::{
    event_log::{
        Appended, NewContent,
        batch::{Known, Prepared, Row, contents_won, judge, rows_won},
        heads::{Foreseen, Heads},
        reader::to_hash,
        store::{CommitError, Outcomes, outcomes, to_i64, to_u64},
    },
    sql::SqliteQuery,
};

const HEAD: &str = "SELECT position, epoch FROM log_head WHERE id = 1";

/// Fails where the head is not where it was believed to be: it may not be null.
const MOVE_HEAD: &str = "UPDATE log_head
    SET position = CASE WHEN position = ? AND epoch = ? THEN ? END WHERE id = 1;";

/// For each append: the head of its stream, and the last event of its command.
const LOOK_UP: &str = "
    SELECT head.sequence AS head_sequence, head.hash AS head_hash,
        answer.position AS position, answer.sequence AS sequence, answer.hash AS hash
    FROM json_each($1) AS asked
    LEFT JOIN streams ON streams.aggregate_type = asked.value ->> 0
        AND streams.aggregate_id = asked.value ->> 1
    LEFT JOIN events AS head ON head.position = (
        SELECT position FROM events WHERE stream = streams.number
        ORDER BY sequence DESC LIMIT 1)
    LEFT JOIN events AS answer ON answer.position = (
        SELECT position FROM events
        WHERE stream = streams.number AND command_id = asked.value ->> 2
        ORDER BY command_ordinal DESC LIMIT 1)
    ORDER BY asked.key";

const LEASE_EPOCH: &str = "SELECT epoch FROM lease WHERE name = 'main'";

/// A statement that inserts rows, and one of its rows.
///
/// The placeholders have no names: SQLite would look for the name of each through the names of all of them, which
/// for hundreds takes longer than everything else.
const STREAM: [&str; 2] =
    ["INSERT OR IGNORE INTO streams (aggregate_type, aggregate_id) VALUES ", "(?,?)"];

const EVENT: [&str; 2] = [
    "INSERT INTO events (position, aggregate_type, aggregate_id, sequence, event_type, \
        event_version, payload, metadata, command_id, command_ordinal, hash, stream) VALUES ",
    "(?,?,?,?,?,?,?,?,?,?,?,\
        (SELECT number FROM streams WHERE aggregate_type=? AND aggregate_id=?))",
];

const CONTENT: [&str; 2] =
    ["INSERT INTO contents (id, project, nonce, ciphertext) VALUES ", "(?,?,?,?)"];

/// Long enough for others to come in between, where a bug is planted.
const PLANTED_PAUSE: Duration = Duration::from_millis(50);

/// Rows per statement, largest first: few enough texts that all of them stay prepared.
const CHUNKS: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];

#[derive(Debug)]
pub(super) struct SqliteStore {
    writer: SqlitePool,
    epoch: i64,
    heads: Heads,
    streams: Inserts,
    events: Inserts,
    contents: Inserts,
}

/// One insert statement for each size in [`CHUNKS`].
#[derive(Debug)]
struct Inserts([String; CHUNKS.len()]);

impl SqliteStore {
    pub(super) fn new(writer: SqlitePool, epoch: i64) -> Self {
        let heads = Heads::default();
        let [streams, events, contents] = [STREAM, EVENT, CONTENT].map(Inserts::of);
        Self { writer, epoch, heads, streams, events, contents }
    }

    pub(super) async fn commit(&mut self, batch: &[Prepared]) -> Result<Outcomes, CommitError> {
        let written = self.write(batch).await;
        if written.is_err() {
            self.heads.forget();
        }
        written
    }

    async fn write(&mut self, batch: &[Prepared]) -> Result<Outcomes, CommitError> {
        if !is_planted("read_by_identity_column")
            && let Some(foreseen) = self.heads.foresee(batch)
        {
            match self.append_at_once(batch, &foreseen).await {
                Ok(()) => return Ok(self.advanced(batch, foreseen)),
                // The log will say what was different.
                Err(CommitError::Rejected(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.write_asking(batch).await
    }

    /// Decides under the head lock, by what the log says.
    async fn write_asking(&mut self, batch: &[Prepared]) -> Result<Outcomes, CommitError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let head = sqlx::query(HEAD).fetch_one(&mut *transaction).await?;
        if head.try_get::<i64, _>("epoch")? != self.epoch {
            return Err(CommitError::Fenced);
        }
        let base = to_u64(head.try_get::<i64, _>("position")?)?;
        let mut moves_head = true;
        if is_planted("read_by_identity_column") {
            let n_events: usize = batch.iter().map(|append| append.events.len()).sum();
            let hand_out = "UPDATE log_head SET position = position + $1 WHERE id = 1";
            sqlx::query(hand_out)
                .bind(i64::try_from(n_events).unwrap_or(i64::MAX))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            tokio::time::sleep(PLANTED_PAUSE * u32::from(base % 3 == 0)).await;
            transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
            moves_head = false;
        }
        let known = look_up(&mut transaction, batch).await?;
        self.heads.learn(batch, &known, base);
        let lease_epoch = match batch.iter().any(|append| append.epoch.is_some()) {
            true => sqlx::query_scalar::<_, i64>(LEASE_EPOCH)
                .fetch_optional(&mut *transaction)
                .await?
                .map(to_u64)
                .transpose()?,
            false => None,
        };
        let (verdicts, position) = judge(batch, &known, base, lease_epoch);
        if position == base {
            // Dropping the transaction gives the lock back.
            return Ok(outcomes(verdicts));
        }
        let judged = Foreseen { base, verdicts, position };
        self.append(transaction, batch, &judged, moves_head).await?;
        Ok(self.advanced(batch, judged))
    }

    fn advanced(&mut self, batch: &[Prepared], foreseen: Foreseen) -> Outcomes {
        self.heads.advance(batch, &foreseen.verdicts, foreseen.position);
        outcomes(foreseen.verdicts)
    }

    /// Writes and commits what is foreseen, in one trip to SQLite's thread: several would take longer than the
    /// writing itself. An error that is no other is that the head was elsewhere.
    async fn append_at_once(
        &self,
        batch: &[Prepared],
        foreseen: &Foreseen,
    ) -> Result<(), CommitError> {
        let rows = rows_won(batch, &foreseen.verdicts);
        let contents = contents_won(batch, &foreseen.verdicts);
        let sql = format!("BEGIN IMMEDIATE; {MOVE_HEAD} {} COMMIT", self.script(&rows, &contents));
        let mut connection = self.writer.acquire().await?;
        let head = self.bind_head(sqlx::query(&sql), foreseen);
        let written = bind(head, &rows, &contents).execute(&mut *connection).await;
        let Err(error) = written else { return Ok(()) };
        // Whatever is open is not to be found by whoever gets the connection next. Where nothing is open, this fails.
        if sqlx::query("ROLLBACK").execute(&mut *connection).await.is_err() {
            // What is told is why it could not be written, not how the connection ended.
            let _ = connection.close().await;
        }
        Err(error.into())
    }

    /// Writes what won, and commits it.
    async fn append(
        &self,
        mut transaction: Transaction<'static, Sqlite>,
        batch: &[Prepared],
        foreseen: &Foreseen,
        moves_head: bool,
    ) -> Result<(), CommitError> {
        let rows = rows_won(batch, &foreseen.verdicts);
        let contents = contents_won(batch, &foreseen.verdicts);
        if moves_head {
            let query = self.bind_head(sqlx::query(MOVE_HEAD), foreseen);
            query.execute(&mut *transaction).await?;
        }
        let sql = self.script(&rows, &contents);
        bind(sqlx::query(&sql), &rows, &contents).execute(&mut *transaction).await?;
        if is_planted("acknowledge_before_commit") {
            let commit = async move {
                tokio::time::sleep(PLANTED_PAUSE).await;
                transaction.commit().await
            };
            #[expect(clippy::disallowed_methods, reason = "a planted bug supervises nothing")]
            drop(tokio::spawn(commit));
            return Ok(());
        }
        Ok(transaction.commit().await?)
    }

    fn bind_head<'q>(&self, query: SqliteQuery<'q>, foreseen: &Foreseen) -> SqliteQuery<'q> {
        query.bind(to_i64(foreseen.base)).bind(self.epoch).bind(to_i64(foreseen.position))
    }

    /// The statements that insert these, in the order in which [`bind`] gives them their values.
    fn script(&self, rows: &[Row<'_>], contents: &[&NewContent]) -> String {
        let n_new = rows.iter().filter(|row| row.begins_stream()).count();
        let streams = self.streams.of_rows(n_new);
        let events = self.events.of_rows(rows.len());
        let all = streams.chain(events).chain(self.contents.of_rows(contents.len()));
        all.flat_map(|statement| [statement, ";"]).collect()
    }
}

impl Inserts {
    fn of([head, row]: [&str; 2]) -> Self {
        Self(CHUNKS.map(|n_rows| format!("{head}{}", vec![row; n_rows].join(","))))
    }

    /// The statements that insert so many rows together.
    fn of_rows(&self, n_rows: usize) -> impl Iterator<Item = &str> {
        let mut rest = n_rows;
        CHUNKS.into_iter().zip(&self.0).flat_map(move |(size, statement)| {
            let n_times = rest / size;
            rest %= size;
            std::iter::repeat_n(statement.as_str(), n_times)
        })
    }
}

fn bind<'q>(
    query: SqliteQuery<'q>,
    rows: &[Row<'q>],
    contents: &[&'q NewContent],
) -> SqliteQuery<'q> {
    let new = rows.iter().filter(|row| row.begins_stream());
    let query = new.fold(query, |query, row| bind_stream(query, row));
    let query = rows.iter().fold(query, |query, row| {
        let query = query.bind(to_i64(row.position));
        let query = bind_stream(query, row)
            .bind(to_i64(row.sequence))
            .bind(row.event.event_type.as_str())
            .bind(row.event.event_version.as_str())
            .bind(row.event.payload.as_str())
            .bind(row.append.metadata_text.as_str())
            .bind(row.append.command.to_string())
            .bind(to_i64(row.ordinal))
            .bind(row.event.hash.as_slice());
        bind_stream(query, row)
    });
    contents.iter().fold(query, |query, content| {
        query
            .bind(content.id.to_string())
            .bind(content.project.to_string())
            .bind(content.nonce.as_slice())
            .bind(content.ciphertext.as_slice())
    })
}

fn bind_stream<'q>(query: SqliteQuery<'q>, row: &Row<'q>) -> SqliteQuery<'q> {
    query.bind(row.append.stream.kind.as_str()).bind(row.append.stream_id_text.as_str())
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
