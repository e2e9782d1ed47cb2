//! One ordered account of an execution over all streams that it involves: who did what, caused by what,
//! how long it took, and what was tried more than once.
//!
//! A pure fold of [`Fact`]s, so the same log always gives the same account. Streamed text and usage are
//! left out: the transcript has the one, and they are many.
//!
//! Read next: `timeline/facts.rs` collects the facts from the log, `timeline/phases.rs` and
//! `timeline/attempts.rs` fold them.

mod attempts;
mod facts;
mod phases;
mod spans;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use domain::{
    event::Event,
    execution::ExecutionEvent,
    idea::IdeaEvent,
    ids::ExecutionId,
    process::{IntentKey, ProcessEvent, Stimulus},
    session::SessionEvent,
    values::Timestamp,
};
use uuid::Uuid;

pub use facts::{Fact, Involved, What, collect};
pub(crate) use facts::{told_in, whole_stream};
pub use phases::{Phase, PhaseName, PhaseState};

use crate::{
    event_log::{Cause, Position},
    summary,
    timeline::{attempts::Attempts, phases::Phases, spans::Spans},
};

/// The account of one execution, as far as the facts go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    pub requested_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// In the order in which they began.
    pub phases: Vec<Phase>,
    /// In the order of the log.
    pub entries: Vec<Entry>,
}

/// One event of the account.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub position: Position,
    pub at: Timestamp,
    pub kind: EntryKind,
    /// The aggregate or process that recorded it.
    pub stream: Uuid,
    pub sequence: u64,
    /// The event's name.
    pub event: String,
    pub summary: String,
    /// Who sent the command: a kind and an id.
    pub actor: String,
    /// The event that led to it; where only a command is known, that.
    pub cause: Option<Cause>,
    /// Above 1 where the same was tried before.
    pub attempt: u32,
    /// The phase that the execution was in.
    pub phase: Option<PhaseName>,
    /// Since the execution was requested, in milliseconds.
    pub since_ms: u64,
    /// Since what it finishes was begun, in milliseconds.
    pub took_ms: Option<u64>,
    /// Why the stored event cannot be read, if it cannot.
    pub problem: Option<String>,
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Idea,
    Execution,
    Node,
    Workspace,
    Session,
    Git,
    Process,
}

/// Folds the facts of an execution. A phase that goes on is measured up to `until`.
#[must_use]
pub fn fold(execution: ExecutionId, facts: &[Fact], until: Timestamp) -> Timeline {
    let mut account = Account::new(execution);
    for fact in facts {
        account.add(fact);
    }
    let Account { mut timeline, phases, .. } = account;
    timeline.phases = phases.finish(until);
    timeline
}

/// The fold on its way.
struct Account {
    execution: ExecutionId,
    timeline: Timeline,
    phases: Phases,
    attempts: Attempts,
    spans: Spans,
    /// Where an intent was wanted, by the id that it is performed under.
    wanted: HashMap<Uuid, Position>,
}

impl Account {
    fn new(execution: ExecutionId) -> Self {
        Self {
            execution,
            timeline: Timeline::default(),
            phases: Phases::default(),
            attempts: Attempts::default(),
            spans: Spans::default(),
            wanted: HashMap::new(),
        }
    }

    fn add(&mut self, fact: &Fact) {
        let Some(kind) = kind(fact) else { return };
        let recorded = &fact.recorded;
        let (position, at) = (recorded.position, recorded.metadata.at);
        self.note_bounds(fact);
        let (mut attempt, mut took_ms, mut problem) = (1, None, None);
        let before = self.phases.current();
        let summary = match &fact.what {
            What::Event(event) => {
                attempt = self.attempts.of_event(event);
                took_ms = self.spans.of_event(event, at);
                self.phases.see_event(event, at, position);
                summary::summary(event)
            }
            What::Reacted(reaction) => {
                self.add_reaction(fact, reaction, &mut attempt, &mut took_ms)
            }
            What::Unreadable(reason) => {
                problem = Some(reason.clone());
                format!("this event cannot be read: {reason}")
            }
        };
        // What ends a phase still belongs to it.
        let phase = self.phases.current().or(before);
        let since = self.timeline.requested_at.map(|requested| at - requested);
        self.timeline.entries.push(Entry {
            position,
            at,
            kind,
            stream: recorded.stream.id,
            sequence: recorded.sequence,
            event: recorded.event_type.clone(),
            summary,
            actor: recorded.metadata.actor.clone(),
            cause: recorded.metadata.causation.map(|cause| self.cause(cause)),
            attempt,
            phase,
            since_ms: since.map_or(0, millis),
            took_ms,
            problem,
        });
    }

    fn add_reaction(
        &mut self,
        fact: &Fact,
        reaction: &ProcessEvent,
        attempt: &mut u32,
        took_ms: &mut Option<u64>,
    ) -> String {
        let recorded = &fact.recorded;
        let (process, at) = (&recorded.stream, recorded.metadata.at);
        let uuid = |key: IntentKey| key.uuid(&process.kind, process.id);
        let ProcessEvent::Reacted { stimulus, intents, .. } = reaction;
        let settled = match stimulus {
            Stimulus::Settled { intent, .. } | Stimulus::Woken { intent, .. } => {
                Some(uuid(*intent))
            }
            Stimulus::Happened { .. } => None,
        };
        *took_ms = settled.and_then(|intent| self.spans.end(&intent.to_string(), at));
        let known = settled.and_then(|intent| self.attempts.action(intent).cloned());
        *attempt = settled.map_or(1, |intent| self.attempts.of_intent(intent));
        for (index, intent) in (0..).zip(intents) {
            let key = uuid(IntentKey { sequence: recorded.sequence, index });
            self.wanted.insert(key, recorded.position);
            self.spans.begin(key.to_string(), at);
            *attempt = (*attempt).max(self.attempts.want(key, &intent.action));
        }
        self.phases.see_reaction(reaction, known.as_ref(), at, recorded.position);
        summary::process::of_reaction(reaction, known.as_ref())
    }

    /// An intent is performed under the id of a command: what wanted it is where it comes from.
    fn cause(&self, cause: Cause) -> Cause {
        match cause {
            Cause::Event(position) => Cause::Event(position),
            Cause::Command(id) => self.wanted.get(&id).copied().map_or(cause, Cause::Event),
        }
    }

    fn note_bounds(&mut self, fact: &Fact) {
        let at = fact.recorded.metadata.at;
        match &fact.what {
            What::Event(Event::Idea(_, IdeaEvent::ExecutionRequested { request, .. }))
                if request.execution == self.execution =>
            {
                self.timeline.requested_at.get_or_insert(at);
            }
            What::Event(Event::Execution(execution, event)) if *execution == self.execution => {
                match event {
                    ExecutionEvent::Requested { .. } => {
                        self.timeline.requested_at.get_or_insert(at);
                    }
                    ExecutionEvent::Done
                    | ExecutionEvent::Failed { .. }
                    | ExecutionEvent::Cancelled { .. } => self.timeline.ended_at = Some(at),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// What an entry is about; none where the account has no place for it.
fn kind(fact: &Fact) -> Option<EntryKind> {
    match &fact.what {
        What::Event(Event::Execution(_, ExecutionEvent::ResultRecorded { .. })) => {
            Some(EntryKind::Git)
        }
        What::Event(Event::Session(
            _,
            SessionEvent::SegmentRecorded(_) | SessionEvent::UsageRecorded { .. },
        )) => None,
        What::Event(_) | What::Unreadable(_) => match fact.recorded.stream.kind.as_str() {
            "idea" => Some(EntryKind::Idea),
            "execution" => Some(EntryKind::Execution),
            "node" => Some(EntryKind::Node),
            "workspace" => Some(EntryKind::Workspace),
            "session" => Some(EntryKind::Session),
            "account" | "credential" | "project" => None,
            _ => Some(EntryKind::Process),
        },
        What::Reacted(_) => Some(EntryKind::Process),
    }
}

/// Whole milliseconds; none of them negative, since clocks of two machines may differ.
pub(crate) fn millis(period: chrono::TimeDelta) -> u64 {
    u64::try_from(period.num_milliseconds()).unwrap_or_default()
}
