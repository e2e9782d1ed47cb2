//! Containers with their boot logs.

use domain::{
    agent_protocol::StepState,
    event::Event,
    ids::{ExecutionId, NodeId, ProjectId, WorkspaceId},
    project::ProjectEvent,
    values::{Profile, Timestamp},
    workspace::{Phase, WorkspaceEvent},
};

use crate::{
    columns::{self, name},
    database::Database,
    error::DatabaseError,
    event_log::Position,
    projection::{Projection, Recorded, Writes},
    sql::SqlRow,
};

#[derive(Debug)]
pub struct WorkspaceList;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceRow {
    pub id: WorkspaceId,
    pub project: ProjectId,
    pub node: NodeId,
    pub execution: Option<ExecutionId>,
    pub state: Phase,
    pub profile: Profile,
    pub repository: String,
    pub branch: String,
    /// As it was asked for, or as the node found it.
    pub base_branch: Option<String>,
    pub base_commit: Option<String>,
    /// Why it failed, or why it was stopped.
    pub reason: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootStep {
    pub position: Position,
    pub step: String,
    pub state: StepState,
    pub detail: String,
    pub at: Timestamp,
}

const REQUESTED: &str = "
    INSERT INTO workspaces (workspace, project, node, execution, state, profile, repository, branch,
        base_branch, created_position, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)";
const BOOTED: &str = "
    INSERT INTO workspace_boot_steps (workspace, position, step, state, detail, at)
    VALUES ($1, $2, $3, $4, $5, $6)";
const STARTED: &str = "
    UPDATE workspaces SET state = $2, base_branch = $3, base_commit = $4, reason = NULL,
        updated_at = $5
    WHERE workspace = $1";
const FAILED: &str =
    "UPDATE workspaces SET state = $2, reason = $3, updated_at = $4 WHERE workspace = $1";
// What went wrong matters more than that it was cleaned up then.
const STOP_REQUESTED: &str = "
    UPDATE workspaces SET state = $2, reason = COALESCE(reason, $3), updated_at = $4
    WHERE workspace = $1";
const ERASED: &str = "
    UPDATE workspaces SET repository = '', branch = $2, base_branch = NULL, reason = NULL
    WHERE workspace = $1";
const BOOT_ERASED: &str = "UPDATE workspace_boot_steps SET detail = $2 WHERE workspace = $1";
const STOPPED: &str = "UPDATE workspaces SET state = $2, updated_at = $3 WHERE workspace = $1";

impl Projection<Event> for WorkspaceList {
    const NAME: &'static str = "workspace_list";
    const TABLES: &'static [&'static str] = &["workspaces", "workspace_boot_steps"];

    fn project(&self, recorded: &Recorded<Event>, writes: &mut Writes) {
        if let Event::Project(_, ProjectEvent::StreamsErased { streams, .. }) = &recorded.event {
            for workspace in &streams.workspaces {
                writes.add(ERASED, (workspace.0, columns::ERASED));
                writes.add(BOOT_ERASED, (workspace.0, columns::ERASED));
            }
        }
        let Event::Workspace(workspace, event) = &recorded.event else { return };
        let (id, position, at) = (workspace.0, recorded.position, recorded.metadata.at);
        match event {
            WorkspaceEvent::Requested { execution, spec } => {
                let values = (
                    id,
                    spec.project.0,
                    spec.node.0,
                    execution.map(|execution| execution.0),
                    name(&Phase::Creating),
                    name(&spec.profile),
                    &spec.repository,
                    &spec.branch,
                    &spec.base_branch,
                    position,
                    at,
                );
                writes.add(REQUESTED, values);
            }
            WorkspaceEvent::BootStepRecorded { step, state, detail } => {
                writes.add(BOOTED, (id, position, step, name(state), detail, at));
            }
            WorkspaceEvent::Started { base_branch, base_commit, .. } => {
                let running = name(&Phase::Running);
                writes.add(STARTED, (id, running, base_branch, base_commit, at));
            }
            WorkspaceEvent::Failed { reason, .. } => {
                writes.add(FAILED, (id, name(&Phase::Failed), reason, at));
            }
            WorkspaceEvent::StopRequested { reason, .. } => {
                writes.add(STOP_REQUESTED, (id, name(&Phase::Stopping), reason, at));
            }
            WorkspaceEvent::Stopped => writes.add(STOPPED, (id, name(&Phase::Stopped), at)),
        }
    }
}

/// All workspaces, newest first.
pub async fn list(database: &Database) -> Result<Vec<WorkspaceRow>, DatabaseError> {
    let list = "SELECT * FROM workspaces ORDER BY created_position DESC";
    database.views().fetch_all(list, ()).await?.iter().map(workspace).collect()
}

pub async fn find(
    database: &Database,
    id: WorkspaceId,
) -> Result<Option<WorkspaceRow>, DatabaseError> {
    let find = "SELECT * FROM workspaces WHERE workspace = $1";
    database.views().fetch_optional(find, (id.0,)).await?.as_ref().map(workspace).transpose()
}

/// The boot log of one workspace, in order.
pub async fn boot_log(
    database: &Database,
    id: WorkspaceId,
) -> Result<Vec<BootStep>, DatabaseError> {
    let list = "SELECT position, step, state, detail, at FROM workspace_boot_steps
        WHERE workspace = $1 ORDER BY position";
    database.views().fetch_all(list, (id.0,)).await?.iter().map(boot_step).collect()
}

fn workspace(row: &SqlRow) -> Result<WorkspaceRow, DatabaseError> {
    Ok(WorkspaceRow {
        id: WorkspaceId(row.uuid("workspace")?),
        project: row.project()?,
        node: NodeId(row.uuid("node")?),
        execution: row.execution()?,
        state: row.named("state")?,
        profile: row.named("profile")?,
        repository: row.text("repository")?,
        branch: row.text("branch")?,
        base_branch: row.text_option("base_branch")?,
        base_commit: row.text_option("base_commit")?,
        reason: row.text_option("reason")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

fn boot_step(row: &SqlRow) -> Result<BootStep, DatabaseError> {
    Ok(BootStep {
        position: row.count("position")?,
        step: row.text("step")?,
        state: row.named("state")?,
        detail: row.text("detail")?,
        at: row.time("at")?,
    })
}
