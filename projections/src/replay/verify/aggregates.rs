//! Decides the commands of aggregates once more.
//!
//! A command that left events was decided on the state before them. When one that left none was decided is not
//! recorded: between the moment when its process wanted it and the moment when it heard the answer. Some
//! state of that time has to give the answer.

use std::collections::{BTreeSet, HashSet};

use domain::{
    aggregate::{Aggregate, Refusal},
    event::{Command, Event, registry},
    process::Outcome,
};
use serde_json::{Value, json};

use super::{NotDecided, Told, Verifier, stream_of};
use crate::{
    event_log::{Position, RecordedEvent, StreamId},
    read_models,
};

/// Where a process recorded what it was answered.
const OUTCOME: &str = "stimulus.settled.outcome";

/// Refusals that are not the aggregate's: the log did not take the events, or the stream is damaged.
const CODES_OF_OTHERS: [&str; 2] = ["failed", "too_large"];

/// A command that left no event.
struct Eventless<'a> {
    command: Command,
    wanted: Position,
    answered: &'a RecordedEvent,
    outcome: Outcome,
    /// What the states of its time give.
    decided: Vec<Value>,
}

impl Eventless<'_> {
    /// Puts it to a state that was the newest after one position and until another.
    fn try_on(&mut self, state: &Aggregate, after: Position, until: Position) {
        if self.wanted < until && after < self.answered.position {
            self.decided.push(outcome_of(state.decide(&self.command)));
        }
    }
}

impl<'a> Verifier<'a> {
    /// Those that are given, and those that have no events but were told something.
    pub(super) fn check_aggregates(&mut self) {
        let told = self.told.values().map(|told| stream_of(&told.command));
        let streams: BTreeSet<StreamId> =
            told.chain(self.aggregates.keys().map(|stream| (*stream).clone())).collect();
        for stream in streams {
            let events = self.aggregates.get(&stream).copied().unwrap_or_default();
            if let Some(state) = Aggregate::new(&stream.kind) {
                self.check_aggregate(state, &stream, events);
            }
        }
    }

    fn check_aggregate(
        &mut self,
        mut state: Aggregate,
        stream: &StreamId,
        events: &'a [RecordedEvent],
    ) {
        let mut eventless = self.eventless(stream, events);
        let (mut after, mut rest) = (0, events);
        for group in events.chunk_by(|a, b| a.metadata.command == b.metadata.command) {
            let until = group.first().map_or(after, |first| first.position);
            eventless.iter_mut().for_each(|command| command.try_on(&state, after, until));
            if let Err((at, reason)) = self.check_group(&mut state, stream, group) {
                self.ends(at, rest, reason);
                return self.judge(eventless, Some(until));
            }
            rest = &rest[group.len()..];
            after = group.last().map_or(after, |last| last.position);
        }
        eventless.iter_mut().for_each(|command| command.try_on(&state, after, Position::MAX));
        self.judge(eventless, None);
    }

    /// Decides the command of these events again, and folds them. Gives back what cannot be followed.
    fn check_group<'b>(
        &mut self,
        state: &mut Aggregate,
        stream: &StreamId,
        group: &'b [RecordedEvent],
    ) -> Result<(), (&'b RecordedEvent, String)> {
        let mut events = Vec::new();
        for recorded in group {
            match read_models::decode(recorded) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return Err((recorded, "this is an event of a process".to_owned())),
                Err(reason) => return Err((recorded, reason)),
            }
        }
        for (recorded, event) in group.iter().zip(&events) {
            self.check_stored(recorded, event);
        }
        match self.decide_again(state, stream, group, &events) {
            Some(Ok(decided)) => self.compare_events(group, &events, &decided),
            Some(Err(refusal)) => {
                let reason = json!(format!("refused: {}", refusal.reason));
                self.differs(&group[0], "event", json!(group[0].event_type), reason);
            }
            None => {
                self.skips(group, "no command leads to these events; they were folded".to_owned());
            }
        }
        for (recorded, event) in group.iter().zip(&events) {
            state.evolve(event).map_err(|reason| (recorded, reason))?;
        }
        Ok(())
    }

    /// What the command of these events leads to now; none where it is not known.
    fn decide_again(
        &mut self,
        state: &Aggregate,
        stream: &StreamId,
        group: &[RecordedEvent],
        events: &[Event],
    ) -> Option<Result<Vec<Event>, Refusal>> {
        let told = self.told.get(&group.first()?.metadata.command);
        let Some(told) = told.filter(|told| stream_of(&told.command) == *stream) else {
            let command = state.command_of(events)?;
            self.result.n_rebuilt += 1;
            return Some(state.decide(&command));
        };
        let (decided, answer) = (state.decide(&told.command), told.answer.clone());
        self.result.n_commands += 1;
        if let Some((at, outcome)) = answer.filter(|(_, outcome)| !is_of_others(outcome)) {
            self.compare(at, OUTCOME, &json!(outcome), &json!(Outcome::Done));
        }
        Some(decided)
    }

    fn compare_events(&mut self, group: &[RecordedEvent], events: &[Event], decided: &[Event]) {
        for index in 0..events.len().max(decided.len()) {
            let stored = |events: &[Event]| events.get(index).map(Event::stored).unzip();
            let (recorded, again) = (stored(events), stored(decided));
            let at = &group[index.min(group.len() - 1)];
            self.compare(at, "event", &json!(recorded.0), &json!(again.0));
            if recorded.0 == again.0 {
                self.compare(at, "", &json!(recorded.1), &json!(again.1));
            }
        }
    }

    /// An event that is read and written again is the same, unless it was of an older version.
    fn check_stored(&mut self, recorded: &RecordedEvent, event: &Event) {
        let newest = registry::version(&recorded.stream.kind, &recorded.event_type);
        if recorded.event_version != newest {
            return;
        }
        if let Ok(stored) = serde_json::from_str(&recorded.payload) {
            self.compare(recorded, "payload", &stored, &event.stored().1);
        }
    }

    /// Commands to a stream that were answered and left no event there.
    fn eventless(&self, stream: &StreamId, events: &[RecordedEvent]) -> Vec<Eventless<'a>> {
        let with_events: HashSet<_> = events.iter().map(|event| event.metadata.command).collect();
        let told = self
            .told
            .iter()
            .filter(|(id, told)| !with_events.contains(*id) && stream_of(&told.command) == *stream);
        told.filter_map(|(_, Told { command, wanted, answer })| {
            let ((answered, outcome), command) = (answer.clone()?, command.clone());
            Some(Eventless { command, wanted: *wanted, answered, outcome, decided: Vec::new() })
        })
        .collect()
    }

    /// Compares the answers. States from `ended` on are not known.
    fn judge(&mut self, eventless: Vec<Eventless<'_>>, ended: Option<Position>) {
        for Eventless { answered, outcome, decided, .. } in eventless {
            let recorded = json!(outcome);
            let is_cut = ended.is_some_and(|ended| ended < answered.position);
            match decided.last() {
                _ if is_of_others(&outcome) => {
                    self.was_not_put(answered, "it failed before its stream could answer it");
                }
                _ if decided.contains(&recorded) => {
                    self.result.n_commands += 1;
                    self.result.n_without_events += 1;
                }
                Some(now) if !is_cut => {
                    self.result.n_commands += 1;
                    self.result.n_without_events += 1;
                    self.compare(answered, OUTCOME, &recorded, now);
                }
                _ => self.was_not_put(answered, "the stream that answered it cannot be followed"),
            }
        }
    }

    fn was_not_put(&mut self, answered: &RecordedEvent, reason: &str) {
        self.result.not_decided.push(NotDecided {
            position: answered.position,
            stream: answered.stream.clone(),
            event: answered.event_type.clone(),
            n_events: 0,
            reason: format!("of the command whose answer this is: {reason}"),
        });
    }
}

fn is_of_others(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused { code, .. } if CODES_OF_OTHERS.contains(&code.as_str()))
}

/// What a process would be answered, where no event is recorded.
fn outcome_of(decided: Result<Vec<Event>, Refusal>) -> Value {
    match decided {
        Ok(events) if events.is_empty() => json!(Outcome::Done),
        Ok(events) => {
            let names: Vec<_> = events.iter().map(|event| event.stored().0).collect();
            json!(format!("records {}", names.join(", ")))
        }
        Err(Refusal { code, reason }) => json!(Outcome::Refused { code, reason }),
    }
}
