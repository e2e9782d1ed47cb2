//! Chooses what happens next, and what goes wrong.

use uuid::Uuid;

use crate::{
    agent_protocol::RefusalKind,
    event::Command,
    execution::{Execution, ExecutionCommand},
    process::{
        Action, Outcome,
        tests::{
            outside::Outside,
            world::{Reader, Runnable, World, readers},
        },
    },
    testing::execution,
};

/// What happens to an intent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// It is performed twice in a row, as after a crash before its outcome was recorded.
    Twice,
    /// It is performed, and again when everything else has moved on.
    AgainLater,
    /// An effect fails without having been performed; a command is repeated.
    Fails,
    /// An effect is performed, but its answer is a failure; a command is repeated.
    FailsAfterwards,
}

impl Fault {
    pub(super) const ALL: [Self; 4] =
        [Self::Twice, Self::AgainLater, Self::Fails, Self::FailsAfterwards];
}

/// What goes wrong in one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// At the nth intent.
    pub(super) fault: Option<(usize, Fault)>,
    /// At every intent.
    pub(super) always: Option<Fault>,
    /// Execution 1 is cancelled once the log has this length.
    pub(super) cancel_at: Option<usize>,
    /// What to do next is chosen at random; else in order. Faults come at random too.
    pub(super) seed: Option<u64>,
}

const STEPS_MAX: usize = 5_000;

pub(super) struct Scheduler {
    pub(super) world: World,
    readers: Vec<Box<dyn Reader>>,
    plan: Plan,
    random: u64,
    pub(super) n_performed: usize,
    /// Performed once already, with their outcome not told.
    postponed: Vec<Uuid>,
}

#[derive(Debug)]
enum Next {
    Read(usize),
    Perform(usize, Box<Runnable>),
    Say,
}

impl Scheduler {
    pub(super) fn new(outside: Outside, plan: Plan) -> Self {
        let random = plan.seed.unwrap_or_default().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let (world, readers) = (World::new(outside), readers());
        Self { world, readers, plan, random, n_performed: 0, postponed: Vec::new() }
    }

    /// Goes on until nothing is left to happen.
    pub(super) fn run(&mut self) {
        for _ in 0..STEPS_MAX {
            self.cancel_if_due();
            if self.step() {
                continue;
            }
            if !self.pass_time() {
                for reader in &self.readers {
                    reader.assert_replays();
                    assert!(reader.runnable().is_empty(), "{:?}", reader.runnable());
                }
                return self.world.assert_at_rest();
            }
        }
        panic!("it does not end: {:?}", &self.world.log[self.world.log.len() - 10..]);
    }

    fn cancel_if_due(&mut self) {
        if self.plan.cancel_at.is_none_or(|at| self.world.log.len() < at) {
            return;
        }
        if self.world.executions.get(&execution(1).0).is_none_or(|it| *it == Execution::Unknown) {
            return; // It cannot be cancelled before it is there.
        }
        self.plan.cancel_at = None;
        let cancel = Command::from((execution(1), ExecutionCommand::Cancel));
        self.world.send(Uuid::from_u128(1), cancel);
    }

    /// Does one thing that can be done now, if there is any.
    fn step(&mut self) -> bool {
        let mut choices = Vec::new();
        for (index, reader) in self.readers.iter().enumerate() {
            if reader.is_behind(&self.world) {
                choices.push(Next::Read(index));
            }
        }
        for (index, reader) in self.readers.iter().enumerate() {
            let runnable = reader.runnable().into_iter();
            choices.extend(runnable.map(|runnable| Next::Perform(index, Box::new(runnable))));
        }
        if !self.world.outside.said.is_empty() {
            choices.push(Next::Say);
        }
        // What was postponed comes when nothing else can.
        choices.sort_by_key(|next| match next {
            Next::Perform(_, runnable) => self.postponed.contains(&runnable.id),
            _ => false,
        });
        while !choices.is_empty() {
            let index = self.choose(choices.len());
            if self.take(choices.remove(index)) {
                return true;
            }
        }
        false
    }

    /// Tells whether anything came of it.
    fn take(&mut self, next: Next) -> bool {
        match next {
            Next::Read(index) => self.readers[index].read_one(&self.world),
            Next::Say => {
                let Some(command) = self.world.outside.said.pop_front() else { return false };
                let id = self.world.outside.next_command_id();
                self.world.send(id, command);
            }
            Next::Perform(index, runnable) => {
                let Some(outcome) = self.perform(&runnable) else { return false };
                let Some(outcome) = outcome else { return true };
                self.readers[index].settle(&runnable, outcome, self.world.now);
            }
        }
        true
    }

    /// None: it waits. Some(None): it is performed, but nobody hears of it yet.
    fn perform(&mut self, runnable: &Runnable) -> Option<Option<Outcome>> {
        let Runnable { id, intent, .. } = runnable;
        let is_second_time = self.postponed.contains(id);
        let fault = self.fault().filter(|_| !is_second_time);
        let is_effect = matches!(intent.action, Action::Run(_));
        if matches!(fault, Some(Fault::Fails | Fault::FailsAfterwards)) && is_effect {
            self.world.outside.note_unsaved(&intent.action);
        }
        if fault == Some(Fault::Fails) && is_effect {
            self.n_performed += 1;
            return Some(Some(failed()));
        }
        let outcome = self.world.perform(*id, &intent.action)?;
        self.n_performed += 1;
        match fault {
            None => Some(Some(outcome)),
            Some(Fault::AgainLater) => {
                self.postponed.push(*id);
                Some(None)
            }
            Some(Fault::FailsAfterwards) if is_effect => Some(Some(failed())),
            Some(_) => Some(self.world.perform(*id, &intent.action)),
        }
    }

    fn fault(&mut self) -> Option<Fault> {
        const ONE_IN: usize = 12;
        if let Some((at, fault)) = self.plan.fault
            && at == self.n_performed
        {
            return Some(fault);
        }
        if self.plan.seed.is_some() && self.choose(ONE_IN) == 0 {
            let fault = self.choose(Fault::ALL.len());
            return Some(Fault::ALL[fault]);
        }
        self.plan.always
    }

    /// Lets time go on to the next moment at which something is due.
    fn pass_time(&mut self) -> bool {
        let due = (0..self.readers.len())
            .filter_map(|index| Some((index, self.readers[index].next_wake()?)))
            .min_by_key(|(_, (at, _))| *at);
        if let Some((index, (at, runnable))) = due {
            self.world.now = self.world.now.max(at);
            self.readers[index].wake(&runnable, self.world.now);
            return true;
        }
        // Nobody wants to be woken, but an effect may wait for its deadline.
        let waits = self.readers.iter().any(|reader| !reader.runnable().is_empty());
        self.world.now += chrono::TimeDelta::hours(25);
        waits && self.step()
    }

    /// A number below `n`: the first, or a random one.
    fn choose(&mut self, n: usize) -> usize {
        if self.plan.seed.is_none() {
            return 0;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random % u64::try_from(n).unwrap()).unwrap()
    }
}

fn failed() -> Outcome {
    Outcome::Failed { kind: RefusalKind::Machine, reason: "it failed by plan".into() }
}
