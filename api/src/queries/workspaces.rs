//! The containers of an account, with their boot logs.

use std::collections::HashSet;

use actix_web::{
    get,
    web::{Data, Json},
};
use chrono::{DateTime, Utc};
use domain::{
    ids::{AccountId, WorkspaceId},
    workspace::Phase,
};
use projections::{
    database::Database,
    project_overview,
    workspace_list::{self, BootStep, WorkspaceRow},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    server::Server,
    wire::{Profile, mirrored},
};

mirrored! {
    in "snake_case" BootStepState = domain::agent_protocol::StepState { Started, Completed, Failed, }
}

/// A container on a node, with the repository checked out on a branch.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    pub id: Uuid,
    pub project: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Uuid>,
    pub state: WorkspaceState,
    pub profile: Profile,
    pub branch: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_branch: Option<String>,
    pub boot_log: Vec<BootLogEntry>,
    pub created_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceState {
    Pending,
    Creating,
    Running,
    Recovery,
    Stopping,
    Stopped,
    Error,
    Deleted,
}

/// A provisioning step.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BootLogEntry {
    pub step: String,
    pub state: BootStepState,
    pub detail: String,
    pub at: DateTime<Utc>,
}

/// The containers of the account, newest first.
#[utoipa::path(responses((status = OK, body = [Workspace])))]
#[get("/workspaces")]
pub(crate) async fn workspaces(
    caller: Caller,
    server: Data<Server>,
) -> Result<Json<Vec<Workspace>>, Problem> {
    Ok(Json(list(server.database(), caller.account).await?))
}

/// The containers of an account as documents.
pub(crate) async fn list(database: &Database, owner: AccountId) -> Result<Vec<Workspace>, Problem> {
    let projects = project_overview::list(database, owner).await?;
    let projects: HashSet<_> = projects.into_iter().map(|project| project.id).collect();
    let mut documents = Vec::new();
    for row in workspace_list::list(database).await? {
        if projects.contains(&row.project) && documents.len() < WORKSPACES_MAX {
            let steps = workspace_list::boot_log(database, row.id).await?;
            documents.push(document(row, steps));
        }
    }
    Ok(documents)
}

/// One container with its boot log.
#[utoipa::path(responses((status = OK, body = Workspace)))]
#[get("/workspaces/{workspace}")]
pub(crate) async fn workspace(
    caller: Caller,
    id: Id,
    server: Data<Server>,
) -> Result<Json<Workspace>, Problem> {
    let row = access::workspace(&server, &caller, WorkspaceId(id.0)).await?;
    let steps = workspace_list::boot_log(server.database(), row.id).await?;
    Ok(Json(document(row, steps)))
}

/// Older ones are found through their executions.
const WORKSPACES_MAX: usize = 200;

fn document(row: WorkspaceRow, steps: Vec<BootStep>) -> Workspace {
    let entry = |step: BootStep| BootLogEntry {
        step: step.step,
        state: step.state.into(),
        detail: step.detail,
        at: step.at,
    };
    Workspace {
        id: row.id.0,
        project: row.project.0,
        node: Some(row.node.0),
        execution: row.execution.map(|id| id.0),
        state: match row.state {
            Phase::Creating => WorkspaceState::Creating,
            Phase::Running => WorkspaceState::Running,
            Phase::Failed => WorkspaceState::Error,
            Phase::Stopping => WorkspaceState::Stopping,
            Phase::Stopped => WorkspaceState::Stopped,
        },
        profile: row.profile.into(),
        branch: row.branch,
        base_branch: row.base_branch,
        boot_log: steps.into_iter().map(entry).collect(),
        created_at: row.created_at,
        reason: row.reason,
    }
}
