//! What the agent must still know after it was killed: one SQLite file in its data directory.
//!
//! It holds the outbox (reports that the control plane has not acknowledged), the orders that were
//! accepted, the workspaces and sessions that exist, and the highest epoch seen. Model keys
//! and the variables of workspaces are absent on purpose: they live in files that are deleted with their
//! session or order (see [`crate::secrets`]), because a deleted row stays readable in the pages of a database.
//!
//! Invariants: a report is on disk before it is sent, an outcome is on disk together with the report
//! that tells it, and a number is never used twice, not even after its row is gone.

mod orders;
mod writer;

use std::path::Path;

use domain::{
    agent_protocol::{Order, OrderOutcome, Report},
    ids::{JournalId, SessionId, WorkspaceId},
};
use sqlx::{
    Row as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::{clock, crash_point, journal::writer::Writer};

/// How many settled orders are remembered for repetition: weeks of work on one node.
pub const SETTLED_ORDERS_MAX: i64 = 10_000;

/// Connections that only read.
const READERS_MAX: u32 = 2;

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
    outcome TEXT
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
    #[error("the agent's journal cannot be written: {reason}")]
    Failed { reason: String },
}

/// What the journal says about an order that has just arrived.
#[derive(Debug, PartialEq)]
pub enum Accepted {
    /// Never seen: carry it out.
    New,
    /// Being carried out already.
    Running,
    /// Carried out before; the first outcome is reported again.
    Repeated,
    /// From a control plane that lost its lease; the refusal is in the outbox.
    Stale,
}

/// The journal. Clones share one writer, so that all writes have one order; readers see what is on disk.
#[derive(Clone)]
pub struct Journal {
    id: JournalId,
    writer: Writer,
    readers: SqlitePool,
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
            // Prompts pass through: what is deleted is overwritten.
            .pragma("secure_delete", "ON");
        let pool = writer::open(options.clone()).await?;
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
        let readers = SqlitePoolOptions::new().max_connections(READERS_MAX);
        let readers = readers.connect_with(options.read_only(true)).await?;
        let (id, writer) = (id.parse()?, Writer::start(pool));
        Ok(Self { id, writer, readers, last, acknowledged: watch::Sender::new(0) })
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
        let reports = vec![serde_json::to_string(report)?];
        let number = self.write_reports(reports, None).await?;
        number.await.map_err(gone)?.map(Option::unwrap_or_default)
    }

    /// Hands one report over without waiting for the disk: it is there before anything that is written
    /// later. For what a crash may lose because it is told again.
    pub async fn append_soon(&self, report: &Report) -> Result<(), JournalError> {
        let reports = vec![serde_json::to_string(report)?];
        self.write_reports(reports, None).await.map(drop)
    }

    /// Puts reports on disk together with how far their session has come: both or neither.
    pub async fn append_with_session(
        &self,
        reports: &[Report],
        session: SessionId,
        progress: String,
    ) -> Result<(), JournalError> {
        let reports = reports.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let written = self.write_reports(reports, Some((session, progress))).await?;
        written.await.map_err(gone)?.map(drop)
    }

    /// Queues reports; the answer is the number of the last.
    async fn write_reports(
        &self,
        reports: Vec<String>,
        progress: Option<(SessionId, String)>,
    ) -> Result<oneshot::Receiver<Result<Option<u64>, JournalError>>, JournalError> {
        crash_point!("agent.journal.before_append");
        let last = self.last.clone();
        let work = self.writer.write(
            |connection| {
                Box::pin(async move {
                    let mut last = None;
                    for report in reports {
                        last = Some(insert_report(connection, report).await?);
                    }
                    if let Some((session, progress)) = progress {
                        sqlx::query("UPDATE sessions SET progress = $2 WHERE session = $1")
                            .bind(session.to_string())
                            .bind(progress)
                            .execute(connection)
                            .await?;
                    }
                    Ok(last)
                })
            },
            move |number| {
                crash_point!("agent.journal.after_append");
                announce(&last, *number);
            },
        );
        Ok(work.await)
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
        .fetch_all(&self.readers)
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
        self.write_acknowledgement(number).await.await.map_err(gone)?
    }

    /// The same without waiting for the disk: what a crash undoes is acknowledged again.
    pub async fn acknowledge_soon(&self, number: u64) {
        drop(self.write_acknowledgement(number).await);
    }

    async fn write_acknowledgement(
        &self,
        number: u64,
    ) -> oneshot::Receiver<Result<(), JournalError>> {
        let acknowledged = self.acknowledged.clone();
        let work = self.writer.write(
            move |connection| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM outbox WHERE number <= $1")
                        .bind(number.cast_signed())
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            },
            move |()| {
                crash_point!("agent.journal.after_acknowledge");
                acknowledged.send_replace(number);
            },
        );
        work.await
    }

    /// How many reports still wait for an acknowledgement.
    pub async fn n_unacknowledged(&self) -> Result<u64, JournalError> {
        let n: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM outbox").fetch_one(&self.readers).await?;
        Ok(n.unsigned_abs())
    }

    /// The highest epoch that any control plane has shown.
    pub async fn epoch(&self) -> Result<u64, JournalError> {
        let epoch: Option<String> =
            sqlx::query_scalar("SELECT value FROM meta WHERE name = 'epoch'")
                .fetch_optional(&self.readers)
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
        let order = serde_json::to_string(order)?;
        let last = self.last.clone();
        let accepted = self.writer.write(
            move |connection| Box::pin(orders::accept(connection, key, epoch, order)),
            move |(accepted, number)| {
                announce(&last, *number);
                if *accepted == Accepted::New {
                    crash_point!("agent.order.after_accept");
                }
            },
        );
        Ok(accepted.await.await.map_err(gone)??.0)
    }

    /// Records how an order ended, in one step with the report of it. Settling twice changes nothing.
    pub async fn settle(&self, key: Uuid, outcome: OrderOutcome) -> Result<(), JournalError> {
        let written = serde_json::to_string(&outcome)?;
        let report = serde_json::to_string(&Report::OrderSettled { key, outcome })?;
        let last = self.last.clone();
        let settled = self.writer.write(
            move |connection| Box::pin(orders::settle(connection, key, written, report)),
            move |number| {
                if number.is_some() {
                    crash_point!("agent.order.after_settle");
                }
                announce(&last, *number);
            },
        );
        settled.await.await.map_err(gone)?.map(drop)
    }

    /// Orders that were accepted and not settled, in the order of their arrival.
    pub async fn running_orders(&self) -> Result<Vec<(Uuid, Order)>, JournalError> {
        let rows = sqlx::query(
            "SELECT key, body FROM orders WHERE outcome IS NULL AND body IS NOT NULL
             ORDER BY ordinal",
        )
        .fetch_all(&self.readers)
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
        self.execute(
            "INSERT INTO workspaces (workspace, record) VALUES ($1, $2)
             ON CONFLICT (workspace) DO UPDATE SET record = $2",
            vec![workspace.to_string(), record.to_string()],
        )
        .await
    }

    /// Forgets a workspace and its sessions.
    pub async fn remove_workspace(&self, workspace: WorkspaceId) -> Result<(), JournalError> {
        let workspace = workspace.to_string();
        let removed = self.writer.write(
            |connection| {
                Box::pin(async move {
                    for statement in [
                        "DELETE FROM sessions WHERE workspace = $1",
                        "DELETE FROM workspaces WHERE workspace = $1",
                    ] {
                        sqlx::query(statement).bind(&workspace).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            },
            |()| {},
        );
        removed.await.await.map_err(gone)?
    }

    /// Every workspace with its record.
    pub async fn workspaces(&self) -> Result<Vec<(WorkspaceId, String)>, JournalError> {
        let rows = sqlx::query("SELECT workspace, record FROM workspaces ORDER BY workspace")
            .fetch_all(&self.readers)
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
        .fetch_optional(&self.readers)
        .await?)
    }

    /// Remembers how a session was started, without its secrets. Its progress stays.
    pub async fn put_session(
        &self,
        session: SessionId,
        workspace: WorkspaceId,
        start: &str,
    ) -> Result<(), JournalError> {
        self.execute(
            "INSERT INTO sessions (session, workspace, start) VALUES ($1, $2, $3)
             ON CONFLICT (session) DO UPDATE SET workspace = $2, start = $3",
            vec![session.to_string(), workspace.to_string(), start.to_string()],
        )
        .await
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
        .fetch_all(&self.readers)
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
            .fetch_optional(&self.readers)
            .await?)
    }

    /// Remembers a setting.
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), JournalError> {
        self.execute(
            "INSERT INTO meta (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = $2",
            vec![name.to_string(), value.to_string()],
        )
        .await
    }

    /// Runs one statement and waits until what it did is on disk.
    async fn execute(
        &self,
        statement: &'static str,
        values: Vec<String>,
    ) -> Result<(), JournalError> {
        let executed = self.writer.write(
            move |connection| {
                Box::pin(async move {
                    let query = values
                        .iter()
                        .fold(sqlx::query(statement), |query, value| query.bind(value.as_str()));
                    query.execute(connection).await?;
                    Ok(())
                })
            },
            |()| {},
        );
        executed.await.await.map_err(gone)?
    }
}

/// The writer is gone: so is the agent, in a moment.
fn gone(_: oneshot::error::RecvError) -> JournalError {
    JournalError::Failed { reason: "its writer has ended or could not begin".to_string() }
}

fn announce(last: &watch::Sender<u64>, number: Option<u64>) {
    let Some(number) = number else { return };
    last.send_if_modified(|last| {
        let is_newer = number > *last;
        *last = number.max(*last);
        is_newer
    });
}

async fn insert_report(
    connection: &mut SqliteConnection,
    report: String,
) -> Result<u64, JournalError> {
    let inserted = sqlx::query("INSERT INTO outbox (report) VALUES ($1)")
        .bind(report)
        .execute(connection)
        .await?;
    Ok(inserted.last_insert_rowid().unsigned_abs())
}
