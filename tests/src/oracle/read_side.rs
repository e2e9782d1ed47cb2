//! S5: the tables of each projection, beside those of an empty database that is given the same log.
//!
//! The empty one is SQLite, whatever the log is kept in, so that the two databases are held against
//! each other as well. Columns that a database works out by itself are left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use projections::{
    checkpoint::Checkpoints,
    database::Database,
    event_log::{EventLog, Options},
    read_models,
    sql::SqlPool,
};
use uuid::Uuid;

use super::{
    Entry,
    Invariant::{Completeness, ProjectionIsFold},
    Oracle, Violation,
};

/// How many rows a violation names.
const ROWS_NAMED_MAX: usize = 3;
const ENTRIES_PER_TRANSACTION: usize = 5_000;

/// A folder that goes with the comparison.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let name = format!("sam-oracle-{}-{}", std::process::id(), crate::world::random());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) async fn against_a_fresh_one(oracle: &Oracle) -> Result<Vec<Violation>> {
    let scratch = Scratch::new()?;
    let fresh = fresh(&scratch.0, &oracle.entries, oracle.head).await?;
    let log = EventLog::open(&fresh, Options::default()).await?;
    let projector = read_models::projector(&fresh, &log);
    let tables = projector.tables();
    projector.catch_up().await.context("the fresh tables cannot be filled")?;
    let mut violations = Vec::new();
    let checkpoints = Checkpoints::new(&oracle.database);
    for (name, tables) in tables {
        let checkpoint = checkpoints.get(name).await?;
        match checkpoint {
            Some(at) if at.parked.is_some() => {
                let what = format!("{name} is parked: {:?}", at.parked);
                violations.push(Violation::new(ProjectionIsFold, what));
                continue;
            }
            Some(at) if at.position == oracle.head => {}
            at => {
                let at = at.map_or(0, |at| at.position);
                let what = format!("{name} is at {at}, and the log at {}", oracle.head);
                violations.push(Violation::new(Completeness, what));
                continue;
            }
        }
        for table in tables {
            violations.extend(compare(oracle.database.views(), fresh.views(), table).await?);
        }
    }
    log.close().await;
    fresh.close().await;
    Ok(violations)
}

/// An empty SQLite database with the very rows of a log.
async fn fresh(folder: &Path, entries: &[Entry], head: u64) -> Result<Database> {
    const STREAM: &str = "INSERT INTO streams (aggregate_type, aggregate_id) VALUES ($1, $2)
        ON CONFLICT DO NOTHING";
    const INSERT: &str = "INSERT INTO events (position, aggregate_type, aggregate_id, sequence,
            event_type, event_version, payload, metadata, command_id, command_ordinal, hash, stream)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
            (SELECT number FROM streams WHERE aggregate_type = $2 AND aggregate_id = $3))";
    let database = Database::open("sqlite:", folder).await?;
    let SqlPool::Sqlite { writer, .. } = database.log() else {
        anyhow::bail!("the fresh database is SQLite")
    };
    for entries in entries.chunks(ENTRIES_PER_TRANSACTION) {
        let mut transaction = writer.begin().await?;
        for entry in entries {
            sqlx::query(STREAM)
                .bind(&entry.stream.kind)
                .bind(entry.stream.id.to_string())
                .execute(&mut *transaction)
                .await?;
            sqlx::query(INSERT)
                .bind(i64::try_from(entry.position)?)
                .bind(&entry.stream.kind)
                .bind(entry.stream.id.to_string())
                .bind(i64::try_from(entry.sequence)?)
                .bind(&entry.event_type)
                .bind(&entry.event_version)
                .bind(&entry.payload)
                .bind(&entry.metadata)
                .bind(entry.command.to_string())
                .bind(i64::try_from(entry.ordinal)?)
                .bind(entry.hash.as_slice())
                .execute(&mut *transaction)
                .await
                .with_context(|| format!("the event at {}", entry.position))?;
        }
        transaction.commit().await?;
    }
    database.log().execute("UPDATE log_head SET position = $1", (head,)).await?;
    Ok(database)
}

/// The rows that only one of two tables has.
async fn compare(live: &SqlPool, fresh: &SqlPool, table: &str) -> Result<Vec<Violation>> {
    let columns: BTreeMap<String, String> = columns(fresh, table).await?;
    let known: BTreeSet<String> = self::columns(live, table).await?.into_keys().collect();
    let columns: Vec<(String, String)> =
        columns.into_iter().filter(|(name, _)| known.contains(name)).collect();
    let (is, should) = (rows(live, table, &columns).await?, rows(fresh, table, &columns).await?);
    let mut violations = Vec::new();
    for (what, some, others) in [("has too much", &is, &should), ("lacks", &should, &is)] {
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        others.iter().for_each(|row| *counts.entry(row).or_default() += 1);
        let only = some.iter().filter(|row| {
            let left = counts.entry(row).or_default();
            *left -= 1;
            *left < 0
        });
        let only: Vec<&String> = only.collect();
        if !only.is_empty() {
            let named: Vec<_> = only.iter().take(ROWS_NAMED_MAX).collect();
            let what = format!("{table} {what} {} rows, as {named:?}", only.len());
            violations.push(Violation::new(ProjectionIsFold, what));
        }
    }
    Ok(violations)
}

/// Names and declared types of the columns that are written.
async fn columns(pool: &SqlPool, table: &str) -> Result<BTreeMap<String, String>> {
    let rows = match pool.is_postgres() {
        true => {
            let query = "SELECT column_name::TEXT AS name, data_type::TEXT AS type
                FROM information_schema.columns
                WHERE table_schema = current_schema() AND table_name = $1
                    AND is_generated = 'NEVER'";
            pool.fetch_all(query, (table,)).await?
        }
        false => {
            let query = "SELECT name, upper(type) AS type FROM pragma_table_info($1)";
            pool.fetch_all(query, (table,)).await?
        }
    };
    rows.iter().map(|row| Ok((row.text("name")?, row.text("type")?))).collect()
}

/// Each row as one text that is the same in both databases.
async fn rows(pool: &SqlPool, table: &str, columns: &[(String, String)]) -> Result<Vec<String>> {
    let selected = columns.iter().enumerate().map(|(n, (name, kind))| {
        let value = match (kind.as_str(), pool.is_postgres()) {
            ("BLOB", true) => format!("encode(\"{name}\", 'hex')"),
            ("BLOB", false) => format!("lower(hex(\"{name}\"))"),
            ("BOOLEAN", _) => format!("CAST(CAST(\"{name}\" AS INTEGER) AS TEXT)"),
            _ => format!("CAST(\"{name}\" AS TEXT)"),
        };
        format!("{value} AS c{n}")
    });
    let selected: Vec<String> = selected.collect();
    let query = format!("SELECT {} FROM {table}", selected.join(", "));
    let mut texts = Vec::new();
    for row in pool.fetch_all(&query, ()).await? {
        let mut text = String::new();
        for (n, (name, _)) in columns.iter().enumerate() {
            let value = row.text_option(&format!("c{n}"))?;
            // An id is the same in capitals.
            let value = match value.as_deref().map(Uuid::parse_str) {
                Some(Ok(id)) => Some(id.to_string()),
                _ => value,
            };
            text += &format!("{name}={} ", value.as_deref().unwrap_or("NULL"));
        }
        texts.push(text.trim_end().to_owned());
    }
    Ok(texts)
}
