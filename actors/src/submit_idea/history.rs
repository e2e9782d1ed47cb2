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

const EVENTS_PER_READ: usize = 512;

/// An idea's newest description and request.
pub(super) struct History {
    pub(super) project: ProjectId,
    pub(super) description: ContentRef,
    pub(super) last_request: Option<Box<ExecutionRequest>>,
}

impl Ideas {
    pub(super) async fn history(&self, idea: IdeaId) -> Result<History, DispatchError> {
        let mut history = None;
        self.each_event::<Idea>(idea.0, |event| match (event, &mut history) {
            (IdeaEvent::Drafted { project, description }, history) => {
                *history = Some(History { project, description, last_request: None });
            }
            (IdeaEvent::Described { description }, Some(history)) => {
                history.description = description;
            }
            (IdeaEvent::ExecutionRequested { request, .. }, Some(history)) => {
                history.last_request = Some(request);
            }
            _ => {}
        })
        .await?;
        history.ok_or_else(|| refused("not_found", "there is no such idea"))
    }

    /// The idea that was worked on last in a conversation.
    pub(super) async fn last_idea(&self, session: SessionId) -> Result<IdeaId, DispatchError> {
        let mut last = None;
        self.each_event::<Session>(session.0, |event| {
            if let SessionEvent::ExecutionBegun { idea, .. } = event {
                last = Some(idea);
            }
        })
        .await?;
        last.ok_or_else(|| refused("not_found", "there is no such session"))
    }

    async fn each_event<A: EventSourced>(
        &self,
        id: Uuid,
        mut see: impl FnMut(A::Event),
    ) -> Result<(), DispatchError> {
        let stream = StreamId::new(A::TYPE, id);
        let mut after = 0;
        loop {
            let events = self.log.read_stream(&stream, after, EVENTS_PER_READ).await?;
            for event in &events {
                after = event.sequence;
                see(read::<A>(event).map_err(|error| DispatchError::Damaged {
                    stream: stream.clone(),
                    sequence: event.sequence,
                    reason: error.to_string(),
                })?);
            }
            if events.len() < EVENTS_PER_READ {
                return Ok(());
            }
        }
    }
}
