//! What happened in a project, coarsely: what people did, and how it came out.

use actix_web::{
    get,
    web::{Data, Json, Query},
};
use chrono::{DateTime, Utc};
use domain::ids::ProjectId;
use projections::{
    activity_feed::{self, ActivityRow},
    actor_names::ActorNames,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    server::Server,
};

const ENTRIES_DEFAULT: usize = 50;
const ENTRIES_MAX: usize = 200;

/// A page of what happened, newest first.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    pub entries: Vec<ActivityEntry>,
    /// Ask for older ones with `before` = this; none: there are no older ones.
    pub next: Option<u64>,
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActivityEntry {
    pub position: u64,
    pub at: DateTime<Utc>,
    pub idea: Option<Uuid>,
    pub execution: Option<Uuid>,
    pub session: Option<Uuid>,
    pub event: String,
    pub summary: String,
    /// Who, in words.
    pub actor: String,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ActivityPage {
    /// Only entries before this position; absent: the newest.
    before: Option<u64>,
    /// How many, at most 200; absent: 50.
    limit: Option<usize>,
}

/// What happened in a project, newest first.
#[utoipa::path(params(ActivityPage), responses((status = OK, body = Activity)))]
#[get("/projects/{project}/activity")]
pub(crate) async fn activity(
    caller: Caller,
    id: Id,
    page: Query<ActivityPage>,
    server: Data<Server>,
) -> Result<Json<Activity>, Problem> {
    let project = access::project(&server, &caller, ProjectId(id.0)).await?.id;
    let limit = page.limit.unwrap_or(ENTRIES_DEFAULT).clamp(1, ENTRIES_MAX);
    // One more than asked for tells whether there are older ones.
    let mut rows = activity_feed::list(server.database(), project, page.before, limit + 1).await?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let names = ActorNames::read(server.database()).await?;
    let next = rows.last().map(|row| row.position).filter(|_| has_more);
    let entries = rows.into_iter().map(|row| entry(row, &names)).collect();
    Ok(Json(Activity { entries, next }))
}

fn entry(row: ActivityRow, names: &ActorNames) -> ActivityEntry {
    ActivityEntry {
        position: row.position,
        at: row.at,
        idea: row.idea.map(|id| id.0),
        execution: row.execution.map(|id| id.0),
        session: row.session.map(|id| id.0),
        event: row.event,
        summary: row.summary,
        actor: names.in_words(&row.actor),
    }
}
