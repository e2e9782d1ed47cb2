//! Conversations as people read them: messages, tool calls, plans, permissions, ends of turns.
//!
//! Text is not here: rows refer to content, which the caller decrypts. An item has a key that never
//! changes, the position of its first event, which orders it, and that of its newest, by which a
//! client that was away asks for what has changed.
//!
//! Read next: `chat_transcript/write.rs` for what each event does to the items.

mod write;

use std::collections::HashMap;

use domain::{
    agent_protocol::{CodingAgentKind, TextKind, ToolCallStatus},
    ids::{AccountId, ExecutionId, IdeaId, MessageId, PermissionId, ProjectId, SessionId},
    values::{ContentRef, Timestamp},
};
use serde::{Deserialize, Serialize};

use crate::{
    database::Database,
    error::DatabaseError,
    event_log::Position,
    sql::{SqlRow, Value},
};

#[derive(Debug)]
pub struct ChatTranscript;

/// A conversation in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    pub id: SessionId,
    pub project: ProjectId,
    /// Of the newest execution in it.
    pub idea: Option<IdeaId>,
    /// The execution that happens in it now.
    pub execution: Option<ExecutionId>,
    pub coding_agent: Option<CodingAgentKind>,
    pub state: SessionState,
    /// The first message, or the title that was made of it.
    pub title: Option<ContentRef>,
    /// The newest message of a person, or the beginning of the newest answer.
    pub preview: Option<ContentRef>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    Idle,
    Working,
    NeedsInput,
}

/// One thing in a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub session: SessionId,
    pub key: String,
    pub position: Position,
    /// Position of the newest event that changed it.
    pub changed: Position,
    pub at: Timestamp,
    pub what: ItemKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ItemKind {
    Message(MessageItem),
    /// `content` is JSON of [`domain::agent_protocol::ToolCallDetail`].
    ToolCall {
        call: String,
        kind: String,
        status: ToolCallStatus,
        content: ContentRef,
        ended_at: Option<Timestamp>,
    },
    /// `content` is JSON: a list of [`domain::agent_protocol::PlanEntry`].
    Plan {
        content: ContentRef,
    },
    /// `content` is JSON of [`domain::agent_protocol::PermissionRequest`].
    Permission {
        request: PermissionId,
        content: ContentRef,
        answer: Option<Answer>,
    },
    TurnEnd {
        end: TurnEndKind,
        reason: String,
    },
    Notice {
        text: String,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct MessageItem {
    pub message: MessageId,
    /// None: the coding agent.
    pub author: Option<AccountId>,
    pub kind: TextKind,
    /// The text, piece by piece, in order.
    pub segments: Vec<ContentRef>,
    pub n_chunks: u32,
    pub is_complete: bool,
    pub is_truncated: bool,
    pub is_queued: bool,
}

/// How a permission request came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Id of the chosen option; none where nobody answered, or the policy found none to choose.
    pub option: Option<String>,
    pub by: AnsweredBy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    Policy,
    Person,
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnEndKind {
    Stopped,
    Failed,
    Broken,
    /// The coding agent went away without a word.
    Lost,
}

/// Items in order, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub items: Vec<Item>,
    /// There are older ones.
    pub has_more: bool,
}

// A message that began an idea is the very text of the idea, so they share the title.
const SESSIONS: &str = "
    SELECT s.*, i.title AS made_title FROM chat_sessions s
    LEFT JOIN idea_board i ON i.session = s.session AND i.description = s.title";

/// The sessions of a project, the most recently used first.
pub async fn list(
    database: &Database,
    project: ProjectId,
) -> Result<Vec<SessionRow>, DatabaseError> {
    let list = format!("{SESSIONS} WHERE s.project = $1 ORDER BY s.updated_at DESC, s.session");
    database.views().fetch_all(&list, (project.0,)).await?.iter().map(session).collect()
}

pub async fn find(database: &Database, id: SessionId) -> Result<Option<SessionRow>, DatabaseError> {
    let find = format!("{SESSIONS} WHERE s.session = $1");
    database.views().fetch_optional(&find, (id.0,)).await?.as_ref().map(session).transpose()
}

/// The newest `limit` items of a session that began before a position.
pub async fn page(
    database: &Database,
    session: SessionId,
    before: Option<Position>,
    limit: usize,
) -> Result<Page, DatabaseError> {
    let list = "SELECT * FROM chat_items WHERE session = $1 AND position < $2
        ORDER BY position DESC, key DESC LIMIT $3";
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let mut rows = database.views().fetch_all(list, (session.0, before, limit + 1)).await?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    rows.reverse();
    Ok(Page { items: items(database, session, &rows).await?, has_more })
}

/// The items of a session that have changed after a position, in the order of their change.
pub async fn changed_after(
    database: &Database,
    session: SessionId,
    after: Position,
    limit: usize,
) -> Result<Vec<Item>, DatabaseError> {
    let list = "SELECT * FROM chat_items WHERE session = $1 AND changed > $2
        ORDER BY changed, position, key LIMIT $3";
    let rows = database.views().fetch_all(list, (session.0, after, limit)).await?;
    items(database, session, &rows).await
}

/// One item by its key.
pub async fn item(
    database: &Database,
    session: SessionId,
    key: &str,
) -> Result<Option<Item>, DatabaseError> {
    let find = "SELECT * FROM chat_items WHERE session = $1 AND key = $2";
    let rows = database.views().fetch_all(find, (session.0, key)).await?;
    Ok(items(database, session, &rows).await?.pop())
}

/// The rows as items, messages with their segments.
async fn items(
    database: &Database,
    session: SessionId,
    rows: &[SqlRow],
) -> Result<Vec<Item>, DatabaseError> {
    let mut messages = Vec::new();
    for row in rows {
        messages.extend(row.uuid_option("message")?);
    }
    let mut segments = segments(database, session, &messages).await?;
    rows.iter().map(|row| to_item(session, row, &mut segments)).collect()
}

async fn segments(
    database: &Database,
    session: SessionId,
    messages: &[uuid::Uuid],
) -> Result<HashMap<MessageId, Vec<ContentRef>>, DatabaseError> {
    const MESSAGES_PER_QUERY: usize = 100;
    let mut found: HashMap<MessageId, Vec<ContentRef>> = HashMap::new();
    for messages in messages.chunks(MESSAGES_PER_QUERY) {
        let places: Vec<_> = (2..messages.len() + 2).map(|n| format!("${n}")).collect();
        let list = format!(
            "SELECT message, content FROM chat_segments WHERE session = $1 AND message IN ({})
             ORDER BY message, first_chunk",
            places.join(", ")
        );
        let ids = messages.iter().map(|id| Value::from(*id));
        let values: Vec<_> = std::iter::once(Value::from(session.0)).chain(ids).collect();
        for row in database.views().fetch_all(&list, values).await? {
            let message = MessageId(row.uuid("message")?);
            found.entry(message).or_default().push(row.json("content")?);
        }
    }
    Ok(found)
}

fn to_item(
    session: SessionId,
    row: &SqlRow,
    segments: &mut HashMap<MessageId, Vec<ContentRef>>,
) -> Result<Item, DatabaseError> {
    let what = match row.text("item")?.as_str() {
        "message" => {
            let message = MessageId(row.uuid("message")?);
            ItemKind::Message(MessageItem {
                message,
                author: row.uuid_option("author")?.map(AccountId),
                kind: row.named("kind")?,
                segments: segments.remove(&message).unwrap_or_default(),
                n_chunks: row.number("n_chunks")?,
                is_complete: row.bool("is_complete")?,
                is_truncated: row.bool("is_truncated")?,
                is_queued: row.bool("is_queued")?,
            })
        }
        "tool_call" => ItemKind::ToolCall {
            call: row.text("call")?,
            kind: row.text("kind")?,
            status: row.named("status")?,
            content: row.json("content")?,
            ended_at: row.time_option("ended_at")?,
        },
        "plan" => ItemKind::Plan { content: row.json("content")? },
        "permission" => {
            let by: Option<AnsweredBy> = row.named_option("answered_by")?;
            let option = row.text_option("answer")?;
            ItemKind::Permission {
                request: PermissionId(row.uuid("request")?),
                content: row.json("content")?,
                answer: by.map(|by| Answer { option, by }),
            }
        }
        "turn_end" => ItemKind::TurnEnd { end: row.named("status")?, reason: row.text("reason")? },
        "notice" => ItemKind::Notice { text: row.text("reason")? },
        other => return Err(DatabaseError::failed(format!("there is no kind of item {other}"))),
    };
    Ok(Item {
        session,
        key: row.text("key")?,
        position: row.count("position")?,
        changed: row.count("changed")?,
        at: row.time("at")?,
        what,
    })
}

fn session(row: &SqlRow) -> Result<SessionRow, DatabaseError> {
    let execution = row.execution()?;
    let is_asked = row.bool("needs_input")? || row.int("n_open_permissions")? > 0;
    Ok(SessionRow {
        id: SessionId(row.uuid("session")?),
        project: row.project()?,
        idea: row.uuid_option("idea")?.map(IdeaId),
        execution,
        coding_agent: row.named_option("coding_agent")?,
        state: match execution {
            None => SessionState::Idle,
            Some(_) if is_asked => SessionState::NeedsInput,
            Some(_) => SessionState::Working,
        },
        title: row.json_option("made_title")?.or(row.json_option("title")?),
        preview: row.json_option("preview")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}
