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
pub(super) const CHANNEL: &str = "sam_log";

const RECONNECT_PERIOD: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct Wake {
    head: Arc<watch::Sender<Position>>,
}

impl Wake {
    pub(super) fn new(head: Position) -> Self {
        Self { head: Arc::new(watch::channel(head).0) }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    pub(super) fn advance(&self, position: Position) {
        self.head.send_if_modified(|head| {
            let is_news = *head < position;
            *head = (*head).max(position);
            is_news
        });
    }
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
