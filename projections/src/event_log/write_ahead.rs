//! Brings what was committed from SQLite's write-ahead log into its file, beside the appends.
//!
//! Left to itself, SQLite does it within a commit now and then, and that commit and all behind it wait for the disk
//! several times. Here nobody waits: writers go on meanwhile. Only once the write-ahead log is as long as
//! [`crate::database`] allows, which is after a long time of much work, a commit brings in what little is left.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Executor as _, Row as _, SqliteConnection, SqlitePool};
use tokio::{sync::watch, time::timeout};

use crate::{
    error::DatabaseError,
    event_log::{Position, append::describe, wake::Wake},
    sql::SqlPool,
};

/// So many events are worth the trouble.
const EVENTS_MIN: Position = 2048;
const PERIOD_MIN: Duration = Duration::from_millis(100);
/// What writers kept from being brought in, since they went on, is tried again once they pause for so long.
const REST_PERIOD: Duration = Duration::from_secs(1);

/// Does so for ever, or until the disk does not take it.
pub(super) async fn keep_short(pool: SqlPool, wake: Wake, failure: watch::Sender<Option<String>>) {
    let SqlPool::Sqlite { writer, .. } = pool else { return };
    let mut head = wake.subscribe();
    let mut connection = None;
    let mut is_rest_left = false;
    loop {
        let begun_at = *head.borrow_and_update();
        if until_worth_it(&mut head, begun_at + EVENTS_MIN, is_rest_left).await.is_err() {
            return;
        }
        connection = match connection.take() {
            Some(connection) => Some(connection),
            None => connect(&writer).await,
        };
        let Some(connection) = &mut connection else { continue };
        let known = *head.borrow_and_update();
        match bring_in(connection).await {
            // What came meanwhile is not counted.
            Ok(is_all) => is_rest_left = !is_all || *head.borrow() > known,
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
        }
        tokio::time::sleep(PERIOD_MIN).await;
    }
}

/// Waits for so much, or for rest, if something is left to do then. An error means that the log is closed.
async fn until_worth_it(
    head: &mut watch::Receiver<Position>,
    enough: Position,
    is_rest_left: bool,
) -> Result<(), watch::error::RecvError> {
    while *head.borrow_and_update() < enough {
        match timeout(REST_PERIOD, head.changed()).await {
            Ok(moved) => moved?,
            Err(_) if is_rest_left => return Ok(()),
            Err(_) => {}
        }
    }
    Ok(())
}

/// Brings in what it can, and tells whether that was all that was there when it began. SQLite flushes the file only
/// where it is all that is there when it ends.
async fn bring_in(connection: &mut SqliteConnection) -> Result<bool, DatabaseError> {
    let row = connection.fetch_one("PRAGMA wal_checkpoint(PASSIVE)").await?;
    let [n_pages, n_brought_in]: [i64; 2] = [row.try_get(1)?, row.try_get(2)?];
    Ok(n_pages == n_brought_in)
}

/// A connection of its own.
async fn connect(writer: &SqlitePool) -> Option<SqliteConnection> {
    let connected = writer.connect_options().as_ref().clone().connect().await;
    connected.map_err(|error| tracing::debug!(%error, "no connection to bring it in")).ok()
}
