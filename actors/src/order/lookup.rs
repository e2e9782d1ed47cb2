//! Finds in the log what an order needs and no state keeps: who asked for an execution, and texts.

use domain::{
    agent_protocol::RefusalKind,
    event_sourced::EventSourced,
    execution::{Execution, ExecutionEvent},
    idea::{Idea, IdeaEvent},
    ids::{ExecutionId, IdeaId, MessageId, SessionId},
    session::{Session, SessionEvent},
    values::ContentRef,
};
use projections::{error::DatabaseError, event_log::StreamId};
use uuid::Uuid;

use super::{Orders, Refusal};
use crate::aggregate_actor::read;

const EVENTS_PER_READ: usize = 8;
/// Above every sequence; databases know no larger numbers.
const SEQUENCE_MAX: u64 = i64::MAX.unsigned_abs();
const COMMIT_TITLE_CHARS_MAX: usize = 72;

/// Whose attempt an execution is, and where it is talked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requested {
    pub(super) idea: IdeaId,
    pub(super) session: SessionId,
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        Self { kind: RefusalKind::Machine, reason: error.to_string() }
    }
}

impl Orders {
    /// From the first event of an execution.
    pub(super) async fn requested(&self, execution: ExecutionId) -> Result<Requested, Refusal> {
        let found = self.find::<Execution, _>(execution.0, "requested", |event| match event {
            ExecutionEvent::Requested { idea, session, .. } => Some(Requested { idea, session }),
            _ => None,
        });
        found.await?.ok_or_else(|| unknown("execution"))
    }

    /// The text of a message that a person posted.
    pub(super) async fn message(
        &self,
        session: SessionId,
        wanted: MessageId,
    ) -> Result<String, Refusal> {
        let found = self.find::<Session, _>(session.0, "message_posted", |event| match event {
            SessionEvent::MessagePosted { message, content, .. } if message == wanted => {
                Some(content)
            }
            _ => None,
        });
        let content = found.await?.ok_or_else(|| unknown("message"))?;
        Ok(self.sealing.text(&content).await?)
    }

    /// The first line of what was asked for. A text that is gone does not keep the work from being saved.
    pub(super) async fn commit_message(&self, execution: ExecutionId) -> String {
        let text = async {
            let requested = self.requested(execution).await?;
            let prompt = self.prompt(requested.idea, execution).await?;
            Ok::<_, Refusal>(self.sealing.text(&prompt).await?)
        };
        let text = text.await.unwrap_or_default();
        let line =
            text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("Work of SAM");
        let mut title: String = line.chars().take(COMMIT_TITLE_CHARS_MAX).collect();
        if title.len() < line.len() {
            title.truncate(title.trim_end().len());
            title.push('…');
        }
        title
    }

    async fn prompt(&self, idea: IdeaId, execution: ExecutionId) -> Result<ContentRef, Refusal> {
        let found = self.find::<Idea, _>(idea.0, "execution_requested", |event| match event {
            IdeaEvent::ExecutionRequested { request, .. } if request.execution == execution => {
                Some(request.prompt)
            }
            _ => None,
        });
        found.await?.ok_or_else(|| unknown("idea"))
    }

    /// The newest event of a stream that `pick` wants, among those of one type. What is asked for was
    /// recorded a moment ago, however long the stream is.
    async fn find<A: EventSourced, T>(
        &self,
        id: Uuid,
        event_type: &str,
        pick: impl Fn(A::Event) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let stream = StreamId::new(A::TYPE, id);
        let mut before = SEQUENCE_MAX;
        loop {
            let events = self.log.read_newest(&stream, event_type, before, EVENTS_PER_READ).await?;
            for event in &events {
                let Ok(restored) = read::<A>(event) else { continue };
                if let Some(found) = pick(restored) {
                    return Ok(Some(found));
                }
            }
            match events.last() {
                Some(last) if events.len() == EVENTS_PER_READ => before = last.sequence,
                _ => return Ok(None),
            }
        }
    }
}

fn unknown(what: &str) -> Refusal {
    Refusal { kind: RefusalKind::Unknown, reason: format!("there is no such {what}") }
}
