//! The newest events in memory, so that readers who keep up need not ask the database for them.
//!
//! Only what this process appended, only once it is on disk, and only as one piece without a gap: where
//! another replica appended in between, the piece begins anew behind it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::event_log::{Position, RecordedEvent};

const EVENTS_MAX: usize = 2048;
const BYTES_MAX: usize = 4 << 20;

#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    newest: Arc<Mutex<Newest>>,
}

#[derive(Debug, Default)]
struct Newest {
    events: VecDeque<Arc<RecordedEvent>>,
    n_bytes: usize,
}

impl Tail {
    /// Adds events that were committed just now, in the order of their positions.
    pub(super) fn push(&self, events: impl IntoIterator<Item = RecordedEvent>) {
        let mut newest = self.lock();
        for event in events {
            let is_next =
                newest.events.back().is_none_or(|last| last.position + 1 == event.position);
            if !is_next {
                *newest = Newest::default();
            }
            newest.n_bytes += weight(&event);
            newest.events.push_back(Arc::new(event));
        }
        while newest.events.len() > EVENTS_MAX || newest.n_bytes > BYTES_MAX {
            let Some(oldest) = newest.events.pop_front() else { break };
            newest.n_bytes -= weight(&oldest);
        }
    }

    /// Events behind `after`, if the next one is in memory.
    pub(super) fn after(&self, after: Position, limit: usize) -> Option<Vec<Arc<RecordedEvent>>> {
        let newest = self.lock();
        let first = newest.events.front()?.position;
        let n_passed = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        if n_passed >= newest.events.len() {
            return None;
        }
        Some(newest.events.iter().skip(n_passed).take(limit).cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn weight(event: &RecordedEvent) -> usize {
    size_of::<RecordedEvent>() + event.payload.len() + event.metadata_text.len()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::{BYTES_MAX, EVENTS_MAX, Tail};
    use crate::event_log::{FIRST_HASH, Metadata, Position, RecordedEvent, StreamId};

    fn event(position: Position, n_bytes: usize) -> RecordedEvent {
        RecordedEvent {
            position,
            stream: StreamId::new("counter", Uuid::nil()),
            sequence: position,
            event_type: "Counted".into(),
            event_version: "1".into(),
            payload: "x".repeat(n_bytes),
            metadata: Metadata {
                actor: "test".into(),
                command: Uuid::nil(),
                causation: None,
                correlation: Uuid::nil(),
                at: DateTime::UNIX_EPOCH,
            },
            metadata_text: String::new(),
            hash: FIRST_HASH,
            damage: None,
        }
    }

    fn positions(tail: &Tail, after: Position, limit: usize) -> Option<Vec<Position>> {
        Some(tail.after(after, limit)?.iter().map(|event| event.position).collect())
    }

    #[test]
    fn what_is_in_memory_is_read_from_any_place_in_it() {
        let tail = Tail::default();
        assert_eq!(positions(&tail, 0, 9), None);
        tail.push((5..=9).map(|n| event(n, 1)));
        assert_eq!(positions(&tail, 4, 9), Some(vec![5, 6, 7, 8, 9]));
        assert_eq!(positions(&tail, 6, 2), Some(vec![7, 8]));
        assert_eq!(positions(&tail, 3, 9), None, "the fourth is not there");
        assert_eq!(positions(&tail, 9, 9), None, "the database knows whether there are more");
    }

    #[test]
    fn behind_a_gap_it_begins_anew() {
        let tail = Tail::default();
        tail.push([event(1, 1), event(2, 1)]);
        tail.push([event(4, 1)]);
        assert_eq!(positions(&tail, 1, 9), None);
        assert_eq!(positions(&tail, 3, 9), Some(vec![4]));
    }

    #[test]
    fn it_is_bounded_by_number_and_by_size() {
        let tail = Tail::default();
        let n = EVENTS_MAX as u64;
        tail.push((1..=n + 10).map(|n| event(n, 1)));
        assert_eq!(positions(&tail, 9, 9), None);
        assert_eq!(positions(&tail, 10, 1), Some(vec![11]));
        tail.push((1..=3).map(|k| event(n + 10 + k, BYTES_MAX / 2)));
        assert_eq!(positions(&tail, n + 11, 9), None);
        assert_eq!(positions(&tail, n + 12, 9), Some(vec![n + 13]));
    }
}
