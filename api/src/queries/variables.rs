//! The variables of a project. The value of a secret one is never read back.

use actix_web::{
    get,
    web::{Data, Json},
};
use actors::sealing::Sealing;
use chrono::{DateTime, Utc};
use domain::ids::ProjectId;
use projections::{
    database::Database,
    variable_list::{self, VariableRow},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    server::Server,
    texts::Texts,
};

/// What every workspace of a project has in its environment.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    pub name: String,
    pub is_secret: bool,
    /// Absent where it is secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    pub set_at: DateTime<Utc>,
}

/// The variables of a project, by their names.
#[utoipa::path(responses((status = OK, body = [Variable])))]
#[get("/projects/{project}/variables")]
pub(crate) async fn variables(
    caller: Caller,
    id: Id,
    server: Data<Server>,
) -> Result<Json<Vec<Variable>>, Problem> {
    let project = access::project(&server, &caller, ProjectId(id.0)).await?.id;
    Ok(Json(list(server.database(), server.sealing(), project).await?))
}

/// The same as documents.
pub(crate) async fn list(
    database: &Database,
    sealing: &Sealing,
    project: ProjectId,
) -> Result<Vec<Variable>, Problem> {
    let rows = variable_list::list(database, project).await?;
    let texts = Texts::read(sealing, rows.iter().filter_map(|row| row.value.as_ref())).await?;
    let document = |row: VariableRow| Variable {
        value: row.value.as_ref().map(|value| texts.get(value)),
        name: row.name,
        is_secret: row.is_secret,
        set_at: row.set_at,
    };
    Ok(rows.into_iter().map(document).collect())
}
