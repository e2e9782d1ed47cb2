//! What happened in a project, coarsely: what a person did, and how it came out.
//!
//! Most events do not name their project; they name an idea or execution that does, and the query joins them.

use domain::{
    event::Event,
    event_sourced::EventPayload,
    execution::ExecutionEvent,
    idea::IdeaEvent,
    ids::{ExecutionId, IdeaId, ProjectId, SessionId},
    project::ProjectEvent,
    session::SessionEvent,
    values::Timestamp,
};

use crate::{
    columns::ERASED,
    database::Database,
    error::DatabaseError,
    event_log::Position,
    projection::{Projection, Recorded, Writes},
    sql::SqlRow,
    summary::summary,
};

#[derive(Debug)]
pub struct ActivityFeed;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityRow {
    pub position: Position,
    pub at: Timestamp,
    pub idea: Option<IdeaId>,
    pub execution: Option<ExecutionId>,
    pub session: Option<SessionId>,
    /// The event's name.
    pub event: String,
    pub summary: String,
    /// Who sent the command: a kind and an id.
    pub actor: String,
}

const HAPPENED: &str = "
    INSERT INTO activity_feed (position, at, project, idea, execution, session, event, summary, actor)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const PROJECT_ERASED: &str = "UPDATE activity_feed SET summary = $2 WHERE project = $1";
const IDEA_ERASED: &str = "UPDATE activity_feed SET summary = $2 WHERE idea = $1";
const EXECUTION_ERASED: &str = "UPDATE activity_feed SET summary = $2 WHERE execution = $1";
const SESSION_ERASED: &str = "UPDATE activity_feed SET summary = $2 WHERE session = $1";

/// What an event of the feed is about.
#[derive(Default)]
struct About {
    project: Option<ProjectId>,
    idea: Option<IdeaId>,
    execution: Option<ExecutionId>,
    session: Option<SessionId>,
}

impl Projection<Event> for ActivityFeed {
    const NAME: &'static str = "activity_feed";
    const VERSION: u32 = 2;
    const TABLES: &'static [&'static str] = &["activity_feed"];

    fn project(&self, recorded: &Recorded<Event>, writes: &mut Writes) {
        if let Event::Project(project, event) = &recorded.event {
            forget(*project, event, writes);
        }
        let Some((about, event)) = about(&recorded.event) else { return };
        let values = (
            recorded.position,
            recorded.metadata.at,
            about.project.map(|id| id.0),
            about.idea.map(|id| id.0),
            about.execution.map(|id| id.0),
            about.session.map(|id| id.0),
            event,
            summary(&recorded.event),
            &recorded.metadata.actor,
        );
        writes.add(HAPPENED, values);
    }
}

/// Takes the words out of what is kept of an erased project.
fn forget(project: ProjectId, event: &ProjectEvent, writes: &mut Writes) {
    match event {
        ProjectEvent::StreamsErased { streams, .. } => {
            streams.ideas.iter().for_each(|id| writes.add(IDEA_ERASED, (id.0, ERASED)));
            streams.executions.iter().for_each(|id| writes.add(EXECUTION_ERASED, (id.0, ERASED)));
            streams.sessions.iter().for_each(|id| writes.add(SESSION_ERASED, (id.0, ERASED)));
        }
        ProjectEvent::Erased => writes.add(PROJECT_ERASED, (project.0, ERASED)),
        _ => {}
    }
}

fn about(event: &Event) -> Option<(About, String)> {
    Some(match event {
        Event::Project(project, event @ ProjectEvent::Linked { .. }) => {
            (About { project: Some(*project), ..About::default() }, event.stored().0)
        }
        // Nobody did anything; the idea is shown under its newest title anyway.
        Event::Idea(_, IdeaEvent::Titled { .. }) => return None,
        Event::Idea(idea, event) => {
            let mut about = About { idea: Some(*idea), ..About::default() };
            match event {
                IdeaEvent::Drafted { project, .. } => about.project = Some(*project),
                IdeaEvent::ExecutionRequested { project, request } => {
                    about.project = Some(*project);
                    about.execution = Some(request.execution);
                    about.session = Some(request.session);
                }
                IdeaEvent::Done { execution } => about.execution = Some(*execution),
                IdeaEvent::Parked { execution, .. } => about.execution = *execution,
                IdeaEvent::Described { .. }
                | IdeaEvent::Titled { .. }
                | IdeaEvent::MarkedExploring
                | IdeaEvent::MarkedReady => {}
            }
            (about, event.stored().0)
        }
        Event::Execution(
            execution,
            event @ (ExecutionEvent::InputAsked { .. }
            | ExecutionEvent::CancelRequested
            | ExecutionEvent::ResultRecorded { .. }),
        ) => (About { execution: Some(*execution), ..About::default() }, event.stored().0),
        Event::Session(
            session,
            event @ (SessionEvent::PermissionAsked { execution, .. }
            | SessionEvent::AttachmentLost { execution, .. }),
        ) => {
            let (execution, session) = (Some(*execution), Some(*session));
            (About { execution, session, ..About::default() }, event.stored().0)
        }
        _ => return None,
    })
}

/// The newest entries of a project before a position, newest first.
pub async fn list(
    database: &Database,
    project: ProjectId,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<ActivityRow>, DatabaseError> {
    let list = "
        SELECT position, at, idea, execution, session, event, summary, actor FROM activity_feed
        WHERE (project = $1
            OR idea IN (SELECT idea FROM idea_board WHERE project = $1)
            OR execution IN (SELECT execution FROM executions WHERE project = $1))
            AND position < $2
        ORDER BY position DESC LIMIT $3";
    let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
    let rows = database.views().fetch_all(list, (project.0, before, limit)).await?;
    rows.iter().map(activity).collect()
}

fn activity(row: &SqlRow) -> Result<ActivityRow, DatabaseError> {
    Ok(ActivityRow {
        position: row.count("position")?,
        at: row.time("at")?,
        idea: row.uuid_option("idea")?.map(IdeaId),
        execution: row.execution()?,
        session: row.session()?,
        event: row.text("event")?,
        summary: row.text("summary")?,
        actor: row.text("actor")?,
    })
}
