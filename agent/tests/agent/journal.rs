//! The journal: any sequence of appends, acknowledgements, orders and restarts.

use agent::journal::{Accepted, Journal};
use domain::{
    agent_protocol::{Order, OrderOutcome, Report, StepState},
    ids::{SessionId, WorkspaceId},
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::rig::Directory;

#[derive(Clone, Debug)]
enum Step {
    Append,
    /// Of what was appended, counted from the newest.
    Acknowledge(u64),
    Accept(u8),
    Settle(u8),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Append),
        2 => (0..4_u64).prop_map(Step::Acknowledge),
        2 => (0..4_u8).prop_map(Step::Accept),
        2 => (0..4_u8).prop_map(Step::Settle),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What the journal should hold.
#[derive(Default)]
struct Model {
    last: u64,
    outbox: Vec<(u64, Report)>,
    /// Per key: accepted, and its outcome if settled.
    orders: std::collections::BTreeMap<u8, Option<OrderOutcome>>,
    n_settled: usize,
}

fn key(number: u8) -> Uuid {
    Uuid::from_u128(u128::from(number) + 1)
}

fn order() -> Order {
    Order::StopSession { session: SessionId(Uuid::from_u128(1)) }
}

fn boot_step(number: u64) -> Report {
    Report::BootStep {
        workspace: WorkspaceId(Uuid::from_u128(2)),
        step: "clone".into(),
        state: StepState::Started,
        detail: number.to_string(),
    }
}

impl Model {
    fn append(&mut self, report: Report) -> u64 {
        self.last += 1;
        self.outbox.push((self.last, report));
        self.last
    }

    async fn take(&mut self, step: Step, journal: &Journal) {
        match step {
            Step::Append => {
                let report = boot_step(self.last + 1);
                let number = journal.append(&report).await.unwrap();
                assert_eq!(number, self.append(report), "numbers are used in order, each once");
            }
            Step::Acknowledge(back) => {
                let number = self.last.saturating_sub(back);
                journal.acknowledge(number).await.unwrap();
                self.outbox.retain(|(waiting, _)| *waiting > number);
            }
            Step::Accept(name) => self.accept(name, journal).await,
            Step::Settle(name) => {
                let outcome = OrderOutcome::Done;
                journal.settle(key(name), outcome.clone()).await.unwrap();
                if let Some(None) = self.orders.get(&name) {
                    let report = Report::OrderSettled { key: key(name), outcome: outcome.clone() };
                    self.append(report);
                    self.orders.insert(name, Some(outcome));
                    self.n_settled += 1;
                }
            }
            Step::Reopen => unreachable!("the caller does that"),
        }
    }

    async fn accept(&mut self, name: u8, journal: &Journal) {
        let accepted = journal.accept(key(name), 1, &order()).await.unwrap();
        let expected = match self.orders.get(&name).cloned() {
            None => {
                self.orders.insert(name, None);
                Accepted::New
            }
            Some(None) => Accepted::Running,
            Some(Some(outcome)) => {
                self.append(Report::OrderSettled { key: key(name), outcome });
                Accepted::Repeated
            }
        };
        assert_eq!(accepted, expected);
    }

    async fn check(&self, journal: &Journal) {
        assert_eq!(journal.reports_after(0, 1000).await.unwrap(), self.outbox);
        let running = journal.running_orders().await.unwrap();
        let expected = self.orders.values().filter(|settled| settled.is_none()).count();
        assert_eq!(running.len(), expected);
        assert!(running.iter().all(|(_, running)| *running == order()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_journal_keeps_what_is_not_acknowledged_and_settles_each_key_once(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = Directory::new();
            let mut journal = Journal::open(directory.path()).await.unwrap();
            let id = journal.id();
            let mut model = Model::default();
            for step in steps {
                if matches!(step, Step::Reopen) {
                    drop(journal);
                    journal = Journal::open(directory.path()).await.unwrap();
                    assert_eq!(journal.id(), id);
                } else {
                    model.take(step, &journal).await;
                }
                model.check(&journal).await;
            }
        });
    }
}

/// A control plane that was restarted may hear the outcome before it gives the order again. It acknowledges what
/// nobody waited for, and the order may arrive before that does.
#[tokio::test]
async fn an_order_that_comes_again_is_answered_again_while_its_report_still_waits() {
    let directory = Directory::new();
    let journal = Journal::open(directory.path()).await.unwrap();
    journal.accept(key(1), 1, &order()).await.unwrap();
    journal.settle(key(1), OrderOutcome::Done).await.unwrap();
    let [(heard, _)] = journal.reports_after(0, 10).await.unwrap()[..] else {
        panic!("one report")
    };
    assert_eq!(journal.accept(key(1), 1, &order()).await.unwrap(), Accepted::Repeated);
    journal.acknowledge(heard).await.unwrap();
    let left = journal.reports_after(0, 10).await.unwrap();
    let again = Report::OrderSettled { key: key(1), outcome: OrderOutcome::Done };
    assert_eq!(left, [(heard + 1, again)]);
}

#[tokio::test]
async fn an_older_epoch_is_refused_and_a_newer_one_remembered() {
    let directory = Directory::new();
    let journal = Journal::open(directory.path()).await.unwrap();
    assert_eq!(journal.accept(key(0), 7, &order()).await.unwrap(), Accepted::New);
    assert_eq!(journal.accept(key(1), 6, &order()).await.unwrap(), Accepted::Stale);
    drop(journal);
    let journal = Journal::open(directory.path()).await.unwrap();
    assert_eq!(journal.epoch().await.unwrap(), 7);
    // Refused for its epoch, not for its key: the same order may come again under a newer one.
    assert_eq!(journal.accept(key(1), 8, &order()).await.unwrap(), Accepted::New);
}

#[tokio::test]
async fn watchers_hear_of_new_reports() {
    let directory = Directory::new();
    let journal = Journal::open(directory.path()).await.unwrap();
    let mut watch = journal.watch();
    journal.append(&boot_step(1)).await.unwrap();
    assert!(watch.has_changed().unwrap());
    assert_eq!(*watch.borrow_and_update(), 1);
}
