//! The conversations of a project.

use actix_web::{
    get,
    web::{Data, Json},
};
use chrono::{DateTime, Utc};
use domain::{
    idea::title::{cut_title, on_one_line},
    ids::{ProjectId, SessionId},
    values::ContentRef,
};
use projections::chat_transcript::{self, SessionRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    server::Server,
    texts::Texts,
    wire::CodingAgentKind,
};

/// One conversation. It outlives every workspace.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    pub id: Uuid,
    pub project: Uuid,
    /// The newest idea that was carried out in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idea: Option<Uuid>,
    pub title: String,
    pub state: SessionState,
    /// The newest execution that happened in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coding_agent: Option<CodingAgentKind>,
    pub updated_at: DateTime<Utc>,
    /// The beginning of the newest message.
    pub preview: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    Idle,
    Working,
    NeedsInput,
    Closed,
}

/// The conversations of a project, the most recently used first.
#[utoipa::path(responses((status = OK, body = [Session])))]
#[get("/projects/{project}/sessions")]
pub(crate) async fn sessions(
    caller: Caller,
    project: Id,
    server: Data<Server>,
) -> Result<Json<Vec<Session>>, Problem> {
    let project = access::project(&server, &caller, ProjectId(project.0)).await?.id;
    let rows = chat_transcript::list(server.database(), project).await?;
    let texts = Texts::read(server.sealing(), rows.iter().flat_map(references)).await?;
    Ok(Json(rows.into_iter().map(|row| document(row, &texts)).collect()))
}

/// One conversation.
#[utoipa::path(responses((status = OK, body = Session)))]
#[get("/sessions/{session}")]
pub(crate) async fn session(
    caller: Caller,
    id: Id,
    server: Data<Server>,
) -> Result<Json<Session>, Problem> {
    let row = access::session(&server, &caller, SessionId(id.0)).await?;
    let texts = Texts::read(server.sealing(), references(&row)).await?;
    Ok(Json(document(row, &texts)))
}

fn references(row: &SessionRow) -> impl Iterator<Item = &ContentRef> {
    row.title.iter().chain(&row.preview)
}

fn document(row: SessionRow, texts: &Texts) -> Session {
    let text = |text: &Option<ContentRef>| text.as_ref().map(|text| texts.get(text));
    Session {
        id: row.id.0,
        project: row.project.0,
        idea: row.idea.map(|id| id.0),
        title: text(&row.title).map(|text| cut_title(&text)).unwrap_or_default(),
        state: match row.state {
            chat_transcript::SessionState::Idle => SessionState::Idle,
            chat_transcript::SessionState::Working => SessionState::Working,
            chat_transcript::SessionState::NeedsInput => SessionState::NeedsInput,
        },
        execution: row.execution.map(|id| id.0),
        coding_agent: row.coding_agent.map(Into::into),
        updated_at: row.updated_at,
        preview: text(&row.preview).map(|text| on_one_line(&text)).unwrap_or_default(),
    }
}
