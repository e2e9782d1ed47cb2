//! Machines, and which workspaces sit on them.
//!
//! Whoever looks for a node with room picks its candidates here. The answer may be a little behind. That
//! is safe: `Node::decide` has the last word. Health is not here: heartbeats are never events.

use std::collections::HashMap;

use domain::{
    event::Event,
    ids::{AccountId, ExecutionId, NodeId, WorkspaceId},
    node::NodeEvent,
    values::{ProviderKind, Timestamp},
};
use serde::{Deserialize, Serialize};

use crate::{
    columns::name,
    database::Database,
    error::DatabaseError,
    projection::{Projection, Recorded, Writes},
    sql::SqlRow,
};

#[derive(Debug)]
pub struct NodeDirectory;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    pub id: NodeId,
    pub owner: AccountId,
    pub provider: ProviderKind,
    pub name: String,
    pub state: NodeState,
    /// 0 until it has started.
    pub slots: u8,
    pub placed: Vec<Placement>,
    pub agent_version: Option<String>,
    /// Set while it is empty and kept for reuse.
    pub warm_until: Option<Timestamp>,
    /// Why it failed or was stopped.
    pub reason: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl NodeRow {
    pub fn has_room(&self) -> bool {
        self.state == NodeState::Running && self.placed.len() < usize::from(self.slots)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    Creating,
    Running,
    Stopping,
    Stopped,
    Error,
}

/// A slot that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    pub workspace: WorkspaceId,
    /// None as long as the workspace is not requested.
    pub execution: Option<ExecutionId>,
}

// The local node's id never changes: it is requested again after it stopped.
const REQUESTED: &str = "
    INSERT INTO nodes (node, owner, provider, name, state, slots, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, 0, $6, $6)
    ON CONFLICT (node) DO UPDATE SET owner = excluded.owner, provider = excluded.provider,
        name = excluded.name, state = excluded.state, slots = 0, agent_version = NULL,
        warm_until = NULL, reason = NULL, updated_at = excluded.updated_at";
const STARTED: &str = "
    UPDATE nodes SET state = $2, slots = $3, agent_version = $4, reason = NULL, updated_at = $5
    WHERE node = $1";
const PLACED: &str = "
    INSERT INTO node_placements (workspace, node, position) VALUES ($1, $2, $3)
    ON CONFLICT (workspace) DO UPDATE SET node = excluded.node, position = excluded.position";
const RELEASED: &str = "DELETE FROM node_placements WHERE workspace = $1";
const CLEARED: &str = "DELETE FROM node_placements WHERE node = $1";
const WARMED: &str = "UPDATE nodes SET warm_until = $2, updated_at = $3 WHERE node = $1";
const MOVED: &str = "
    UPDATE nodes SET state = $2, reason = COALESCE($3, reason), warm_until = NULL, updated_at = $4
    WHERE node = $1";

impl Projection<Event> for NodeDirectory {
    const NAME: &'static str = "node_directory";
    const TABLES: &'static [&'static str] = &["nodes", "node_placements"];

    fn project(&self, recorded: &Recorded<Event>, writes: &mut Writes) {
        let Event::Node(node, event) = &recorded.event else { return };
        let (id, at) = (node.0, recorded.metadata.at);
        match event {
            NodeEvent::Requested { spec } => {
                let (provider, state) = (name(&spec.provider), name(&NodeState::Creating));
                writes.add(REQUESTED, (id, spec.owner.0, provider, &spec.name, state, at));
            }
            NodeEvent::Started { slots, version } => {
                writes.add(STARTED, (id, name(&NodeState::Running), *slots, version, at));
            }
            NodeEvent::WorkspacePlaced { workspace } => {
                writes.add(PLACED, (workspace.0, id, recorded.position));
                writes.add(WARMED, (id, None::<Timestamp>, at));
            }
            NodeEvent::WorkspaceReleased { workspace } => writes.add(RELEASED, (workspace.0,)),
            NodeEvent::Warmed { until } => writes.add(WARMED, (id, *until, at)),
            NodeEvent::StopRequested { reason, .. } => {
                writes.add(MOVED, (id, name(&NodeState::Stopping), Some(reason), at));
            }
            NodeEvent::Stopped => {
                writes.add(MOVED, (id, name(&NodeState::Stopped), None::<&str>, at));
                writes.add(CLEARED, (id,));
            }
            NodeEvent::Failed { reason } => {
                writes.add(MOVED, (id, name(&NodeState::Error), Some(reason), at));
                writes.add(CLEARED, (id,));
            }
        }
    }
}

/// All nodes of an owner, oldest first.
pub async fn list(database: &Database, owner: AccountId) -> Result<Vec<NodeRow>, DatabaseError> {
    let list = "SELECT * FROM nodes WHERE owner = $1 ORDER BY created_at, node";
    read(database, list, owner.0).await
}

pub async fn find(database: &Database, id: NodeId) -> Result<Option<NodeRow>, DatabaseError> {
    Ok(read(database, "SELECT * FROM nodes WHERE node = $1", id.0).await?.pop())
}

async fn read(
    database: &Database,
    sql: &str,
    of: uuid::Uuid,
) -> Result<Vec<NodeRow>, DatabaseError> {
    let rows = database.views().fetch_all(sql, (of,)).await?;
    let mut nodes = rows.iter().map(node).collect::<Result<Vec<_>, _>>()?;
    let placements = "SELECT p.node, p.workspace, w.execution FROM node_placements p
        LEFT JOIN workspaces w ON w.workspace = p.workspace ORDER BY p.position";
    let mut on_node: HashMap<NodeId, Vec<Placement>> = HashMap::new();
    for row in database.views().fetch_all(placements, ()).await? {
        let workspace = WorkspaceId(row.uuid("workspace")?);
        let placement = Placement { workspace, execution: row.execution()? };
        on_node.entry(NodeId(row.uuid("node")?)).or_default().push(placement);
    }
    for node in &mut nodes {
        node.placed = on_node.remove(&node.id).unwrap_or_default();
    }
    Ok(nodes)
}

fn node(row: &SqlRow) -> Result<NodeRow, DatabaseError> {
    Ok(NodeRow {
        id: NodeId(row.uuid("node")?),
        owner: AccountId(row.uuid("owner")?),
        provider: row.named("provider")?,
        name: row.text("name")?,
        state: row.named("state")?,
        slots: u8::try_from(row.int("slots")?).unwrap_or(u8::MAX),
        placed: Vec::new(),
        agent_version: row.text_option("agent_version")?,
        warm_until: row.time_option("warm_until")?,
        reason: row.text_option("reason")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}
