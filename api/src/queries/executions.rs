//! One execution with its steps and its result; its diff.
//!
//! Read next: `timeline.rs` for everything that it involved.

use actix_web::{
    HttpResponse, get,
    web::{Data, Json},
};
use chrono::{DateTime, Utc};
use domain::{
    agent_protocol::{self, Published},
    ids::ExecutionId,
    values,
};
use projections::execution_timeline::{self, ExecutionRow, StepProgress};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    server::Server,
    texts::Texts,
    wire::{CodingAgentKind, Permissions, Profile, StepName, mirrored},
};

/// One attempt at an idea.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    pub id: Uuid,
    pub idea: Uuid,
    pub project: Uuid,
    pub session: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Uuid>,
    pub state: ExecutionState,
    /// The newest step that was started.
    pub step: StepName,
    pub steps: Vec<Step>,
    pub coding_agent: CodingAgentKind,
    pub profile: Profile,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_branch: Option<String>,
    pub branch: String,
    pub permissions: Permissions,
    /// Why it waits, needs input, failed or was cancelled; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ExecutionResult>,
    /// The ref that keeps what was not pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    pub requested_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    pub events: Vec<ExecutionEvent>,
}

mirrored! {
    in "snake_case" ExecutionState = execution_timeline::ExecutionState {
        Running, Waiting, NeedsInput, Finishing, Done, Failed, Cancelled,
    }
}

/// A step with when and why it was taken.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub step: StepName,
    pub state: StepState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
}

mirrored! {
    in "snake_case" StepState = execution_timeline::StepState {
        Pending, Active, Done, Failed, Skipped,
    }
}

/// What an execution brought about.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionResult {
    /// The branch on the remote; absent if nothing was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    pub head: String,
    pub base: String,
    pub commits: Vec<Commit>,
    pub files: Vec<FileChange>,
    /// The diff was longer than what is kept.
    pub is_diff_cut: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    pub id: String,
    pub subject: String,
    pub author: String,
    pub at: DateTime<Utc>,
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    pub path: String,
    pub added: u32,
    pub removed: u32,
}

/// Something that happened to the execution.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionEvent {
    pub position: u64,
    pub at: DateTime<Utc>,
    pub kind: String,
    pub summary: String,
}

/// One execution with its steps and its result.
#[utoipa::path(responses((status = OK, body = Execution)))]
#[get("/executions/{execution}")]
pub(crate) async fn execution(
    caller: Caller,
    id: Id,
    server: Data<Server>,
) -> Result<Json<Execution>, Problem> {
    let row = access::execution(&server, &caller, ExecutionId(id.0)).await?;
    let events = execution_timeline::events(server.database(), &row).await?;
    let result = match &row.result {
        Some(result) => Some(published(&server, result).await?),
        None => None,
    };
    Ok(Json(document(row, result, events)))
}

/// The unified diff of an execution's result.
#[utoipa::path(responses((status = OK, body = String, content_type = "text/plain")))]
#[get("/executions/{execution}/diff")]
pub(crate) async fn diff(
    caller: Caller,
    id: Id,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let row = access::execution(&server, &caller, ExecutionId(id.0)).await?;
    let Some(result) = row.result else { return Err(Problem::not_found("diff")) };
    let diff = published(&server, &result).await?.diff;
    if diff.is_empty() {
        return Err(Problem::not_found("diff"));
    }
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(diff))
}

async fn published(
    server: &Server,
    result: &values::ExecutionResult,
) -> Result<Published, Problem> {
    let texts = Texts::read(server.sealing(), [&result.detail]).await?;
    texts.json(&result.detail).ok_or_else(|| Problem::not_found("result (its text was erased)"))
}

fn document(
    row: ExecutionRow,
    published: Option<Published>,
    events: Vec<execution_timeline::TimelineEntry>,
) -> Execution {
    let settings = row.settings;
    Execution {
        id: row.id.0,
        idea: row.idea.0,
        project: row.project.0,
        session: row.session.0,
        workspace: row.workspace.map(|id| id.0),
        node: row.node.map(|id| id.0),
        state: row.state.into(),
        step: row.step.map_or(StepName::NodeSelection, Into::into),
        steps: row.steps.into_iter().map(Step::from).collect(),
        coding_agent: settings.coding_agent.into(),
        profile: settings.profile.into(),
        base_branch: settings.base_branch,
        branch: settings.branch,
        permissions: settings.permissions.into(),
        reason: row.reason,
        result: published.map(ExecutionResult::from),
        checkpoint: row.checkpoint,
        requested_at: row.requested_at,
        ended_at: row.ended_at,
        events: events
            .into_iter()
            .map(|entry| ExecutionEvent {
                position: entry.position,
                at: entry.at,
                kind: entry.event,
                summary: entry.summary,
            })
            .collect(),
    }
}

impl From<StepProgress> for Step {
    fn from(progress: StepProgress) -> Self {
        Self {
            step: progress.step.into(),
            state: progress.state.into(),
            reason: progress.reason,
            started_at: progress.started_at,
            ended_at: progress.ended_at,
        }
    }
}

impl From<Published> for ExecutionResult {
    fn from(published: Published) -> Self {
        let commit = |commit: agent_protocol::Commit| Commit {
            id: commit.id,
            subject: commit.subject,
            author: commit.author,
            at: commit.at,
        };
        let file = |file: agent_protocol::FileChange| FileChange {
            path: file.path,
            added: file.added,
            removed: file.removed,
        };
        Self {
            reference: published.reference,
            head: published.head,
            base: published.base,
            commits: published.commits.into_iter().map(commit).collect(),
            files: published.files.into_iter().map(file).collect(),
            is_diff_cut: published.is_diff_cut,
        }
    }
}
