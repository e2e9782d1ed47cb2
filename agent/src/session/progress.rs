//! How far a session has come: everything that reading the spool depends on beside the spool.
//!
//! It is stored whole with every step, so it is kept small: text is never in it, and of the tool
//! calls only the open and the newest.

use domain::{
    agent_protocol::{PermissionOption, TextKind, ToolCall},
    ids::{MessageId, PermissionId},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Stored by `SessionStore` as JSON; new fields need a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionProgress {
    pub epoch: u32,
    pub phase: Phase,
    /// Everything before it in the coding agent's stdout is recorded.
    pub offset: u64,
    /// Number of the newest line for its stdin.
    pub n_written: u64,
    /// Lines that its stdin may not have yet; the holder drops those it knows.
    pub unwritten: Vec<NumberedLine>,
    /// Id of our newest JSON-RPC request.
    pub n_requests: u64,
    pub agent_name: String,
    pub agent_version: String,
    /// Whether it can take up an earlier ACP session.
    pub can_load: bool,
    /// Its own id of the ACP session.
    pub acp_session: Option<String>,
    /// The prompt in flight.
    pub turn: Option<Turn>,
    /// Every message that was given to the coding agent: none is given twice.
    pub prompted: Vec<MessageId>,
    /// Messages begun so far, by the coding agent.
    pub n_messages: u32,
    pub open_message: Option<OpenMessage>,
    pub tool_calls: Vec<ToolCall>,
    pub n_permissions: u32,
    pub permissions: Vec<PendingPermission>,
    /// Lines on stdout that were no JSON-RPC.
    pub n_bad_lines: u32,
}

impl SessionProgress {
    /// Nothing has happened yet.
    pub fn new(epoch: u32) -> Self {
        Self {
            epoch,
            phase: Phase::Starting,
            offset: 0,
            n_written: 0,
            unwritten: Vec::new(),
            n_requests: 0,
            agent_name: String::new(),
            agent_version: String::new(),
            can_load: false,
            acp_session: None,
            turn: None,
            prompted: Vec::new(),
            n_messages: 0,
            open_message: None,
            tool_calls: Vec::new(),
            n_permissions: 0,
            permissions: Vec::new(),
            n_bad_lines: 0,
        }
    }
}

/// Where a session is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// The holder may not have started the coding agent yet.
    Starting,
    /// `initialize` is in flight under this id.
    Initializing { request: u64 },
    /// `session/load` is in flight: what the coding agent replays is known already.
    Loading { request: u64 },
    /// `session/new` is in flight.
    Opening { request: u64 },
    /// Ready for prompts.
    Ready,
    /// Over. `is_refused`: it never became ready. `is_interrupted`: its container died under it.
    Ended {
        reason: String,
        is_refused: bool,
        #[serde(default)]
        is_interrupted: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberedLine {
    pub number: u64,
    pub line: String,
}

/// A prompt that the coding agent works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    pub message: MessageId,
    /// Id of the `session/prompt` request.
    pub request: u64,
    pub is_cancelled: bool,
}

/// A message of the coding agent that may still grow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenMessage {
    pub message: MessageId,
    pub kind: TextKind,
    pub n_chunks: u32,
}

/// A permission request that waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PendingPermission {
    pub permission: PermissionId,
    /// The coding agent's JSON-RPC id, of whatever type it likes.
    pub request: Value,
    pub options: Vec<PermissionOption>,
}
