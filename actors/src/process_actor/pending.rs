//! Which processes still want something: a fold of their streams that knows nothing of their states.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use domain::{
    event::registry,
    process::{Action, IntentKey, ProcessEvent, Stimulus},
};
use projections::{event_log::RecordedEvent, open_intents::Wanting};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The processes that want something, and those whose row has to be written anew.
#[derive(Debug, Default)]
pub(super) struct Pending {
    streams: HashMap<Uuid, Stream>,
    changed: HashSet<Uuid>,
}

#[derive(Debug)]
struct Stream {
    correlation: Uuid,
    wanted: Wanted,
}

/// What a row says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Wanted {
    /// Intents without an outcome; true for commands, which are never given up.
    unsettled: Vec<(IntentKey, bool)>,
    is_unreadable: bool,
}

impl Pending {
    /// What earlier rows say. A row that cannot be read counts as a process that wants something.
    pub(super) fn load(rows: Vec<Wanting>) -> Self {
        let stream = |row: Wanting| {
            let unreadable = |_| Wanted { is_unreadable: true, ..Wanted::default() };
            let wanted = serde_json::from_str(&row.intents).unwrap_or_else(unreadable);
            (row.process, Stream { correlation: row.correlation, wanted })
        };
        Self { streams: rows.into_iter().map(stream).collect(), changed: HashSet::new() }
    }

    pub(super) fn see(&mut self, recorded: &RecordedEvent) {
        let process = recorded.stream.id;
        self.changed.insert(process);
        let stream = self.streams.entry(process).or_insert_with(|| Stream {
            correlation: recorded.metadata.correlation,
            wanted: Wanted::default(),
        });
        stream.wanted.see(recorded);
        if !stream.wanted.is_any() {
            self.streams.remove(&process);
        }
    }

    /// Those that want something, with the correlation of what started them.
    pub(super) fn processes(&self) -> BTreeSet<(Uuid, Uuid)> {
        self.streams.iter().map(|(process, stream)| (*process, stream.correlation)).collect()
    }

    /// The rows that differ from what was written last.
    pub(super) fn changed(&self) -> Vec<(Uuid, Option<Wanting>)> {
        let row = |process: &Uuid| {
            let stream = self.streams.get(process)?;
            let intents = serde_json::to_string(&stream.wanted).unwrap_or_default();
            Some(Wanting { process: *process, correlation: stream.correlation, intents })
        };
        self.changed.iter().map(|process| (*process, row(process))).collect()
    }

    /// They are written.
    pub(super) fn forget_changed(&mut self) {
        self.changed.clear();
    }
}

impl Wanted {
    fn is_any(&self) -> bool {
        self.is_unreadable || !self.unsettled.is_empty()
    }

    fn see(&mut self, recorded: &RecordedEvent) {
        let RecordedEvent { event_type, event_version, payload, .. } = recorded;
        let kind = &recorded.stream.kind;
        let event = registry::read::<ProcessEvent>(kind, event_type, event_version, payload);
        let Ok(ProcessEvent::Reacted { stimulus, intents, abandons }) = event else {
            // Its actor will say what is wrong with it.
            self.is_unreadable = true;
            return;
        };
        let mut unsettled: BTreeMap<IntentKey, bool> = self.unsettled.drain(..).collect();
        if let Stimulus::Settled { intent, .. } | Stimulus::Woken { intent, .. } = stimulus {
            unsettled.remove(&intent);
        }
        if abandons {
            unsettled.retain(|_, is_command| *is_command);
        }
        for (index, intent) in (0..).zip(intents) {
            let key = IntentKey { sequence: recorded.sequence, index };
            unsettled.insert(key, matches!(intent.action, Action::Tell(_)));
        }
        self.unsettled = unsettled.into_iter().collect();
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use domain::{
        event_sourced::{EventPayload as _, canonical_json},
        ids::{NodeId, WorkspaceId},
        process::{Intent, IntentKey, OrderIntent, Outcome, ProcessEvent, Stimulus},
    };
    use projections::event_log::{FIRST_HASH, Metadata, RecordedEvent, StreamId};
    use uuid::Uuid;

    use super::Pending;

    const PROCESS: Uuid = Uuid::from_u128(1);
    const CORRELATION: Uuid = Uuid::from_u128(2);

    /// One intent is wanted, and another one is settled.
    fn reacted(sequence: u64, settles: IntentKey, n_intents: usize) -> RecordedEvent {
        let order = OrderIntent::CloseWorkspace { workspace: WorkspaceId(PROCESS) };
        let intent = Intent::order(NodeId(PROCESS), order);
        let at = DateTime::UNIX_EPOCH;
        let event = ProcessEvent::Reacted {
            stimulus: Stimulus::Settled { intent: settles, outcome: Outcome::Done, at },
            intents: vec![intent; n_intents],
            abandons: false,
        };
        let (event_type, payload) = event.stored();
        RecordedEvent {
            position: sequence,
            stream: StreamId::new("run_execution", PROCESS),
            sequence,
            event_type,
            event_version: "1".to_owned(),
            payload: canonical_json(&payload),
            metadata: Metadata {
                actor: String::new(),
                command: PROCESS,
                causation: None,
                correlation: CORRELATION,
                at,
            },
            metadata_text: String::new(),
            hash: FIRST_HASH,
            damage: None,
        }
    }

    /// Writes the rows down and begins again from them, as a start does.
    fn written(
        mut pending: Pending,
        rows: &mut Vec<projections::open_intents::Wanting>,
    ) -> Pending {
        for (process, row) in pending.changed() {
            rows.retain(|row| row.process != process);
            rows.extend(row);
        }
        pending.forget_changed();
        Pending::load(rows.clone())
    }

    #[test]
    fn what_is_wanted_is_known_from_the_rows_and_the_end_of_the_log() {
        let none = IntentKey { sequence: 0, index: 0 };
        let key = |sequence| IntentKey { sequence, index: 0 };
        let stream = [reacted(1, none, 1), reacted(2, key(1), 1), reacted(3, key(2), 0)];
        for restart_after in 0..=stream.len() {
            let (mut pending, mut rows) = (Pending::default(), Vec::new());
            for (n, event) in stream.iter().enumerate() {
                if n == restart_after {
                    pending = written(pending, &mut rows);
                }
                pending.see(event);
                let expected = if n < 2 { vec![(PROCESS, CORRELATION)] } else { Vec::new() };
                let wanting: Vec<_> = pending.processes().into_iter().collect();
                assert_eq!(wanting, expected, "restarted after {restart_after}, event {n}");
            }
            assert!(written(pending, &mut rows).processes().is_empty());
            assert!(rows.is_empty(), "a process that wants nothing costs nothing: {rows:?}");
        }
    }
}
