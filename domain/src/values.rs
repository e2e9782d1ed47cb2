//! Values that several aggregates share.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    agent_protocol::{CodingAgentKind, PermissionPolicy},
    ids::{AccountId, ContentId, NodeId, ProjectId},
};

/// A point in time, UTC.
pub type Timestamp = DateTime<Utc>;

/// Personal text as the log knows it: where it is, how long it was, and a salted hash of it.
///
/// The text itself is an encrypted row that dies with the project's key; no `decide` reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentRef {
    pub id: ContentId,
    /// Bytes of UTF-8.
    pub length: u32,
    /// SHA-256 over the content's random salt and the text, in hex.
    pub digest: String,
}

/// How an execution is to be carried out. Everything is resolved before the command is sent, so
/// that a change of defaults never changes what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionSettings {
    pub owner: AccountId,
    pub repository: String,
    /// None: the remote's default branch.
    pub base_branch: Option<String>,
    /// `sam/…`; never the default branch.
    pub branch: String,
    pub coding_agent: CodingAgentKind,
    pub profile: Profile,
    pub provider: ProviderKind,
    pub permissions: PermissionPolicy,
    pub periods: Periods,
}

/// How long an execution waits for what. Part of the request, so that replaying it needs no settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Periods {
    /// For room on a full node.
    pub room_ms_max: u64,
    /// For a new node's agent to call.
    pub agent_ready_ms_max: u64,
    /// For one turn of the coding agent.
    pub turn_ms_max: u64,
    /// For a person to decide.
    pub input_ms_max: u64,
    /// How long an empty node is kept for reuse (`NODE_WARM_TIMEOUT_MS`).
    pub node_warm_ms: u64,
}

impl Default for Periods {
    fn default() -> Self {
        const MINUTE: u64 = 60_000;
        const HOUR: u64 = 60 * MINUTE;
        Self {
            room_ms_max: 24 * HOUR,
            agent_ready_ms_max: 10 * MINUTE,
            turn_ms_max: 12 * HOUR,
            input_ms_max: 24 * HOUR,
            node_warm_ms: 30 * MINUTE,
        }
    }
}

/// `at` plus a period.
pub fn after(at: Timestamp, period_ms: u64) -> Timestamp {
    let period_ms = i64::try_from(period_ms).unwrap_or(i64::MAX);
    at.checked_add_signed(TimeDelta::milliseconds(period_ms)).unwrap_or(Timestamp::MAX_UTC)
}

/// How a workspace's container is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Builds the repository's devcontainer.
    Full,
    /// The minimal base image.
    #[default]
    Lightweight,
}

/// Who rents the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// This machine's container engine.
    Local,
    /// The second implementation that tests use.
    Simulated,
}

/// The steps of an execution, in order. Forward only; a step may be skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    NodeSelection,
    NodeProvisioning,
    NodeAgentReady,
    WorkspaceCreation,
    WorkspaceReady,
    AgentSession,
    Running,
}

impl Step {
    pub const ALL: [Self; 7] = [
        Self::NodeSelection,
        Self::NodeProvisioning,
        Self::NodeAgentReady,
        Self::WorkspaceCreation,
        Self::WorkspaceReady,
        Self::AgentSession,
        Self::Running,
    ];
}

/// What a container is made from and for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceSpec {
    pub project: ProjectId,
    pub node: NodeId,
    pub repository: String,
    pub base_branch: Option<String>,
    pub branch: String,
    pub profile: Profile,
    /// Chooses the image when the coding agent is part of it.
    pub coding_agent: CodingAgentKind,
    /// How long the node is kept once this was its last workspace.
    pub node_warm_ms: u64,
}

/// What an execution brought about. Commits, files and the diff are content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionResult {
    /// The branch on the remote; none if the coding agent changed nothing.
    pub reference: Option<String>,
    pub head: String,
    pub base: String,
    pub n_commits: u32,
    pub n_files: u32,
    pub is_diff_cut: bool,
    /// JSON of [`crate::agent_protocol::Published`].
    pub detail: ContentRef,
}

/// Who may place workspaces on a machine, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    pub owner: AccountId,
    pub provider: ProviderKind,
    pub name: String,
}
