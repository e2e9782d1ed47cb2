//! Makes the tables of one projection again from the log, beside the old ones, and swaps them in.
//!
//! The old rows stay readable and up to date until the new ones have come as far. The swap is one
//! transaction that replaces the rows and the checkpoint, so no reader sees half of it.

use sqlx::{Executor as _, SqlitePool};

use crate::{
    database::{Database, NEXT_VIEWS_SCHEMA, VIEWS_SCHEMA},
    error::DatabaseError,
    event_log::Position,
    projector::{
        Worker,
        ahead::Ahead,
        side::{Shared, Side},
    },
    sql::SqlPool,
};

/// A rebuild on its way.
pub(super) struct Rebuild<E> {
    pub(super) side: Side<E>,
    pub(super) projection: Shared<E>,
    pub(super) ahead: Option<Ahead<E>>,
}

impl<E: Send + Sync + 'static> Rebuild<E> {
    pub(super) async fn start(
        database: &Database,
        projection: Shared<E>,
    ) -> Result<Self, DatabaseError> {
        let pool = database.open_next_views().await?;
        for table in std::iter::once(&"checkpoints").chain(projection.tables()) {
            copy_structure(database.views(), &pool, table).await?;
        }
        let side = Side::open(pool, std::slice::from_ref(&projection)).await?;
        Ok(Self { side, projection, ahead: None })
    }

    /// Replaces the live rows. Both sides have come equally far.
    pub(super) async fn swap_in(self, database: &Database) -> Result<Position, DatabaseError> {
        let track = self.side.tracks.first().expect("a rebuild has one projection");
        let position = track.position;
        if let Some(parked) = &track.parked {
            let reason = format!("the rebuild stopped at {}: {}", parked.position, parked.error);
            self.side.pool.close().await;
            database.remove_next_views().await?;
            return Err(DatabaseError::failed(reason));
        }
        self.side.pool.close().await;
        let version = self.projection.version();
        let mut statements: Vec<String> = Vec::new();
        for table in self.projection.tables() {
            let columns = columns(database.views(), table).await?;
            if !planted_bug::is_planted("replay_without_clear") {
                statements.push(format!("DELETE FROM {table}"));
            }
            statements.push(format!(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM {NEXT_VIEWS_SCHEMA}.{table}"
            ));
        }
        statements.push(format!(
            "UPDATE checkpoints SET version = {version}, position = {position}, parked_at = NULL, \
             parked_error = NULL, parked_since = NULL WHERE name = '{}'",
            self.projection.name()
        ));
        match database.views() {
            SqlPool::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                for statement in &statements {
                    transaction.execute(statement.as_str()).await?;
                }
                transaction.commit().await?;
            }
            SqlPool::Sqlite { writer, .. } => swap_sqlite(database, writer, &statements).await?,
        }
        database.remove_next_views().await?;
        Ok(position)
    }

    /// Leaves the old rows as they are.
    pub(super) async fn give_up(self, database: &Database) -> Result<(), DatabaseError> {
        self.side.pool.close().await;
        database.remove_next_views().await
    }
}

impl<E: Send + Sync + 'static> Worker<E> {
    /// A projection that could not be made again at the start stands still, where everybody sees it. Its rows are of
    /// no version: whoever asks it to try again, and the next start, make them again.
    pub(super) async fn park_unmade(
        &mut self,
        name: &'static str,
        error: &str,
    ) -> Result<(), DatabaseError> {
        tracing::error!(projection = name, error, "a rebuild failed");
        let views = self.projector.database.views().clone();
        let park = format!(
            "UPDATE checkpoints SET version = 0, parked_at = COALESCE(parked_at, position + 1),
                parked_error = $2, parked_since = COALESCE(parked_since, {}) WHERE name = $1",
            views.now()
        );
        views.execute(&park, (name, error)).await?;
        self.live = Some(Side::open(views, &self.projector.projections).await?);
        Ok(())
    }
}

/// Makes an empty table that is made like the live one, with its indexes.
pub(super) async fn copy_structure(
    live: &SqlPool,
    next: &SqlPool,
    table: &str,
) -> Result<(), DatabaseError> {
    if next.is_postgres() {
        let like = format!("CREATE TABLE {table} (LIKE {VIEWS_SCHEMA}.{table} INCLUDING ALL)");
        next.execute(&like, ()).await?;
        return Ok(());
    }
    let made_by = "SELECT sql FROM sqlite_master WHERE tbl_name = $1 AND sql IS NOT NULL
        ORDER BY type = 'table' DESC, name";
    for row in live.fetch_all(made_by, (table,)).await? {
        next.execute(&row.text("sql")?, ()).await?;
    }
    Ok(())
}

/// The columns of a table that are written, as a list; the others follow from them.
async fn columns(live: &SqlPool, table: &str) -> Result<String, DatabaseError> {
    let rows = match live.is_postgres() {
        true => {
            let of_table = "SELECT column_name::TEXT AS name FROM information_schema.columns
                WHERE table_schema = $1 AND table_name = $2 AND is_generated = 'NEVER'";
            live.fetch_all(of_table, (VIEWS_SCHEMA, table)).await?
        }
        false => live.fetch_all("SELECT name FROM pragma_table_info($1)", (table,)).await?,
    };
    let names: Result<Vec<_>, _> = rows.iter().map(|row| row.text("name")).collect();
    Ok(names?.join(", "))
}

async fn swap_sqlite(
    database: &Database,
    writer: &SqlitePool,
    statements: &[String],
) -> Result<(), DatabaseError> {
    let mut connection = writer.acquire().await?;
    let file = database.next_views_file();
    let attach = format!("ATTACH DATABASE $1 AS {NEXT_VIEWS_SCHEMA}");
    sqlx::query(&attach).bind(file.to_string_lossy()).execute(&mut *connection).await?;
    let swapped = async {
        let mut transaction = sqlx::Connection::begin(&mut *connection).await?;
        for statement in statements {
            transaction.execute(statement.as_str()).await?;
        }
        transaction.commit().await
    }
    .await;
    // Whatever became of it: the connection is used again.
    let detach = format!("DETACH DATABASE {NEXT_VIEWS_SCHEMA}");
    connection.execute(detach.as_str()).await?;
    Ok(swapped?)
}
