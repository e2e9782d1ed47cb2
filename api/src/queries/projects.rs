//! The projects of an account.

use actix_web::{
    get,
    web::{Data, Json},
};
use chrono::{DateTime, Utc};
use domain::ids::ProjectId;
use projections::project_overview::{self, ProjectRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    server::Server,
    wire::{CodingAgentKind, Permissions, Profile, ProviderKind},
};

/// A linked repository with its sessions and ideas.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    pub id: Uuid,
    pub name: String,
    pub repository: String,
    pub created_at: DateTime<Utc>,
    pub defaults: ProjectDefaults,
    /// Executions that have not ended.
    pub n_executing: u64,
    pub last_activity_at: DateTime<Utc>,
    /// Its texts were destroyed. It is in no list any more; what it had can be reached by its id, without texts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_erased: bool,
}

/// What an execution takes where nobody says otherwise.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProjectDefaults {
    /// Absent: a real coding agent if its key is there, else the demo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coding_agent: Option<CodingAgentKind>,
    pub profile: Profile,
    pub permissions: Permissions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_size: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderKind>,
}

/// The projects of the account, the most recently active first.
#[utoipa::path(responses((status = OK, body = [Project])))]
#[get("/projects")]
pub(crate) async fn projects(
    caller: Caller,
    server: Data<Server>,
) -> Result<Json<Vec<Project>>, Problem> {
    let rows = project_overview::list(server.database(), caller.account).await?;
    Ok(Json(rows.into_iter().map(Project::from).collect()))
}

/// One project.
#[utoipa::path(responses((status = OK, body = Project)))]
#[get("/projects/{project}")]
pub(crate) async fn project(
    caller: Caller,
    id: Id,
    server: Data<Server>,
) -> Result<Json<Project>, Problem> {
    let row = access::project(&server, &caller, ProjectId(id.0)).await?;
    Ok(Json(row.into()))
}

impl From<ProjectRow> for Project {
    fn from(row: ProjectRow) -> Self {
        Self {
            is_erased: row.is_erased(),
            id: row.id.0,
            name: row.name,
            repository: row.repository,
            created_at: row.created_at,
            defaults: row.defaults.into(),
            n_executing: row.n_executing,
            last_activity_at: row.last_activity_at,
        }
    }
}

impl From<domain::project::ProjectDefaults> for ProjectDefaults {
    fn from(defaults: domain::project::ProjectDefaults) -> Self {
        Self {
            coding_agent: defaults.coding_agent.map(Into::into),
            profile: defaults.profile.unwrap_or_default().into(),
            permissions: defaults.permissions.map_or(Permissions::Allow, Into::into),
            vm_size: defaults.vm_size,
            provider: defaults.provider.map(Into::into),
        }
    }
}

impl From<ProjectDefaults> for domain::project::ProjectDefaults {
    fn from(defaults: ProjectDefaults) -> Self {
        Self {
            coding_agent: defaults.coding_agent.map(Into::into),
            profile: Some(defaults.profile.into()),
            permissions: Some(defaults.permissions.into()),
            vm_size: defaults.vm_size,
            provider: defaults.provider.map(Into::into),
        }
    }
}
