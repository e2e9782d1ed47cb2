//! What the control plane and an agent say to each other over the agent's one outgoing link.
//!
//! The control plane gives [`Order`]s; the agent answers with [`Report`]s, which wait in its outbox
//! under ascending numbers until acknowledged, and with [`LiveChunk`]s, which may be lost because the
//! same text follows in a [`Report::Segment`]. Frames are JSON text messages on a WebSocket. Unlike
//! events, orders and reports carry plain text and secrets: they are never stored by the control
//! plane as they are.
//!
//! An order is known by its key: an agent that sees a key again reports the first outcome again and
//! carries out nothing twice. An order of an epoch below the highest seen is refused.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{
    ExecutionId, InstallationId, JournalId, MessageId, NodeId, PermissionId, ProjectId, SessionId,
    WorkspaceId,
};

/// Raised when either side changes what it says; a node's agent of another version is replaced.
pub const PROTOCOL_VERSION: u32 = 2;

/// A frame from the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum AgentFrame {
    /// The first frame on every connection.
    Hello(Hello),
    /// A fact from the outbox; repeated after a reconnect until acknowledged.
    Report { number: u64, report: Report },
    /// Streamed output on its way to browsers, ahead of the log.
    Chunk(LiveChunk),
    /// Every 60 seconds at most; never an event.
    Heartbeat { at: DateTime<Utc>, workspaces: u32 },
}

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub node: NodeId,
    pub journal: JournalId,
    pub protocol: u32,
    /// Version and build of the agent, compared for equality only.
    pub version: String,
    /// The container engine, as it names itself: "20.10.24 (API 1.41)"; none if it does not answer.
    pub engine: Option<String>,
    /// How many workspaces this machine may carry.
    pub slots: u8,
}

/// A frame from the control plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub enum ControlFrame {
    /// Answers [`AgentFrame::Hello`]. `token` is a JWT signed by the installation's key: the agent
    /// takes orders only after it has checked signature, node, installation and expiry.
    Welcome { installation: InstallationId, acknowledged: u64, token: String },
    /// Something to carry out, once per key. `epoch` is the control plane's lease epoch.
    Order { key: Uuid, epoch: u64, order: Order },
    /// Every report up to and including this number is in the log.
    Acknowledge { number: u64 },
    /// Take no new workspaces and leave when the last one is gone: another version replaces you.
    Drain,
}

/// What the token in [`ControlFrame::Welcome`] claims (EdDSA, audience `sam-agent`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlClaims {
    pub iss: String,
    pub aud: String,
    /// The node that may be ordered.
    pub sub: String,
    pub epoch: u64,
    pub exp: i64,
}

/// What an agent can be told to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Make the container, with the repository checked out on its branch. Settles when it is usable.
    OpenWorkspace(OpenWorkspace),
    /// Start a coding agent in a workspace and open an ACP session. Settles when it is ready for a prompt.
    StartSession(StartSession),
    /// Give the coding agent a prompt. Settles when the coding agent has it; the turn's end is a report.
    Prompt { session: SessionId, epoch: u32, message: MessageId, text: String },
    /// Answer a permission request.
    AnswerPermission { session: SessionId, request: PermissionId, option: String },
    /// End the turn in flight (`session/cancel`, then kill after a grace period of 5 s).
    CancelTurn { session: SessionId },
    /// Kill the coding agent's process group.
    StopSession { session: SessionId },
    /// Commit what is left and bring it out of the container.
    Publish { workspace: WorkspaceId, target: PublishTarget, commit_message: String },
    /// Stop its sessions, remove container and volume. Success when there is none.
    CloseWorkspace { workspace: WorkspaceId },
    /// Remove what this installation has at the engine of this node and that is no workspace: neither
    /// one of `keep` nor one that the agent knows.
    RemoveLeftovers { keep: BTreeSet<WorkspaceId> },
    /// Leave: stop every workspace that is left and end the agent. Only for a local node.
    Retire,
}

/// Where [`Order::Publish`] puts the commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum PublishTarget {
    /// The execution's branch on the remote.
    Branch,
    /// `refs/sam/checkpoints/<execution>` on the remote, or in the node's mirror if that is refused.
    Checkpoint { execution: ExecutionId },
}

/// A container to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenWorkspace {
    pub workspace: WorkspaceId,
    pub project: ProjectId,
    /// Any URL or absolute path that the node's git understands.
    pub repository: String,
    /// None: the remote's default branch.
    pub base_branch: Option<String>,
    /// Created from the base branch and checked out; an existing remote branch of this name is continued.
    pub branch: String,
    /// The image of a `lightweight` workspace.
    pub image: String,
    /// `SAM_*` identifiers and the project's variables.
    pub environment: Environment,
    pub author_name: String,
    pub author_email: String,
    pub limits: WorkspaceLimits,
}

/// Variables by their names. Some are secret: a value is never printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(pub BTreeMap<String, String>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What one container may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceLimits {
    pub memory_bytes: u64,
    /// Thousandths of a processor.
    pub cpu_millis: u32,
    pub processes: u32,
    /// Size of the volume where the node can limit it; 0 is no limit.
    pub disk_bytes: u64,
}

/// A coding agent to be started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartSession {
    pub session: SessionId,
    pub workspace: WorkspaceId,
    /// Of the attachment: reports of a lower one are stale.
    pub epoch: u32,
    pub coding_agent: CodingAgentStart,
    pub permissions: PermissionPolicy,
}

/// Which coding agent, and how it reaches its model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodingAgentStart {
    pub kind: CodingAgentKind,
    /// None for the demo. The key stays on the node: the container sees a proxy and a token.
    pub model: Option<ModelAccess>,
}

/// The coding agents that SAM can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodingAgentKind {
    /// Built in, needs no key, follows directives; labelled as a demo wherever it appears.
    Demo,
    ClaudeCode,
}

impl CodingAgentKind {
    pub const ALL: [Self; 2] = [Self::Demo, Self::ClaudeCode];

    /// As written in URLs, flags and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::ClaudeCode => "claude-code",
        }
    }
}

/// How the node's proxy reaches the model.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelAccess {
    /// For example `https://api.anthropic.com`.
    pub base_url: String,
    pub key: String,
}

impl std::fmt::Debug for ModelAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelAccess").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// Who answers a coding agent's permission requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermissionPolicy {
    /// Allowed and recorded.
    Allow,
    /// A person is asked.
    Ask,
    /// Nobody can be asked: the answer is no.
    Deny,
}

/// What an agent tells. Each is stored in its outbox first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// An order came to its end.
    OrderSettled { key: Uuid, outcome: OrderOutcome },
    /// A provisioning step of a workspace (its boot log).
    BootStep { workspace: WorkspaceId, step: String, state: StepState, detail: String },
    /// Whole chunks of one message: at most 1 s or 4 KiB of text, or the end of the message.
    Segment(Segment),
    /// A tool call in its newest state; keyed by `call`, later ones replace earlier ones.
    ToolCall(ToolCall),
    /// The plan in its newest state.
    Plan { session: SessionId, epoch: u32, entries: Vec<PlanEntry> },
    /// Tokens and money as the coding agent counts them; raw JSON because agents differ.
    Usage { session: SessionId, epoch: u32, usage: serde_json::Value },
    /// The coding agent waits for permission.
    PermissionAsked(PermissionRequest),
    /// A request was answered by the policy, without a person.
    PermissionSettled { request: PermissionRequest, option: Option<String> },
    /// The coding agent ended its turn.
    TurnEnded { session: SessionId, epoch: u32, message: MessageId, end: TurnEnd },
    /// The attachment is gone without having been told to.
    SessionLost { session: SessionId, epoch: u32, reason: String, prompt: Option<MessageId> },
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum OrderOutcome {
    /// Carried out; nothing to tell.
    Done,
    /// The workspace is usable.
    WorkspaceOpened { container: String, base_branch: String, base_commit: String },
    /// The coding agent is ready.
    SessionStarted { agent_name: String, agent_version: String, acp_session: String },
    /// The commits are where they should be.
    Published(Published),
    /// It cannot be carried out. `kind` says whose turn it is, `reason` is for people.
    Refused { kind: RefusalKind, reason: String },
}

/// What kind of refusal: each asks for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// Repository missing, needs a password, has no such branch, push rejected.
    Repository,
    /// No engine, too old, image missing, disk full.
    Machine,
    /// Its binary is missing, it exits at once, it speaks no ACP.
    CodingAgent,
    /// No such workspace or session here, or of another epoch.
    Unknown,
    /// The container died under it. What it had is kept, so it can be begun again.
    Interrupted,
    /// The order came from a control plane that has lost its lease.
    Stale,
}

/// The result of [`Order::Publish`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// The ref on the remote; none when there was nothing to push.
    pub reference: Option<String>,
    pub head: String,
    pub base: String,
    pub commits: Vec<Commit>,
    pub files: Vec<FileChange>,
    /// Unified diff against the base, cut at 1 MiB.
    pub diff: String,
    pub is_diff_cut: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    pub id: String,
    pub subject: String,
    pub author: String,
    pub at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    pub path: String,
    pub added: u32,
    pub removed: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    Started,
    Completed,
    Failed,
}

/// One piece of streamed text. `chunk` counts from 0 within its message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveChunk {
    pub session: SessionId,
    pub epoch: u32,
    pub message: MessageId,
    pub kind: TextKind,
    pub chunk: u32,
    pub text: String,
}

/// The same text, in whole chunks, for the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    pub session: SessionId,
    pub epoch: u32,
    pub message: MessageId,
    pub kind: TextKind,
    pub first_chunk: u32,
    pub n_chunks: u32,
    pub text: String,
    /// The message is complete.
    pub is_last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextKind {
    Answer,
    Thought,
}

/// A tool call as the coding agent describes it, normalised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    pub session: SessionId,
    pub epoch: u32,
    /// The coding agent's own id.
    pub call: String,
    pub status: ToolCallStatus,
    /// ACP's kind: read, edit, delete, move, search, execute, think, fetch, other.
    pub kind: String,
    /// Title, input, output, diffs and locations as one JSON document (content, not payload).
    pub detail: ToolCallDetail,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToolCallDetail {
    pub title: String,
    pub locations: Vec<String>,
    pub input: Option<serde_json::Value>,
    /// ACP content blocks (text, diff, terminal), at most 256 KiB.
    pub content: Vec<serde_json::Value>,
    pub output: Option<serde_json::Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolCallStatus {
    Pending,
    InProgress,
    Completed,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEntry {
    pub content: String,
    pub priority: String,
    /// pending, in_progress, completed
    pub status: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PermissionRequest {
    pub session: SessionId,
    pub epoch: u32,
    pub request: PermissionId,
    /// The tool call it is about, if the coding agent says so.
    pub call: Option<String>,
    pub title: String,
    pub options: Vec<PermissionOption>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionOption {
    pub id: String,
    pub name: String,
    /// allow_once, allow_always, reject_once, reject_always
    pub kind: String,
}

/// Why a turn ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum TurnEnd {
    /// The coding agent stopped by itself. ACP's stop reason, `end_turn` when it is content.
    Stopped { reason: String },
    /// It answered the prompt with a JSON-RPC error.
    Failed { reason: String },
    /// It exited, spoke no JSON, or flooded its output.
    Broken { reason: String },
}

#[cfg(test)]
mod tests;
