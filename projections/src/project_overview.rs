//! The linked projects, with how much happens in each and when something last did.
//!
//! Most events of ideas and sessions do not name their project. So each idea and session has a small
//! row that does, and the numbers are counted when they are asked for.

use domain::{
    event::Event,
    idea::IdeaEvent,
    ids::{AccountId, ExecutionId, IdeaId, ProjectId, SessionId, WorkspaceId},
    project::{ErasedStreams, ProjectDefaults, ProjectEvent},
    session::SessionEvent,
    values::Timestamp,
};
use uuid::Uuid;

use crate::{
    columns::{ERASED, json},
    database::Database,
    error::DatabaseError,
    projection::{Projection, Recorded, Writes},
    sql::SqlRow,
};

#[derive(Debug)]
pub struct ProjectOverview;

#[derive(Clone, Debug, PartialEq)]
pub struct ProjectRow {
    pub id: ProjectId,
    pub owner: AccountId,
    pub repository: String,
    pub name: String,
    pub defaults: ProjectDefaults,
    pub created_at: Timestamp,
    /// Ideas that are being executed now.
    pub n_executing: u64,
    pub last_activity_at: Timestamp,
}

impl ProjectRow {
    /// Its texts were destroyed: what is left is that it was there. No other project is without an address.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.repository.is_empty()
    }
}

const LINKED: &str = "
    INSERT INTO project_overview (project, owner, repository, name, defaults, created_at)
    VALUES ($1, $2, $3, $4, $5, $6)";
const GONE: &str = "
    UPDATE project_overview SET name = $2, repository = '', defaults = $3 WHERE project = $1";
const MOVED: &str = "UPDATE project_activity SET active_at = $2 WHERE stream = $1";
const BEGUN: &str = "
    INSERT INTO project_activity (stream, project, is_executing, active_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (stream) DO UPDATE SET is_executing = excluded.is_executing,
        active_at = excluded.active_at";
const ENDED: &str =
    "UPDATE project_activity SET is_executing = FALSE, active_at = $2 WHERE stream = $1";

impl Projection<Event> for ProjectOverview {
    const NAME: &'static str = "project_overview";
    const TABLES: &'static [&'static str] = &["project_overview", "project_activity"];

    fn project(&self, recorded: &Recorded<Event>, writes: &mut Writes) {
        let at = recorded.metadata.at;
        match &recorded.event {
            Event::Project(project, event) => write_project(*project, event, at, writes),
            Event::Idea(idea, event) => write_idea(idea.0, event, at, writes),
            Event::Session(session, SessionEvent::Opened { project }) => {
                writes.add(BEGUN, (session.0, project.0, false, at));
            }
            Event::Session(
                session,
                SessionEvent::MessagePosted { .. }
                | SessionEvent::TurnEnded { .. }
                | SessionEvent::ExecutionEnded { .. },
            ) => writes.add(MOVED, (session.0, at)),
            _ => {}
        }
    }
}

fn write_project(project: ProjectId, event: &ProjectEvent, at: Timestamp, writes: &mut Writes) {
    match event {
        ProjectEvent::Linked { owner, repository, name } => {
            let defaults = json(&ProjectDefaults::default());
            writes.add(LINKED, (project.0, owner.0, repository, name, defaults, at));
        }
        ProjectEvent::Renamed { name } => {
            writes
                .add("UPDATE project_overview SET name = $2 WHERE project = $1", (project.0, name));
        }
        ProjectEvent::DefaultsChanged { defaults } => {
            let changed = "UPDATE project_overview SET defaults = $2 WHERE project = $1";
            writes.add(changed, (project.0, json(defaults)));
        }
        ProjectEvent::VariableSet { .. }
        | ProjectEvent::VariableRemoved { .. }
        | ProjectEvent::ErasureRequested
        | ProjectEvent::StreamsErased { .. } => {}
        ProjectEvent::Erased => {
            writes.add(GONE, (project.0, ERASED, json(&ProjectDefaults::default())));
        }
    }
}

fn write_idea(idea: Uuid, event: &IdeaEvent, at: Timestamp, writes: &mut Writes) {
    match event {
        IdeaEvent::Drafted { project, .. } => writes.add(BEGUN, (idea, project.0, false, at)),
        IdeaEvent::ExecutionRequested { project, .. } => {
            writes.add(BEGUN, (idea, project.0, true, at));
        }
        IdeaEvent::Done { .. } | IdeaEvent::Parked { .. } => writes.add(ENDED, (idea, at)),
        IdeaEvent::Described { .. } | IdeaEvent::MarkedExploring | IdeaEvent::MarkedReady => {
            writes.add(MOVED, (idea, at));
        }
        // Nobody did anything.
        IdeaEvent::Titled { .. } => {}
    }
}

/// The projects of an account, the most recently active first. Erased ones can only be found by their id.
pub async fn list(database: &Database, owner: AccountId) -> Result<Vec<ProjectRow>, DatabaseError> {
    let list = format!("{SELECT} WHERE p.owner = $1 AND p.repository <> ''");
    let rows = database.views().fetch_all(&list, (owner.0,)).await?;
    let mut projects = rows.iter().map(project).collect::<Result<Vec<_>, _>>()?;
    projects.sort_by_key(|project| (std::cmp::Reverse(project.last_activity_at), project.id));
    Ok(projects)
}

pub async fn find(database: &Database, id: ProjectId) -> Result<Option<ProjectRow>, DatabaseError> {
    let find = format!("{SELECT} WHERE p.project = $1");
    database.views().fetch_optional(&find, (id.0,)).await?.as_ref().map(project).transpose()
}

/// The streams of a project, as far as the read models know them, each kind in the order of its ids.
pub async fn streams(database: &Database, id: ProjectId) -> Result<ErasedStreams, DatabaseError> {
    let ids = async |column: &str, table: &str| {
        let list =
            format!("SELECT {column} AS id FROM {table} WHERE project = $1 ORDER BY {column}");
        let rows = database.views().fetch_all(&list, (id.0,)).await?;
        rows.iter().map(|row| row.uuid("id")).collect::<Result<Vec<Uuid>, DatabaseError>>()
    };
    let ideas = ids("idea", "idea_board").await?;
    let executions = ids("execution", "executions").await?;
    let sessions = ids("session", "chat_sessions").await?;
    let workspaces = ids("workspace", "workspaces").await?;
    Ok(ErasedStreams {
        ideas: ideas.into_iter().map(IdeaId).collect(),
        executions: executions.into_iter().map(ExecutionId).collect(),
        sessions: sessions.into_iter().map(SessionId).collect(),
        workspaces: workspaces.into_iter().map(WorkspaceId).collect(),
    })
}

const SELECT: &str = "
    SELECT p.project, p.owner, p.repository, p.name, p.defaults, p.created_at,
        (SELECT COUNT(*) FROM project_activity a WHERE a.project = p.project AND a.is_executing)
            AS n_executing,
        (SELECT MAX(a.active_at) FROM project_activity a WHERE a.project = p.project) AS active_at
    FROM project_overview p";

fn project(row: &SqlRow) -> Result<ProjectRow, DatabaseError> {
    let created_at = row.time("created_at")?;
    Ok(ProjectRow {
        id: row.project()?,
        owner: AccountId(row.uuid("owner")?),
        repository: row.text("repository")?,
        name: row.text("name")?,
        defaults: row.json("defaults")?,
        created_at,
        n_executing: row.count("n_executing")?,
        last_activity_at: row.time_option("active_at")?.unwrap_or(created_at),
    })
}
