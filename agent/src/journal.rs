//! What the agent must still know after it was killed: one SQLite file in its data directory.
//!
//! It holds the outbox (reports that the control plane has not acknowledged), the orders that were
//! accepted, the workspaces and sessions that exist, and the highest epoch seen. Model keys are
//! absent on purpose: they live in files that are deleted with their session (see
//! [`crate::secrets`]), because a deleted row stays readable in the pages of a database.
//!
//! Invariants: a report is on disk before it is sent, an outcome is on disk together with the report
//! that tells it, and a number is never used twice, not even after its row is gone.

use std::path::Path;

use domain::{
    agent_protocol::{Order, OrderOutcome, Report},
    ids::{JournalId, SessionId, WorkspaceId},
};
use sqlx::{
    Row as _, Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{clock, crash_point};

/// How many settled orders are remembered for repetition: weeks of work on one node.
pub const SETTLED_ORDERS_MAX: i64 = 10_000;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    report TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS orders (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    body TEXT,
    outcome TEXT,
    report INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS workspaces (
    workspace TEXT PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sessions (
    session TEXT PRIMARY KEY,
    workspace TEXT NOT NULL,
    start TEXT NOT NULL,
    progress TEXT
) STRICT;
";

/// Why the journal could not be used. The disk is full or broken: nothing else can be promised.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("the agent's journal cannot be used: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the agent's journal holds something unreadable: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error("the agent's journal holds an id that is none: {0}")]
    NotAnId(#[from] uuid::Error),
}

/// What the journal says about an order that has just arrived.
#[derive(Debug, PartialEq)]
pub enum Accepted {
    /// Never seen: carry it out.
    New,
    /// Being carried out already.
    Running,
    /// Carried out before; the first outcome is in the outbox again.
    Repeated,
    /// From a control plane that lost its lease; the refusal is in the outbox.
    Stale,
}

/// The journal. Clones share one connection, so that all writes have one order.
#[derive(Clone)]
pub struct Journal {
    id: JournalId,
    pool: SqlitePool,
    /// The highest number in the outbox, for whoever sends it.
    last: watch::Sender<u64>,
    /// The highest number that was acknowledged, for whoever waits for it.
    acknowledged: watch::Sender<u64>,
}

impl Journal {
    /// Opens or makes the journal in `directory`.
    pub async fn open(directory: &Path) -> Result<Self, JournalError> {
        let options = SqliteConnectOptions::new()
            .filename(directory.join("journal.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // Prompts and variables pass through: what is deleted is overwritten.
            .pragma("secure_delete", "ON");
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ('journal', $1) ON CONFLICT DO NOTHING")
            .bind(clock::random_id().to_string())
            .execute(&pool)
            .await?;
        let id: String = sqlx::query_scalar("SELECT value FROM meta WHERE name = 'journal'")
            .fetch_one(&pool)
            .await?;
        let last: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(number), 0) FROM outbox")
            .fetch_one(&pool)
            .await?;
        let last = watch::Sender::new(last.unsigned_abs());
        Ok(Self { id: id.parse()?, pool, last, acknowledged: watch::Sender::new(0) })
    }

    pub fn id(&self) -> JournalId {
        self.id
    }

    /// Tells when reports were added.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Tells when reports were acknowledged.
    pub fn watch_acknowledged(&self) -> watch::Receiver<u64> {
        self.acknowledged.subscribe()
    }

    /// Puts one report on disk.
    pub async fn append(&self, report: &Report) -> Result<u64, JournalError> {
        crash_point!("agent.journal.before_append");
        let mut transaction = self.pool.begin().await?;
        let number = insert_report(&mut transaction, report).await?;
        transaction.commit().await?;
        crash_point!("agent.journal.after_append");
        self.announce(number);
        Ok(number)
    }

    /// Puts reports on disk together with how far their session has come: both or neither.
    pub async fn append_with_session(
        &self,
        reports: &[Report],
        session: SessionId,
        progress: &str,
    ) -> Result<(), JournalError> {
        crash_point!("agent.journal.before_append");
        let mut transaction = self.pool.begin().await?;
        let mut last = None;
        for report in reports {
            last = Some(insert_report(&mut transaction, report).await?);
        }
        sqlx::query("UPDATE sessions SET progress = $2 WHERE session = $1")
            .bind(session.to_string())
            .bind(progress)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        crash_point!("agent.journal.after_append");
        if let Some(number) = last {
            self.announce(number);
        }
        Ok(())
    }

    /// The oldest unacknowledged reports above `number`.
    pub async fn reports_after(
        &self,
        number: u64,
        n_max: u32,
    ) -> Result<Vec<(u64, Report)>, JournalError> {
        let rows = sqlx::query(
            "SELECT number, report FROM outbox WHERE number > $1 ORDER BY number LIMIT $2",
        )
        .bind(number.cast_signed())
        .bind(n_max)
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let number = row.try_get::<i64, _>(0)?.unsigned_abs();
                Ok((number, serde_json::from_str(row.try_get(1)?)?))
            })
            .collect()
    }

    /// Forgets every report up to and including `number`.
    pub async fn acknowledge(&self, number: u64) -> Result<(), JournalError> {
        sqlx::query("DELETE FROM outbox WHERE number <= $1")
            .bind(number.cast_signed())
            .execute(&self.pool)
            .await?;
        crash_point!("agent.journal.after_acknowledge");
        self.acknowledged.send_replace(number);
        Ok(())
    }

    /// How many reports still wait for an acknowledgement.
    pub async fn n_unacknowledged(&self) -> Result<u64, JournalError> {
        let n: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM outbox").fetch_one(&self.pool).await?;
        Ok(n.unsigned_abs())
    }

    /// The highest epoch that any control plane has shown.
    pub async fn epoch(&self) -> Result<u64, JournalError> {
        let epoch: Option<String> =
            sqlx::query_scalar("SELECT value FROM meta WHERE name = 'epoch'")
                .fetch_optional(&self.pool)
                .await?;
        Ok(epoch.and_then(|epoch| epoch.parse().ok()).unwrap_or(0))
    }

    /// Records an order before anything is done about it. Secrets must have been taken out of
    /// `order`; its text is kept only until it is settled.
    pub async fn accept(
        &self,
        key: Uuid,
        epoch: u64,
        order: &Order,
    ) -> Result<Accepted, JournalError> {
        crash_point!("agent.order.before_accept");
        let mut transaction = self.pool.begin().await?;
        if !raise_epoch(&mut transaction, epoch).await? {
            let number = insert_report(&mut transaction, &stale(key)).await?;
            transaction.commit().await?;
            self.announce(number);
            return Ok(Accepted::Stale);
        }
        let known = sqlx::query("SELECT outcome, report FROM orders WHERE key = $1")
            .bind(key.to_string())
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(known) = known else {
            sqlx::query("INSERT INTO orders (key, body) VALUES ($1, $2)")
                .bind(key.to_string())
                .bind(serde_json::to_string(order)?)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            crash_point!("agent.order.after_accept");
            return Ok(Accepted::New);
        };
        let Some(outcome) = known.try_get::<Option<String>, _>(0)? else {
            transaction.commit().await?;
            return Ok(Accepted::Running);
        };
        let outcome = serde_json::from_str(&outcome)?;
        let reported: Option<i64> = known.try_get(1)?;
        self.report_again(transaction, key, outcome, reported).await?;
        Ok(Accepted::Repeated)
    }

    /// Puts the first outcome into the outbox again, unless it still waits there.
    async fn report_again(
        &self,
        mut transaction: Transaction<'_, Sqlite>,
        key: Uuid,
        outcome: OrderOutcome,
        reported: Option<i64>,
    ) -> Result<(), JournalError> {
        let is_waiting: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM outbox WHERE number = $1)")
                .bind(reported)
                .fetch_one(&mut *transaction)
                .await?;
        if is_waiting {
            transaction.commit().await?;
            return Ok(());
        }
        let report = Report::OrderSettled { key, outcome };
        let number = insert_report(&mut transaction, &report).await?;
        transaction.commit().await?;
        self.announce(number);
        Ok(())
    }

    /// Records how an order ended, in one step with the report of it. Settling twice changes nothing.
    pub async fn settle(&self, key: Uuid, outcome: OrderOutcome) -> Result<(), JournalError> {
        let mut transaction = self.pool.begin().await?;
        let is_running: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM orders WHERE key = $1 AND outcome IS NULL)",
        )
        .bind(key.to_string())
        .fetch_one(&mut *transaction)
        .await?;
        if !is_running {
            return Ok(());
        }
        let written = serde_json::to_string(&outcome)?;
        let number =
            insert_report(&mut transaction, &Report::OrderSettled { key, outcome }).await?;
        sqlx::query("UPDATE orders SET outcome = $2, report = $3, body = NULL WHERE key = $1")
            .bind(key.to_string())
            .bind(written)
            .bind(number.cast_signed())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "DELETE FROM orders WHERE outcome IS NOT NULL
             AND ordinal <= (SELECT MAX(ordinal) FROM orders) - $1",
        )
        .bind(SETTLED_ORDERS_MAX)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        crash_point!("agent.order.after_settle");
        self.announce(number);
        Ok(())
    }

    /// Orders that were accepted and not settled, in the order of their arrival.
    pub async fn running_orders(&self) -> Result<Vec<(Uuid, Order)>, JournalError> {
        let rows = sqlx::query(
            "SELECT key, body FROM orders WHERE outcome IS NULL AND body IS NOT NULL
             ORDER BY ordinal",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let key: String = row.try_get(0)?;
                Ok((key.parse()?, serde_json::from_str(row.try_get(1)?)?))
            })
            .collect()
    }

    /// Remembers a workspace; `record` is its owner's business.
    pub async fn put_workspace(
        &self,
        workspace: WorkspaceId,
        record: &str,
    ) -> Result<(), JournalError> {
        sqlx::query(
            "INSERT INTO workspaces (workspace, record) VALUES ($1, $2)
             ON CONFLICT (workspace) DO UPDATE SET record = $2",
        )
        .bind(workspace.to_string())
        .bind(record)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets a workspace and its sessions.
    pub async fn remove_workspace(&self, workspace: WorkspaceId) -> Result<(), JournalError> {
        let mut transaction = self.pool.begin().await?;
        for statement in [
            "DELETE FROM sessions WHERE workspace = $1",
            "DELETE FROM workspaces WHERE workspace = $1",
        ] {
            sqlx::query(statement).bind(workspace.to_string()).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Every workspace with its record.
    pub async fn workspaces(&self) -> Result<Vec<(WorkspaceId, String)>, JournalError> {
        let rows = sqlx::query("SELECT workspace, record FROM workspaces ORDER BY workspace")
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                let id: String = row.try_get(0)?;
                Ok((id.parse()?, row.try_get(1)?))
            })
            .collect()
    }

    /// How far one session has come.
    pub async fn session(&self, session: SessionId) -> Result<Option<String>, JournalError> {
        Ok(sqlx::query_scalar(
            "SELECT progress FROM sessions WHERE session = $1 AND progress IS NOT NULL",
        )
        .bind(session.to_string())
        .fetch_optional(&self.pool)
        .await?)
    }

    /// Remembers how a session was started, without its secrets. Its progress stays.
    pub async fn put_session(
        &self,
        session: SessionId,
        workspace: WorkspaceId,
        start: &str,
    ) -> Result<(), JournalError> {
        sqlx::query(
            "INSERT INTO sessions (session, workspace, start) VALUES ($1, $2, $3)
             ON CONFLICT (session) DO UPDATE SET workspace = $2, start = $3",
        )
        .bind(session.to_string())
        .bind(workspace.to_string())
        .bind(start)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The sessions of one workspace, and how each was started.
    pub async fn sessions(
        &self,
        workspace: WorkspaceId,
    ) -> Result<Vec<(SessionId, String)>, JournalError> {
        let rows = sqlx::query(
            "SELECT session, start FROM sessions WHERE workspace = $1 ORDER BY session",
        )
        .bind(workspace.to_string())
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let id: String = row.try_get(0)?;
                Ok((id.parse()?, row.try_get(1)?))
            })
            .collect()
    }

    /// A remembered setting, such as the model proxy's port.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, JournalError> {
        Ok(sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?)
    }

    /// Remembers a setting.
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), JournalError> {
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = $2",
        )
        .bind(name)
        .bind(value)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    fn announce(&self, number: u64) {
        self.last.send_if_modified(|last| {
            let is_newer = number > *last;
            *last = number.max(*last);
            is_newer
        });
    }
}

async fn insert_report(
    transaction: &mut Transaction<'_, Sqlite>,
    report: &Report,
) -> Result<u64, JournalError> {
    let inserted = sqlx::query("INSERT INTO outbox (report) VALUES ($1)")
        .bind(serde_json::to_string(report)?)
        .execute(&mut **transaction)
        .await?;
    Ok(inserted.last_insert_rowid().unsigned_abs())
}

/// False if `epoch` is below the highest seen.
async fn raise_epoch(
    transaction: &mut Transaction<'_, Sqlite>,
    epoch: u64,
) -> Result<bool, JournalError> {
    let highest: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE name = 'epoch'")
        .fetch_optional(&mut **transaction)
        .await?;
    let highest: u64 = highest.and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    if epoch > highest {
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ('epoch', $1)
             ON CONFLICT (name) DO UPDATE SET value = $1",
        )
        .bind(epoch.to_string())
        .execute(&mut **transaction)
        .await?;
    }
    Ok(epoch >= highest)
}

fn stale(key: Uuid) -> Report {
    let outcome = OrderOutcome::Refused {
        kind: domain::agent_protocol::RefusalKind::Stale,
        reason: "the order's epoch is below the highest this node has seen".into(),
    };
    Report::OrderSettled { key, outcome }
}
