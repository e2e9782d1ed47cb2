//! Which messages hold which words.
//!
//! Texts are encrypted, and a projection cannot read them; so whoever has the keys reads the log and hands
//! the words in here ([`Index::advance`]), with a checkpoint that moves in the same transaction. What is
//! kept are words in lower case without their order, and references to the texts. It can be made again
//! from the log at any time ([`Index::clear`]), and a project can be taken out ([`Index::purge`]).
//!
//! Read next: `chat_search/words.rs` for what a word is, `chat_search/passed_over.rs` for what is not in it.

mod passed_over;
mod words;

use domain::{
    ids::{AccountId, MessageId, ProjectId, SessionId},
    values::{ContentRef, Timestamp},
};

use crate::{
    checkpoint::Checkpoints,
    columns::json,
    database::Database,
    error::DatabaseError,
    event_log::Position,
    sql::{IntoValues as _, SqlPool, SqlRow, SqlTransaction},
};

pub use passed_over::PassedOver;
pub use words::{Query, Span, WORDS_OF_A_QUERY_MAX, spans, words};

/// The name of the checkpoint.
pub const NAME: &str = "chat_search";
/// Raised when a text gives other words than before; the index is then made again.
const VERSION: u32 = 1;

/// A message as it is indexed.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexedMessage {
    /// Of its first event.
    pub position: Position,
    pub project: ProjectId,
    pub session: SessionId,
    pub message: MessageId,
    /// None: the coding agent.
    pub author: Option<AccountId>,
    pub at: Timestamp,
    /// The text, piece by piece, in order.
    pub segments: Vec<ContentRef>,
}

/// The table of words. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Index {
    pool: SqlPool,
}

impl Index {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.views().clone() }
    }

    /// Up to which position messages are in the index, for whoever fills it. One that is not there yet or is
    /// of another version is emptied.
    pub async fn prepare(&self) -> Result<Position, DatabaseError> {
        match Checkpoints::on(self.pool.clone()).get(NAME).await? {
            Some(checkpoint) if checkpoint.version == VERSION => Ok(checkpoint.position),
            _ => {
                self.clear().await?;
                Ok(0)
            }
        }
    }

    /// Up to which position messages are in the index.
    pub async fn position(&self) -> Result<Position, DatabaseError> {
        Checkpoints::on(self.pool.clone()).position(NAME).await
    }

    /// What is indexed of a message so far.
    pub async fn find(
        &self,
        session: SessionId,
        message: MessageId,
    ) -> Result<Option<IndexedMessage>, DatabaseError> {
        let find = "SELECT position, project, session, message, author, at, segments
            FROM chat_search WHERE session = $1 AND message = $2";
        let row = self.pool.fetch_optional(find, (session.0, message.0)).await?;
        row.as_ref().map(indexed).transpose()
    }

    /// Puts messages with their words in the place of what was there of them, notes what was passed over, and
    /// moves the checkpoint.
    ///
    /// False: somebody else has moved it meanwhile, and nothing was written. [`Index::prepare`] tells where to.
    pub async fn advance(
        &self,
        messages: &[(IndexedMessage, String)],
        passed_over: &[PassedOver],
        from: Position,
        to: Position,
    ) -> Result<bool, DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        // First, so that it keeps a second process out until the transaction ends.
        let advance = "UPDATE checkpoints SET position = $3
            WHERE name = $1 AND position = $2 AND version = $4";
        if transaction.execute(advance, (NAME, from, to, VERSION)).await? != 1 {
            return Ok(false);
        }
        for (message, words) in messages {
            self.put(&mut transaction, message, words).await?;
        }
        for passed_over in passed_over {
            self.note(&mut transaction, passed_over).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    async fn put(
        &self,
        transaction: &mut SqlTransaction,
        message: &IndexedMessage,
        words: &str,
    ) -> Result<(), DatabaseError> {
        let IndexedMessage { position, project, session, message, author, at, segments } = message;
        let author = author.map(|id| id.0);
        let segments = json(segments);
        if self.pool.is_postgres() {
            let put = "INSERT INTO chat_search
                    (position, project, session, message, author, at, segments, words)
                VALUES ($1, $2, $3, $4, $5, $6, $7, array_to_tsvector(string_to_array($8, ' ')))
                ON CONFLICT (position) DO UPDATE
                SET segments = excluded.segments, words = excluded.words";
            let values = (position, project.0, session.0, message.0, author, at, segments, words);
            transaction.execute(put, values).await?;
            return Ok(());
        }
        let put =
            "INSERT INTO chat_search (position, project, session, message, author, at, segments)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (position) DO UPDATE SET segments = excluded.segments";
        let values = (position, project.0, session.0, message.0, author, at, segments);
        transaction.execute(put, values).await?;
        let put = "INSERT OR REPLACE INTO chat_search_words (rowid, words) VALUES ($1, $2)";
        transaction.execute(put, (position, words)).await?;
        Ok(())
    }

    /// Empties the index; it is then made again from the log.
    pub async fn clear(&self) -> Result<(), DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        transaction.execute("DELETE FROM checkpoints WHERE name = $1", (NAME,)).await?;
        let begin = "INSERT INTO checkpoints (name, version, position) VALUES ($1, $2, 0)";
        transaction.execute(begin, (NAME, VERSION)).await?;
        if !self.pool.is_postgres() {
            let all = "DELETE FROM chat_search_words
                WHERE rowid IN (SELECT position FROM chat_search WHERE position > 0)";
            transaction.execute(all, ()).await?;
        }
        transaction.execute("DELETE FROM chat_search", ()).await?;
        transaction.commit().await
    }

    /// Takes everything of a project out.
    ///
    /// Whoever has read its texts and not handed in their words yet is too late with them, and reads again.
    pub async fn purge(&self, project: ProjectId) -> Result<(), DatabaseError> {
        let mut transaction = self.pool.begin().await?;
        // One position back, or where there is none another version: `advance` does not find what it
        // began from. First, so that one on its way has ended, and its rows are seen below.
        let step_back = "UPDATE checkpoints
            SET version = CASE WHEN position > 0 THEN version ELSE 0 END,
                position = CASE WHEN position > 0 THEN position - 1 ELSE 0 END
            WHERE name = $1";
        transaction.execute(step_back, (NAME,)).await?;
        if !self.pool.is_postgres() {
            let words = "DELETE FROM chat_search_words WHERE rowid IN
                (SELECT position FROM chat_search WHERE project = $1 AND position > 0)";
            transaction.execute(words, (project.0,)).await?;
        }
        transaction.execute("DELETE FROM chat_search WHERE project = $1", (project.0,)).await?;
        transaction.commit().await?;
        if !self.pool.is_postgres() {
            // A deleted row's words stay in the index's blocks until these are merged.
            let merge = "INSERT INTO chat_search_words (chat_search_words) VALUES ('optimize')";
            self.pool.execute(merge, ()).await?;
        }
        Ok(())
    }
}

/// Which part of the index is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    pub owner: AccountId,
    /// None: all projects of the owner.
    pub project: Option<ProjectId>,
    pub before: Option<Position>,
    pub limit: usize,
}

/// Messages that hold all words of a query, the newest first.
pub async fn find(
    database: &Database,
    query: &Query,
    scope: Scope,
) -> Result<Vec<IndexedMessage>, DatabaseError> {
    let Some(matching) = matching(database.views(), query) else { return Ok(Vec::new()) };
    let matches = if database.views().is_postgres() {
        "words @@ $1::tsquery"
    } else {
        "position IN (SELECT rowid FROM chat_search_words WHERE chat_search_words MATCH $1)"
    };
    let in_project = if scope.project.is_some() { "AND project = $5" } else { "" };
    let list = format!(
        "SELECT position, project, session, message, author, at, segments FROM chat_search
         WHERE {matches} AND position < $2 {in_project}
             AND project IN (SELECT project FROM project_overview WHERE owner = $3)
         ORDER BY position DESC LIMIT $4"
    );
    let before = scope.before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let mut values = (matching, before, scope.owner.0, scope.limit).into_values();
    values.extend(scope.project.map(|project| project.0.into()));
    database.views().fetch_all(&list, values).await?.iter().map(indexed).collect()
}

/// The query in the words of the database. Words hold letters and digits only, so nothing needs escaping.
fn matching(pool: &SqlPool, query: &Query) -> Option<String> {
    let (last, others) = query.words.split_last()?;
    let is_postgres = pool.is_postgres();
    let mut terms: Vec<String> = others
        .iter()
        .map(|word| if is_postgres { format!("'{word}'") } else { format!("\"{word}\"") })
        .collect();
    terms.push(match (is_postgres, query.is_last_whole) {
        (true, true) => format!("'{last}'"),
        (true, false) => format!("'{last}':*"),
        (false, true) => format!("\"{last}\""),
        (false, false) => format!("\"{last}\" *"),
    });
    Some(terms.join(if is_postgres { " & " } else { " AND " }))
}

fn indexed(row: &SqlRow) -> Result<IndexedMessage, DatabaseError> {
    Ok(IndexedMessage {
        position: row.count("position")?,
        project: row.project()?,
        session: SessionId(row.uuid("session")?),
        message: MessageId(row.uuid("message")?),
        author: row.uuid_option("author")?.map(AccountId),
        at: row.time("at")?,
        segments: row.json("segments")?,
    })
}
