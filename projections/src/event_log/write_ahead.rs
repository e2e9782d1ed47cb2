//! Brings what was committed from SQLite's write-ahead log into its file, beside the appends.
//!
//! Left to itself, SQLite does it within a commit now and then, and that commit and all behind it wait for the disk
//! several times. Here nobody waits: writers go on meanwhile. Only once the write-ahead log is as long as
//! [`crate::database`] allows, which is after a long time of much work, a commit brings in what little is left.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Executor as _, SqliteConnection, SqlitePool};

use crate::{
    event_log::{Position, wake::Wake},
    sql::SqlPool,
};

/// So many events are worth the trouble.
const EVENTS_MIN: Position = 2048;
const PERIOD_MIN: Duration = Duration::from_millis(100);

/// Does so for ever.
pub(super) async fn keep_short(pool: SqlPool, wake: Wake) {
    let SqlPool::Sqlite { writer, .. } = pool else { return };
    let mut head = wake.subscribe();
    let mut connection = None;
    loop {
        let begun_at = *head.borrow_and_update();
        if head.wait_for(|head| *head >= begun_at + EVENTS_MIN).await.is_err() {
            return;
        }
        connection = match bring_in(&writer, connection.take()).await {
            Ok(connection) => Some(connection),
            // Whoever commits does it then, and hears of whatever is wrong.
            Err(error) => {
                tracing::debug!(%error, "the write-ahead log could not be brought in");
                None
            }
        };
        tokio::time::sleep(PERIOD_MIN).await;
    }
}

/// On a connection of its own, which it makes where there is none.
async fn bring_in(
    writer: &SqlitePool,
    connection: Option<SqliteConnection>,
) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => writer.connect_options().as_ref().clone().connect().await?,
    };
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").await?;
    Ok(connection)
}
