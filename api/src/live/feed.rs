//! Tells all sockets what has changed, once it shows in the read models.
//!
//! One task reads the log behind the projector; sockets subscribe. Streamed text and usage are no
//! changes to be announced: they are many, and followers of a session get them as items.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actors::tasks::Tasks;
use domain::{
    event::Event, execution::ExecutionEvent, idea::IdeaEvent, ids::MessageId,
    session::SessionEvent, workspace::WorkspaceEvent,
};
use projections::{
    event_log::{EventLog, Position, RecordedEvent},
    read_models,
};
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::live::frames::Changed;

/// How many changes may wait for a slow socket before it is closed.
const CHANGES_WAITING_MAX: usize = 4096;
const EVENTS_PER_READ: usize = 256;
const RETRY_PERIOD: Duration = Duration::from_millis(500);
/// How many ids are remembered with what they belong to.
const RELATIONS_MAX: usize = 20_000;

/// Something happened.
#[derive(Clone, Debug)]
pub struct Change {
    pub position: Position,
    /// Whose items may have changed.
    pub session: Option<Uuid>,
    /// What to announce, if anything.
    pub announced: Option<Changed>,
    /// Set when all that has changed is that streamed text was recorded.
    pub streamed: Option<Streamed>,
}

/// Text of an open message that was streamed before it was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Streamed {
    pub message: MessageId,
    /// The number of the chunk behind it.
    pub next_chunk: u32,
}

/// The source of changes.
pub struct Feed {
    changes: broadcast::Sender<Arc<Change>>,
    tasks: Tasks,
}

impl Feed {
    /// Starts the task that reads the log.
    #[must_use]
    pub fn start(log: &EventLog, projected: watch::Receiver<Position>) -> Self {
        let (changes, _) = broadcast::channel(CHANGES_WAITING_MAX);
        let tasks = Tasks::new();
        let (log, sender) = (log.clone(), changes.clone());
        tasks.keep("live feed", move || run(log.clone(), projected.clone(), sender.clone()));
        Self { changes, tasks }
    }

    /// All changes from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Change>> {
        self.changes.subscribe()
    }

    /// How many sockets are open.
    #[must_use]
    pub fn n_subscribers(&self) -> usize {
        self.changes.receiver_count()
    }

    /// Ends the task.
    pub async fn stop(&self) {
        self.tasks.stop().await;
    }
}

async fn run(
    log: EventLog,
    mut projected: watch::Receiver<Position>,
    changes: broadcast::Sender<Arc<Change>>,
) {
    let mut position = *projected.borrow_and_update();
    let mut relations = Relations::default();
    loop {
        let shown = projected.wait_for(|shown| *shown > position).await.map(|shown| *shown);
        // The projector has ended, and so has this program soon.
        let Ok(shown) = shown else { return std::future::pending().await };
        while position < shown {
            match log.read_new(position, EVENTS_PER_READ).await {
                Ok(events) => {
                    for event in events.iter().filter(|event| event.position <= shown) {
                        position = event.position;
                        // An error means that nobody listens.
                        let _ = changes.send(Arc::new(relations.change(event)));
                    }
                    if events.is_empty() {
                        position = shown;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the live feed waits for the log");
                    // Here, and not in a new life: that would begin behind what was not told yet.
                    tokio::time::sleep(RETRY_PERIOD).await;
                }
            }
        }
    }
}

/// What an execution, idea or session belongs to, as far as it was seen here.
#[derive(Default)]
pub(super) struct Relations {
    known: HashMap<Uuid, Changed>,
}

impl Relations {
    /// What an event of the log means for those who watch.
    pub(super) fn change(&mut self, recorded: &RecordedEvent) -> Change {
        let position = recorded.position;
        let Ok(Some(event)) = read_models::decode(recorded) else {
            return Change { position, session: None, announced: None, streamed: None };
        };
        let named = named(&event);
        let changed = self.complete(recorded.stream.id, named);
        let is_announced = !matches!(&event, Event::Session(_, SessionEvent::UsageRecorded { .. }))
            && !matches!(
                &event,
                Event::Session(_, SessionEvent::SegmentRecorded(segment)) if !segment.is_last
            );
        let streamed = match &event {
            Event::Session(_, SessionEvent::SegmentRecorded(segment)) if !segment.is_last => {
                let next_chunk = segment.first_chunk.saturating_add(segment.n_chunks);
                Some(Streamed { message: segment.message, next_chunk })
            }
            _ => None,
        };
        let session = changed.session;
        let event = format!("{}/{}", recorded.stream.kind, recorded.event_type);
        let announced = is_announced.then_some(Changed { position, event, ..changed });
        Change { position, session, announced, streamed }
    }

    fn complete(&mut self, stream: Uuid, mut named: Changed) -> Changed {
        if self.known.len() > RELATIONS_MAX {
            self.known.clear();
        }
        let known = self.known.entry(stream).or_default();
        known.project = named.project.or(known.project);
        known.idea = named.idea.or(known.idea);
        named.project = known.project;
        // A session has many ideas; an execution has one.
        named.idea = named.idea.or(known.idea.filter(|_| named.execution == Some(stream)));
        named
    }
}

/// The things that an event itself names.
fn named(event: &Event) -> Changed {
    let mut changed = Changed::default();
    match event {
        Event::Account(..) | Event::Credential(..) => {}
        Event::Project(project, _) => changed.project = Some(project.0),
        Event::Idea(idea, event) => {
            changed.idea = Some(idea.0);
            if let IdeaEvent::Drafted { project, .. } = event {
                changed.project = Some(project.0);
            }
            if let IdeaEvent::ExecutionRequested { project, request } = event {
                changed.project = Some(project.0);
                changed.execution = Some(request.execution.0);
            }
        }
        Event::Execution(execution, event) => {
            changed.execution = Some(execution.0);
            if let ExecutionEvent::Requested { idea, project, .. } = event {
                changed.idea = Some(idea.0);
                changed.project = Some(project.0);
            }
        }
        Event::Node(node, _) => changed.node = Some(node.0),
        Event::Workspace(workspace, event) => {
            changed.workspace = Some(workspace.0);
            if let WorkspaceEvent::Requested { execution, spec } = event {
                changed.project = Some(spec.project.0);
                changed.node = Some(spec.node.0);
                changed.execution = execution.map(|id| id.0);
            }
        }
        Event::Session(session, event) => {
            changed.session = Some(session.0);
            if let SessionEvent::Opened { project } = event {
                changed.project = Some(project.0);
            }
            if let SessionEvent::ExecutionBegun { idea, execution } = event {
                changed.idea = Some(idea.0);
                changed.execution = Some(execution.0);
            }
            if let SessionEvent::PermissionAsked { execution, .. }
            | SessionEvent::TurnEnded { execution, .. } = event
            {
                changed.execution = Some(execution.0);
            }
        }
    }
    changed
}
