//! What was said and is not in the index: a text that cannot be decrypted, an event that cannot be decoded.
//!
//! Kept in the table of messages, under the negative position of its event and without words: so no query
//! finds it, and whoever clears the index or takes a project out takes it along.

use domain::{
    ids::{ProjectId, SessionId},
    values::{ContentRef, Timestamp},
};
use uuid::Uuid;

use super::Index;
use crate::{
    columns::json,
    error::DatabaseError,
    event_log::Position,
    sql::{SqlRow, SqlTransaction},
};

/// Something that is not in the index because it could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct PassedOver {
    /// Of its event; of its message's first one, where the text was readable once.
    pub position: Position,
    /// None: nobody can tell.
    pub project: Option<ProjectId>,
    pub session: SessionId,
    pub at: Timestamp,
    /// The text; none where the event itself cannot be decoded.
    pub content: Option<ContentRef>,
}

impl Index {
    /// What was passed over behind a position, in the order of the log.
    pub async fn passed_over(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<PassedOver>, DatabaseError> {
        let list = "SELECT -position AS event, project, session, at, segments FROM chat_search
            WHERE position < -$1 ORDER BY position DESC LIMIT $2";
        self.pool.fetch_all(list, (after, limit)).await?.iter().map(passed_over).collect()
    }

    /// How much was passed over.
    pub async fn n_passed_over(&self) -> Result<u64, DatabaseError> {
        let count = "SELECT COUNT(*) AS n_passed_over FROM chat_search WHERE position < 0";
        let row = self.pool.fetch_optional(count, ()).await?;
        row.map_or(Ok(0), |row| row.count("n_passed_over"))
    }

    pub(super) async fn note(
        &self,
        transaction: &mut SqlTransaction,
        passed_over: &PassedOver,
    ) -> Result<(), DatabaseError> {
        let PassedOver { position, project, session, at, content } = passed_over;
        let project = project.map_or(Uuid::nil(), |project| project.0);
        // In the place of a message's id, and no message has it.
        let undecoded = Uuid::from_u128(u128::from(*position));
        let id = content.as_ref().map_or(undecoded, |content| content.id.0);
        let segments = json(&content.as_slice());
        let (words, none) = if self.pool.is_postgres() { (", words", ", ''") } else { ("", "") };
        // What was read twice is there already.
        let note = format!(
            "INSERT INTO chat_search (position, project, session, message, at, segments{words})
             VALUES (-$1, $2, $3, $4, $5, $6{none}) ON CONFLICT DO NOTHING"
        );
        let values = (position, project, session.0, id, at, segments);
        transaction.execute(&note, values).await?;
        Ok(())
    }
}

fn passed_over(row: &SqlRow) -> Result<PassedOver, DatabaseError> {
    let segments: Vec<ContentRef> = row.json("segments")?;
    Ok(PassedOver {
        position: row.count("event")?,
        project: Some(row.project()?).filter(|project| !project.0.is_nil()),
        session: SessionId(row.uuid("session")?),
        at: row.time("at")?,
        content: segments.into_iter().next(),
    })
}
