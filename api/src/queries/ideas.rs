//! The ideas of a project with their stages.

use actix_web::{
    get,
    web::{Data, Json},
};
use actors::sealing::Sealing;
use chrono::{DateTime, Utc};
use domain::{
    idea::title::cut_title,
    ids::{IdeaId, ProjectId},
    values::ContentRef,
};
use projections::{
    database::Database,
    idea_board::{self, IdeaRow},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    server::Server,
    texts::Texts,
    wire::{CodingAgentKind, mirrored},
};

mirrored! {
    /// Where an idea is on the board.
    in "snake_case" Stage = domain::idea::Stage { Exploring, Ready, Executing, Done, Parked, }
}

/// What a person wants.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Idea {
    pub id: Uuid,
    pub project: Uuid,
    /// The beginning of the description, or what a model made of it later: one line, at most a hundred characters.
    pub title: String,
    pub description: String,
    pub stage: Stage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked_reason: Option<String>,
    /// The conversation in which it was carried out last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Uuid>,
    /// The newest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Uuid>,
    pub executions: Vec<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub needs_input: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coding_agent: Option<CodingAgentKind>,
}

/// The ideas of a project, oldest first.
#[utoipa::path(responses((status = OK, body = [Idea])))]
#[get("/projects/{project}/ideas")]
pub(crate) async fn ideas(
    caller: Caller,
    project: Id,
    server: Data<Server>,
) -> Result<Json<Vec<Idea>>, Problem> {
    let project = access::project(&server, &caller, ProjectId(project.0)).await?.id;
    Ok(Json(list(server.database(), server.sealing(), project).await?))
}

/// The ideas of a project as documents.
pub(crate) async fn list(
    database: &Database,
    sealing: &Sealing,
    project: ProjectId,
) -> Result<Vec<Idea>, Problem> {
    let rows = idea_board::list(database, project).await?;
    let texts = Texts::read(sealing, rows.iter().flat_map(references)).await?;
    Ok(rows.into_iter().map(|row| document(row, &texts)).collect())
}

/// One idea.
#[utoipa::path(responses((status = OK, body = Idea)))]
#[get("/ideas/{idea}")]
pub(crate) async fn idea(
    caller: Caller,
    id: Id,
    server: Data<Server>,
) -> Result<Json<Idea>, Problem> {
    let row = access::idea(&server, &caller, IdeaId(id.0)).await?;
    let texts = Texts::read(server.sealing(), references(&row)).await?;
    Ok(Json(document(row, &texts)))
}

fn references(row: &IdeaRow) -> impl Iterator<Item = &ContentRef> {
    std::iter::once(&row.description).chain(&row.title)
}

fn document(row: IdeaRow, texts: &Texts) -> Idea {
    let description = texts.get(&row.description);
    let made = row.title.as_ref().filter(|title| !texts.is_erased(title));
    Idea {
        id: row.id.0,
        project: row.project.0,
        title: made.map_or_else(|| cut_title(&description), |title| texts.get(title)),
        description,
        stage: row.stage.into(),
        parked_reason: row.parked_reason,
        session: row.session.map(|id| id.0),
        execution: row.execution.map(|id| id.0),
        executions: row.executions.iter().map(|id| id.0).collect(),
        branch: row.branch,
        created_at: row.created_at,
        updated_at: row.updated_at,
        needs_input: row.needs_input,
        coding_agent: row.coding_agent.map(Into::into),
    }
}
