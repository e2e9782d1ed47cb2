//! Whose things are whose: every id that a request names is looked up here first.
//!
//! What belongs to somebody else does not exist for the caller.

use domain::ids::{ExecutionId, IdeaId, NodeId, ProjectId, SessionId, WorkspaceId};
use projections::{
    chat_transcript::{self, SessionRow},
    execution_timeline::{self, ExecutionRow},
    idea_board::{self, IdeaRow},
    node_directory::{self, NodeRow},
    project_overview::{self, ProjectRow},
    workspace_list::{self, WorkspaceRow},
};

use tokio::time::Instant;

use crate::{caller::Caller, problem::Problem, reading::WAIT_PERIOD_MAX, server::Server};

/// A project of the caller's.
pub async fn project(
    server: &Server,
    caller: &Caller,
    id: ProjectId,
) -> Result<ProjectRow, Problem> {
    let row = project_overview::find(server.database(), id).await?;
    row.filter(|row| row.owner == caller.account).ok_or_else(|| Problem::not_found("project"))
}

/// An idea in a project of the caller's.
pub async fn idea(server: &Server, caller: &Caller, id: IdeaId) -> Result<IdeaRow, Problem> {
    let unknown = || Problem::not_found("idea");
    let row = idea_board::find(server.database(), id).await?.ok_or_else(unknown)?;
    project(server, caller, row.project).await.map_err(|_| unknown())?;
    Ok(row)
}

/// An execution in a project of the caller's.
///
/// It may have been requested a moment ago and not exist yet: then this waits for it, so that whoever
/// submitted an idea can go to its execution at once.
pub async fn execution(
    server: &Server,
    caller: &Caller,
    id: ExecutionId,
) -> Result<ExecutionRow, Problem> {
    let unknown = || Problem::not_found("execution");
    let deadline = Instant::now() + WAIT_PERIOD_MAX;
    let row = loop {
        let mut shown = server.system().projected();
        shown.mark_unchanged();
        if let Some(row) = execution_timeline::find(server.database(), id).await? {
            break row;
        }
        if idea_board::idea_of(server.database(), id).await?.is_none() {
            return Err(unknown());
        }
        let moved = tokio::time::timeout_at(deadline, shown.changed()).await;
        moved.map_err(|_| unknown())?.map_err(|_| unknown())?;
    };
    project(server, caller, row.project).await.map_err(|_| unknown())?;
    Ok(row)
}

/// A session in a project of the caller's; waits for one that was requested a moment ago.
pub async fn session(
    server: &Server,
    caller: &Caller,
    id: SessionId,
) -> Result<SessionRow, Problem> {
    let unknown = || Problem::not_found("session");
    let deadline = Instant::now() + WAIT_PERIOD_MAX;
    let row = loop {
        let mut shown = server.system().projected();
        shown.mark_unchanged();
        if let Some(row) = chat_transcript::find(server.database(), id).await? {
            break row;
        }
        if !idea_board::is_session_requested(server.database(), id).await? {
            return Err(unknown());
        }
        let moved = tokio::time::timeout_at(deadline, shown.changed()).await;
        moved.map_err(|_| unknown())?.map_err(|_| unknown())?;
    };
    project(server, caller, row.project).await.map_err(|_| unknown())?;
    Ok(row)
}

/// A workspace in a project of the caller's.
pub async fn workspace(
    server: &Server,
    caller: &Caller,
    id: WorkspaceId,
) -> Result<WorkspaceRow, Problem> {
    let unknown = || Problem::not_found("workspace");
    let row = workspace_list::find(server.database(), id).await?.ok_or_else(unknown)?;
    project(server, caller, row.project).await.map_err(|_| unknown())?;
    Ok(row)
}

/// A node of the caller's.
pub async fn node(server: &Server, caller: &Caller, id: NodeId) -> Result<NodeRow, Problem> {
    let row = node_directory::find(server.database(), id).await?;
    row.filter(|row| row.owner == caller.account).ok_or_else(|| Problem::not_found("node"))
}
