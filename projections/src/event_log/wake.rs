//! Tells readers that the head has moved.
//!
//! A hint only: the receiver keeps the highest position ever told, so a wake that comes between a
//! reader's query and its wait is not lost; one that never comes is made up for by the poll.

use std::{sync::Arc, time::Duration};

use sqlx::postgres::PgListener;
use tokio::sync::watch;

use crate::{
    event_log::{Position, reader},
    sql::SqlPool,
};

/// The channel that appends of other replicas are announced on.
const CHANNEL: &str = "sam_log";

const RECONNECT_PERIOD: Duration = Duration::from_secs(1);

/// Between two announcements: each wakes every replica, and costs a lock on the whole server.
const ANNOUNCE_PERIOD: Duration = Duration::from_millis(5);

#[derive(Clone, Debug)]
pub(super) struct Wake {
    head: Arc<watch::Sender<Position>>,
    /// The last position that this process appended itself: what it has to announce.
    own: Arc<watch::Sender<Position>>,
}

impl Wake {
    pub(super) fn new(head: Position) -> Self {
        Self { head: Arc::new(watch::channel(head).0), own: Arc::new(watch::channel(0).0) }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    pub(super) fn advance(&self, position: Position) {
        raise(&self.head, position);
    }

    /// The same for an append of this process.
    pub(super) fn advance_own(&self, position: Position) {
        raise(&self.own, position);
        raise(&self.head, position);
    }
}

fn raise(head: &watch::Sender<Position>, position: Position) {
    head.send_if_modified(|head| {
        let is_news = *head < position;
        *head = (*head).max(position);
        is_news
    });
}

/// Looks the head up now and then, for ever.
pub(super) async fn poll(pool: SqlPool, wake: Wake, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        match reader::head(&pool).await {
            Ok(head) => wake.advance(head),
            Err(error) => tracing::debug!(%error, "the head could not be looked up"),
        }
    }
}

/// Tells other replicas where the head is, for ever. Beside the appends and not in them, so that none
/// waits for it; one that is lost is made up for by their poll.
pub(super) async fn announce(pool: SqlPool, wake: Wake) {
    if !pool.is_postgres() {
        return;
    }
    let mut own = wake.own.subscribe();
    while own.changed().await.is_ok() {
        let position = *own.borrow_and_update();
        let notify = "SELECT 1 FROM pg_notify($1, $2)";
        if let Err(error) = pool.execute(notify, (CHANNEL, position.to_string())).await {
            tracing::debug!(%error, "the head could not be announced");
        }
        tokio::time::sleep(ANNOUNCE_PERIOD).await;
    }
}

/// Passes on what PostgreSQL announces, for ever.
pub(super) async fn listen(pool: SqlPool, wake: Wake) {
    let SqlPool::Postgres(pool) = pool else { return };
    loop {
        if let Err(error) = listen_once(&pool, &wake).await {
            tracing::debug!(%error, "listening for appends of others is interrupted");
        }
        tokio::time::sleep(RECONNECT_PERIOD).await;
    }
}

async fn listen_once(pool: &sqlx::PgPool, wake: &Wake) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let notification = listener.recv().await?;
        if let Ok(position) = notification.payload().parse() {
            wake.advance(position);
        }
    }
}
