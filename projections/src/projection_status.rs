//! How each projection is: how far behind the log, parked or not, and what was asked of it.
//!
//! Requests are rows, because the process that people ask need not be the one that projects.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    checkpoint::{Checkpoint, Checkpoints, Parked},
    database::Database,
    error::DatabaseError,
    event_log::{EventLog, Position},
    sql::SqlPool,
};

/// What a person may ask of a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A parked one is to try again at the event that stopped it.
    Retry,
    /// Its tables are to be made again from the whole log.
    Rebuild,
}

impl Request {
    fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Rebuild => "rebuild",
        }
    }
}

/// The table of requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Requests {
    pool: SqlPool,
}

impl Requests {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.views().clone() }
    }

    /// Asks; a rebuild that was asked for already stands.
    pub async fn ask(&self, name: &str, request: Request) -> Result<(), DatabaseError> {
        let ask = "INSERT INTO projection_requests (name, request) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET request = excluded.request
            WHERE projection_requests.request <> 'rebuild'";
        self.pool.execute(ask, (name, request.word())).await?;
        Ok(())
    }

    /// What was asked and is not done yet, by the names of projections.
    pub async fn list(&self) -> Result<HashMap<String, Request>, DatabaseError> {
        let list = "SELECT name, request FROM projection_requests";
        let rows = self.pool.fetch_all(list, ()).await?;
        let requests = rows.iter().map(|row| {
            let request = match row.text("request")?.as_str() {
                "retry" => Request::Retry,
                _ => Request::Rebuild,
            };
            Ok((row.text("name")?, request))
        });
        requests.collect()
    }

    pub(crate) async fn done(&self, name: &str) -> Result<(), DatabaseError> {
        self.pool.execute("DELETE FROM projection_requests WHERE name = $1", (name,)).await?;
        Ok(())
    }
}

/// What a projection does at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    /// It waits before an event that it could not take.
    Parked,
    /// Its tables are made again beside the old ones.
    Rebuilding,
}

/// A projection as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectionStatus {
    pub name: String,
    pub state: State,
    /// The last event that it shows.
    pub position: Position,
    /// How many events it does not show yet.
    pub lag_events: u64,
    /// The age of the oldest of them; none where that event cannot be read.
    pub lag: Option<TimeDelta>,
    pub parked: Option<Parked>,
    pub parked_since: Option<DateTime<Utc>>,
}

/// All projections against the head of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    pub head: Position,
    pub projections: Vec<ProjectionStatus>,
}

/// How the named projections are. `now` is what ages are counted to.
pub async fn overview(
    database: &Database,
    log: &EventLog,
    names: &[&str],
    now: DateTime<Utc>,
) -> Result<Overview, DatabaseError> {
    let requests = Requests::new(database).list().await?;
    // Checkpoints first: one that moves meanwhile is not ahead of the head then.
    let checkpoints = Checkpoints::new(database).list().await?;
    let head = log.head().await?;
    let mut ages = HashMap::new();
    let mut projections = Vec::with_capacity(names.len());
    for name in names {
        let found = checkpoints.iter().find(|checkpoint| checkpoint.name == *name);
        let checkpoint = found.cloned().unwrap_or_else(|| Checkpoint::start(name));
        let Checkpoint { name, position, parked, parked_since, .. } = checkpoint;
        let lag = match ages.get(&position) {
            Some(age) => *age,
            None => {
                let age = age_after(log, position, head, now).await?;
                ages.insert(position, age);
                age
            }
        };
        let state = match (requests.get(&name), &parked) {
            (Some(Request::Rebuild), _) => State::Rebuilding,
            (_, Some(_)) => State::Parked,
            (_, None) => State::Running,
        };
        let lag_events = head.saturating_sub(position);
        projections.push(ProjectionStatus {
            name,
            state,
            position,
            lag_events,
            lag,
            parked,
            parked_since,
        });
    }
    Ok(Overview { head, projections })
}

/// How long ago the first event after `position` was sent.
async fn age_after(
    log: &EventLog,
    position: Position,
    head: Position,
    now: DateTime<Utc>,
) -> Result<Option<TimeDelta>, DatabaseError> {
    if position >= head {
        return Ok(Some(TimeDelta::zero()));
    }
    let next = log.read_all(position, 1).await?;
    // Clocks differ: an event from the future is as old as one of this moment.
    Ok(next.first().map(|event| (now - event.metadata.at).max(TimeDelta::zero())))
}
