//! Given what happened, when a stimulus, then intents: the words in which processes are tested.

use crate::{
    agent_protocol::RefusalKind,
    event::Event,
    process::{Action, Intent, IntentKey, Outcome, Process, ProcessEvent, ProcessState, Stimulus},
    testing::noon,
};

/// A process that has seen something; the last reaction is what `then` looks at.
pub(crate) struct Given<P> {
    state: ProcessState<P>,
    position: u64,
    intents: Vec<Intent>,
}

pub(crate) fn given_process<P: Process>() -> Given<P> {
    Given { state: ProcessState::default(), position: 0, intents: Vec::new() }
}

impl<P: Process> Given<P> {
    fn see(mut self, stimulus: Stimulus) -> Self {
        self.intents.clear();
        if let Some(event) = self.state.decide(stimulus) {
            self.state.evolve(&event);
            let ProcessEvent::Reacted { intents, .. } = event;
            self.intents = intents;
        }
        self
    }

    /// Another stream recorded a fact.
    #[track_caller]
    pub(crate) fn happened(mut self, event: Event) -> Self {
        assert!(P::route(&event).is_some(), "no process hears of {event:?}");
        self.position += 1;
        let position = self.position;
        self.see(Stimulus::Happened { event, position, at: noon() })
    }

    /// The intent that is due came to its end.
    #[track_caller]
    pub(crate) fn settled(self, outcome: Outcome) -> Self {
        let intent = self.first(|action| !matches!(action, Action::WakeAt { .. }));
        self.see(Stimulus::Settled { intent, outcome, at: noon() })
    }

    #[track_caller]
    pub(crate) fn failed(self, reason: &str) -> Self {
        let (kind, reason) = (RefusalKind::Machine, reason.to_owned());
        self.settled(Outcome::Failed { kind, reason })
    }

    /// All commands that are due are accepted.
    #[track_caller]
    pub(crate) fn told(mut self) -> Self {
        while self.is_due(|action| matches!(action, Action::Tell(_))) {
            self = self.settled(Outcome::Done);
        }
        self
    }

    /// The time of the earliest wake-up has come.
    #[track_caller]
    pub(crate) fn woken(self) -> Self {
        let intent = self.first(|action| matches!(action, Action::WakeAt { .. }));
        let Some(Action::WakeAt { label, .. }) =
            self.state.unsettled.get(&intent).map(|intent| intent.action.clone())
        else {
            unreachable!("it was just found");
        };
        self.see(Stimulus::Woken { intent, label, at: noon() })
    }

    fn is_due(&self, is_wanted: impl Fn(&Action) -> bool) -> bool {
        let effects = |intent: &&Intent| !matches!(intent.action, Action::WakeAt { .. });
        self.state.unsettled.values().find(effects).is_some_and(|intent| is_wanted(&intent.action))
    }

    #[track_caller]
    fn first(&self, is_wanted: impl Fn(&Action) -> bool) -> IntentKey {
        let found = self.state.unsettled.iter().find(|(_, intent)| is_wanted(&intent.action));
        *found.expect("such an intent is unsettled").0
    }

    /// What the last stimulus led to.
    pub(crate) fn intents(&self) -> &[Intent] {
        &self.intents
    }

    /// The same, asserted.
    #[track_caller]
    pub(crate) fn then(self, expected: impl IntoIterator<Item = Intent>) -> Self {
        assert_eq!(self.intents, expected.into_iter().collect::<Vec<_>>());
        self
    }

    /// What is still to be done.
    #[track_caller]
    pub(crate) fn then_unsettled(self, expected: impl IntoIterator<Item = Intent>) -> Self {
        let unsettled: Vec<_> = self.state.unsettled.values().cloned().collect();
        assert_eq!(unsettled, expected.into_iter().collect::<Vec<_>>());
        self
    }
}
