//! Appends that wait for the next commit, fair between projects.
//!
//! A batch takes one append of each project in turn until it is full, so a project that writes a lot
//! fills what the others leave, and no more than its share of one commit. In company, which is while several
//! projects write, that share is small, and whoever has more to write than its share rests a while before the
//! next: whoever comes meanwhile finds the disk at rest, too, and waits for nothing but its own commit.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

/// How long a project counts as company after it wrote, at least; at most twice as long.
const COMPANY_PERIOD: Duration = Duration::from_secs(1);

/// What a batch is limited by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows_max: usize,
    pub(super) bytes_max: usize,
    /// Rows of one project. Appends of no project have no such limit.
    pub(super) project_rows_max: usize,
    /// The same in company; one append in any case, however many rows it has.
    pub(super) project_rows_in_company_max: usize,
}

/// What an append weighs against the limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weight {
    pub(super) project: Option<Uuid>,
    pub(super) n_rows: usize,
    pub(super) n_bytes: usize,
}

#[derive(Debug)]
pub(super) struct FairQueue<T> {
    lanes: HashMap<Option<Uuid>, VecDeque<(Weight, T)>>,
    /// The lanes with something in them; the first one is served next.
    turns: VecDeque<Option<Uuid>>,
    len: usize,
    company: Company,
    /// Until when projects rest.
    resting: HashMap<Uuid, Instant>,
}

/// What goes into one commit.
#[derive(Debug)]
pub(super) struct Taken<T> {
    /// Empty where all that is queued is of projects that rest.
    pub(super) items: Vec<T>,
    /// Projects that have more to write than their share, in company.
    pub(super) over_share: Vec<Uuid>,
}

/// Which projects wrote of late.
#[derive(Debug)]
struct Company {
    now: HashSet<Uuid>,
    before: HashSet<Uuid>,
    since: Instant,
}

impl Company {
    fn new() -> Self {
        Self { now: HashSet::new(), before: HashSet::new(), since: Instant::now() }
    }

    fn note(&mut self, project: Uuid, now: Instant) {
        let elapsed = now - self.since;
        if elapsed >= COMPANY_PERIOD {
            self.before = mem::take(&mut self.now);
            self.since = now;
        }
        if elapsed >= 2 * COMPANY_PERIOD {
            self.before.clear();
        }
        self.now.insert(project);
    }

    fn is_there(&self) -> bool {
        self.now.len() > 1 || self.before.len() > 1 || !self.before.is_subset(&self.now)
    }
}

impl<T> FairQueue<T> {
    pub(super) fn new() -> Self {
        Self {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            len: 0,
            company: Company::new(),
            resting: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push(&mut self, weight: Weight, item: T) {
        if let Some(project) = weight.project {
            self.company.note(project, Instant::now());
        }
        let lane = self.lanes.entry(weight.project).or_default();
        if lane.is_empty() {
            self.turns.push_back(weight.project);
        }
        lane.push_back((weight, item));
        self.len += 1;
    }

    /// Nothing of these is taken until then.
    pub(super) fn rest(&mut self, projects: Vec<Uuid>, until: Instant) {
        self.resting.extend(projects.into_iter().map(|project| (project, until)));
    }

    /// Lets everybody write who waits.
    pub(super) fn end_rests(&mut self) {
        self.resting.clear();
    }

    /// When the first of those who rest may write again.
    pub(super) fn rested_at(&self) -> Option<Instant> {
        self.resting.values().min().copied()
    }

    /// Takes the next batch. One append always fits, however large it is.
    pub(super) fn take(&mut self, limits: Limits, now: Instant) -> Taken<T> {
        self.resting.retain(|_, until| *until > now);
        let mut items = Vec::new();
        let is_in_company = self.company.is_there();
        let project_rows_max = match is_in_company {
            true => limits.project_rows_in_company_max,
            false => limits.project_rows_max,
        };
        let (mut n_rows, mut n_bytes) = (0, 0);
        let mut taken: HashMap<Option<Uuid>, usize> = HashMap::new();
        let mut over_share = Vec::new();
        let mut waiting = VecDeque::new();
        while let Some(project) = self.turns.pop_front() {
            if project.is_some_and(|project| self.resting.contains_key(&project)) {
                waiting.push_back(project);
                continue;
            }
            let lane = self.lanes.get_mut(&project).expect("a turn belongs to a lane");
            let (weight, _) = lane.front().expect("a lane with a turn is not empty");
            let of_project = taken.entry(project).or_default();
            let is_fitting = n_rows + weight.n_rows <= limits.rows_max
                && n_bytes + weight.n_bytes <= limits.bytes_max;
            let is_fair = project.is_none()
                || *of_project == 0
                || *of_project + weight.n_rows <= project_rows_max;
            let is_taken = items.is_empty() || (is_fitting && is_fair);
            if !is_taken {
                // This lane has to wait for the next batch; a smaller append of another may still fit.
                waiting.push_back(project);
                over_share.extend(project.filter(|_| is_in_company && !is_fair));
                continue;
            }
            let (weight, item) = lane.pop_front().expect("looked at above");
            n_rows += weight.n_rows;
            n_bytes += weight.n_bytes;
            *of_project += weight.n_rows;
            items.push(item);
            self.len -= 1;
            if lane.is_empty() {
                self.lanes.remove(&project);
            } else {
                self.turns.push_back(project);
            }
        }
        self.turns = waiting;
        Taken { items, over_share }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;
    use uuid::Uuid;

    use super::{COMPANY_PERIOD, Company, FairQueue, Limits, Weight};

    const LIMITS: Limits = Limits {
        rows_max: 10,
        bytes_max: 1000,
        project_rows_max: 8,
        project_rows_in_company_max: 4,
    };

    fn weight(project: u128, n_rows: usize, n_bytes: usize) -> Weight {
        Weight { project: Some(Uuid::from_u128(project)), n_rows, n_bytes }
    }

    #[test]
    fn a_busy_project_does_not_hold_up_a_quiet_one() {
        let mut queue = FairQueue::new();
        for n in 0..100 {
            queue.push(weight(1, 1, 1), ("busy", n));
        }
        queue.push(weight(2, 1, 1), ("quiet", 0));
        let batch = queue.take(LIMITS, Instant::now()).items;
        assert!(batch.contains(&("quiet", 0)));
        assert_eq!(batch.iter().filter(|(who, _)| *who == "busy").count(), 4);
        assert_eq!(queue.len(), 96);
    }

    #[test]
    fn who_has_more_than_its_share_rests_in_company_and_nobody_else() {
        let (now, rest) = (Instant::now(), Duration::from_millis(5));
        let mut queue = FairQueue::new();
        (0..100).for_each(|n| queue.push(weight(1, 1, 1), n));
        assert!(queue.take(LIMITS, now).over_share.is_empty(), "nobody is kept waiting");
        queue.push(weight(2, 1, 1), 100);
        let taken = queue.take(LIMITS, now);
        assert_eq!(taken.over_share, [Uuid::from_u128(1)]);
        queue.rest(taken.over_share, now + rest);
        assert!(queue.take(LIMITS, now).items.is_empty(), "all that is left is of one that rests");
        assert_eq!(queue.rested_at(), Some(now + rest));
        queue.push(weight(2, 1, 1), 101);
        assert_eq!(queue.take(LIMITS, now).items, [101]);
        assert_eq!(queue.take(LIMITS, now + rest).items.len(), 4);
        queue.rest(vec![Uuid::from_u128(1)], now + 2 * rest);
        queue.end_rests();
        assert_eq!(queue.take(LIMITS, now + rest).items.len(), 4);
    }

    #[test]
    fn a_project_is_company_for_a_while() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut company = Company::new();
        let mut note = |project, n_periods| {
            company.note(project, company.since + n_periods * COMPANY_PERIOD);
            company.is_there()
        };
        assert!(!note(one, 0));
        assert!(note(other, 0), "another one wrote just now");
        assert!(note(other, 1));
        assert!(!note(other, 1), "that was long ago");
        assert!(note(one, 1));
        assert!(!note(one, 5));
    }

    #[test]
    fn who_is_alone_has_a_larger_share() {
        let mut queue = FairQueue::new();
        (0..100).for_each(|n| queue.push(weight(1, 1, 1), n));
        assert_eq!(queue.take(LIMITS, Instant::now()).items.len(), 8);
    }

    #[test]
    fn the_order_within_a_project_is_kept() {
        let mut queue = FairQueue::new();
        for n in 0..9 {
            queue.push(weight(1, 1, 1), n);
        }
        let mut seen = Vec::new();
        while !queue.is_empty() {
            seen.extend(queue.take(LIMITS, Instant::now()).items);
        }
        assert_eq!(seen, (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn one_append_beyond_the_limits_goes_alone() {
        let mut queue = FairQueue::new();
        queue.push(weight(1, 50, 5000), "large");
        queue.push(weight(2, 1, 1), "small");
        assert_eq!(queue.take(LIMITS, Instant::now()).items, ["large"]);
        assert_eq!(queue.take(LIMITS, Instant::now()).items, ["small"]);
    }

    #[test]
    fn a_large_append_is_not_starved_by_small_ones() {
        let mut queue = FairQueue::new();
        queue.push(weight(1, 1, 1), "small");
        queue.push(weight(2, 10, 1), "large");
        assert_eq!(queue.take(LIMITS, Instant::now()).items, ["small"]);
        queue.push(weight(1, 1, 1), "small");
        assert_eq!(queue.take(LIMITS, Instant::now()).items, ["large"], "it is first in turn now");
    }
}
