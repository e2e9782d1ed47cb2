//! Who did what when: the log itself, newest first or oldest first, through filters.
//!
//! There is no copy of the events, so nothing can be missing here that is in the log. Only which stream belongs to which
//! project is a table of its own, since most events do not name theirs.

use std::collections::HashMap;

use chrono::{DateTime, SecondsFormat, Utc};
use domain::{
    event::Event, execution::ExecutionEvent, idea::IdeaEvent, ids::ProjectId,
    session::SessionEvent, workspace::WorkspaceEvent,
};
use uuid::Uuid;

use crate::{
    database::Database,
    error::DatabaseError,
    event_log::{Cause, EVENT_COLUMNS, Position, RecordedEvent, StreamId, recorded_events},
    projection::{Projection, Recorded, Writes},
    read_models,
    sql::Value,
    summary::summary,
};

/// Which stream belongs to which project.
#[derive(Debug)]
pub struct AuditTrail;

const BELONGS: &str = "
    INSERT INTO audit_streams (stream, project) VALUES ($1, $2)
    ON CONFLICT (stream) DO UPDATE SET project = excluded.project";

impl Projection<Event> for AuditTrail {
    const NAME: &'static str = "audit_trail";
    const TABLES: &'static [&'static str] = &["audit_streams"];

    fn project(&self, recorded: &Recorded<Event>, writes: &mut Writes) {
        let project = match &recorded.event {
            Event::Project(project, _) if recorded.sequence == 1 => project,
            Event::Idea(
                _,
                IdeaEvent::Drafted { project, .. } | IdeaEvent::ExecutionRequested { project, .. },
            )
            | Event::Execution(_, ExecutionEvent::Requested { project, .. })
            | Event::Session(_, SessionEvent::Opened { project }) => project,
            Event::Workspace(_, WorkspaceEvent::Requested { spec, .. }) => &spec.project,
            _ => return,
        };
        writes.add(BELONGS, (recorded.stream.id, project.0));
    }
}

/// Which entries are wanted. What is absent does not matter.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub actor: Option<String>,
    /// Of the stream, for example `idea`.
    pub kind: Option<String>,
    /// The name of the event.
    pub event: Option<String>,
    pub project: Option<ProjectId>,
    /// Recorded at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Recorded before this time.
    pub until: Option<DateTime<Utc>>,
}

/// From where, and in which direction.
#[derive(Clone, Copy, Debug)]
pub enum AuditPage {
    /// Newest first, from the end of the log or from before a position.
    Before(Option<Position>),
    /// Oldest first, from behind a position.
    After(Position),
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub position: Position,
    pub at: DateTime<Utc>,
    /// An account, a process, an agent.
    pub actor: String,
    pub stream: StreamId,
    pub sequence: u64,
    pub event: String,
    /// One sentence, without personal text; of a process's event, its name.
    pub summary: String,
    pub command: Uuid,
    pub cause: Option<Cause>,
    pub project: Option<ProjectId>,
}

/// Reads one page of at most `limit` entries.
pub async fn list(
    database: &Database,
    filter: &AuditFilter,
    page: AuditPage,
    limit: usize,
) -> Result<Vec<AuditEntry>, DatabaseError> {
    let mut query = Query::default();
    let order = match page {
        AuditPage::Before(before) => {
            if let Some(before) = before {
                query.and("position <", before);
            }
            "DESC"
        }
        AuditPage::After(after) => {
            query.and("position >", after);
            "ASC"
        }
    };
    if let Some(kind) = &filter.kind {
        query.and_of_streams(database, "aggregate_type =", kind);
    }
    if let Some(event) = &filter.event {
        query.and("event_type =", event);
    }
    if let Some(actor) = &filter.actor {
        query.and(&format!("{} =", metadata_field(database, "actor")), actor);
    }
    // Stored with six places and a Z, so that texts sort as times do.
    let text = |time: &DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
    let at = metadata_field(database, "at");
    if let Some(from) = &filter.from {
        query.and(&format!("{at} >="), text(from));
    }
    if let Some(until) = &filter.until {
        query.and(&format!("{at} <"), text(until));
    }
    if let Some(project) = filter.project {
        query.and_stream_among(database, &streams_of(database, project).await?);
    }
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM events WHERE {} ORDER BY position {order} LIMIT {limit}",
        query.conditions.join(" AND ")
    );
    let events = recorded_events(&database.log().fetch_all(&sql, query.values).await?)?;
    let projects = projects_of(database, &events).await?;
    Ok(events.into_iter().map(|event| entry(event, &projects)).collect())
}

/// A field of an event's metadata; null where that is damaged, or one such row would have the database refuse to
/// tell of any other.
fn metadata_field(database: &Database, name: &str) -> String {
    let is_readable = match database.log().is_postgres() {
        // It keeps nothing but JSON there, and yet reads none in which one of these is escaped.
        true => r"CAST(metadata AS TEXT) !~ '\\u(0000|[dD][89a-fA-F])'",
        false => "json_valid(metadata)",
    };
    format!("CASE WHEN {is_readable} THEN metadata ->> '{name}' END")
}

struct Query {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Default for Query {
    fn default() -> Self {
        Self { conditions: vec!["position > 0".to_owned()], values: Vec::new() }
    }
}

impl Query {
    fn and(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.conditions.push(format!("{condition} ${}", self.values.len()));
    }

    fn and_of_streams(&mut self, database: &Database, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        let condition = format!("{condition} ${}", self.values.len());
        self.conditions.push(database.log().of_streams(&condition));
    }

    /// The ids travel as one JSON text: there may be thousands.
    fn and_stream_among(&mut self, database: &Database, streams: &[Uuid]) {
        self.values.push(serde_json::json!(streams).to_string().into());
        let n = self.values.len();
        let condition = match database.log().is_postgres() {
            true => format!("aggregate_id IN (SELECT json_array_elements_text(${n}::json))"),
            false => format!("aggregate_id IN (SELECT value FROM json_each(${n}))"),
        };
        self.conditions.push(database.log().of_streams(&condition));
    }
}

async fn streams_of(database: &Database, project: ProjectId) -> Result<Vec<Uuid>, DatabaseError> {
    let list = "SELECT stream FROM audit_streams WHERE project = $1";
    let rows = database.views().fetch_all(list, (project.0,)).await?;
    rows.iter().map(|row| row.uuid("stream")).collect()
}

async fn projects_of(
    database: &Database,
    events: &[RecordedEvent],
) -> Result<HashMap<Uuid, ProjectId>, DatabaseError> {
    const IDS_PER_QUERY: usize = 500;
    let mut ids: Vec<Uuid> = events.iter().map(|event| event.stream.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut projects = HashMap::new();
    for ids in ids.chunks(IDS_PER_QUERY) {
        let places: Vec<String> = (1..=ids.len()).map(|n| format!("${n}")).collect();
        let find = format!(
            "SELECT stream, project FROM audit_streams WHERE stream IN ({})",
            places.join(", ")
        );
        let values: Vec<Value> = ids.iter().map(Into::into).collect();
        for row in database.views().fetch_all(&find, values).await? {
            projects.insert(row.uuid("stream")?, ProjectId(row.uuid("project")?));
        }
    }
    Ok(projects)
}

fn entry(event: RecordedEvent, projects: &HashMap<Uuid, ProjectId>) -> AuditEntry {
    let decoded = read_models::decode(&event).ok().flatten();
    AuditEntry {
        position: event.position,
        at: event.metadata.at,
        actor: event.metadata.actor,
        project: projects.get(&event.stream.id).copied(),
        stream: event.stream,
        sequence: event.sequence,
        summary: decoded.map_or_else(|| event.event_type.clone(), |event| summary(&event)),
        event: event.event_type,
        command: event.metadata.command,
        cause: event.metadata.causation,
    }
}
