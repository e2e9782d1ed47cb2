//! A control plane with a simulated machine, clock and person, which can be stopped and started again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use actors::{
    caller::Caller,
    clock::simulated::SimulatedClock,
    faults::Faults,
    model::simulated::SimulatedModel,
    preparation::{ImageMaker, Tell},
    provider::simulated::{Machine, SimulatedSettings},
    random,
    settings::{
        ANTHROPIC_BASE_URL, HeadSettings, NodeSettings, SNAPSHOT_EVENTS, Settings,
        WorkspaceSettings,
    },
    submit_idea::{Choices, NewIdea, Submitted, Wish},
    system::{StartError, System},
};
use chrono::{DateTime, Utc};
use domain::{
    agent_protocol::{CodingAgentKind, PermissionPolicy},
    event::Event,
    event_sourced::EventPayload,
    idea::{Idea, IdeaEvent, Stage},
    ids::{CommandId, ExecutionId, IdeaId, NodeId, ProjectId, derived},
    node::Node,
    process::{Action, Intent, IntentKey, ProcessEvent, Stimulus},
    project::ProjectCommand,
    values::Periods,
};
use futures_util::future::BoxFuture;
use projections::{
    checkpoint::Checkpoints,
    database::Database,
    event_log::{EventLog, Options, RecordedEvent, StreamId},
    read_models,
    replay::{self, Verification},
};
use tests::oracle::Oracle;
use tokio::sync::watch;

const VERSION: &str = "simulated 1";
/// Real time for something that takes milliseconds; only a failure waits that long.
const PATIENCE: Duration = Duration::from_secs(120);
const PROCESSES: [&str; 7] = [
    "run_execution",
    "open_workspace",
    "close_workspace",
    "retire_node",
    "erase_project",
    "erase_account",
    "title_idea",
];

/// Runs each of the named functions as a test on SQLite and as one on PostgreSQL.
macro_rules! on_both {
    ($($name:ident)+) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(crate::world::Place::sqlite()).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(crate::world::Place::postgres()).await;
                }
            )+
        }
    };
}
pub(crate) use on_both;

/// Which database a world keeps its log in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Sqlite,
    Postgres,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres
    }
}

/// Makes images as a test tells it to: nothing is made until it says so.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedImages {
    /// The newest line about what goes on, or how it ended.
    pub(crate) script: watch::Sender<Result<String, Result<(), String>>>,
    /// How often one was begun.
    pub(crate) n_begun: Arc<AtomicU32>,
}

impl Default for SimulatedImages {
    fn default() -> Self {
        let script = watch::channel(Err(Ok(()))).0;
        Self { script, n_begun: Arc::default() }
    }
}

impl SimulatedImages {
    pub(crate) fn tell(&self, line: &str) {
        drop(self.script.send_replace(Ok(line.to_owned())));
    }

    pub(crate) fn end(&self, made: Result<(), &str>) {
        drop(self.script.send_replace(Err(made.map_err(str::to_owned))));
    }
}

impl ImageMaker for SimulatedImages {
    fn make(&self, _: CodingAgentKind, tell: Tell) -> BoxFuture<'_, Result<(), String>> {
        self.n_begun.fetch_add(1, Ordering::SeqCst);
        let mut script = self.script.subscribe();
        Box::pin(async move {
            loop {
                let now = script.borrow_and_update().clone();
                match now {
                    Ok(line) => tell(&line),
                    Err(made) => return made,
                }
                if script.changed().await.is_err() {
                    return Err("nobody goes on with it".to_owned());
                }
            }
        })
    }
}

/// Everything that outlives one run of the program.
pub(crate) struct World {
    directory: PathBuf,
    url: String,
    pub(crate) machine: Machine,
    pub(crate) clock: SimulatedClock,
    pub(crate) faults: Faults,
    pub(crate) images: SimulatedImages,
    /// Makes titles, for whoever has a key.
    pub(crate) model: SimulatedModel,
    /// For executions that are requested after the next start.
    pub(crate) periods: Periods,
    pub(crate) project: ProjectId,
    system: Option<System>,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl World {
    pub(crate) async fn new(place: Place, slots: u8) -> Self {
        Self::with_faults(place, slots, Faults::default()).await
    }

    pub(crate) async fn with_faults(place: Place, slots: u8, faults: Faults) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sam-simulation-{}-{n}", std::process::id());
        let start: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
        let mut world = Self {
            directory: std::env::temp_dir().join(name),
            url: match place {
                Place::Sqlite => "sqlite:".to_owned(),
                Place::Postgres => tests::postgres::database().unwrap(),
            },
            machine: Machine::new(slots, VERSION),
            clock: SimulatedClock::new(start),
            faults,
            images: SimulatedImages::default(),
            model: SimulatedModel::default(),
            periods: Periods::default(),
            project: ProjectId(random::uuid()),
            system: None,
        };
        world.start().await;
        let link = ProjectCommand::Link {
            owner: world.system().owner(),
            repository: "/srv/repository".to_owned(),
            name: "repository".to_owned(),
        };
        let caller = world.caller();
        let command = (world.project, link);
        world.system().dispatcher.send(&caller, command, Vec::new()).await.unwrap();
        world
    }

    pub(crate) async fn start(&mut self) {
        self.try_start().await.unwrap();
    }

    pub(crate) async fn try_start(&mut self) -> Result<(), StartError> {
        self.system = Some(System::start(self.settings(self.directory.clone())).await?);
        Ok(())
    }

    /// Where the program keeps its data.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where its database is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The database as another program reads it, beside the system.
    pub(crate) async fn read_only(&self) -> (Database, EventLog) {
        let database = Database::open_read_only(&self.url, &self.directory).await.unwrap();
        let log = EventLog::open(&database, Options::default()).await.unwrap();
        (database, log)
    }

    /// A second server on the same database, with the same master key.
    pub(crate) async fn replica(&self) -> System {
        let directory = self.directory.join("replica");
        std::fs::create_dir_all(&directory).unwrap();
        let key = "master.key";
        std::fs::copy(self.directory.join(key), directory.join(key)).unwrap();
        System::start(self.settings(directory)).await.unwrap()
    }

    fn settings(&self, data_dir: PathBuf) -> Settings {
        Settings {
            data_dir,
            database_url: self.url.clone(),
            owner_name: "Ada".to_owned(),
            clock: Arc::new(self.clock.clone()),
            node: NodeSettings::Simulated(SimulatedSettings {
                machine: self.machine.clone(),
                agent_version: VERSION.to_owned(),
            }),
            workspaces: WorkspaceSettings::default(),
            periods: self.periods,
            heads: HeadSettings::default(),
            snapshot_events: SNAPSHOT_EVENTS,
            anthropic_base_url: ANTHROPIC_BASE_URL.to_owned(),
            internal_listen: None,
            title_model: Some(Arc::new(self.model.clone())),
            images: Arc::new(self.images.clone()),
            faults: self.faults.clone(),
        }
    }

    /// Ends the program wherever it is, without letting anything under way come to its end.
    pub(crate) async fn stop(&mut self) {
        self.system.take().unwrap().stop().await;
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    pub(crate) fn system(&self) -> &System {
        self.system.as_ref().unwrap()
    }

    /// The owner, with a new command id.
    pub(crate) fn caller(&self) -> Caller {
        Caller::person(self.system().owner(), CommandId(random::uuid()))
    }

    pub(crate) fn node(&self) -> NodeId {
        NodeId(derived(self.system().installation.0, "simulated node"))
    }

    pub(crate) async fn submit(&self, description: &str) -> Submitted {
        self.submit_asking(description, None).await
    }

    pub(crate) async fn submit_asking(
        &self,
        description: &str,
        permissions: Option<PermissionPolicy>,
    ) -> Submitted {
        let choices = Choices { permissions, ..Choices::default() };
        self.submit_choosing(description, choices).await
    }

    pub(crate) async fn submit_choosing(&self, description: &str, choices: Choices) -> Submitted {
        let new = NewIdea {
            project: self.project,
            idea: IdeaId(random::uuid()),
            description: description.to_owned(),
            wish: Wish::Execute { execution: None, session: None, choices },
        };
        self.system().ideas.submit(&self.caller(), new).await.unwrap()
    }

    pub(crate) async fn cancel(&self, execution: ExecutionId) {
        // Refused where it has ended already, which is as good.
        let _ = self.system().ideas.cancel(&self.caller(), execution).await;
    }

    pub(crate) async fn stage(&self, idea: IdeaId) -> Stage {
        match &*self.system().dispatcher.state::<Idea>(idea.0).await.unwrap() {
            Idea::Known { stage, .. } => *stage,
            Idea::Unknown => panic!("there is no idea {idea}"),
        }
    }

    /// Waits until `is_so`, looking whenever something was recorded.
    pub(crate) async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let mut head = self.system().log.watch();
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                head.mark_unchanged();
                if is_so().await {
                    return;
                }
                let _ = tokio::time::timeout(Duration::from_millis(50), head.changed()).await;
            }
        });
        if waited.await.is_err() {
            let containers = self.machine.workspaces();
            let wanted = self.wanted().await;
            panic!("waited in vain for {what}; containers: {containers:?}, wanted: {wanted:#?}");
        }
    }

    /// Waits until the log has so many events, or the idea has ended before that.
    pub(crate) async fn until_position(&self, position: u64, idea: IdeaId) {
        self.until("a position of the log", async || {
            let is_over = matches!(self.stage(idea).await, Stage::Done | Stage::Parked);
            is_over || self.system().log.head().await.unwrap() >= position
        })
        .await;
    }

    /// Waits until an idea has ended, and says how.
    pub(crate) async fn ended(&self, idea: IdeaId) -> Stage {
        self.until("the end of an idea", async || {
            matches!(self.stage(idea).await, Stage::Done | Stage::Parked)
        })
        .await;
        self.stage(idea).await
    }

    /// Why an idea was parked, from the log.
    pub(crate) async fn parked_reason(&self, idea: IdeaId) -> String {
        let stream = StreamId::new("idea", idea.0);
        let events = self.system().log.read_stream(&stream, 0, 1_000).await.unwrap();
        let reasons =
            events.iter().filter_map(|event| match read_models::decode(event).unwrap().unwrap() {
                Event::Idea(_, IdeaEvent::Parked { reason, .. }) => Some(reason),
                _ => None,
            });
        reasons.collect::<Vec<_>>().pop().unwrap_or_default()
    }

    /// Waits until nothing is under way, letting time pass for what waits for time. Nothing may be left
    /// over then: no container and no slot.
    pub(crate) async fn rest(&self) {
        let mut n_looks = 0;
        self.until("rest", async || {
            n_looks += 1;
            // Retries wait a minute; nothing that is under way here takes as long.
            if n_looks % 10 == 0 {
                self.clock.advance(Duration::from_secs(61));
            }
            let is_quiet = self.have_all_seen_everything().await && self.wanted().await.is_empty();
            is_quiet && self.machine.workspaces().is_empty() && !self.is_a_slot_taken().await
        })
        .await;
        assert!(self.system().damaged_streams().await.unwrap().is_empty());
    }

    /// Waits until the read models show the log up to a position.
    pub(crate) async fn until_projected(&self, position: u64) {
        let mut projected = self.system().projected();
        let shown = projected.wait_for(|shown| *shown >= position);
        tokio::time::timeout(PATIENCE, shown).await.expect("read models come up").unwrap();
    }

    /// The log and all that was made of it keep their promises: see [`tests::oracle`].
    pub(crate) async fn keeps_its_promises(&self) {
        self.until("the promises to be kept", async || {
            let oracle = Oracle::read(&self.system().database).await.unwrap();
            match oracle.check(&[]).await {
                Ok(()) => true,
                Err(violations) => {
                    println!("not yet, or never: {violations:#}");
                    false
                }
            }
        })
        .await;
        self.decides_the_same().await;
    }

    /// Whatever was decided is decided again, in the whole log, and nothing is left out.
    pub(crate) async fn decides_the_same(&self) -> Verification {
        let mut streams: BTreeMap<StreamId, Vec<RecordedEvent>> = BTreeMap::new();
        let mut position = 0;
        while let page @ [.., last] =
            &self.system().log.read_all(position, 1_000).await.unwrap()[..]
        {
            position = last.position;
            for event in page {
                streams.entry(event.stream.clone()).or_default().push(event.clone());
            }
        }
        let verified = replay::verify(&streams.into_iter().collect::<Vec<_>>());
        assert_eq!(verified.differences, []);
        assert_eq!(verified.not_decided, []);
        verified
    }

    async fn is_a_slot_taken(&self) -> bool {
        let node = self.system().dispatcher.state::<Node>(self.node().0).await.unwrap();
        matches!(&*node, Node::Running { placed, .. } if !placed.is_empty())
    }

    async fn have_all_seen_everything(&self) -> bool {
        let system = self.system();
        let checkpoints = Checkpoints::new(&system.database);
        let head = system.log.head().await.unwrap();
        for kind in PROCESSES {
            if checkpoints.position(&format!("process {kind}")).await.unwrap() < head {
                return false;
            }
        }
        true
    }

    /// Intents without an outcome, but for the wish to give back a warm machine in half an hour.
    pub(crate) async fn wanted(&self) -> Vec<Intent> {
        let mut wanted: BTreeMap<_, Intent> = BTreeMap::new();
        for kind in PROCESSES {
            for recorded in self.system().log.read_kind(kind, 0, 100_000).await.unwrap() {
                let id = recorded.stream.id;
                let payload = serde_json::from_str(&recorded.payload).unwrap();
                let ProcessEvent::Reacted { stimulus, intents, abandons } =
                    ProcessEvent::restored(&recorded.event_type, payload).unwrap();
                if let Stimulus::Settled { intent, .. } | Stimulus::Woken { intent, .. } = stimulus
                {
                    wanted.remove(&(kind, id, intent));
                }
                if abandons {
                    wanted.retain(|(of_kind, of, _), intent| {
                        (*of_kind, *of) != (kind, id) || matches!(intent.action, Action::Tell(_))
                    });
                }
                for (index, intent) in (0..).zip(intents) {
                    let key = IntentKey { sequence: recorded.sequence, index };
                    wanted.insert((kind, id, key), intent);
                }
            }
        }
        let is_patient = |intent: &Intent| matches!(&intent.action, Action::WakeAt { label, .. } if label != "again");
        wanted.into_values().filter(|intent| !is_patient(intent)).collect()
    }
}

/// Numbers that follow from a seed (a linear congruence; nothing here is secret).
pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    /// `SAM_SEED` repeats a run; else each run has its own.
    pub(crate) fn new() -> Self {
        let given = std::env::var("SAM_SEED").ok().and_then(|seed| seed.parse().ok());
        let state = given.unwrap_or_else(|| u64::from(u32::from_be_bytes(random::bytes())));
        println!("SAM_SEED={state}");
        Self { state }
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        const FACTOR: u64 = 6_364_136_223_846_793_005;
        const TERM: u64 = 1_442_695_040_888_963_407;
        self.state = self.state.wrapping_mul(FACTOR).wrapping_add(TERM);
        (self.state >> 33) % limit
    }
}
