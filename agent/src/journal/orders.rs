//! The journal's orders, inside a transaction: which are new, and how they ended.

use domain::agent_protocol::{OrderOutcome, RefusalKind, Report};
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::{Accepted, JournalError, SETTLED_ORDERS_MAX, insert_report};

/// Records an order, or says what is known of it; with the number of a report that this made.
pub(super) async fn accept(
    connection: &mut SqliteConnection,
    key: Uuid,
    epoch: u64,
    order: String,
) -> Result<(Accepted, Option<u64>), JournalError> {
    if !raise_epoch(connection, epoch).await? {
        let report = serde_json::to_string(&stale(key))?;
        return Ok((Accepted::Stale, Some(insert_report(connection, report).await?)));
    }
    let known = sqlx::query("SELECT outcome FROM orders WHERE key = $1")
        .bind(key.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(known) = known else {
        sqlx::query("INSERT INTO orders (key, body) VALUES ($1, $2)")
            .bind(key.to_string())
            .bind(order)
            .execute(connection)
            .await?;
        return Ok((Accepted::New, None));
    };
    let Some(outcome) = known.try_get::<Option<String>, _>(0)? else {
        return Ok((Accepted::Running, None));
    };
    let outcome = serde_json::from_str(&outcome)?;
    // Its report goes into the outbox again, also where it still waits there: the control plane may have heard
    // that one before anybody waited for it, and only its acknowledgement is still under way.
    let report = serde_json::to_string(&Report::OrderSettled { key, outcome })?;
    Ok((Accepted::Repeated, Some(insert_report(connection, report).await?)))
}

/// The number of the report; none if the order was settled before.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    key: Uuid,
    outcome: String,
    report: String,
) -> Result<Option<u64>, JournalError> {
    let is_running: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM orders WHERE key = $1 AND outcome IS NULL)",
    )
    .bind(key.to_string())
    .fetch_one(&mut *connection)
    .await?;
    if !is_running {
        return Ok(None);
    }
    let number = insert_report(connection, report).await?;
    sqlx::query("UPDATE orders SET outcome = $2, body = NULL WHERE key = $1")
        .bind(key.to_string())
        .bind(outcome)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "DELETE FROM orders WHERE outcome IS NOT NULL
         AND ordinal <= (SELECT MAX(ordinal) FROM orders) - $1",
    )
    .bind(SETTLED_ORDERS_MAX)
    .execute(connection)
    .await?;
    Ok(Some(number))
}

/// False if `epoch` is below the highest seen.
async fn raise_epoch(connection: &mut SqliteConnection, epoch: u64) -> Result<bool, JournalError> {
    let highest: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE name = 'epoch'")
        .fetch_optional(&mut *connection)
        .await?;
    let highest: u64 = highest.and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    if epoch > highest {
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ('epoch', $1)
             ON CONFLICT (name) DO UPDATE SET value = $1",
        )
        .bind(epoch.to_string())
        .execute(&mut *connection)
        .await?;
    }
    Ok(epoch >= highest)
}

fn stale(key: Uuid) -> Report {
    let outcome = OrderOutcome::Refused {
        kind: RefusalKind::Stale,
        reason: "the order's epoch is below the highest this node has seen".into(),
    };
    Report::OrderSettled { key, outcome }
}
