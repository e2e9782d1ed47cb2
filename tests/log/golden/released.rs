//! Databases as earlier releases left them.

use std::{collections::BTreeMap, path::Path};

use projections::sql::SqlPool;
use sqlx::migrate::Migrator;
use uuid::Uuid;

use crate::{
    golden::Line,
    support::{Directory, Place},
};

/// A database as a release left it: its migrations, its log, and read models that it had not begun.
pub(super) async fn released(place: &Place, n_log: usize, n_views: usize, lines: &[Line]) {
    let database = if place.is_postgres() { "postgres" } else { "sqlite" };
    for (side, n_migrations) in [("log", n_log), ("views", n_views)] {
        let folder = Directory::new();
        let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(database);
        for entry in std::fs::read_dir(all.join(side)).unwrap() {
            let file = entry.unwrap().path();
            let name = file.file_name().unwrap().to_owned();
            let number: usize = name.to_str().unwrap()[..4].parse().unwrap();
            if number <= n_migrations {
                std::fs::copy(&file, folder.path().join(name)).unwrap();
            }
        }
        let migrator = Migrator::new(folder.path()).await.unwrap();
        let pool = open_side(place, side).await;
        match &pool {
            SqlPool::Sqlite { writer, .. } => migrator.run(writer).await.unwrap(),
            SqlPool::Postgres(pool) => migrator.run(pool).await.unwrap(),
        }
        if side == "log" {
            insert_as_released(&pool, n_log, lines).await;
        }
        pool.close().await;
    }
}

/// Connects to one side of a database that may not be there yet.
async fn open_side(place: &Place, side: &str) -> SqlPool {
    if place.is_postgres() {
        let schema = format!("sam_{side}");
        let options: sqlx::postgres::PgConnectOptions = place.url.parse().unwrap();
        let plain = sqlx::PgPool::connect_with(options.clone()).await.unwrap();
        let create = format!("CREATE SCHEMA IF NOT EXISTS {schema}");
        sqlx::query(&create).execute(&plain).await.unwrap();
        plain.close().await;
        let options = options.options([("search_path", schema.as_str())]);
        return SqlPool::Postgres(sqlx::PgPool::connect_with(options).await.unwrap());
    }
    let file = place.directory.path().join(format!("{side}.db"));
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let writer = sqlx::SqlitePool::connect_with(options).await.unwrap();
    SqlPool::Sqlite { readers: writer.clone(), writer }
}

/// Puts a log into the tables of so many migrations.
async fn insert_as_released(log: &SqlPool, n_migrations: usize, lines: &[Line]) {
    const FIRST_WITH_STREAMS: usize = 6;
    let has_streams = !log.is_postgres() && n_migrations >= FIRST_WITH_STREAMS;
    let json = if log.is_postgres() { "::json" } else { "" };
    let (column, number) = match has_streams {
        true => (
            ", stream",
            ", (SELECT number FROM streams WHERE aggregate_type = $2 AND aggregate_id = $3)",
        ),
        false => ("", ""),
    };
    let put = format!(
        "INSERT INTO events (position, aggregate_type, aggregate_id, sequence, event_type,
            event_version, payload, metadata, command_id, command_ordinal, hash{column})
         VALUES ($1, $2, $3, $4, $5, $6, $7{json}, $8{json}, $9, $10, $11{number})"
    );
    let mut ordinals: BTreeMap<(Uuid, String), u64> = BTreeMap::new();
    let mut transaction = log.begin().await.unwrap();
    for line in lines {
        let command = line.metadata["command"].as_str().unwrap();
        let ordinal = ordinals.entry((line.stream, command.to_owned())).or_default();
        let (payload, metadata, hash) = line.stored();
        let values = (
            line.position,
            &line.kind,
            line.stream.to_string(),
            line.sequence,
            &line.event,
            &line.version,
            payload,
            metadata,
            Uuid::parse_str(command).unwrap(),
            *ordinal,
            hash,
        );
        if has_streams {
            let stream = "INSERT OR IGNORE INTO streams (aggregate_type, aggregate_id)
                VALUES ($1, $2)";
            transaction.execute(stream, (&line.kind, line.stream.to_string())).await.unwrap();
        }
        transaction.execute(&put, values).await.unwrap();
        *ordinal += 1;
    }
    let head = "UPDATE log_head SET position = $1 WHERE id = 1";
    transaction.execute(head, (lines.len(),)).await.unwrap();
    transaction.commit().await.unwrap();
}
