//! The machines of an account.

use actix_web::{
    get,
    web::{Data, Json},
};
use chrono::{DateTime, Utc};
use domain::ids::NodeId;
use projections::node_directory::{self, NodeRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    server::{Link, Server},
    wire::ProviderKind,
};

/// A machine that carries workspaces.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub id: Uuid,
    pub name: String,
    pub provider: ProviderKind,
    pub state: NodeState,
    /// Until when it is kept although it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_until: Option<DateTime<Utc>>,
    /// How many workspaces it may carry.
    pub slots: u8,
    pub placed: Vec<PlacedWorkspace>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<String>,
    /// The container engine, as it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Its agent is connected.
    pub is_healthy: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    Pending,
    Creating,
    Running,
    Stopping,
    Stopped,
    Error,
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacedWorkspace {
    pub workspace: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Uuid>,
}

/// The machines of the account.
#[utoipa::path(responses((status = OK, body = [Node])))]
#[get("/nodes")]
pub(crate) async fn nodes(
    caller: Caller,
    server: Data<Server>,
) -> Result<Json<Vec<Node>>, Problem> {
    let rows = node_directory::list(server.database(), caller.account).await?;
    Ok(Json(
        rows.into_iter()
            .map(|row| {
                let link = server.link(row.id);
                document(row, link)
            })
            .collect(),
    ))
}

/// One machine.
#[utoipa::path(responses((status = OK, body = Node)))]
#[get("/nodes/{node}")]
pub(crate) async fn node(
    caller: Caller,
    id: Id,
    server: Data<Server>,
) -> Result<Json<Node>, Problem> {
    let row = access::node(&server, &caller, NodeId(id.0)).await?;
    let link = server.link(row.id);
    Ok(Json(document(row, link)))
}

pub(crate) fn document(row: NodeRow, link: Link) -> Node {
    Node {
        id: row.id.0,
        name: row.name,
        provider: row.provider.into(),
        state: match row.state {
            node_directory::NodeState::Creating => NodeState::Creating,
            node_directory::NodeState::Running => NodeState::Running,
            node_directory::NodeState::Stopping => NodeState::Stopping,
            node_directory::NodeState::Stopped => NodeState::Stopped,
            node_directory::NodeState::Error => NodeState::Error,
        },
        warm_until: row.warm_until,
        slots: row.slots,
        placed: row
            .placed
            .iter()
            .map(|placed| PlacedWorkspace {
                workspace: placed.workspace.0,
                execution: placed.execution.map(|id| id.0),
            })
            .collect(),
        agent_version: row.agent_version,
        engine: link.engine,
        is_healthy: link.is_connected,
        last_heartbeat_at: link.heard_at,
        created_at: row.created_at,
        reason: row.reason,
    }
}
