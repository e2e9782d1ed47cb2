//! What the live feed and a browser say to each other.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::queries::items::{Item, TextKind};

/// A frame to the browser.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    Hello(Hello),
    Changed(Changed),
    Item(ChangedItem),
    Chunk(Chunk),
    Open(OpenMessages),
    Lagging,
}

/// The first frame: the feed goes on after this position.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    pub position: u64,
    /// All that happened since the position that was asked for follows, one by one. Else everything has to be read
    /// again: none was asked for, or too much has happened since.
    pub is_resumed: bool,
}

/// An event was recorded and is in the read models: what it names has to be read again.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    pub position: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idea: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Uuid>,
    /// Kind of stream and name of the event, for example `idea/drafted`.
    pub event: String,
}

/// A piece of a followed conversation is new or has changed.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangedItem {
    pub session: Uuid,
    pub position: u64,
    pub item: Item,
}

/// Streamed text, ahead of the log. Chunks that were merged already are to be ignored.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chunk {
    pub session: Uuid,
    pub message: Uuid,
    pub kind: TextKind,
    pub chunk: u32,
    pub text: String,
}

/// What is streamed in a conversation at the moment it is followed.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenMessages {
    pub session: Uuid,
    pub messages: Vec<OpenMessage>,
}

/// The part of an unfinished message that is not in the log yet: the text of its chunks
/// `first_chunk` up to, but not including, `n_chunks`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenMessage {
    pub message: Uuid,
    pub kind: TextKind,
    pub first_chunk: u32,
    pub n_chunks: u32,
    pub text: String,
}

/// A frame from the browser.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    Follow(FollowedSession),
    Unfollow(FollowedSession),
}

/// A conversation whose items and chunks are wanted.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct FollowedSession {
    pub session: Uuid,
}
