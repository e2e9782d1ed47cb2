//! The phases of an execution with their attempts: the seven steps, then finishing and, in it, the push.
//!
//! Steps are recorded once, forward only. A coding agent that is lost and attached again goes back to
//! starting and running, which is told here as a second attempt at those two.

use std::collections::BTreeMap;

use domain::{
    event::Event,
    execution::{Ending, ExecutionEvent},
    process::{Action, Effect, OrderIntent, Outcome, ProcessEvent, Stimulus},
    session::SessionEvent,
    values::{Step, Timestamp},
};

use crate::{event_log::Position, timeline::millis};

/// A stretch of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    pub name: PhaseName,
    /// 1, 2 … for each name.
    pub attempt: u32,
    pub state: PhaseState,
    /// Why it began, or why it failed.
    pub reason: Option<String>,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// So far, if it goes on.
    pub elapsed_ms: u64,
    pub first_position: Position,
    pub last_position: Option<Position>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PhaseName {
    Step(Step),
    Finishing,
    /// Within finishing: the order that brings commits to their branch, or to a checkpoint.
    Push,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseState {
    Active,
    Done,
    Failed,
    /// Not needed, or not reached.
    Skipped,
}

#[derive(Debug, Default)]
pub(super) struct Phases {
    all: Vec<Phase>,
    n_attempts: BTreeMap<PhaseName, u32>,
    /// The furthest step that was started.
    furthest: Option<Step>,
    /// Why the push that is wanted will be made. It waits for the execution to have been told.
    wanted_push: Option<&'static str>,
    /// Where the fold is.
    at: Timestamp,
    position: Position,
}

impl Phases {
    /// The newest phase that goes on.
    pub(super) fn current(&self) -> Option<PhaseName> {
        self.active().next_back().map(|phase| phase.name)
    }

    pub(super) fn see_event(&mut self, event: &Event, at: Timestamp, position: Position) {
        (self.at, self.position) = (at, position);
        match event {
            Event::Execution(_, event) => self.see_execution(event),
            Event::Session(_, event) if !self.is_active(PhaseName::Finishing) => {
                self.see_session(event);
            }
            _ => {}
        }
    }

    /// `settled` is the action that the reaction hears the outcome of.
    pub(super) fn see_reaction(
        &mut self,
        reaction: &ProcessEvent,
        settled: Option<&Action>,
        at: Timestamp,
        position: Position,
    ) {
        (self.at, self.position) = (at, position);
        let ProcessEvent::Reacted { stimulus, intents, abandons } = reaction;
        if let (Stimulus::Settled { outcome, .. }, Some(action)) = (stimulus, settled)
            && publishes(action).is_some()
        {
            match outcome {
                Outcome::Failed { reason, .. } | Outcome::Refused { reason, .. } => {
                    self.end(PhaseName::Push, PhaseState::Failed, Some(reason));
                }
                _ => self.end(PhaseName::Push, PhaseState::Done, None),
            }
        }
        if matches!(stimulus, Stimulus::Settled { .. }) {
            self.begin_push();
        }
        if *abandons {
            self.wanted_push = None;
            self.end(PhaseName::Push, PhaseState::Failed, Some("given up"));
        }
        for is_checkpoint in intents.iter().filter_map(|intent| publishes(&intent.action)) {
            self.wanted_push = Some(match is_checkpoint {
                true => "saving unpushed work in a checkpoint",
                false => "pushing to the branch",
            });
        }
    }

    fn begin_push(&mut self) {
        if let Some(reason) = self.wanted_push.take() {
            self.begin(PhaseName::Push, reason);
        }
    }

    /// All phases; those that go on are measured up to `until`.
    pub(super) fn finish(mut self, until: Timestamp) -> Vec<Phase> {
        for phase in &mut self.all {
            phase.elapsed_ms = millis(phase.ended_at.unwrap_or(until) - phase.started_at);
        }
        self.all
    }

    fn see_execution(&mut self, event: &ExecutionEvent) {
        match event {
            ExecutionEvent::StepStarted { step, reason } => {
                self.end_steps(PhaseState::Done, None);
                self.skip_before(Some(*step));
                self.begin(PhaseName::Step(*step), reason);
                self.furthest = Some(*step);
            }
            ExecutionEvent::FinishBegun { ending } => {
                let (state, why, reason) = match ending {
                    Ending::Complete => (PhaseState::Done, None, "bringing the work to its branch"),
                    Ending::Fail { reason } => {
                        (PhaseState::Failed, Some(reason.as_str()), "saving unpushed work")
                    }
                    Ending::Cancel => {
                        (PhaseState::Failed, Some("cancelled"), "saving unpushed work")
                    }
                };
                self.end_steps(state, why);
                self.end(PhaseName::Finishing, PhaseState::Failed, why);
                self.begin(PhaseName::Finishing, reason);
                self.begin_push();
            }
            ExecutionEvent::Done => self.end_all(None),
            ExecutionEvent::Failed { reason, .. } => self.end_all(Some(reason)),
            ExecutionEvent::Cancelled { .. } => self.end_all(Some("cancelled")),
            ExecutionEvent::Requested { .. }
            | ExecutionEvent::Waited { .. }
            | ExecutionEvent::Placed { .. }
            | ExecutionEvent::CancelRequested
            | ExecutionEvent::InputAsked { .. }
            | ExecutionEvent::InputAnswered { .. }
            | ExecutionEvent::ResultRecorded { .. } => {}
        }
    }

    fn see_session(&mut self, event: &SessionEvent) {
        let starting = PhaseName::Step(Step::AgentSession);
        let running = PhaseName::Step(Step::Running);
        match event {
            SessionEvent::AttachmentLost { reason, .. } => {
                self.end_steps(PhaseState::Failed, Some(reason));
            }
            SessionEvent::AttachmentBegun { .. }
                if self.n_attempts.contains_key(&starting) && !self.is_active(starting) =>
            {
                self.end_steps(PhaseState::Done, None);
                self.begin(starting, "starting the coding agent again");
            }
            SessionEvent::TurnStarted { .. }
                if self.n_attempts.contains_key(&running) && !self.is_active(running) =>
            {
                self.end_steps(PhaseState::Done, None);
                self.begin(running, "going on");
            }
            _ => {}
        }
    }

    fn active(&self) -> impl DoubleEndedIterator<Item = &Phase> {
        self.all.iter().filter(|phase| phase.state == PhaseState::Active)
    }

    fn is_active(&self, name: PhaseName) -> bool {
        self.active().any(|phase| phase.name == name)
    }

    fn begin(&mut self, name: PhaseName, reason: &str) {
        let attempt = self.n_attempts.entry(name).or_default();
        *attempt += 1;
        self.all.push(Phase {
            name,
            attempt: *attempt,
            state: PhaseState::Active,
            reason: Some(reason.to_owned()),
            started_at: self.at,
            ended_at: None,
            elapsed_ms: 0,
            first_position: self.position,
            last_position: None,
        });
    }

    fn end(&mut self, name: PhaseName, state: PhaseState, why: Option<&str>) {
        self.end_where(|other| other == name, state, why);
    }

    fn end_steps(&mut self, state: PhaseState, why: Option<&str>) {
        self.end_where(|name| matches!(name, PhaseName::Step(_)), state, why);
    }

    /// Finishing ends well where the execution failed before it: it saved what there was.
    fn end_all(&mut self, failure: Option<&str>) {
        let state = if failure.is_some() { PhaseState::Failed } else { PhaseState::Done };
        self.end_steps(state, failure);
        self.end(PhaseName::Push, PhaseState::Failed, Some("given up"));
        let push = self.all.iter().rev().find(|phase| phase.name == PhaseName::Push);
        let unsaved = push
            .filter(|push| push.state == PhaseState::Failed)
            .and_then(|push| push.reason.clone());
        match unsaved {
            Some(reason) => self.end(PhaseName::Finishing, PhaseState::Failed, Some(&reason)),
            None => self.end(PhaseName::Finishing, PhaseState::Done, None),
        }
        self.skip_before(None);
    }

    fn end_where(
        &mut self,
        is_it: impl Fn(PhaseName) -> bool,
        state: PhaseState,
        why: Option<&str>,
    ) {
        let ending = |phase: &&mut Phase| phase.state == PhaseState::Active && is_it(phase.name);
        for phase in self.all.iter_mut().filter(ending) {
            phase.state = state;
            phase.ended_at = Some(self.at);
            phase.last_position = Some(self.position);
            if let Some(why) = why {
                phase.reason = Some(why.to_owned());
            }
        }
    }

    /// Steps after the furthest one and before `next`, or all that are left, were not needed.
    fn skip_before(&mut self, next: Option<Step>) {
        let furthest = self.furthest;
        let skipped = Step::ALL.into_iter().filter(|step| {
            furthest.is_none_or(|furthest| *step > furthest) && next.is_none_or(|next| *step < next)
        });
        for step in skipped {
            self.begin(PhaseName::Step(step), "");
            let Some(phase) = self.all.last_mut() else { continue };
            phase.state = PhaseState::Skipped;
            phase.reason = None;
            phase.ended_at = Some(self.at);
            phase.last_position = Some(self.position);
        }
    }
}

/// Whether an action brings work out of the container, and if so whether to a checkpoint.
fn publishes(action: &Action) -> Option<bool> {
    match action {
        Action::Run(Effect::Order {
            order: OrderIntent::Publish { is_checkpoint, .. }, ..
        }) => Some(*is_checkpoint),
        _ => None,
    }
}
