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
        let enough = *head.borrow_and_update() + EVENTS_MIN;
        let Ok(why) = until_worth_it(&mut head, enough, is_rest_left).await else { return };
        connection = match connection.take() {
            Some(connection) => Some(connection),
            None => connect(&writer).await,
        };
        let known = *head.borrow_and_update();
        let brought_in = match &mut connection {
            Some(connection) => bring_in(connection).await,
            None => Ok(false),
        };
        let is_all = match brought_in {
            Ok(is_all) => is_all,
            // The next flush may succeed without having written what this one lost, and then the
            // write-ahead log would be thrown away: nobody may be told that anything is kept.
            Err(error @ DatabaseError::Broken { .. }) => {
                let reason = describe(&error);
                tracing::error!(reason, "the storage failed; nothing is appended any more");
                failure.send_replace(Some(reason));
                return;
            }
            // Whoever commits does it then, and hears of whatever is wrong.
            Err(error) => {
                tracing::debug!(%error, "the write-ahead log was not brought in");
                false
            }
        };
        tokio::time::sleep(PERIOD_MIN).await;
        // What was committed while it was brought in is in the write-ahead log before it is heard of here, and kept
        // SQLite from flushing the file. So the next rest is used too, which costs nothing where nothing is left.
        is_rest_left = why == Why::Enough || !is_all || *head.borrow() > known;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Enough,
    Rest,
}

/// Waits for so much, or for rest, if something is left to do then. An error means that the log is closed.
async fn until_worth_it(
    head: &mut watch::Receiver<Position>,
    enough: Position,
    is_rest_left: bool,
) -> Result<Why, watch::error::RecvError> {
    while *head.borrow_and_update() < enough {
        match timeout(REST_PERIOD, head.changed()).await {
            Ok(moved) => moved?,
            Err(_) if is_rest_left => return Ok(Why::Rest),
            Err(_) => {}
        }
    }
    Ok(Why::Enough)
}

/// Brings in what it can, and tells whether that was all that was there when it began. SQLite flushes the file only
/// where it is all that is there when it ends.
async fn bring_in(connection: &mut SqliteConnection) -> Result<bool, DatabaseError> {
    let row = connection.fetch_one("PRAGMA wal_checkpoint(PASSIVE)").await?;
    let [is_busy, n_pages, n_brought_in]: [i64; 3] =
        [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?];
    Ok(is_busy == 0 && n_pages == n_brought_in)
}

/// A connection of its own.
async fn connect(writer: &SqlitePool) -> Option<SqliteConnection> {
    let connected = writer.connect_options().as_ref().clone().connect().await;
    connected.map_err(|error| tracing::debug!(%error, "no connection to bring it in")).ok()
}
