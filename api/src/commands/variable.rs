//! Setting and removing the variables that the workspaces of a project get.

use actix_web::{
    HttpResponse, delete, put,
    web::{Data, Json, Path},
};
use actors::variables::NewVariable;
use domain::ids::ProjectId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{access, caller::Caller, problem::Problem, server::Server, wire::Accepted};

/// A variable for the workspaces that are opened from now on.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetVariable {
    pub value: String,
    /// The value is never readable again.
    #[serde(default)]
    pub is_secret: bool,
}

/// Sets a variable of a project, in place of the one of that name if there is one.
#[utoipa::path(operation_id = "set_variable", responses((status = ACCEPTED, body = Accepted)))]
#[put("/projects/{project}/variables/{name}")]
pub(crate) async fn set(
    caller: Caller,
    path: Path<(String, String)>,
    body: Json<SetVariable>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let (project, name) = project_of(&server, &caller, path).await?;
    let SetVariable { value, is_secret } = body.into_inner();
    let new = NewVariable { name, value, is_secret };
    let (variables, limits) = (&server.system().variables, server.settings().variable_limits());
    let position = variables.set(&caller.person(), project, new, limits).await?;
    Ok(HttpResponse::Accepted().json(Accepted::at(position)))
}

/// Removes a variable of a project; one that is not there is removed.
#[utoipa::path(operation_id = "remove_variable", responses((status = ACCEPTED, body = Accepted)))]
#[delete("/projects/{project}/variables/{name}")]
pub(crate) async fn remove(
    caller: Caller,
    path: Path<(String, String)>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let (project, name) = project_of(&server, &caller, path).await?;
    let position = server.system().variables.remove(&caller.person(), project, name).await?;
    Ok(HttpResponse::Accepted().json(Accepted::at(position)))
}

async fn project_of(
    server: &Server,
    caller: &Caller,
    path: Path<(String, String)>,
) -> Result<(ProjectId, String), Problem> {
    let (project, name) = path.into_inner();
    let project = project.parse().map_err(|_| Problem::not_found("project"))?;
    server.settled().await;
    Ok((access::project(server, caller, project).await?.id, name))
}
