//! Brings what was committed from SQLite's write-ahead log into its file, beside the appends.
//!
//! Left to itself, SQLite does it within a commit now and then, and that commit and all behind it wait for the disk
//! several times. Here nobody waits: writers go on meanwhile. Only once the write-ahead log is as long as
//! [`crate::database`] allows, which is after a long time of much work, a commit brings in what little is left.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Executor as _, SqliteConnection, SqlitePool};

use tokio::sync::watch;

use crate::{
    error::DatabaseError,
    event_log::{Position, append::describe, wake::Wake},
    sql::SqlPool,
};

/// So many events are worth the trouble.
const EVENTS_MIN: Position = 2048;
const PERIOD_MIN: Duration = Duration::from_millis(100);

/// Does so for ever, or until the disk does not take it.
pub(super) async fn keep_short(pool: SqlPool, wake: Wake, failure: watch::Sender<Option<String>>) {
    let SqlPool::Sqlite { writer, .. } = pool else { return };
    let mut head = wake.subscribe();
    let mut connection = None;
    loop {
        let begun_at = *head.borrow_and_update();
        if head.wait_for(|head| *head >= begun_at + EVENTS_MIN).await.is_err() {
            return;
        }
        connection = match connection.take() {
            Some(connection) => Some(connection),
            None => connect(&writer).await,
        };
        if let Some(connection) = &mut connection {
            match connection.execute("PRAGMA wal_checkpoint(PASSIVE)").await.map_err(Into::into) {
                // The next flush may succeed without having written what this one lost, and then the
                // write-ahead log would be thrown away: nobody may be told that anything is kept.
                Err(error @ DatabaseError::Broken { .. }) => {
                    let reason = describe(&error);
                    tracing::error!(reason, "the storage failed; nothing is appended any more");
                    failure.send_replace(Some(reason));
                    return;
                }
                // Whoever commits does it then, and hears of whatever is wrong.
                Err(error) => tracing::debug!(%error, "the write-ahead log was not brought in"),
                Ok(_) => {}
            }
        }
        tokio::time::sleep(PERIOD_MIN).await;
    }
}

/// A connection of its own.
async fn connect(writer: &SqlitePool) -> Option<SqliteConnection> {
    let connected = writer.connect_options().as_ref().clone().connect().await;
    connected.map_err(|error| tracing::debug!(%error, "no connection to bring it in")).ok()
}
