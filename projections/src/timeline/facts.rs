//! What an account is folded from: the events that an execution involves, in order.
//!
//! The index names those of idea, node and session. The streams that are the execution's alone, those of
//! its processes among them, are read whole: no projection folds a process.

use std::collections::BTreeSet;

use domain::{
    aggregate::Aggregate,
    event::Event,
    ids::WorkspaceId,
    process::{
        Action, Process as _, ProcessEvent,
        close_workspace::CloseWorkspace,
        open_workspace::OpenWorkspace,
        run_execution::{RunExecution, workspace_of},
    },
};

use crate::{
    database::Database,
    error::DatabaseError,
    event_index,
    event_log::{EventLog, Position, RecordedEvent, StreamId},
    execution_timeline::ExecutionRow,
    read_models,
};

const EVENTS_PER_READ: usize = 512;

/// One event, as recorded and as understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub recorded: RecordedEvent,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    Event(Event),
    Reacted(ProcessEvent),
    /// Why this program cannot read the event.
    Unreadable(String),
}

impl Fact {
    /// Reads an event of an aggregate or of a process.
    #[must_use]
    pub fn of(recorded: RecordedEvent) -> Self {
        let what = match read_models::decode(&recorded) {
            Ok(Some(event)) => What::Event(event),
            Ok(None) => match read_models::decode_process(&recorded) {
                Ok(event) => What::Reacted(event),
                Err(reason) => What::Unreadable(reason),
            },
            Err(reason) => What::Unreadable(reason),
        };
        Self { recorded, what }
    }
}

/// The streams that an execution involves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Involved {
    /// Those that are its own from their first event to their last.
    pub own: Vec<StreamId>,
    /// Those that it shares: idea, session, node.
    pub shared: Vec<StreamId>,
}

impl Involved {
    #[must_use]
    pub fn of(execution: &ExecutionRow) -> Self {
        let id = execution.id.0;
        let WorkspaceId(workspace) = execution.workspace.unwrap_or(workspace_of(execution.id));
        let mut shared = vec![
            StreamId::new("idea", execution.idea.0),
            StreamId::new("session", execution.session.0),
        ];
        shared.extend(execution.node.map(|node| StreamId::new("node", node.0)));
        Self {
            own: vec![
                StreamId::new("execution", id),
                StreamId::new("workspace", workspace),
                StreamId::new(RunExecution::TYPE, id),
                StreamId::new(OpenWorkspace::TYPE, workspace),
                StreamId::new(CloseWorkspace::TYPE, workspace),
            ],
            shared,
        }
    }

    pub(crate) fn contains(&self, stream: &StreamId) -> bool {
        self.own.contains(stream) || self.shared.contains(stream)
    }
}

/// Everything that an execution involves up to a position, in order.
pub async fn collect(
    database: &Database,
    log: &EventLog,
    execution: &ExecutionRow,
    up_to: Position,
) -> Result<Vec<Fact>, DatabaseError> {
    let involved = Involved::of(execution);
    let mut found = Vec::new();
    for stream in &involved.own {
        found.extend(whole_stream(log, stream, up_to).await?);
    }
    // Among them a node, which may never come to carry the execution's workspace.
    let told: BTreeSet<StreamId> = found.iter().flat_map(told_in).collect();
    let read: BTreeSet<Position> = found.iter().map(|event| event.position).collect();
    let mut wanted: Vec<Position> = event_index::of_execution(database, execution.id)
        .await?
        .into_iter()
        .map(|row| row.position)
        .filter(|position| *position <= up_to && !read.contains(position))
        .collect();
    found.extend(log.read_positions(&wanted).await?);
    let first = found.iter().map(|event| event.position).min().unwrap_or(up_to);
    let last = found.iter().map(|event| event.position).max().unwrap_or(up_to);
    // What nobody could read is in no index; it may have been about this execution.
    wanted = event_index::undecoded(database, first, last).await?;
    wanted.retain(|position| !read.contains(position));
    let undecoded = log.read_positions(&wanted).await?.into_iter();
    let is_involved = |stream: &StreamId| involved.contains(stream) || told.contains(stream);
    found.extend(undecoded.filter(|event| is_involved(&event.stream)));
    found.sort_by_key(|event| event.position);
    found.dedup_by_key(|event| event.position);
    Ok(found.into_iter().map(Fact::of).collect())
}

/// The streams to which a process wanted commands sent.
pub(crate) fn told_in(recorded: &RecordedEvent) -> Vec<StreamId> {
    if Aggregate::new(&recorded.stream.kind).is_some() {
        return Vec::new();
    }
    let Ok(ProcessEvent::Reacted { intents, .. }) = read_models::decode_process(recorded) else {
        return Vec::new();
    };
    let told = intents.iter().filter_map(|intent| match &intent.action {
        Action::Tell(command) => {
            let (kind, id) = command.stream();
            Some(StreamId::new(kind, id))
        }
        _ => None,
    });
    told.collect()
}

/// All events of a stream up to a position.
pub(crate) async fn whole_stream(
    log: &EventLog,
    stream: &StreamId,
    up_to: Position,
) -> Result<Vec<RecordedEvent>, DatabaseError> {
    let mut found: Vec<RecordedEvent> = Vec::new();
    loop {
        let after = found.last().map_or(0, |event| event.sequence);
        let page = log.read_stream(stream, after, EVENTS_PER_READ).await?;
        let is_end =
            page.len() < EVENTS_PER_READ || page.last().is_some_and(|event| event.position > up_to);
        found.extend(page.into_iter().filter(|event| event.position <= up_to));
        if is_end {
            return Ok(found);
        }
    }
}
