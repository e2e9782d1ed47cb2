//! Which events an execution involves, over all streams: idea, execution, node, workspace and session.
//!
//! Streamed text and usage are left out: the transcript has the one, and they are many. Payloads stay in
//! the log, under the positions given here.

use domain::{
    account::AccountEvent,
    event::Event,
    execution::ExecutionEvent,
    idea::IdeaEvent,
    ids::{ExecutionId, ProjectId, WorkspaceId},
    node::NodeEvent,
    project::{ErasedStreams, ProjectEvent},
    session::SessionEvent,
    values::Timestamp,
    workspace::WorkspaceEvent,
};
use uuid::Uuid;

use crate::{
    columns::ERASED,
    database::Database,
    error::DatabaseError,
    event_log::{Position, StreamId},
    projection::{Projection, Recorded, Writes},
    sql::SqlRow,
    summary::summary,
};

#[derive(Debug)]
pub struct EventIndex;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    pub position: Position,
    pub at: Timestamp,
    pub stream: StreamId,
    /// The event's name.
    pub event: String,
    pub summary: String,
    /// Who sent the command: an account, a process, an agent.
    pub actor: String,
    /// The position of an event or the id of a command.
    pub causation: Option<String>,
    pub correlation: Uuid,
}

const HAPPENED: &str = "
    INSERT INTO event_index (position, at, kind, stream, event, summary, actor, causation,
        correlation, execution, workspace)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

const STREAM_ERASED: &str = "UPDATE event_index SET summary = $2 WHERE stream = $1";

impl Projection<Event> for EventIndex {
    const NAME: &'static str = "event_index";
    const TABLES: &'static [&'static str] = &["event_index"];

    fn project(&self, recorded: &Recorded<Event>, writes: &mut Writes) {
        let event = &recorded.event;
        if let Event::Session(
            _,
            SessionEvent::SegmentRecorded(_) | SessionEvent::UsageRecorded { .. },
        ) = event
        {
            return;
        }
        match event {
            Event::Project(project, event) => forget(*project, event, writes),
            Event::Account(account, AccountEvent::Erased) => {
                writes.add(STREAM_ERASED, (account.0, ERASED));
            }
            _ => {}
        }
        let (execution, workspace) = involved(event);
        let metadata = &recorded.metadata;
        let values = (
            recorded.position,
            metadata.at,
            &recorded.stream.kind,
            recorded.stream.id,
            event.stored().0,
            summary(event),
            &metadata.actor,
            metadata.causation.map(|cause| cause.to_string()),
            metadata.correlation,
            execution.map(|id| id.0),
            workspace.map(|id| id.0),
        );
        writes.add(HAPPENED, values);
    }
}

/// Takes the words out of what is kept of an erased project's streams.
fn forget(project: ProjectId, event: &ProjectEvent, writes: &mut Writes) {
    match event {
        ProjectEvent::StreamsErased { streams, .. } => {
            let ErasedStreams { ideas, executions, sessions, workspaces } = &**streams;
            let ideas = ideas.iter().map(|id| id.0);
            let others = executions.iter().map(|id| id.0).chain(sessions.iter().map(|id| id.0));
            for stream in ideas.chain(others).chain(workspaces.iter().map(|id| id.0)) {
                writes.add(STREAM_ERASED, (stream, ERASED));
            }
        }
        ProjectEvent::Erased => writes.add(STREAM_ERASED, (project.0, ERASED)),
        _ => {}
    }
}

/// The execution and the workspace that an event names.
fn involved(event: &Event) -> (Option<ExecutionId>, Option<WorkspaceId>) {
    let execution = match event {
        Event::Idea(_, IdeaEvent::ExecutionRequested { request, .. }) => Some(request.execution),
        Event::Idea(_, IdeaEvent::Done { execution }) => Some(*execution),
        Event::Idea(_, IdeaEvent::Parked { execution, .. }) => *execution,
        Event::Execution(execution, _) => Some(*execution),
        Event::Workspace(
            _,
            WorkspaceEvent::Requested { execution, .. }
            | WorkspaceEvent::Started { execution, .. }
            | WorkspaceEvent::Failed { execution, .. },
        ) => *execution,
        Event::Session(
            _,
            SessionEvent::ExecutionBegun { execution, .. }
            | SessionEvent::MessagePosted { execution, .. }
            | SessionEvent::AttachmentBegun { execution, .. }
            | SessionEvent::PermissionAsked { execution, .. }
            | SessionEvent::PermissionAnswered { execution, .. }
            | SessionEvent::TurnEnded { execution, .. }
            | SessionEvent::AttachmentLost { execution, .. }
            | SessionEvent::ExecutionEnded { execution },
        ) => Some(*execution),
        _ => None,
    };
    let workspace = match event {
        Event::Workspace(workspace, _)
        | Event::Node(
            _,
            NodeEvent::WorkspacePlaced { workspace } | NodeEvent::WorkspaceReleased { workspace },
        )
        | Event::Execution(_, ExecutionEvent::Placed { workspace, .. }) => Some(*workspace),
        _ => None,
    };
    (execution, workspace)
}

/// Everything that an execution involves, in order: what names it or its workspace, what its session
/// recorded between its beginning and its end, and what followed from the same wish of a person. Until that end
/// the session's newest events are among it, too: whoever follows it never has to look back.
pub async fn of_execution(
    database: &Database,
    execution: ExecutionId,
) -> Result<Vec<EventRow>, DatabaseError> {
    let list = "
        SELECT position, at, kind, stream, event, summary, actor, causation, correlation
        FROM event_index
        WHERE execution = $1
            OR workspace IN (SELECT w.workspace FROM event_index w
                WHERE w.execution = $1 AND w.workspace IS NOT NULL)
            OR correlation IN (SELECT b.correlation FROM event_index b
                WHERE b.execution = $1 AND b.event = 'execution_requested')
            OR position IN (SELECT s.position FROM event_index s
                JOIN (SELECT stream, MIN(position) AS first, COALESCE(
                        MAX(CASE WHEN event = 'execution_ended' THEN position END),
                        9223372036854775807) AS last
                    FROM event_index WHERE execution = $1 AND kind = 'session' GROUP BY stream) r
                ON s.stream = r.stream AND s.position BETWEEN r.first AND r.last)
        ORDER BY position";
    let rows = database.views().fetch_all(list, (execution.0,)).await?;
    rows.iter().map(event).collect()
}

/// Events between two positions that no read model could be told of.
pub async fn undecoded(
    database: &Database,
    first: Position,
    last: Position,
) -> Result<Vec<Position>, DatabaseError> {
    let list = "SELECT position FROM undecoded_events WHERE position BETWEEN $1 AND $2
        ORDER BY position";
    let rows = database.views().fetch_all(list, (first, last)).await?;
    rows.iter().map(|row| row.count("position")).collect()
}

fn event(row: &SqlRow) -> Result<EventRow, DatabaseError> {
    Ok(EventRow {
        position: row.count("position")?,
        at: row.time("at")?,
        stream: StreamId { kind: row.text("kind")?, id: row.uuid("stream")? },
        event: row.text("event")?,
        summary: row.text("summary")?,
        actor: row.text("actor")?,
        causation: row.text_option("causation")?,
        correlation: row.uuid("correlation")?,
    })
}
