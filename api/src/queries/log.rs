//! The log itself, for the command line: what was recorded, without the texts it refers to.

use std::time::Duration;

use actix_web::{
    get,
    web::{Data, Json, Query},
};
use chrono::{DateTime, Utc};
use projections::event_log::RecordedEvent;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{caller::Caller, problem::Problem, server::Server};

const ENTRIES_MAX: usize = 500;
const WAIT_SECONDS_MAX: u64 = 30;

/// An event as it is in the log.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    pub position: u64,
    pub at: DateTime<Utc>,
    pub kind: String,
    pub stream: Uuid,
    pub sequence: u64,
    pub event: String,
    pub version: String,
    pub by: String,
    pub command: Uuid,
    pub correlation: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    pub payload: Value,
}

/// Which part of the log.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Only entries behind this position.
    #[serde(default)]
    from: u64,
    /// How long to wait for an entry if there is none.
    #[serde(default)]
    wait_seconds: u64,
}

/// Entries of the log, at most a few hundred at a time.
#[get("/log")]
pub(crate) async fn log(
    _caller: Caller,
    part: Query<Part>,
    server: Data<Server>,
) -> Result<Json<Vec<LogEntry>>, Problem> {
    let mut head = server.log().watch();
    let period = Duration::from_secs(part.wait_seconds.min(WAIT_SECONDS_MAX));
    // Whether it came or not: what is there is the answer.
    let _ = tokio::time::timeout(period, head.wait_for(|head| *head > part.from)).await;
    let events = server.log().read_all(part.from, ENTRIES_MAX).await?;
    Ok(Json(events.into_iter().map(LogEntry::from).collect()))
}

impl From<RecordedEvent> for LogEntry {
    fn from(event: RecordedEvent) -> Self {
        let payload = serde_json::from_str(&event.payload);
        Self {
            position: event.position,
            at: event.metadata.at,
            kind: event.stream.kind,
            stream: event.stream.id,
            sequence: event.sequence,
            event: event.event_type,
            version: event.event_version,
            by: event.metadata.actor,
            command: event.metadata.command,
            correlation: event.metadata.correlation,
            cause: event.metadata.causation.map(|cause| cause.to_string()),
            payload: payload.unwrap_or(Value::String(event.payload)),
        }
    }
}
