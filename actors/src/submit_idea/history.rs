//! What the log says of an idea and of a conversation, where the aggregates' states do not keep it.
//!
//! Read from the streams themselves: a read model may be a moment behind what was just recorded.

use domain::{
    event_sourced::EventSourced,
    idea::{ExecutionRequest, Idea, IdeaEvent},
    ids::{IdeaId, ProjectId, SessionId},
    session::{Session, SessionEvent},
    values::ContentRef,
};
use projections::event_log::StreamId;
use uuid::Uuid;

use super::{Ideas, refused};
use crate::{aggregate_actor::read, dispatcher::DispatchError};

/// Above every sequence; databases know no larger numbers.
const SEQUENCE_MAX: u64 = i64::MAX.unsigned_abs();

/// An idea's newest description and request.
pub(super) struct History {
    pub(super) project: ProjectId,
    pub(super) description: ContentRef,
    pub(super) last_request: Option<Box<ExecutionRequest>>,
}

impl Ideas {
    pub(super) async fn history(&self, idea: IdeaId) -> Result<History, DispatchError> {
        let drafted = self.newest::<Idea>(idea.0, "drafted").await?;
        let Some(IdeaEvent::Drafted { project, description: first }) = drafted else {
            return Err(refused("not_found", "there is no such idea"));
        };
        let description = match self.newest::<Idea>(idea.0, "described").await? {
            Some(IdeaEvent::Described { description }) => description,
            _ => first,
        };
        let last_request = match self.newest::<Idea>(idea.0, "execution_requested").await? {
            Some(IdeaEvent::ExecutionRequested { request, .. }) => Some(request),
            _ => None,
        };
        Ok(History { project, description, last_request })
    }

    /// The idea that was worked on last in a conversation.
    pub(super) async fn last_idea(&self, session: SessionId) -> Result<IdeaId, DispatchError> {
        match self.newest::<Session>(session.0, "execution_begun").await? {
            Some(SessionEvent::ExecutionBegun { idea, .. }) => Ok(idea),
            _ => Err(refused("not_found", "there is no such session")),
        }
    }

    /// The newest event of one type in a stream.
    async fn newest<A: EventSourced>(
        &self,
        id: Uuid,
        event_type: &str,
    ) -> Result<Option<A::Event>, DispatchError> {
        let stream = StreamId::new(A::TYPE, id);
        let newest = self.log.read_newest(&stream, event_type, SEQUENCE_MAX, 1).await?;
        let Some(event) = newest.first() else { return Ok(None) };
        read::<A>(event).map(Some).map_err(|error| DispatchError::Damaged {
            stream: stream.clone(),
            sequence: event.sequence,
            reason: error.to_string(),
        })
    }
}
