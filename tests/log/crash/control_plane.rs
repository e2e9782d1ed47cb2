//! A whole control plane under load while its database goes away: real aggregates, processes, read models.
//!
//! Only machine and clock are simulated. Writers rename projects and have ideas carried out; each sends a
//! command again, under the same id, until it is answered, as browsers do. Whatever happened meanwhile, in the
//! end every idea has ended, and the oracle is asked about everything.

use std::{path::Path, sync::Arc, time::Duration};

use actors::{
    caller::Caller,
    clock::simulated::SimulatedClock,
    dispatcher::DispatchError,
    faults::Faults,
    preparation::NothingToMake,
    provider::simulated::{Machine, SimulatedSettings},
    random,
    settings::{ANTHROPIC_BASE_URL, HeadSettings, NodeSettings, Settings, WorkspaceSettings},
    submit_idea::{Choices, NewIdea, Wish},
    system::System,
};
use domain::{
    event_sourced::EventSourced as _,
    idea::{Idea, Stage},
    ids::{CommandId, IdeaId, ProjectId},
    project::{Project, ProjectCommand},
    values::Periods,
};
use futures_util::future::{join_all, join3};
use projections::{
    database::Database,
    event_log::{EventLog, Options, Position, StreamId},
    read_models,
};
use tests::oracle::{Acknowledged, Oracle};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use super::{RETRY_PERIOD, read_beside};
use crate::support::now;

/// How names of projects begin here.
pub(super) const NAME: &str = "load ";
const IDEA: &str = "say: Hello there.\nLook around";
const VERSION: &str = "simulated 1";
const SLOTS: u8 = 8;
const WRITERS: usize = 4;
/// Often enough that states are loaded from what was kept of them.
const SNAPSHOT_EVENTS: u64 = 20;
const COMMANDS_PER_IDEA: usize = 50;
/// After so many a writer waits until it is shown what it wrote, as a page does: this also keeps the
/// writers from leaving the read models far behind.
const COMMANDS_PER_LOOK: usize = 10;
/// How many commands each writer sends when nothing happens to the database any more.
const COMMANDS_AFTER: usize = 10;
/// Real time for something that takes seconds; only a failure waits that long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time goes ten times as fast, so that nobody waits for what is tried again after a minute.
const TICK_PERIOD: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_secs(1);

/// What became of it: what clients were told, and what a reader saw.
#[derive(Debug)]
pub(super) struct Lived {
    acknowledged: Vec<Acknowledged>,
    seen: Vec<Position>,
    n_ideas: usize,
    n_done: usize,
}

/// Keeps a control plane busy while `disturb` goes on, which sees how many commands were answered.
pub(super) async fn live(
    url: &str,
    data_dir: &Path,
    disturb: impl AsyncFnOnce(watch::Receiver<usize>),
) -> Lived {
    let load = Load::start(url, data_dir).await;
    let is_written = watch::Sender::new(false);
    let writing = async {
        let acknowledged = join_all((0..WRITERS).map(|_| load.write())).await.concat();
        is_written.send_replace(true);
        acknowledged
    };
    let reading = read_beside(&load.system.log, is_written.subscribe());
    let disturbing = async {
        disturb(load.n_answered.subscribe()).await;
        load.is_over.send_replace(true);
    };
    let living = async {
        let (acknowledged, seen, ()) = join3(writing, reading, disturbing).await;
        let stages = tokio::time::timeout(PATIENCE, load.ended(&acknowledged)).await;
        let stages = stages.expect("every accepted idea ends");
        let n_done = stages.iter().filter(|stage| **stage == Stage::Done).count();
        Lived { acknowledged, seen, n_ideas: stages.len(), n_done }
    };
    let lived = tokio::select! {
        lived = living => lived,
        () = load.pass_time() => unreachable!("time goes on for ever"),
    };
    let damaged = load.system.damaged_streams().await.unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    load.system.stop().await;
    lived
}

impl Lived {
    /// Asks the oracle about all of it, now that nobody writes any more; says in a few words what there was.
    pub(super) async fn judge(&self, url: &str, data_dir: &Path) -> String {
        assert!(self.n_done > 0, "processes were at work");
        // What came last may not be shown yet. As at a next start, tables and checkpoints are gone on from as
        // they are, so that a row too many or too few stays one.
        let database = Database::open(url, data_dir).await.unwrap();
        let log = EventLog::open(&database, Options::default()).await.unwrap();
        read_models::projector(&database, &log).catch_up().await.unwrap();
        log.close().await;
        database.close().await;
        let oracle = Oracle::open(url, data_dir).await.unwrap();
        let violations = oracle.check_reader("the reader", &self.seen);
        assert!(violations.is_empty(), "{violations:?}");
        oracle.check(&self.acknowledged).await.unwrap();
        let Self { acknowledged, n_ideas, n_done, .. } = self;
        format!(
            "{} commands acknowledged, {n_done} of {n_ideas} ideas done, {} events, 0 violations",
            acknowledged.len(),
            oracle.entries().len()
        )
    }
}

/// A control plane in use.
struct Load {
    system: System,
    clock: SimulatedClock,
    n_answered: watch::Sender<usize>,
    /// Nothing happens to the database any more.
    is_over: watch::Sender<bool>,
}

impl Load {
    async fn start(url: &str, data_dir: &Path) -> Self {
        let clock = SimulatedClock::new(now());
        let settings = Settings {
            data_dir: data_dir.to_path_buf(),
            database_url: url.to_owned(),
            owner_name: "Ada".to_owned(),
            clock: Arc::new(clock.clone()),
            node: NodeSettings::Simulated(SimulatedSettings {
                machine: Machine::new(SLOTS, VERSION),
                agent_version: VERSION.to_owned(),
            }),
            workspaces: WorkspaceSettings::default(),
            periods: Periods::default(),
            heads: HeadSettings::default(),
            snapshot_events: SNAPSHOT_EVENTS,
            anthropic_base_url: ANTHROPIC_BASE_URL.to_owned(),
            internal_listen: None,
            title_model: None,
            images: Arc::new(NothingToMake),
            faults: Faults::default(),
        };
        let system = System::start(settings).await.unwrap();
        let (n_answered, is_over) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { system, clock, n_answered, is_over }
    }

    /// Lets time pass, for ever.
    async fn pass_time(&self) {
        let mut ticks = tokio::time::interval(TICK_PERIOD);
        loop {
            ticks.tick().await;
            self.clock.advance(TICK);
        }
    }

    /// Renames a project of its own and has ideas carried out in it, until nothing happens any more and a
    /// little longer; tells what was acknowledged.
    async fn write(&self) -> Vec<Acknowledged> {
        let project = ProjectId(random::uuid());
        let link = ProjectCommand::Link {
            owner: self.system.owner(),
            repository: "/srv/repository".to_owned(),
            name: format!("{NAME}0"),
        };
        let mut acknowledged = vec![self.send(project, link).await];
        let (mut n_sent, mut n_after) = (0_usize, 0);
        while n_after < COMMANDS_AFTER {
            n_sent += 1;
            let answer = if n_sent % COMMANDS_PER_IDEA == 1 {
                self.submit(project).await
            } else {
                let name = format!("{NAME}{n_sent}");
                self.send(project, ProjectCommand::Rename { name }).await
            };
            if n_sent.is_multiple_of(COMMANDS_PER_LOOK) {
                self.until_shown(answer.position).await;
            }
            acknowledged.push(answer);
            self.n_answered.send_modify(|n_answered| *n_answered += 1);
            n_after += usize::from(*self.is_over.borrow());
        }
        acknowledged
    }

    /// The owner, with a new command id.
    fn caller(&self) -> Caller {
        Caller::person(self.system.owner(), CommandId(random::uuid()))
    }

    async fn send(&self, project: ProjectId, command: ProjectCommand) -> Acknowledged {
        let (caller, dispatcher) = (self.caller(), &self.system.dispatcher);
        let send = || dispatcher.send(&caller, (project, command.clone()), Vec::new());
        let position = answered(send).await;
        let stream = StreamId::new(Project::TYPE, project.0);
        Acknowledged { stream, command: caller.command.0, position }
    }

    async fn submit(&self, project: ProjectId) -> Acknowledged {
        let (caller, idea) = (self.caller(), IdeaId(random::uuid()));
        let new = NewIdea {
            project,
            idea,
            description: IDEA.to_owned(),
            wish: Wish::Execute { execution: None, session: None, choices: Choices::default() },
        };
        let submitted = answered(|| self.system.ideas.submit(&caller, new.clone())).await;
        let stream = StreamId::new(Idea::TYPE, idea.0);
        Acknowledged { stream, command: caller.command.0, position: submitted.position }
    }

    /// Waits until the read models show the log up to a position.
    async fn until_shown(&self, position: Position) {
        let mut projected = self.system.projected();
        let shown = projected.wait_for(|shown| *shown >= position);
        tokio::time::timeout(PATIENCE, shown).await.expect("read models come up").unwrap();
    }

    /// Waits until every idea has ended, and tells how.
    async fn ended(&self, acknowledged: &[Acknowledged]) -> Vec<Stage> {
        let mut stages = Vec::new();
        for told in acknowledged.iter().filter(|told| told.stream.kind == Idea::TYPE) {
            stages.push(self.end_of(told.stream.id).await);
        }
        stages
    }

    async fn end_of(&self, idea: Uuid) -> Stage {
        let mut head = self.system.log.watch();
        loop {
            head.mark_unchanged();
            let state = answered(|| self.system.dispatcher.state::<Idea>(idea)).await;
            if let Idea::Known { stage, .. } = &*state
                && matches!(stage, Stage::Done | Stage::Parked)
            {
                return *stage;
            }
            head.changed().await.unwrap();
        }
    }
}

/// Asks the same again until there is an answer that is no accident.
async fn answered<T, F>(ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, DispatchError>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(error.is_temporary() && Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(RETRY_PERIOD).await;
    }
}
