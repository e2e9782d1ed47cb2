//! One actor per stream: its state in memory, one command at a time.
//!
//! The state changes only after the events are on disk. Two actors for one stream, here or in another
//! replica, can do no harm: the log lets only one of them append, and the other reads what it missed.
//! So a new actor takes its stream to be empty until the log says otherwise: what begins a stream, which
//! is most of what is sent to new actors, waits for no read. An actor that does not know what the log
//! holds leaves, and the next command starts a new one. Idle ones leave too.
//!
//! Read next: `dispatcher.rs` finds and starts actors.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, AtomicResponse, Context,
    Handler, Message, WrapFuture as _,
};
use domain::{
    event::registry::{self, Unreadable},
    event_sourced::{EventPayload as _, EventSourced, canonical_json, refusal_code},
};
use projections::event_log::{
    Append, AppendError, Appended, EventLog, FIRST_HASH, Hash, Metadata, NewContent, NewEvent,
    Position, RecordedEvent, StreamId,
};
use tokio::{sync::oneshot, time::Instant};
use uuid::Uuid;

use crate::dispatcher::{DispatchError, RETRY_PERIOD};

mod snapshot;

/// How often a command is decided again because another replica was faster.
const DECISIONS_MAX: usize = 5;
/// How long an actor whose log is away answers with that, before the next one looks again.
const AWAY_PERIOD: Duration = Duration::from_millis(100);
const IDLE_PERIOD_MAX: Duration = Duration::from_secs(300);
const IDLE_CHECK_PERIOD: Duration = Duration::from_secs(60);

/// A command on its way to its actor.
#[derive(Clone, Debug)]
pub(crate) struct Request<A: EventSourced> {
    pub(crate) command: A::Command,
    pub(crate) metadata: Metadata,
    pub(crate) contents: Vec<NewContent>,
    pub(crate) project: Option<Uuid>,
    pub(crate) epoch: Option<u64>,
}

/// Where the answer is recorded, and the state it led to.
#[derive(Clone, Debug)]
pub(crate) struct Answer<A> {
    pub(crate) position: Position,
    pub(crate) state: Arc<A>,
}

pub(crate) type Reply<A> = oneshot::Sender<Result<Answer<A>, DispatchError>>;

/// Asks the actor to run one command to its end.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Execute<A: EventSourced> {
    pub(crate) request: Request<A>,
    pub(crate) reply: Reply<A>,
}

/// Asks the actor for its state.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ask<A: EventSourced> {
    pub(crate) reply: Reply<A>,
}

/// The fold of a stream, with what the next append has to name.
#[derive(Clone, Debug)]
struct Folded<A> {
    state: Arc<A>,
    sequence: u64,
    hash: Hash,
    position: Position,
    /// The sequence of the newest kept state that is known of; 0 for none.
    kept: u64,
    /// Whether the log was heard of at all: else the stream is only taken to be empty.
    is_read: bool,
}

/// The actor of one stream.
pub(crate) struct AggregateActor<A: EventSourced> {
    log: EventLog,
    stream: StreamId,
    /// Why there is no state, where there is none: the stream is damaged or the log away.
    folded: Result<Folded<A>, DispatchError>,
    /// After how many events the state is kept.
    snapshot_events: u64,
    last_used: Instant,
}

impl<A: EventSourced> AggregateActor<A> {
    /// `snapshot_events`: after how many events the state is kept.
    pub(crate) fn new(log: EventLog, id: Uuid, snapshot_events: u64) -> Self {
        let stream = StreamId::new(A::TYPE, id);
        Self {
            log,
            stream,
            folded: Ok(Folded::default()),
            snapshot_events,
            last_used: Instant::now(),
        }
    }
}

impl<A: EventSourced> Actor for AggregateActor<A> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(IDLE_CHECK_PERIOD, |actor, ctx| {
            if actor.last_used.elapsed() > IDLE_PERIOD_MAX {
                ctx.stop();
            }
        });
    }
}

impl<A: EventSourced> AggregateActor<A> {
    /// Takes the state that a command led to, or leaves if nobody knows what it is now.
    fn settle(&mut self, folded: Result<Folded<A>, DispatchError>, ctx: &mut Context<Self>) {
        if self.folded.is_err() {
            // There was no state to begin with; this one leaves of itself.
            return;
        }
        match &folded {
            Err(error) if error.is_temporary() => {
                tracing::warn!(stream = %self.stream, %error, "a stream is not known any more");
                // Who waits already hears why. Were it to leave at once, they would only see it die.
                ctx.run_later(AWAY_PERIOD, |_, ctx| ctx.stop());
            }
            Err(DispatchError::Damaged { reason, .. }) => {
                tracing::error!(stream = %self.stream, reason, "a stream could not be loaded");
            }
            Err(_) => ctx.stop(),
            Ok(_) => {}
        }
        self.folded = folded;
        self.keep(ctx);
    }
}

impl<A: EventSourced> AggregateActor<A> {
    /// Keeps the state beside the log now and then. Nobody waits for it: the answer is under way already, and
    /// the next command need not wait either.
    fn keep(&mut self, ctx: &mut Context<Self>) {
        let Ok(folded) = &mut self.folded else { return };
        if folded.sequence < folded.kept.saturating_add(self.snapshot_events) {
            return;
        }
        // Also where it cannot be kept: then it is tried again that many events later.
        folded.kept = folded.sequence;
        let (log, stream, folded) = (self.log.clone(), self.stream.clone(), folded.clone());
        let keep = async move { snapshot::keep(&log, &stream, &folded).await };
        ctx.spawn(keep.into_actor(self));
    }
}

impl<A: EventSourced> Handler<Execute<A>> for AggregateActor<A> {
    // Atomic: the mailbox waits until this command is on disk, so two commands for one stream never
    // race; the fence of the log only guards against a second process.
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, message: Execute<A>, _ctx: &mut Self::Context) -> Self::Result {
        self.last_used = Instant::now();
        let Execute { request, reply } = message;
        let (log, stream, folded) = (self.log.clone(), self.stream.clone(), self.folded.clone());
        let run = async move {
            match folded {
                Ok(folded) => run(&log, &stream, folded, request).await,
                Err(error) => (Err(error.clone()), Err(error)),
            }
        };
        AtomicResponse::new(Box::pin(run.into_actor(self).map(|(folded, answer), actor, ctx| {
            actor.settle(folded, ctx);
            // A caller that went away does not mind.
            let _ = reply.send(answer);
        })))
    }
}

impl<A: EventSourced> Handler<Ask<A>> for AggregateActor<A> {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, message: Ask<A>, _ctx: &mut Self::Context) -> Self::Result {
        self.last_used = Instant::now();
        let (log, stream, folded) = (self.log.clone(), self.stream.clone(), self.folded.clone());
        let look = async move {
            match folded {
                // Another replica may have written since.
                Ok(folded) if log.is_shared() || !folded.is_read => {
                    snapshot::load(&log, &stream, folded).await
                }
                folded => folded,
            }
        };
        AtomicResponse::new(Box::pin(look.into_actor(self).map(|folded, actor, ctx| {
            let answer = folded.as_ref().map(Folded::answer).map_err(Clone::clone);
            actor.settle(folded, ctx);
            let _ = message.reply.send(answer);
        })))
    }
}

impl<A: Default> Default for Folded<A> {
    fn default() -> Self {
        Self {
            state: Arc::new(A::default()),
            sequence: 0,
            hash: FIRST_HASH,
            position: 0,
            kept: 0,
            is_read: false,
        }
    }
}

impl<A> Folded<A> {
    fn answer(&self) -> Answer<A> {
        self.answer_at(self.position)
    }

    fn answer_at(&self, position: Position) -> Answer<A> {
        Answer { position, state: self.state.clone() }
    }
}

/// The state afterwards, as far as it is known, and what the caller hears.
type Ran<A> = (Result<Folded<A>, DispatchError>, Result<Answer<A>, DispatchError>);

async fn run<A: EventSourced>(
    log: &EventLog,
    stream: &StreamId,
    mut folded: Folded<A>,
    request: Request<A>,
) -> Ran<A> {
    for _ in 0..DECISIONS_MAX {
        let events = match folded.state.decide(request.command.clone()) {
            Ok(events) if !events.is_empty() => events,
            undecided => {
                // Only what is decided on the newest state is a refusal.
                let seen = folded.sequence;
                if log.is_shared() || !folded.is_read {
                    folded = match snapshot::load(log, stream, folded).await {
                        Ok(folded) => folded,
                        Err(error) => return (Err(error.clone()), Err(error)),
                    };
                }
                if folded.sequence > seen {
                    continue;
                }
                let refusal = undecided.err().map(|refusal| DispatchError::Refused {
                    code: refusal_code(&refusal),
                    reason: refusal.to_string(),
                });
                return answer_repeat(log, stream, folded, request.metadata.command, refusal).await;
            }
        };
        let append = append_of(stream, &folded, &events, &request);
        crash_point::crash_point!("dispatcher.before_append");
        let appended = log.append(append).await;
        crash_point::crash_point!("dispatcher.after_append");
        match appended {
            Ok(appended) if appended.is_repeat => {
                let caught_up = if appended.sequence > folded.sequence {
                    snapshot::load(log, stream, folded).await
                } else {
                    Ok(folded)
                };
                let answer = caught_up.as_ref().map_err(Clone::clone);
                let answer = answer.map(|folded| folded.answer_at(appended.position));
                return (caught_up, answer);
            }
            Ok(appended) => {
                let folded = folded.after(events, appended, stream);
                let answer = folded.as_ref().map(Folded::answer).map_err(Clone::clone);
                return (folded, answer);
            }
            Err(AppendError::Conflict { .. }) => {
                folded = match snapshot::load(log, stream, folded).await {
                    Ok(folded) => folded,
                    Err(error) => return (Err(error.clone()), Err(error)),
                };
            }
            Err(AppendError::TooLarge { .. }) => {
                let refused = DispatchError::Refused {
                    code: "too_large".to_owned(),
                    reason: "this is more than the log takes at once: send less".to_owned(),
                };
                return (Ok(folded), Err(refused));
            }
            Err(error) => {
                let error = DispatchError::from(error);
                return (Err(error.clone()), Err(error));
            }
        }
    }
    let busy = DispatchError::Busy { retry_after: RETRY_PERIOD };
    (Ok(folded), Err(busy))
}

/// A command that changes nothing may be a repeat: then its first answer counts, even over a refusal.
async fn answer_repeat<A: EventSourced>(
    log: &EventLog,
    stream: &StreamId,
    folded: Folded<A>,
    command: Uuid,
    refusal: Option<DispatchError>,
) -> Ran<A> {
    // A stream without events has answered nobody.
    let found = match folded.sequence {
        0 => Ok(None),
        _ => log.find_command(stream, command).await,
    };
    let answer = match (found, refusal) {
        (Err(error), _) => Err(DispatchError::from(error)),
        (Ok(Some(first)), _) => Ok(folded.answer_at(first.position)),
        (Ok(None), Some(refusal)) => Err(refusal),
        (Ok(None), None) => Ok(folded.answer()),
    };
    (Ok(folded), answer)
}

fn append_of<A: EventSourced>(
    stream: &StreamId,
    folded: &Folded<A>,
    events: &[A::Event],
    request: &Request<A>,
) -> Append {
    let new_event = |event: &A::Event| {
        let (event_type, payload) = event.stored();
        let event_version = registry::version(A::TYPE, &event_type);
        NewEvent { event_type, event_version, payload: canonical_json(&payload) }
    };
    Append {
        stream: stream.clone(),
        expected: folded.sequence,
        previous_hash: folded.hash,
        project: request.project,
        epoch: request.epoch,
        metadata: request.metadata.clone(),
        events: events.iter().map(new_event).collect(),
        contents: request.contents.clone(),
    }
}

impl<A: EventSourced> Folded<A> {
    fn after(
        mut self,
        events: Vec<A::Event>,
        appended: Appended,
        stream: &StreamId,
    ) -> Result<Self, DispatchError> {
        for (sequence, event) in (self.sequence + 1..).zip(events) {
            self.evolve(event, stream, sequence)?;
        }
        self.sequence = appended.sequence;
        self.hash = appended.hash;
        self.position = appended.position;
        self.is_read = true;
        Ok(self)
    }

    fn recorded(mut self, event: &RecordedEvent) -> Result<Self, DispatchError> {
        let damaged = |reason: String| DispatchError::Damaged {
            stream: event.stream.clone(),
            sequence: event.sequence,
            reason,
        };
        if let Some(damage) = &event.damage {
            return Err(damaged(damage.clone()));
        }
        let restored = read::<A>(event).map_err(|error| damaged(error.to_string()))?;
        self.evolve(restored, &event.stream, event.sequence)?;
        self.sequence = event.sequence;
        self.hash = event.hash;
        self.position = event.position;
        Ok(self)
    }

    /// `evolve` asserts what `decide` guards; where that does not hold the stream is damaged, and
    /// only this stream.
    fn evolve(
        &mut self,
        event: A::Event,
        stream: &StreamId,
        sequence: u64,
    ) -> Result<(), DispatchError> {
        let state = Arc::make_mut(&mut self.state);
        catch_unwind(AssertUnwindSafe(|| state.evolve(event))).map_err(|panic| {
            let reason = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default();
            DispatchError::Damaged { stream: stream.clone(), sequence, reason }
        })
    }
}

/// The event of a row, in its newest version.
pub(crate) fn read<A: EventSourced>(event: &RecordedEvent) -> Result<A::Event, Unreadable> {
    registry::read(A::TYPE, &event.event_type, &event.event_version, &event.payload)
}
