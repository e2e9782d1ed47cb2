//! Which processes still want something: a fold of their streams that knows nothing of their states.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::{
    event::registry,
    process::{Action, IntentKey, ProcessEvent, Stimulus},
};
use projections::event_log::RecordedEvent;
use uuid::Uuid;

#[derive(Debug, Default)]
pub(super) struct Pending {
    streams: HashMap<Uuid, Stream>,
}

#[derive(Debug)]
struct Stream {
    correlation: Uuid,
    /// Intents without an outcome; true for commands, which are never given up.
    unsettled: BTreeMap<IntentKey, bool>,
    is_unreadable: bool,
}

impl Pending {
    pub(super) fn see(&mut self, recorded: &RecordedEvent) {
        let stream = self.streams.entry(recorded.stream.id).or_insert_with(|| Stream {
            correlation: recorded.metadata.correlation,
            unsettled: BTreeMap::new(),
            is_unreadable: false,
        });
        let RecordedEvent { event_type, event_version, payload, .. } = recorded;
        let kind = &recorded.stream.kind;
        let event = registry::read::<ProcessEvent>(kind, event_type, event_version, payload);
        let Ok(ProcessEvent::Reacted { stimulus, intents, abandons }) = event else {
            // Its actor will say what is wrong with it.
            stream.is_unreadable = true;
            return;
        };
        if let Stimulus::Settled { intent, .. } | Stimulus::Woken { intent, .. } = stimulus {
            stream.unsettled.remove(&intent);
        }
        if abandons {
            stream.unsettled.retain(|_, is_command| *is_command);
        }
        for (index, intent) in (0..).zip(intents) {
            let key = IntentKey { sequence: recorded.sequence, index };
            stream.unsettled.insert(key, matches!(intent.action, Action::Tell(_)));
        }
    }

    /// Those that want something, with the correlation of what started them.
    pub(super) fn processes(self) -> BTreeSet<(Uuid, Uuid)> {
        let wants = |stream: &Stream| stream.is_unreadable || !stream.unsettled.is_empty();
        let streams = self.streams.into_iter().filter(|(_, stream)| wants(stream));
        streams.map(|(process, stream)| (process, stream.correlation)).collect()
    }
}
