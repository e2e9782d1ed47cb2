//! Executions in detail: how far each has come, why it waits, what it brought about, and when.
//!
//! Names of branches and reasons are words, too. The tables forget them when the stream of an erased project names
//! the execution; until then the queries keep them back, as soon as the ledger says that its key is destroyed.
//!
//! Read next: [`crate::event_index`] for everything that an execution involves, beyond its own stream.

use domain::{
    agent_protocol::{CodingAgentKind, PermissionPolicy},
    event::Event,
    event_sourced::EventPayload,
    execution::{Ending, ExecutionEvent},
    idea::IdeaEvent,
    ids::{AccountId, ExecutionId, IdeaId, NodeId, ProjectId, SessionId, WorkspaceId},
    project::ProjectEvent,
    values::{ExecutionResult, ExecutionSettings, Periods, Profile, ProviderKind, Step, Timestamp},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    columns::{self, json, name},
    database::Database,
    erasure_ledger::ErasureLedger,
    error::DatabaseError,
    event_log::Position,
    projection::{Projection, Recorded, Writes},
    sql::SqlRow,
    summary::summary,
};

#[derive(Debug)]
pub struct ExecutionTimeline;

#[derive(Clone, Debug, PartialEq)]
pub struct ExecutionRow {
    pub id: ExecutionId,
    pub idea: IdeaId,
    pub project: ProjectId,
    pub session: SessionId,
    pub workspace: Option<WorkspaceId>,
    pub node: Option<NodeId>,
    pub state: ExecutionState,
    /// The step that it is in, or ended in.
    pub step: Option<Step>,
    /// All seven, in order.
    pub steps: Vec<StepProgress>,
    pub settings: ExecutionSettings,
    pub is_cancel_requested: bool,
    /// Why it waits, needs input or failed.
    pub reason: Option<String>,
    /// Until when a person can decide how to go on.
    pub input_until: Option<Timestamp>,
    pub result: Option<ExecutionResult>,
    /// Where unpushed work was saved.
    pub checkpoint: Option<String>,
    pub requested_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

impl ExecutionRow {
    /// Its words are gone, with the texts of its project. No other execution is without a repository.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.settings.repository.is_empty()
    }

    /// Leaves of it what the tables do when they forget it.
    fn forget(&mut self) {
        self.settings = erased_settings();
        (self.reason, self.result, self.checkpoint) = (None, None, None);
        for reason in self.steps.iter_mut().filter_map(|step| step.reason.as_mut()) {
            columns::ERASED.clone_into(reason);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionState {
    Running,
    Waiting,
    NeedsInput,
    Finishing,
    Done,
    Failed,
    Cancelled,
}

impl ExecutionState {
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepProgress {
    pub step: Step,
    pub state: StepState,
    pub reason: Option<String>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    Pending,
    Active,
    Done,
    Failed,
    Skipped,
}

/// One event of an execution's own stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineEntry {
    pub position: Position,
    pub at: Timestamp,
    /// The event's name.
    pub event: String,
    pub summary: String,
}

const REQUESTED: &str = "
    INSERT INTO executions (execution, idea, project, session, state, settings, is_cancel_requested,
        requested_position, requested_at)
    VALUES ($1, $2, $3, $4, $5, $6, FALSE, $7, $8) ON CONFLICT (execution) DO NOTHING";
const STEP: &str = "
    INSERT INTO execution_steps (execution, step, reason, started_at) VALUES ($1, $2, $3, $4)";
const STEPPED: &str =
    "UPDATE executions SET state = $2, step = $3, reason = NULL WHERE execution = $1";
const PLACED: &str = "
    UPDATE executions SET state = $2, node = $3, workspace = $4, reason = NULL WHERE execution = $1";
const MOVED: &str =
    "UPDATE executions SET state = $2, reason = $3, input_until = $4 WHERE execution = $1";
const CANCEL: &str = "
    UPDATE executions SET state = $2, reason = $3, input_until = NULL, is_cancel_requested = TRUE
    WHERE execution = $1";
const RESULT: &str = "UPDATE executions SET result = $2 WHERE execution = $1";
const ENDED: &str = "
    UPDATE executions SET state = $2, reason = $3, checkpoint = $4, input_until = NULL, ended_at = $5
    WHERE execution = $1";
const ERASED: &str = "
    UPDATE executions SET settings = $2, reason = NULL, result = NULL, checkpoint = NULL
    WHERE execution = $1";
const STEPS_ERASED: &str = "UPDATE execution_steps SET reason = $2 WHERE execution = $1";
const EVENTS_ERASED: &str = "UPDATE execution_events SET summary = $2 WHERE execution = $1";
const EVENT: &str = "
    INSERT INTO execution_events (execution, position, at, event, summary) VALUES ($1, $2, $3, $4, $5)";

impl Projection<Event> for ExecutionTimeline {
    const NAME: &'static str = "execution_timeline";
    const TABLES: &'static [&'static str] = &["executions", "execution_steps", "execution_events"];

    fn project(&self, recorded: &Recorded<Event>, writes: &mut Writes) {
        // Whoever asked for the execution finds it at once, before its process has begun it.
        if let Event::Idea(idea, IdeaEvent::ExecutionRequested { project, request }) =
            &recorded.event
        {
            let settings = json(&request.settings);
            let running = name(&ExecutionState::Running);
            let (position, at) = (recorded.position, recorded.metadata.at);
            let (execution, session) = (request.execution.0, request.session.0);
            let values = (execution, idea.0, project.0, session, running, settings, position, at);
            writes.add(REQUESTED, values);
        }
        if let Event::Project(_, ProjectEvent::StreamsErased { streams, .. }) = &recorded.event {
            streams.executions.iter().for_each(|execution| forget(*execution, writes));
        }
        let Event::Execution(execution, event) = &recorded.event else { return };
        let (id, position, at) = (execution.0, recorded.position, recorded.metadata.at);
        let text = summary(&recorded.event);
        writes.add(EVENT, (id, position, at, event.stored().0, text));
        let running = name(&ExecutionState::Running);
        let none = None::<&str>;
        match event {
            ExecutionEvent::Requested { idea, project, session, settings } => {
                let settings = json(settings);
                let values = (id, idea.0, project.0, session.0, running, settings, position, at);
                writes.add(REQUESTED, values);
            }
            ExecutionEvent::StepStarted { step, reason } => {
                writes.add(STEP, (id, name(step), reason, at));
                writes.add(STEPPED, (id, running, name(step)));
            }
            ExecutionEvent::Waited { reason } => {
                let waiting = name(&ExecutionState::Waiting);
                writes.add(MOVED, (id, waiting, Some(reason), None::<Timestamp>));
            }
            ExecutionEvent::Placed { node, workspace } => {
                writes.add(PLACED, (id, running, node.0, workspace.0));
            }
            ExecutionEvent::CancelRequested => {
                let finishing = name(&ExecutionState::Finishing);
                writes.add(CANCEL, (id, finishing, "being cancelled"));
            }
            ExecutionEvent::InputAsked { reason, until } => {
                let asked = name(&ExecutionState::NeedsInput);
                writes.add(MOVED, (id, asked, Some(reason), Some(*until)));
            }
            ExecutionEvent::InputAnswered { .. } => {
                writes.add(MOVED, (id, running, none, None::<Timestamp>));
            }
            ExecutionEvent::FinishBegun { ending } => {
                let reason = match ending {
                    Ending::Complete => "bringing the work to its branch",
                    Ending::Fail { reason } => reason,
                    Ending::Cancel => "being cancelled",
                };
                let finishing = name(&ExecutionState::Finishing);
                writes.add(MOVED, (id, finishing, Some(reason), None::<Timestamp>));
            }
            ExecutionEvent::ResultRecorded { result } => writes.add(RESULT, (id, json(result))),
            ExecutionEvent::Done => {
                writes.add(ENDED, (id, name(&ExecutionState::Done), none, none, at));
            }
            ExecutionEvent::Failed { reason, checkpoint } => {
                let failed = name(&ExecutionState::Failed);
                writes.add(ENDED, (id, failed, Some(reason), checkpoint, at));
            }
            ExecutionEvent::Cancelled { checkpoint } => {
                writes.add(ENDED, (id, name(&ExecutionState::Cancelled), none, checkpoint, at));
            }
        }
    }
}

/// Takes the words out of what is kept of an execution of an erased project.
fn forget(execution: ExecutionId, writes: &mut Writes) {
    writes.add(ERASED, (execution.0, json(&erased_settings())));
    writes.add(STEPS_ERASED, (execution.0, columns::ERASED));
    writes.add(EVENTS_ERASED, (execution.0, columns::ERASED));
}

/// What stands in the place of settings that named a repository and a branch.
fn erased_settings() -> ExecutionSettings {
    ExecutionSettings {
        owner: AccountId(Uuid::nil()),
        repository: String::new(),
        base_branch: None,
        branch: columns::ERASED.to_owned(),
        coding_agent: CodingAgentKind::Demo,
        profile: Profile::default(),
        provider: ProviderKind::Local,
        permissions: PermissionPolicy::Allow,
        periods: Periods::default(),
    }
}

pub async fn find(
    database: &Database,
    id: ExecutionId,
) -> Result<Option<ExecutionRow>, DatabaseError> {
    let find = "SELECT * FROM executions WHERE execution = $1";
    let Some(row) = database.views().fetch_optional(find, (id.0,)).await? else { return Ok(None) };
    let mut found = execution(&row)?;
    let started = "SELECT step, reason, started_at FROM execution_steps WHERE execution = $1";
    let mut steps = Vec::new();
    for row in database.views().fetch_all(started, (id.0,)).await? {
        let step: Step = row.named("step")?;
        steps.push((step, row.text("reason")?, row.time("started_at")?));
    }
    found.steps = progress(found.state, found.ended_at, &steps);
    if ErasureLedger::new(database).find(found.project.0).await?.is_some() {
        found.forget();
    }
    Ok(Some(found))
}

/// What its own stream recorded, in order.
pub async fn events(
    database: &Database,
    execution: &ExecutionRow,
) -> Result<Vec<TimelineEntry>, DatabaseError> {
    let list = "SELECT position, at, event, summary FROM execution_events
        WHERE execution = $1 ORDER BY position";
    let rows = database.views().fetch_all(list, (execution.id.0,)).await?;
    let is_erased = execution.is_erased();
    let entry = |row: &SqlRow| {
        let summary = if is_erased { columns::ERASED.to_owned() } else { row.text("summary")? };
        Ok(TimelineEntry {
            position: row.count("position")?,
            at: row.time("at")?,
            event: row.text("event")?,
            summary,
        })
    };
    rows.iter().map(entry).collect()
}

/// Executions that have not ended, oldest first.
pub async fn list_under_way(database: &Database) -> Result<Vec<ExecutionId>, DatabaseError> {
    let list =
        "SELECT execution FROM executions WHERE ended_at IS NULL ORDER BY requested_position";
    let rows = database.views().fetch_all(list, ()).await?;
    rows.iter().map(|row| row.uuid("execution").map(ExecutionId)).collect()
}

/// A step ends when the next one starts, or with the execution.
fn progress(
    state: ExecutionState,
    ended_at: Option<Timestamp>,
    started: &[(Step, String, Timestamp)],
) -> Vec<StepProgress> {
    let newest = started.iter().map(|(step, ..)| *step).max();
    let one = |step: Step| {
        let own = started.iter().find(|(other, ..)| *other == step);
        let next =
            started.iter().filter(|(other, ..)| *other > step).min_by_key(|(other, ..)| *other);
        let is_passed = newest.is_some_and(|newest| newest > step);
        let step_state = match (own, state) {
            (Some(_), _) if is_passed => StepState::Done,
            (Some(_), ExecutionState::Done) => StepState::Done,
            (Some(_), ExecutionState::Failed | ExecutionState::Cancelled) => StepState::Failed,
            (Some(_), _) => StepState::Active,
            (None, state) if is_passed || state.is_ended() => StepState::Skipped,
            (None, _) => StepState::Pending,
        };
        StepProgress {
            step,
            state: step_state,
            reason: own.map(|(_, reason, _)| reason.clone()),
            started_at: own.map(|(.., at)| *at),
            ended_at: own.and_then(|_| next.map(|(.., at)| *at).or(ended_at)),
        }
    };
    Step::ALL.map(one).into()
}

fn execution(row: &SqlRow) -> Result<ExecutionRow, DatabaseError> {
    Ok(ExecutionRow {
        id: ExecutionId(row.uuid("execution")?),
        idea: IdeaId(row.uuid("idea")?),
        project: row.project()?,
        session: SessionId(row.uuid("session")?),
        workspace: row.workspace()?,
        node: row.node()?,
        state: row.named("state")?,
        step: row.named_option("step")?,
        steps: Vec::new(),
        settings: row.json("settings")?,
        is_cancel_requested: row.bool("is_cancel_requested")?,
        reason: row.text_option("reason")?,
        input_until: row.time_option("input_until")?,
        result: row.json_option("result")?,
        checkpoint: row.text_option("checkpoint")?,
        requested_at: row.time("requested_at")?,
        ended_at: row.time_option("ended_at")?,
    })
}
