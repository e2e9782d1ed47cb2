//! What a conversation consists of, in pages from its end.

use actix_web::{
    get,
    web::{Data, Json, Query},
};
use actors::sealing::Sealing;
use chrono::{DateTime, Utc};
use domain::{
    agent_protocol::{self, PermissionRequest, ToolCallDetail},
    ids::SessionId,
    values::ContentRef,
};
use projections::chat_transcript::{self, ItemKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    server::Server,
    texts::{ERASED, Texts},
    wire::mirrored,
};

mirrored! {
    /// What the coding agent says, or what it thinks.
    in "snake_case" TextKind = agent_protocol::TextKind { Answer, Thought, }
}

mirrored! {
    in "snake_case" ToolCallStatus = agent_protocol::ToolCallStatus {
        Pending, InProgress, Completed, Failed,
    }
}

/// A page of a conversation.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemPage {
    /// Oldest first.
    pub items: Vec<Item>,
    /// There are older ones: ask again with `before` = the position of the first.
    pub has_more: bool,
    /// How far the read model had come.
    pub position: u64,
}

/// A piece of a conversation. `key` identifies it for replacing it; `position` of its first event
/// orders it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "item", rename_all = "snake_case")]
pub enum Item {
    Message(MessageItem),
    ToolCall(ToolCallItem),
    Plan(PlanItem),
    Permission(PermissionItem),
    TurnEnd(TurnEndItem),
    Notice(NoticeItem),
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageItem {
    pub key: String,
    pub position: u64,
    pub at: DateTime<Utc>,
    pub author: Author,
    pub kind: TextKind,
    pub text: String,
    /// How many chunks of the stream `text` consists of.
    pub n_chunks: u32,
    pub is_complete: bool,
    /// The rest was lost with its node.
    pub is_truncated: bool,
    /// It waits for the turn to end.
    pub is_queued: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Author {
    Person,
    Agent,
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolCallItem {
    pub key: String,
    pub position: u64,
    pub at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    pub call: String,
    /// ACP's: read, edit, delete, move, search, execute, think, fetch, other.
    pub kind: String,
    pub status: ToolCallStatus,
    pub title: String,
    pub locations: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// ACP content blocks: text, diff, terminal.
    pub content: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanItem {
    pub key: String,
    pub position: u64,
    pub at: DateTime<Utc>,
    pub entries: Vec<PlanEntry>,
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanEntry {
    pub content: String,
    pub priority: String,
    /// pending, in_progress, completed
    pub status: String,
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionItem {
    pub key: String,
    pub position: u64,
    pub at: DateTime<Utc>,
    pub request: Uuid,
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    pub options: Vec<PermissionOption>,
    /// Absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<PermissionAnswer>,
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionOption {
    pub id: String,
    pub name: String,
    /// ACP's: allow_once, allow_always, reject_once, reject_always.
    pub kind: String,
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionAnswer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option: Option<String>,
    pub name: String,
    pub by: AnsweredBy,
}

mirrored! {
    in "snake_case" AnsweredBy = chat_transcript::AnsweredBy { Policy, Person, Nobody, }
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TurnEndItem {
    pub key: String,
    pub position: u64,
    pub at: DateTime<Utc>,
    pub end: TurnEndKind,
    pub reason: String,
}

mirrored! {
    in "snake_case" TurnEndKind = chat_transcript::TurnEndKind { Stopped, Failed, Broken, Lost, }
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NoticeItem {
    pub key: String,
    pub position: u64,
    pub at: DateTime<Utc>,
    pub text: String,
}

/// The newest items of a conversation, or those before a position.
#[utoipa::path(params(Before), responses((status = OK, body = ItemPage)))]
#[get("/sessions/{session}/items")]
pub(crate) async fn items(
    caller: Caller,
    id: Id,
    before: Query<Before>,
    server: Data<Server>,
) -> Result<Json<ItemPage>, Problem> {
    let session = access::session(&server, &caller, SessionId(id.0)).await?.id;
    let position = server.projected_position();
    let limit = before.limit.unwrap_or(ITEMS_DEFAULT).clamp(1, ITEMS_MAX);
    let page = chat_transcript::page(server.database(), session, before.before, limit).await?;
    let items = render(server.sealing(), page.items).await?;
    Ok(Json(ItemPage { items, has_more: page.has_more, position }))
}

const ITEMS_DEFAULT: usize = 100;
const ITEMS_MAX: usize = 500;

/// Which page of a conversation.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Before {
    /// Only items that began before this position; absent: the newest.
    before: Option<u64>,
    /// How many items, at most 500; absent: 100.
    limit: Option<usize>,
}

/// Decrypts and renders items.
pub(crate) async fn render(
    sealing: &Sealing,
    rows: Vec<chat_transcript::Item>,
) -> Result<Vec<Item>, Problem> {
    let texts = Texts::read(sealing, rows.iter().flat_map(|row| references(&row.what))).await?;
    Ok(rows.into_iter().map(|row| document(row, &texts)).collect())
}

/// Takes out the words that an item of an erased project has besides its texts.
pub(crate) fn forget(item: &mut Item) {
    match item {
        Item::TurnEnd(end) => ERASED.clone_into(&mut end.reason),
        Item::Notice(notice) => ERASED.clone_into(&mut notice.text),
        Item::Message(_) | Item::ToolCall(_) | Item::Plan(_) | Item::Permission(_) => {}
    }
}

fn references(what: &ItemKind) -> &[ContentRef] {
    match what {
        ItemKind::Message(message) => &message.segments,
        ItemKind::ToolCall { content, .. }
        | ItemKind::Plan { content }
        | ItemKind::Permission { content, .. } => std::slice::from_ref(content),
        ItemKind::TurnEnd { .. } | ItemKind::Notice { .. } => &[],
    }
}

fn document(row: chat_transcript::Item, texts: &Texts) -> Item {
    let chat_transcript::Item { key, position, at, .. } = row;
    match row.what {
        ItemKind::Message(message) => Item::Message(MessageItem {
            key,
            position,
            at,
            author: if message.author.is_some() { Author::Person } else { Author::Agent },
            kind: message.kind.into(),
            text: texts.joined(&message.segments),
            n_chunks: message.n_chunks,
            is_complete: message.is_complete,
            is_truncated: message.is_truncated,
            is_queued: message.is_queued,
        }),
        ItemKind::ToolCall { call, kind, status, content, ended_at } => {
            let detail: ToolCallDetail = texts.json(&content).unwrap_or_else(|| ToolCallDetail {
                title: ERASED.to_owned(),
                ..ToolCallDetail::default()
            });
            Item::ToolCall(ToolCallItem {
                key,
                position,
                at,
                ended_at,
                call,
                kind,
                status: status.into(),
                title: detail.title,
                locations: detail.locations,
                input: detail.input,
                content: detail.content,
                output: detail.output,
            })
        }
        ItemKind::Plan { content } => {
            let entries: Vec<agent_protocol::PlanEntry> = texts.json(&content).unwrap_or_default();
            let entry = |entry: agent_protocol::PlanEntry| PlanEntry {
                content: entry.content,
                priority: entry.priority,
                status: entry.status,
            };
            let entries = entries.into_iter().map(entry).collect();
            Item::Plan(PlanItem { key, position, at, entries })
        }
        ItemKind::Permission { request, content, answer } => {
            let asked: Option<PermissionRequest> = texts.json(&content);
            let (title, call, options) = asked
                .map(|asked| (asked.title, asked.call, asked.options))
                .unwrap_or_else(|| (ERASED.to_owned(), None, Vec::new()));
            let answer = answer.map(|answer| permission_answer(answer, &options));
            Item::Permission(PermissionItem {
                key,
                position,
                at,
                request: request.0,
                title,
                call,
                options: options.into_iter().map(permission_option).collect(),
                answer,
            })
        }
        ItemKind::TurnEnd { end, reason } => {
            Item::TurnEnd(TurnEndItem { key, position, at, end: end.into(), reason })
        }
        ItemKind::Notice { text } => Item::Notice(NoticeItem { key, position, at, text }),
    }
}

fn permission_option(option: agent_protocol::PermissionOption) -> PermissionOption {
    PermissionOption { id: option.id, name: option.name, kind: option.kind }
}

fn permission_answer(
    answer: chat_transcript::Answer,
    options: &[agent_protocol::PermissionOption],
) -> PermissionAnswer {
    let chosen = options.iter().find(|option| Some(&option.id) == answer.option.as_ref());
    let name = chosen.map_or_else(|| "no answer".to_owned(), |option| option.name.clone());
    PermissionAnswer { option: answer.option, name, by: answer.by.into() }
}
