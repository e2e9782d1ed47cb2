//! The limit: the same rows, without anything around them.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::Result;
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tests::{bench::Folder, world::random};
use uuid::Uuid;

const ROWS_MAX: i64 = 20_000;
const SYNC_PERIOD: Duration = Duration::from_millis(500);
/// What SQLite takes in one statement of ours; the bulk insert needs several for its transaction.
const ROWS_PER_STATEMENT: usize = 64;

/// An event as it is stored.
#[derive(Debug)]
pub(crate) struct Row {
    position: i64,
    kind: String,
    id: String,
    sequence: i64,
    event_type: String,
    event_version: String,
    payload: String,
    metadata: String,
    command: Uuid,
    ordinal: i64,
    hash: Vec<u8>,
}

/// The newest events of our log.
pub(crate) async fn rows(url: &str) -> Result<Vec<Row>> {
    let mut connection = PgConnection::connect(url).await?;
    let newest =
        "SELECT position, aggregate_type, aggregate_id, sequence, event_type, event_version,
            payload::TEXT, metadata::TEXT, command_id, command_ordinal, hash
        FROM sam_log.events ORDER BY position DESC LIMIT $1";
    let rows = sqlx::query(newest).bind(ROWS_MAX).fetch_all(&mut connection).await?;
    rows.iter()
        .rev()
        .map(|row| {
            Ok(Row {
                position: row.try_get(0)?,
                kind: row.try_get(1)?,
                id: row.try_get(2)?,
                sequence: row.try_get(3)?,
                event_type: row.try_get(4)?,
                event_version: row.try_get(5)?,
                payload: row.try_get(6)?,
                metadata: row.try_get(7)?,
                command: row.try_get(8)?,
                ordinal: row.try_get(9)?,
                hash: row.try_get(10)?,
            })
        })
        .collect()
}

/// How many events one commit of ours has.
pub(crate) async fn batch_rows(url: &str) -> Result<usize> {
    let mut connection = PgConnection::connect(url).await?;
    let mean = "SELECT GREATEST(COUNT(*) / GREATEST(COUNT(DISTINCT xmin::TEXT), 1), 1)
        FROM (SELECT xmin FROM sam_log.events ORDER BY position DESC LIMIT $1) AS newest";
    let mean: i64 = sqlx::query_scalar(mean).bind(ROWS_MAX).fetch_one(&mut connection).await?;
    Ok(usize::try_from(mean)?)
}

/// Rows a second, in transactions of `n_batch` rows of one statement each, on one connection.
pub(crate) async fn postgres_rate(url: &str, rows: &[Row], n_batch: usize) -> Result<f64> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute("DROP TABLE IF EXISTS public.bare").await?;
    connection.execute("CREATE TABLE public.bare (LIKE sam_log.events INCLUDING ALL)").await?;
    let insert = "INSERT INTO public.bare SELECT position, kind, id, sequence, type, version,
            payload::json, metadata::json, command, ordinal, hash
        FROM UNNEST($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[],
            $7::text[], $8::text[], $9::uuid[], $10::bigint[], $11::bytea[])
            AS row (position, kind, id, sequence, type, version, payload, metadata, command,
                ordinal, hash)";
    let begun = Instant::now();
    for rows in rows.chunks(n_batch) {
        fn column<'r, T>(rows: &'r [Row], value: impl Fn(&'r Row) -> T) -> Vec<T> {
            rows.iter().map(value).collect()
        }
        sqlx::query(insert)
            .bind(column(rows, |row| row.position))
            .bind(column(rows, |row| row.kind.as_str()))
            .bind(column(rows, |row| row.id.as_str()))
            .bind(column(rows, |row| row.sequence))
            .bind(column(rows, |row| row.event_type.as_str()))
            .bind(column(rows, |row| row.event_version.as_str()))
            .bind(column(rows, |row| row.payload.as_str()))
            .bind(column(rows, |row| row.metadata.as_str()))
            .bind(column(rows, |row| row.command))
            .bind(column(rows, |row| row.ordinal))
            .bind(column(rows, |row| row.hash.as_slice()))
            .execute(&mut connection)
            .await?;
    }
    let rate = rows.len() as f64 / begun.elapsed().as_secs_f64();
    connection.execute("DROP TABLE public.bare").await?;
    Ok(rate)
}

/// The same on SQLite with `synchronous=FULL`, into a file of its own with our tables.
pub(crate) async fn sqlite_rate(folder: &Folder, rows: &[Row], n_batch: usize) -> Result<f64> {
    const TABLES: [&str; 2] = [
        include_str!("../../../migrations/sqlite/log/0001_event_log.sql"),
        include_str!("../../../migrations/sqlite/log/0006_streams.sql"),
    ];
    let file = folder.path().join(format!("bare-{}.db", random()));
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await?;
    for tables in TABLES {
        connection.execute(tables).await?;
    }
    let mut numbers: HashMap<&str, i64> = HashMap::new();
    let begun = Instant::now();
    for rows in rows.chunks(n_batch) {
        let mut transaction = connection.begin().await?;
        let n_known = numbers.len();
        for row in rows {
            let next = i64::try_from(numbers.len())? + 1;
            numbers.entry(&row.id).or_insert(next);
        }
        let new = rows.iter().filter(|row| numbers[row.id.as_str()] > n_known as i64);
        let new: BTreeMap<i64, &Row> = new.map(|row| (numbers[row.id.as_str()], row)).collect();
        if !new.is_empty() {
            let places = vec!["(?,?,?)"; new.len()].join(",");
            let insert = format!("INSERT INTO streams VALUES {places}");
            let query = new.into_iter().fold(sqlx::query(&insert), |query, (number, row)| {
                query.bind(number).bind(row.kind.as_str()).bind(row.id.as_str())
            });
            query.execute(&mut *transaction).await?;
        }
        for rows in rows.chunks(ROWS_PER_STATEMENT) {
            let places = vec!["(?,?,?,?,?,?,?,?,?,?,?,?)"; rows.len()].join(",");
            let insert = format!("INSERT INTO events VALUES {places}");
            let query = rows.iter().fold(sqlx::query(&insert), |query, row| {
                query
                    .bind(row.position)
                    .bind(row.kind.as_str())
                    .bind(row.id.as_str())
                    .bind(row.sequence)
                    .bind(row.event_type.as_str())
                    .bind(row.event_version.as_str())
                    .bind(row.payload.as_str())
                    .bind(row.metadata.as_str())
                    .bind(row.command.to_string())
                    .bind(row.ordinal)
                    .bind(row.hash.as_slice())
                    .bind(numbers[row.id.as_str()])
            });
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
    }
    let rate = rows.len() as f64 / begun.elapsed().as_secs_f64();
    connection.close().await?;
    Ok(rate)
}

/// How often a second the disk takes a page that was appended to a file.
pub(crate) fn sync_rate(folder: &Folder) -> Result<f64> {
    let mut file = File::create(folder.path().join("sync"))?;
    let begun = Instant::now();
    let mut n = 0;
    while begun.elapsed() < SYNC_PERIOD {
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        n += 1;
    }
    Ok(f64::from(n) / begun.elapsed().as_secs_f64())
}
