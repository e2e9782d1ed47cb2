//! What the appender knows without asking: where the log ends, and the heads of streams it wrote.
//!
//! True only while nobody else appends. So what is decided by it is written under the condition that
//! the log still ends there, in the same statement; where that does not hold, or anything else is
//! unusual (a stream not written lately, a lease to be checked, a conflict), the log is asked instead,
//! under the head lock. A repeated command is not known here: the unique index refuses it, and then the
//! log is asked as well.

use std::collections::HashMap;

use crate::event_log::{
    Hash, Position, StreamId,
    batch::{Known, Prepared, Verdict, judge},
};

/// How many streams are kept in mind; then all are forgotten, which costs each of them one question.
const STREAMS_MAX: usize = 8192;

#[derive(Debug, Default)]
pub(super) struct Heads {
    /// The head of the log, if that is known.
    position: Option<Position>,
    streams: HashMap<StreamId, (u64, Hash)>,
}

/// A batch all of which wins, if the log still ends at `base`.
#[derive(Debug)]
pub(super) struct Foreseen {
    pub(super) base: Position,
    pub(super) verdicts: Vec<Verdict>,
    /// Where the log ends afterwards.
    pub(super) position: Position,
}

impl Heads {
    /// Decides a batch without the log, if that is possible.
    pub(super) fn foresee(&self, batch: &[Prepared]) -> Option<Foreseen> {
        let base = self.position?;
        let mut known = Vec::with_capacity(batch.len());
        for append in batch {
            if append.epoch.is_some() {
                return None;
            }
            let head = self.streams.get(&append.stream).copied();
            // Of a stream that is believed to be new the unique index says whether it is.
            if head.is_none() && append.expected > 0 {
                return None;
            }
            known.push(Known { head, answer: None });
        }
        let (verdicts, position) = judge(batch, &known, base, None);
        let is_won = |verdict: &Verdict| matches!(verdict, Verdict::Won { .. });
        verdicts.iter().all(is_won).then_some(Foreseen { base, verdicts, position })
    }

    /// Keeps in mind what the log said of a batch under the head lock.
    pub(super) fn learn(&mut self, batch: &[Prepared], known: &[Known], base: Position) {
        if self.position != Some(base) {
            self.forget();
        }
        for (append, known) in batch.iter().zip(known) {
            if let Some((sequence, hash)) = known.head {
                self.keep(append, sequence, hash);
            }
        }
        self.position = Some(base);
    }

    /// Keeps in mind what was committed just now.
    pub(super) fn advance(&mut self, batch: &[Prepared], verdicts: &[Verdict], position: Position) {
        for (append, verdict) in batch.iter().zip(verdicts) {
            if let Verdict::Won { appended, .. } = verdict {
                self.keep(append, appended.sequence, appended.hash);
            }
        }
        self.position = Some(position);
    }

    /// After an error nothing is certain.
    pub(super) fn forget(&mut self) {
        self.position = None;
        self.streams.clear();
    }

    fn keep(&mut self, append: &Prepared, sequence: u64, hash: Hash) {
        if let Some(head) = self.streams.get_mut(&append.stream) {
            *head = (sequence, hash);
            return;
        }
        if self.streams.len() >= STREAMS_MAX {
            self.streams.clear();
        }
        self.streams.insert(append.stream.clone(), (sequence, hash));
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::Heads;
    use crate::event_log::{
        Append, FIRST_HASH, Hash, Metadata, NewEvent, StreamId,
        batch::{Known, Prepared},
    };

    fn append(stream: u128, expected: u64, previous_hash: Hash) -> Prepared {
        let command = Uuid::from_u128(stream << 64 | u128::from(expected));
        let event = NewEvent {
            event_type: "Counted".into(),
            event_version: "1".into(),
            payload: "{}".into(),
        };
        Prepared::new(Append {
            stream: StreamId::new("counter", Uuid::from_u128(stream)),
            expected,
            previous_hash,
            project: None,
            epoch: None,
            metadata: Metadata {
                actor: "test".into(),
                command,
                causation: None,
                correlation: command,
                at: DateTime::UNIX_EPOCH,
            },
            events: vec![event],
            contents: Vec::new(),
        })
        .unwrap()
    }

    #[test]
    fn nothing_is_foreseen_before_the_log_was_asked() {
        let mut heads = Heads::default();
        assert!(heads.foresee(&[append(1, 0, FIRST_HASH)]).is_none());
        heads.learn(&[], &[], 7);
        let foreseen = heads.foresee(&[append(1, 0, FIRST_HASH)]).unwrap();
        assert_eq!((foreseen.base, foreseen.position), (7, 8));
    }

    #[test]
    fn only_a_stream_that_is_in_mind_goes_on_without_a_question() {
        let mut heads = Heads::default();
        heads.learn(&[], &[], 0);
        let first = [append(1, 0, FIRST_HASH)];
        let foreseen = heads.foresee(&first).unwrap();
        heads.advance(&first, &foreseen.verdicts, foreseen.position);
        assert!(heads.foresee(&[append(1, 1, first[0].last_hash())]).is_some());
        assert!(heads.foresee(&[append(1, 0, FIRST_HASH)]).is_none(), "a conflict is the log's");
        assert!(heads.foresee(&[append(2, 1, FIRST_HASH)]).is_none(), "never seen");
    }

    #[test]
    fn an_append_under_a_lease_is_never_foreseen() {
        let mut heads = Heads::default();
        heads.learn(&[], &[], 0);
        let leased = Prepared { epoch: Some(1), ..append(1, 0, FIRST_HASH) };
        assert!(heads.foresee(&[leased]).is_none());
    }

    #[test]
    fn what_somebody_else_appended_makes_all_of_it_doubtful() {
        let mut heads = Heads::default();
        let first = [append(1, 0, FIRST_HASH)];
        heads.learn(&first, &[Known { head: Some((1, [1; 32])), answer: None }], 5);
        assert!(heads.foresee(&[append(1, 1, [1; 32])]).is_some());
        heads.learn(&[], &[], 6);
        assert!(heads.foresee(&[append(1, 1, [1; 32])]).is_none());
    }
}
