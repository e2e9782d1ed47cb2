//! What can be asked of a session, what it records, and why it refuses.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    agent_protocol::{TextKind, ToolCallStatus, TurnEnd},
    ids::{AccountId, ExecutionId, IdeaId, MessageId, PermissionId, ProjectId, WorkspaceId},
    values::ContentRef,
};

/// Whole chunks of one message, their text as content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedSegment {
    pub epoch: u32,
    pub message: MessageId,
    pub kind: TextKind,
    pub first_chunk: u32,
    pub n_chunks: u32,
    pub content: ContentRef,
    pub is_last: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionCommand {
    /// Opens the session if it is new, and begins an execution in it with its first prompt.
    Begin {
        project: ProjectId,
        idea: IdeaId,
        execution: ExecutionId,
        message: MessageId,
        author: AccountId,
        content: ContentRef,
    },
    /// A follow-up while an execution is under way; it waits for the turn to end.
    Post {
        message: MessageId,
        author: AccountId,
        content: ContentRef,
    },
    BeginAttachment {
        execution: ExecutionId,
        workspace: WorkspaceId,
    },
    EndExecution {
        execution: ExecutionId,
    },
    AnswerPermission {
        request: PermissionId,
        option: String,
        by: AccountId,
    },
    RecordAttached {
        epoch: u32,
        agent_name: String,
        agent_version: String,
    },
    StartTurn {
        epoch: u32,
        message: MessageId,
    },
    RecordSegment(RecordedSegment),
    RecordToolCall {
        epoch: u32,
        call: String,
        kind: String,
        status: ToolCallStatus,
        content: ContentRef,
    },
    RecordPlan {
        epoch: u32,
        content: ContentRef,
    },
    RecordUsage {
        epoch: u32,
        content: ContentRef,
    },
    RecordPermissionAsked {
        epoch: u32,
        request: PermissionId,
        options: BTreeSet<String>,
        content: ContentRef,
    },
    /// Answered by the policy.
    RecordPermissionSettled {
        epoch: u32,
        request: PermissionId,
        option: Option<String>,
        content: ContentRef,
    },
    RecordTurnEnd {
        epoch: u32,
        message: MessageId,
        end: TurnEnd,
    },
    /// `prompt` is the message whose outcome is unknown.
    RecordLoss {
        epoch: u32,
        reason: String,
        prompt: Option<MessageId>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEvent {
    Opened {
        project: ProjectId,
    },
    ExecutionBegun {
        idea: IdeaId,
        execution: ExecutionId,
    },
    MessagePosted {
        execution: ExecutionId,
        message: MessageId,
        author: AccountId,
        content: ContentRef,
    },
    /// `message` is the prompt to be asked first.
    AttachmentBegun {
        execution: ExecutionId,
        workspace: WorkspaceId,
        epoch: u32,
        message: Option<MessageId>,
    },
    Attached {
        epoch: u32,
        agent_name: String,
        agent_version: String,
    },
    TurnStarted {
        epoch: u32,
        message: MessageId,
    },
    SegmentRecorded(RecordedSegment),
    /// The rest of a message will never come.
    MessageTruncated {
        message: MessageId,
    },
    /// The newest state of a tool call; `content` is JSON of [`crate::agent_protocol::ToolCallDetail`].
    ToolCallRecorded {
        epoch: u32,
        call: String,
        kind: String,
        status: ToolCallStatus,
        content: ContentRef,
    },
    /// `content` is JSON: a list of [`crate::agent_protocol::PlanEntry`].
    PlanRecorded {
        epoch: u32,
        content: ContentRef,
    },
    UsageRecorded {
        epoch: u32,
        content: ContentRef,
    },
    /// `content` is JSON of [`crate::agent_protocol::PermissionRequest`].
    PermissionAsked {
        execution: ExecutionId,
        epoch: u32,
        request: PermissionId,
        options: BTreeSet<String>,
        content: ContentRef,
    },
    PermissionAnswered {
        execution: ExecutionId,
        request: PermissionId,
        option: Option<String>,
        by: AccountId,
    },
    /// Nobody can answer it any more.
    PermissionWithdrawn {
        request: PermissionId,
    },
    PermissionSettled {
        epoch: u32,
        request: PermissionId,
        option: Option<String>,
        content: ContentRef,
    },
    /// `next` is the follow-up that waited longest.
    TurnEnded {
        execution: ExecutionId,
        epoch: u32,
        message: MessageId,
        end: TurnEnd,
        next: Option<MessageId>,
    },
    AttachmentLost {
        execution: ExecutionId,
        epoch: u32,
        reason: String,
        prompt: Option<MessageId>,
    },
    ExecutionEnded {
        execution: ExecutionId,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum SessionError {
    #[error("there is no such session")]
    NotFound,
    #[error("a session with this id exists in another project")]
    ElsewhereAlready,
    #[error("an execution is under way in this session: wait for its end, or cancel it")]
    Working,
    #[error("no execution is under way in this session")]
    NotWorking,
    #[error(
        "the coding agent has ended its work, which is being saved: send this again in a moment"
    )]
    Ending,
    #[error("{max} messages wait already: let the coding agent catch up")]
    QueueFull { max: usize },
    #[error("nobody asked for this permission, or it was answered already")]
    NothingAsked,
    #[error("this is none of the options")]
    NoSuchOption,
    #[error("the attachment is of another epoch than {epoch}")]
    Stale { epoch: u32 },
    #[error("chunk {expected} comes next")]
    Gap { expected: u32 },
}
