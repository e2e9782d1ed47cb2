//! The ideas of a project with their stages; cards of the board.
//!
//! Read next: [`crate::execution_timeline`] for one execution in detail.

use std::collections::HashMap;

use domain::{
    agent_protocol::CodingAgentKind,
    event::Event,
    execution::ExecutionEvent,
    idea::{IdeaEvent, Stage},
    ids::{ExecutionId, IdeaId, ProjectId, SessionId},
    project::ProjectEvent,
    values::{ContentRef, Timestamp},
};

use crate::{
    columns::{json, name},
    database::Database,
    error::DatabaseError,
    projection::{Projection, Recorded, Writes},
    sql::SqlRow,
};

#[derive(Debug)]
pub struct IdeaBoard;

#[derive(Clone, Debug, PartialEq)]
pub struct IdeaRow {
    pub id: IdeaId,
    pub project: ProjectId,
    pub stage: Stage,
    pub description: ContentRef,
    /// A better title than the beginning of the description.
    pub title: Option<ContentRef>,
    /// Why it is parked; none in other stages.
    pub parked_reason: Option<String>,
    /// The newest execution, with what was asked of it.
    pub execution: Option<ExecutionId>,
    pub session: Option<SessionId>,
    pub branch: Option<String>,
    pub coding_agent: Option<CodingAgentKind>,
    /// All executions, oldest first.
    pub executions: Vec<ExecutionId>,
    /// A person has to decide how to go on, or to give a permission.
    pub needs_input: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

const DRAFTED: &str = "
    INSERT INTO idea_board (idea, project, stage, description, needs_input, created_position,
        created_at, updated_at)
    VALUES ($1, $2, $3, $4, FALSE, $5, $6, $6)";
const DESCRIBED: &str = "
    UPDATE idea_board SET description = $2, title = NULL, updated_at = $3 WHERE idea = $1";
const TITLED: &str = "UPDATE idea_board SET title = $2 WHERE idea = $1";
const MOVED: &str = "
    UPDATE idea_board SET stage = $2, parked_reason = $3, needs_input = FALSE, updated_at = $4
    WHERE idea = $1";
const REQUESTED: &str = "
    UPDATE idea_board SET stage = $2, parked_reason = NULL, execution = $3, session = $4,
        branch = $5, coding_agent = $6, needs_input = FALSE, updated_at = $7
    WHERE idea = $1";
const ERASED: &str = "UPDATE idea_board SET parked_reason = NULL, branch = NULL WHERE idea = $1";
const EXECUTION: &str =
    "INSERT INTO idea_executions (execution, idea, position) VALUES ($1, $2, $3)";
const INPUT: &str = "UPDATE idea_board SET needs_input = $2, updated_at = $3 WHERE execution = $1";
const TOUCHED: &str = "UPDATE idea_board SET updated_at = $2 WHERE execution = $1";

impl Projection<Event> for IdeaBoard {
    const NAME: &'static str = "idea_board";
    const TABLES: &'static [&'static str] = &["idea_board", "idea_executions"];

    fn project(&self, recorded: &Recorded<Event>, writes: &mut Writes) {
        let at = recorded.metadata.at;
        match &recorded.event {
            Event::Idea(idea, event) => write_idea(*idea, event, recorded, writes),
            Event::Execution(execution, event) => match event {
                ExecutionEvent::InputAsked { .. } => writes.add(INPUT, (execution.0, true, at)),
                ExecutionEvent::InputAnswered { .. }
                | ExecutionEvent::CancelRequested
                | ExecutionEvent::FinishBegun { .. } => {
                    writes.add(INPUT, (execution.0, false, at));
                }
                _ => writes.add(TOUCHED, (execution.0, at)),
            },
            Event::Project(_, ProjectEvent::StreamsErased { streams, .. }) => {
                streams.ideas.iter().for_each(|idea| writes.add(ERASED, (idea.0,)));
            }
            _ => {}
        }
    }
}

fn write_idea(idea: IdeaId, event: &IdeaEvent, recorded: &Recorded<Event>, writes: &mut Writes) {
    let (at, position) = (recorded.metadata.at, recorded.position);
    let mut moved = |stage: Stage, reason: Option<&str>| {
        writes.add(MOVED, (idea.0, name(&stage), reason, at));
    };
    match event {
        IdeaEvent::Drafted { project, description } => {
            let (stage, description) = (name(&Stage::Exploring), json(description));
            writes.add(DRAFTED, (idea.0, project.0, stage, description, position, at));
        }
        IdeaEvent::Described { description } => {
            writes.add(DESCRIBED, (idea.0, json(description), at));
        }
        IdeaEvent::Titled { title } => writes.add(TITLED, (idea.0, json(title))),
        IdeaEvent::MarkedExploring => moved(Stage::Exploring, None),
        IdeaEvent::MarkedReady => moved(Stage::Ready, None),
        IdeaEvent::Done { .. } => moved(Stage::Done, None),
        IdeaEvent::Parked { reason, .. } => moved(Stage::Parked, Some(reason)),
        IdeaEvent::ExecutionRequested { request, .. } => {
            let values = (
                idea.0,
                name(&Stage::Executing),
                request.execution.0,
                request.session.0,
                &request.settings.branch,
                name(&request.settings.coding_agent),
                at,
            );
            writes.add(REQUESTED, values);
            writes.add(EXECUTION, (request.execution.0, idea.0, position));
        }
    }
}

// A permission is asked in the session; the idea waits for it as long as its execution is there.
const SELECT: &str = "
    SELECT i.*, EXISTS (
        SELECT 1 FROM chat_sessions s WHERE s.execution = i.execution AND s.n_open_permissions > 0
    ) AS is_asked
    FROM idea_board i";

/// The ideas of a project, oldest first.
pub async fn list(database: &Database, project: ProjectId) -> Result<Vec<IdeaRow>, DatabaseError> {
    let list = format!("{SELECT} WHERE i.project = $1 ORDER BY i.created_position");
    let rows = database.views().fetch_all(&list, (project.0,)).await?;
    let executions = "SELECT e.idea, e.execution FROM idea_executions e
        JOIN idea_board i ON i.idea = e.idea WHERE i.project = $1 ORDER BY e.position";
    let mut of_idea: HashMap<IdeaId, Vec<ExecutionId>> = HashMap::new();
    for row in database.views().fetch_all(executions, (project.0,)).await? {
        let execution = ExecutionId(row.uuid("execution")?);
        of_idea.entry(IdeaId(row.uuid("idea")?)).or_default().push(execution);
    }
    let mut ideas = rows.iter().map(idea).collect::<Result<Vec<_>, _>>()?;
    for idea in &mut ideas {
        idea.executions = of_idea.remove(&idea.id).unwrap_or_default();
    }
    Ok(ideas)
}

pub async fn find(database: &Database, id: IdeaId) -> Result<Option<IdeaRow>, DatabaseError> {
    let find = format!("{SELECT} WHERE i.idea = $1");
    let Some(row) = database.views().fetch_optional(&find, (id.0,)).await? else { return Ok(None) };
    let mut found = idea(&row)?;
    let executions = "SELECT execution FROM idea_executions WHERE idea = $1 ORDER BY position";
    for row in database.views().fetch_all(executions, (id.0,)).await? {
        found.executions.push(ExecutionId(row.uuid("execution")?));
    }
    Ok(Some(found))
}

/// The idea that an execution was requested for, whether or not the execution exists by now.
pub async fn idea_of(
    database: &Database,
    execution: ExecutionId,
) -> Result<Option<IdeaId>, DatabaseError> {
    let find = "SELECT idea FROM idea_executions WHERE execution = $1";
    let row = database.views().fetch_optional(find, (execution.0,)).await?;
    row.map(|row| row.uuid("idea").map(IdeaId)).transpose()
}

/// Tells whether an execution was requested in a session, whether or not the session exists by now.
pub async fn is_session_requested(
    database: &Database,
    session: SessionId,
) -> Result<bool, DatabaseError> {
    let find = "SELECT idea FROM idea_board WHERE session = $1 LIMIT 1";
    Ok(database.views().fetch_optional(find, (session.0,)).await?.is_some())
}

fn idea(row: &SqlRow) -> Result<IdeaRow, DatabaseError> {
    Ok(IdeaRow {
        id: IdeaId(row.uuid("idea")?),
        project: row.project()?,
        stage: row.named("stage")?,
        description: row.json("description")?,
        title: row.json_option("title")?,
        parked_reason: row.text_option("parked_reason")?,
        execution: row.execution()?,
        session: row.session()?,
        branch: row.text_option("branch")?,
        coding_agent: row.named_option("coding_agent")?,
        executions: Vec::new(),
        needs_input: row.bool("needs_input")? || row.bool("is_asked")?,
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}
