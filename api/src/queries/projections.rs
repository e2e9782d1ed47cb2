//! How the read models are: how far behind the log, parked or not; and streams that stand still.

use actix_web::{
    get,
    web::{Data, Json},
};
use chrono::{DateTime, Utc};
use projections::{
    damaged_streams,
    projection_status::{Overview, ProjectionStatus, State},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{caller::Caller, problem::Problem, server::Server};

/// All read models against the head of the log.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Projections {
    /// Position of the newest event.
    pub head: u64,
    pub projections: Vec<Projection>,
    pub damaged_streams: Vec<DamagedStream>,
}

/// A read model.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Projection {
    pub name: String,
    pub state: ProjectionState,
    /// The last event that it shows.
    pub position: u64,
    /// How many events it does not show yet.
    pub lag: u64,
    /// Age of the oldest of them, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<i64>,
    /// Why it is parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The event that it could not take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked_position: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionState {
    Running,
    /// It waits before an event that it could not take. The others go on.
    Parked,
    /// Its tables are made again from the whole log.
    Rebuilding,
}

/// A stream whose events cannot be folded. All others go on.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct DamagedStream {
    pub kind: String,
    pub stream: Uuid,
    /// Of the first event that cannot be folded; 0 where it is not known.
    pub sequence: u64,
    pub reason: String,
}

/// How the read models are.
#[utoipa::path(responses((status = OK, body = Projections)))]
#[get("/projections")]
pub(crate) async fn overview(
    _caller: Caller,
    server: Data<Server>,
) -> Result<Json<Projections>, Problem> {
    let system = server.system();
    let shown = system.projections().await?;
    Ok(Json(document(shown, system.damaged_streams().await?)))
}

pub(crate) fn document(
    shown: Overview,
    damaged: Vec<damaged_streams::DamagedStream>,
) -> Projections {
    Projections {
        head: shown.head,
        projections: shown.projections.into_iter().map(Projection::from).collect(),
        damaged_streams: damaged.into_iter().map(DamagedStream::from).collect(),
    }
}

impl From<ProjectionStatus> for Projection {
    fn from(status: ProjectionStatus) -> Self {
        let (parked_position, reason) =
            status.parked.map(|parked| (parked.position, parked.error)).unzip();
        Self {
            name: status.name,
            state: match status.state {
                State::Running => ProjectionState::Running,
                State::Parked => ProjectionState::Parked,
                State::Rebuilding => ProjectionState::Rebuilding,
            },
            position: status.position,
            lag: status.lag_events,
            lag_ms: status.lag.map(|lag| lag.num_milliseconds()),
            reason,
            parked_position,
            parked_at: status.parked_since,
        }
    }
}

impl From<damaged_streams::DamagedStream> for DamagedStream {
    fn from(damaged: damaged_streams::DamagedStream) -> Self {
        let damaged_streams::DamagedStream { stream, sequence, reason } = damaged;
        Self { kind: stream.kind, stream: stream.id, sequence, reason }
    }
}
