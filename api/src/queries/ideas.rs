//! The ideas of a project with their stages.

use actix_web::{
    get,
    web::{Data, Json},
};
use actors::sealing::Sealing;
use chrono::{DateTime, Utc};
use domain::ids::{IdeaId, ProjectId};
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
    /// The first hundred characters of the description at most.
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
    let texts = Texts::read(sealing, rows.iter().map(|row| &row.description)).await?;
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
    let texts = Texts::read(server.sealing(), [&row.description]).await?;
    Ok(Json(document(row, &texts)))
}

fn document(row: IdeaRow, texts: &Texts) -> Idea {
    let description = texts.get(&row.description);
    Idea {
        id: row.id.0,
        project: row.project.0,
        title: title(&description),
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

const TITLE_CHARS_MAX: usize = 100;

/// What a text is called: its first line that says anything, a hundred characters at most.
pub(crate) fn title(text: &str) -> String {
    beginning(text.trim_start().lines().next().unwrap_or_default())
}

/// The beginning of a text, on one line.
pub(crate) fn beginning(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= TITLE_CHARS_MAX {
        return line;
    }
    let cut: String = line.chars().take(TITLE_CHARS_MAX - 1).collect();
    format!("{}…", cut.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_line_of_a_hundred_characters_at_most() {
        assert_eq!(title("\n Fix  the\ttests \nall of them"), "Fix the tests");
        assert_eq!(beginning(" Fix\n the  tests "), "Fix the tests");
        let long = title(&"ä".repeat(200));
        assert_eq!(long.chars().count(), TITLE_CHARS_MAX);
        assert!(long.ends_with('…'));
    }
}
