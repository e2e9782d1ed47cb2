//! A log of projects that were linked and renamed again and again.

use anyhow::Result;
use chrono::{DateTime, Utc};
use domain::{
    event_sourced::{EventPayload as _, canonical_json},
    ids::AccountId,
    project::ProjectEvent,
};
use futures_util::future::try_join_all;
use projections::event_log::{Append, EventLog, FIRST_HASH, Metadata, NewEvent, StreamId};
use tests::world::random;
use uuid::Uuid;

const EVENTS_PER_STREAM: usize = 20;
/// Of all streams that are written at once.
const EVENTS_AT_ONCE: usize = 1000;

/// Writes so many events, and tells the ids of the projects.
pub(crate) async fn write(log: &EventLog, n_events: usize) -> Result<Vec<Uuid>> {
    write_streams(log, n_events / EVENTS_PER_STREAM, EVENTS_PER_STREAM).await
}

/// Writes so many projects of so many events each, and tells their ids.
pub(crate) async fn write_streams(
    log: &EventLog,
    n_streams: usize,
    n_events: usize,
) -> Result<Vec<Uuid>> {
    let projects: Vec<Uuid> = (0..n_streams).map(|_| random()).collect();
    for projects in projects.chunks((EVENTS_AT_ONCE / n_events).max(1)) {
        let appends = projects.iter().map(|id| log.append(history(*id, n_events)));
        try_join_all(appends).await?;
    }
    Ok(projects)
}

pub(crate) fn history(project: Uuid, n_events: usize) -> Append {
    let command = random();
    let at: DateTime<Utc> = DateTime::UNIX_EPOCH;
    let event = |number: usize| {
        let name = format!("project {number}");
        let event = match number {
            0 => ProjectEvent::Linked {
                owner: AccountId(random()),
                repository: "https://example.com/team/project.git".to_owned(),
                name,
            },
            _ => ProjectEvent::Renamed { name },
        };
        let (event_type, payload) = event.stored();
        NewEvent { event_type, event_version: "1".to_owned(), payload: canonical_json(&payload) }
    };
    Append {
        stream: StreamId::new("project", project),
        expected: 0,
        previous_hash: FIRST_HASH,
        project: Some(project),
        epoch: None,
        metadata: Metadata {
            actor: "bench".to_owned(),
            command,
            causation: None,
            correlation: command,
            at,
        },
        events: (0..n_events).map(event).collect(),
        contents: Vec::new(),
    }
}
