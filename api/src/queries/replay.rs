//! What was, at a position of the log; and whether it would be decided again. No model is asked here.

use actix_web::{
    get,
    web::{Data, Json, Path},
};
use chrono::{DateTime, Utc};
use domain::ids::ExecutionId;
use projections::{
    event_log::Position, execution_timeline::ExecutionRow, replay, timeline::Involved,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    queries::{
        items::{self, Item},
        timeline::Source,
    },
    server::Server,
    texts::ERASED,
};

/// How many items of the conversation are shown, counted from its end.
const ITEMS_SHOWN: usize = 500;

/// Everything that an execution involved, as it was at a position.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionAt {
    pub position: u64,
    /// When the event at this position was recorded.
    pub at: DateTime<Utc>,
    /// Those that existed.
    pub aggregates: Vec<AggregateAt>,
    pub chat: ChatAt,
}

/// An aggregate as it was.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AggregateAt {
    pub kind: String,
    pub id: Uuid,
    /// How many events of its stream are in the state.
    pub sequence: u64,
    /// The fold of these events, as the program has it in memory.
    pub state: Value,
    /// The texts that it refers to were erased.
    pub is_erased: bool,
    /// Which event could not be folded, and why; the state is that before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A conversation as it was.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChatAt {
    pub session: Uuid,
    /// Oldest first; at most the newest 500.
    pub items: Vec<Item>,
    /// There are older ones.
    pub has_more: bool,
}

/// Whether what was decided would be decided again.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    pub execution: Uuid,
    /// It was verified up to here.
    pub position: u64,
    pub is_same: bool,
    pub n_events: u64,
    /// Decisions of processes that were made again.
    pub n_reactions: u64,
    /// Commands of these processes that their aggregates decided again.
    pub n_commands: u64,
    /// Those among them that were refused or changed nothing.
    pub n_without_events: u64,
    /// Commands of people, of agents and of other processes that were rebuilt from their events and decided again.
    pub n_rebuilt: u64,
    /// What was not decided again, and why.
    pub not_decided: Vec<NotDecided>,
    pub differences: Vec<Difference>,
}

/// Something that was not decided again.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotDecided {
    /// Of the first event.
    pub position: u64,
    pub kind: String,
    pub stream: Uuid,
    pub event: String,
    /// How many events this is about; none where a process only heard of it.
    pub n_events: u64,
    pub reason: String,
}

/// One thing that is not as it would be decided.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    pub position: u64,
    pub kind: String,
    pub stream: Uuid,
    pub event: String,
    pub field: String,
    pub recorded: Value,
    pub decided: Value,
}

/// The states of all aggregates of an execution, and its conversation, at a position.
#[utoipa::path(responses((status = OK, body = ExecutionAt)))]
#[get("/executions/{execution}/at/{position}")]
pub(crate) async fn execution_at(
    caller: Caller,
    path: Path<(String, String)>,
    server: Data<Server>,
) -> Result<Json<ExecutionAt>, Problem> {
    let (execution, position) = path.into_inner();
    let execution = execution.parse().map_err(|_| Problem::not_found("execution"))?;
    let row = access::execution(&server, &caller, ExecutionId(execution)).await?;
    Ok(Json(server.source().execution_at(&row, parsed(&position)?).await?))
}

/// Decides once more what was decided in an execution, and compares. No model is called for this.
#[utoipa::path(responses((status = OK, body = Verification)))]
#[get("/executions/{execution}/verification")]
pub(crate) async fn verification(
    caller: Caller,
    id: Id,
    server: Data<Server>,
) -> Result<Json<Verification>, Problem> {
    let row = access::execution(&server, &caller, ExecutionId(id.0)).await?;
    Ok(Json(server.source().verification(&row, server.projected_position()).await?))
}

fn parsed(position: &str) -> Result<Position, Problem> {
    match position.parse() {
        Ok(position) if position > 0 => Ok(position),
        _ => Err(Problem::malformed("A position is a whole number, counted from 1.")),
    }
}

impl Source<'_> {
    /// An execution as it was at a position.
    pub(crate) async fn execution_at(
        &self,
        row: &ExecutionRow,
        position: Position,
    ) -> Result<ExecutionAt, Problem> {
        let found = self.log.read_positions(&[position]).await?;
        let Some(event) = found.first() else {
            let head = self.log.head().await?;
            let detail = format!("There is no position {position}: the newest one is {head}.");
            return Err(Problem::missing(detail));
        };
        let states = replay::states_at(self.log, &Involved::of(row), position).await?;
        let is_erased = row.is_erased();
        let aggregate = |state: replay::StateAt| {
            // A machine has no texts.
            let is_erased = is_erased && state.stream.kind != "node";
            AggregateAt {
                is_erased,
                kind: state.stream.kind,
                id: state.stream.id,
                sequence: state.sequence,
                // Names of branches and reasons are words, too.
                state: if is_erased { Value::from(ERASED) } else { state.state },
                problem: state
                    .problem
                    .map(|problem| if is_erased { ERASED.into() } else { problem }),
            }
        };
        let page = replay::chat_at(self.log, row.session, position, ITEMS_SHOWN).await?;
        let mut items = items::render(self.sealing, page.items).await?;
        if is_erased {
            items.iter_mut().for_each(items::forget);
        }
        Ok(ExecutionAt {
            position,
            at: event.metadata.at,
            aggregates: states.into_iter().map(aggregate).collect(),
            chat: ChatAt { session: row.session.0, items, has_more: page.has_more },
        })
    }

    /// Decides once more what was decided up to a position.
    pub(crate) async fn verification(
        &self,
        row: &ExecutionRow,
        position: Position,
    ) -> Result<Verification, Problem> {
        let verified = replay::verify_execution(self.log, &Involved::of(row), position).await?;
        let is_erased = row.is_erased();
        // Names of branches and reasons are words, too.
        let shown = |value| if is_erased { Value::from(ERASED) } else { value };
        let difference = |difference: replay::Difference| Difference {
            position: difference.position,
            kind: difference.stream.kind,
            stream: difference.stream.id,
            event: difference.event,
            field: difference.field,
            recorded: shown(difference.recorded),
            decided: shown(difference.decided),
        };
        let not_decided = |not_decided: replay::NotDecided| NotDecided {
            position: not_decided.position,
            kind: not_decided.stream.kind,
            stream: not_decided.stream.id,
            event: not_decided.event,
            n_events: not_decided.n_events,
            reason: not_decided.reason,
        };
        Ok(Verification {
            execution: row.id.0,
            position,
            is_same: verified.differences.is_empty(),
            n_events: verified.n_events,
            n_reactions: verified.n_reactions,
            n_commands: verified.n_commands,
            n_without_events: verified.n_without_events,
            n_rebuilt: verified.n_rebuilt,
            not_decided: verified.not_decided.into_iter().map(not_decided).collect(),
            differences: verified.differences.into_iter().map(difference).collect(),
        })
    }
}
