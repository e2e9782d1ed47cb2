//! The account of one execution over all streams: phases, events, causes, attempts and durations.

use std::collections::BTreeSet;

use actix_web::{
    get,
    web::{Data, Json, Query},
};
use actors::{
    clock::{Clock as _, system::SystemClock},
    sealing::Sealing,
};
use chrono::{DateTime, Utc};
use domain::{agent_protocol, ids::ExecutionId, values};
use projections::{
    actor_names::ActorNames,
    database::Database,
    event_log::{self, EventLog, Position},
    execution_timeline::ExecutionRow,
    timeline::{self as folded, EntryKind, PhaseName},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    server::Server,
    texts::{ERASED, Texts},
    wire::mirrored,
};

const COMMIT_ID_SHOWN: usize = 10;

/// Who did what in one execution, in order.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    pub execution: Uuid,
    pub idea: Uuid,
    /// It is complete up to here.
    pub position: u64,
    pub requested_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub phases: Vec<TimelinePhase>,
    pub entries: Vec<TimelineEntry>,
}

/// A stretch of an execution. Finishing has the push within it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelinePhase {
    pub phase: TimelinePhaseName,
    /// Above 1: it was gone through before.
    pub attempt: u32,
    pub state: TimelinePhaseState,
    /// Why it began or failed.
    pub reason: Option<String>,
    pub started_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// In milliseconds; so far, if it goes on.
    pub elapsed_ms: u64,
    pub first_position: u64,
    pub last_position: Option<u64>,
}

/// The seven steps, and what follows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimelinePhaseName {
    NodeSelection,
    NodeProvisioning,
    NodeAgentReady,
    WorkspaceCreation,
    WorkspaceReady,
    AgentSession,
    Running,
    Finishing,
    Push,
}

mirrored! {
    in "snake_case" TimelinePhaseState = folded::PhaseState { Active, Done, Failed, Skipped, }
}

/// One event of the account.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    /// Commits have the position of the result that brought them.
    pub position: u64,
    pub at: DateTime<Utc>,
    pub kind: TimelineKind,
    /// The id of the aggregate or process.
    pub stream: Uuid,
    pub sequence: u64,
    pub event: String,
    pub summary: String,
    /// Who, in words.
    pub actor: String,
    pub cause: Option<TimelineCause>,
    /// Above 1: it was tried before.
    pub attempt: u32,
    pub phase: Option<TimelinePhaseName>,
    /// Since the execution was requested, in milliseconds.
    pub since_ms: u64,
    /// How long it took what this ends, in milliseconds.
    pub took_ms: Option<u64>,
    /// Why the stored event cannot be read; absent where it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

mirrored! {
    in "snake_case" TimelineKind = folded::EntryKind {
        Idea, Execution, Node, Workspace, Session, Git, Process,
    }
}

/// What led to an event: another event, or a command that the log knows only by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimelineCause {
    Position(u64),
    Command(Uuid),
}

/// Which part of the account.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Kinds {
    /// Kinds of entries, with commas between them; absent: all.
    kind: Option<String>,
}

/// Everything that an execution involved, over all streams, in order.
#[utoipa::path(params(Kinds), responses((status = OK, body = Timeline)))]
#[get("/executions/{execution}/timeline")]
pub(crate) async fn timeline(
    caller: Caller,
    id: Id,
    kinds: Query<Kinds>,
    server: Data<Server>,
) -> Result<Json<Timeline>, Problem> {
    let kinds = kinds.chosen()?;
    let row = access::execution(&server, &caller, ExecutionId(id.0)).await?;
    let mut timeline = server.source().timeline(&row, server.projected_position()).await?;
    if let Some(kinds) = kinds {
        timeline.entries.retain(|entry| kinds.contains(&entry.kind));
    }
    Ok(Json(timeline))
}

impl Kinds {
    fn chosen(&self) -> Result<Option<BTreeSet<TimelineKind>>, Problem> {
        let Some(kinds) = &self.kind else { return Ok(None) };
        let kind = |word: &str| {
            serde_json::from_value(serde_json::Value::from(word.trim())).map_err(|_| {
                Problem::malformed(format!(
                    "There is no kind of entry “{word}”: ask for idea, execution, node, workspace, \
                     session, git or process."
                ))
            })
        };
        kinds.split(',').map(kind).collect::<Result<_, _>>().map(Some)
    }
}

/// Where accounts are made from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) database: &'a Database,
    pub(crate) log: &'a EventLog,
    pub(crate) sealing: &'a Sealing,
}

impl Source<'_> {
    /// The account of an execution up to a position.
    pub(crate) async fn timeline(
        &self,
        row: &ExecutionRow,
        position: Position,
    ) -> Result<Timeline, Problem> {
        let facts = folded::collect(self.database, self.log, row, position).await?;
        let account = folded::fold(row.id, &facts, SystemClock.now());
        let names = ActorNames::read(self.database).await?;
        let mut entries = Vec::with_capacity(account.entries.len());
        for entry in account.entries {
            if let (EntryKind::Git, Some(result)) = (entry.kind, &row.result) {
                entries.extend(self.commits(&entry, result).await?);
            }
            entries.push(document(entry, &names));
        }
        let mut phases: Vec<_> = account.phases.into_iter().map(TimelinePhase::from).collect();
        if row.is_erased() {
            entries.iter_mut().for_each(forget);
            phases.iter_mut().for_each(|phase| phase.reason = None);
        }
        Ok(Timeline {
            execution: row.id.0,
            idea: row.idea.0,
            position,
            requested_at: account.requested_at.unwrap_or(row.requested_at),
            ended_at: account.ended_at,
            phases,
            entries,
        })
    }

    /// The commits that a result brought; none where their text was erased.
    async fn commits(
        &self,
        pushed: &folded::Entry,
        result: &values::ExecutionResult,
    ) -> Result<Vec<TimelineEntry>, Problem> {
        let texts = Texts::read(self.sealing, [&result.detail]).await?;
        let published: Option<agent_protocol::Published> = texts.json(&result.detail);
        let commits = published.map(|published| published.commits).unwrap_or_default();
        let entry = |commit: agent_protocol::Commit| {
            let id: String = commit.id.chars().take(COMMIT_ID_SHOWN).collect();
            let behind = pushed.at - commit.at;
            let behind_ms = u64::try_from(behind.num_milliseconds()).unwrap_or_default();
            TimelineEntry {
                position: pushed.position,
                at: commit.at,
                kind: TimelineKind::Git,
                stream: pushed.stream,
                sequence: pushed.sequence,
                event: "committed".to_owned(),
                summary: format!("{id} {}", commit.subject),
                actor: commit.author,
                cause: None,
                attempt: 1,
                phase: Some(TimelinePhaseName::Running),
                since_ms: pushed.since_ms.saturating_sub(behind_ms),
                took_ms: None,
                problem: None,
            }
        };
        Ok(commits.into_iter().map(entry).collect())
    }
}

/// Takes out the words of an entry: names of branches and reasons stand in the events themselves.
fn forget(entry: &mut TimelineEntry) {
    ERASED.clone_into(&mut entry.summary);
    entry.problem.iter_mut().for_each(|problem| ERASED.clone_into(problem));
}

fn document(entry: folded::Entry, names: &ActorNames) -> TimelineEntry {
    TimelineEntry {
        position: entry.position,
        at: entry.at,
        kind: entry.kind.into(),
        stream: entry.stream,
        sequence: entry.sequence,
        event: entry.event,
        summary: entry.summary,
        actor: names.in_words(&entry.actor),
        cause: entry.cause.map(|cause| match cause {
            event_log::Cause::Event(position) => TimelineCause::Position(position),
            event_log::Cause::Command(id) => TimelineCause::Command(id),
        }),
        attempt: entry.attempt,
        phase: entry.phase.map(TimelinePhaseName::from),
        since_ms: entry.since_ms,
        took_ms: entry.took_ms,
        problem: entry.problem,
    }
}

impl From<folded::Phase> for TimelinePhase {
    fn from(phase: folded::Phase) -> Self {
        Self {
            phase: phase.name.into(),
            attempt: phase.attempt,
            state: phase.state.into(),
            reason: phase.reason,
            started_at: phase.started_at,
            ended_at: phase.ended_at,
            elapsed_ms: phase.elapsed_ms,
            first_position: phase.first_position,
            last_position: phase.last_position,
        }
    }
}

impl From<PhaseName> for TimelinePhaseName {
    fn from(name: PhaseName) -> Self {
        use values::Step;
        match name {
            PhaseName::Step(Step::NodeSelection) => Self::NodeSelection,
            PhaseName::Step(Step::NodeProvisioning) => Self::NodeProvisioning,
            PhaseName::Step(Step::NodeAgentReady) => Self::NodeAgentReady,
            PhaseName::Step(Step::WorkspaceCreation) => Self::WorkspaceCreation,
            PhaseName::Step(Step::WorkspaceReady) => Self::WorkspaceReady,
            PhaseName::Step(Step::AgentSession) => Self::AgentSession,
            PhaseName::Step(Step::Running) => Self::Running,
            PhaseName::Finishing => Self::Finishing,
            PhaseName::Push => Self::Push,
        }
    }
}
