//! The whole of the running control plane on one page: what is started, in which order, and how it ends.
//!
//! Order: databases and log, keys, actors, read models; then what acts: the link to the nodes' agents,
//! the provider, and the processes with their timers, which run only while the lease is held. It ends the
//! other way round, so that nothing acts on something that is gone.
//!
//! Read next: [`crate::dispatcher`] for commands, [`crate::process_actor`] for what follows from them.

use std::{net::SocketAddr, sync::Arc};

use domain::ids::{AccountId, ExecutionId, InstallationId, NodeId, SessionId};
use projections::{
    chat_search,
    damaged_streams::{DamagedStream, DamagedStreams},
    database::Database,
    error::DatabaseError,
    event_log::{self, EventLog, Position},
    lease_row::LeaseRow,
    meta::Meta,
    projection_status::{self, Overview},
    projector::RunningProjector,
    read_models,
    replica_list::ReplicaList,
};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    agent_link::{AgentLinks, NodeHealth, connection::Reception, listener, signing::Signing},
    clock::SharedClock,
    credentials::Credentials,
    dispatcher::{Damaged, DispatchError, Dispatcher, actor_thread::ActorThread},
    effects::node_of,
    erasure::{Eraser, ErasureError},
    lease,
    live_hub::{Following, LiveHub},
    preparation::Preparations,
    provider::{
        Provider,
        elsewhere::ElsewhereProvider,
        local::{Control, LocalProvider},
        simulated::SimulatedProvider,
    },
    random,
    replica::{self, Membership, guest::Homes, home::Home},
    report::{Desk, Reports},
    sealing::{Sealing, SealingError},
    settings::{NodeSettings, Settings},
    sign_in::SignIn,
    signed_heads::{self, HeadsError, file::HeadsFile},
    signing::{PUBLIC_KEY_FILE, SigningKey},
    submit_idea::{Ideas, PlatformDefaults},
    tasks::Tasks,
    variables::Variables,
};

mod acting;

use acting::Acting;

/// Why the control plane could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the database: {0}")]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Sealing(#[from] SealingError),
    #[error(transparent)]
    Heads(#[from] HeadsError),
    #[error("the erasure ledger: {0}")]
    Erasure(#[from] ErasureError),
    #[error("the owner's account: {0}")]
    Dispatch(#[from] DispatchError),
    #[error(
        "this installation's machine is that of another data directory: start this server with \
         --no-local-node"
    )]
    NodeElsewhere,
    #[error("{what}: {source}")]
    Machine {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
}

/// The running control plane.
pub struct System {
    pub installation: InstallationId,
    pub database: Database,
    pub log: EventLog,
    pub dispatcher: Dispatcher,
    pub sealing: Sealing,
    pub signing: SigningKey,
    /// The heads outside the database.
    pub heads_file: HeadsFile,
    /// Knows whose texts were destroyed.
    pub eraser: Eraser,
    pub hub: LiveHub,
    pub sign_in: SignIn,
    pub credentials: Credentials,
    pub variables: Variables,
    pub ideas: Ideas,
    clock: SharedClock,
    /// Of the data directory.
    replica: Uuid,
    /// Where this server's machine is, if it is not its own.
    homes: Option<Homes>,
    is_acting: watch::Receiver<bool>,
    pub preparations: Preparations,
    links: AgentLinks,
    projector: RunningProjector,
    actors: ActorThread,
    /// Listens to agents.
    listening: Tasks,
    /// Runs processes and timers while the lease is held.
    acting: Tasks,
}

const SOCKET_FILE: &str = "control.sock";
/// The fact that says which data directory's machine is the node.
const HOME: &str = "local_node_home";

impl System {
    /// Starts everything. Must be called on the runtime that is to run it.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let machine = |what| move |source| StartError::Machine { what, source };
        std::fs::create_dir_all(&settings.data_dir).map_err(machine("the data directory"))?;
        let clock = Arc::clone(&settings.clock);
        let database = Database::open(&settings.database_url, &settings.data_dir).await?;
        let log = EventLog::open(&database, event_log::Options::default()).await?;
        let installation = InstallationId(Meta::new(&database).installation(random::uuid()).await?);
        let replica = replica::id_of(&settings.data_dir).map_err(machine("the replica's id"))?;
        let is_home = is_home(&settings.node, &database, replica).await?;
        Sealing::check_master_key(&database, &settings.data_dir).await?;
        let sealing = Sealing::open(&database, &log, &settings.data_dir, Arc::clone(&clock))?;
        let signing = sealing.signing_key().await?;
        let heads_file = heads_file_of(&settings);
        signed_heads::check_high_water(&database, &heads_file, &signing).await?;
        let eraser = Eraser::new(&settings, &database, &log, &sealing, (&signing, installation));
        eraser.respect_ledger().await?;
        let actors = ActorThread::start().map_err(machine("the actors' thread"))?;
        let (damaged, snapshot_events) =
            (Damaged::open(&database).await?, settings.snapshot_events);
        let dispatcher =
            Dispatcher::new(&log, &actors, Arc::clone(&clock), damaged, snapshot_events);
        eraser.ask_again(&dispatcher).await?;
        let (ids, name) = ((installation, replica), &settings.owner_name);
        let sign_in = SignIn::new(&database, &dispatcher, Arc::clone(&clock), ids, name);
        sign_in.settle_owner().await?;
        let credentials = Credentials::new(&sealing, &dispatcher);
        let variables = Variables::new(&sealing, &dispatcher);
        let is_held = watch::Sender::new(false);
        let projector = read_models::projector(&database, &log);
        let projector = projector.while_permitted(is_held.subscribe()).start();
        let defaults =
            PlatformDefaults { provider: settings.node.kind(), periods: settings.periods };
        let ideas = Ideas {
            dispatcher: dispatcher.clone(),
            sealing: sealing.clone(),
            credentials: credentials.clone(),
            log: log.clone(),
            defaults,
        };
        let listening = Tasks::new();
        eraser.follow_ledger(&listening);
        let preparations = Preparations::new(Arc::clone(&settings.images), &listening);
        let system = Self {
            installation,
            database,
            log,
            dispatcher,
            sealing,
            signing,
            heads_file,
            eraser,
            hub: LiveHub::default(),
            sign_in,
            credentials,
            variables,
            ideas,
            clock: Arc::clone(&clock),
            replica,
            homes: (!is_home).then(Homes::new),
            is_acting: is_held.subscribe(),
            preparations,
            links: AgentLinks::new(),
            projector,
            actors,
            listening,
            acting: Tasks::new(),
        };
        system.start_acting(settings, clock, is_held).await?;
        Ok(system)
    }

    async fn start_acting(
        &self,
        settings: Settings,
        clock: SharedClock,
        is_held: watch::Sender<bool>,
    ) -> Result<(), StartError> {
        let machine = |what| move |source| StartError::Machine { what, source };
        let signing = Signing::new(&self.signing, self.installation);
        let directory = std::path::absolute(&settings.data_dir);
        let directory = directory.map_err(machine("the data directory"))?;
        let public_key = directory.join(PUBLIC_KEY_FILE);
        let written = self.signing.public().write(&public_key);
        written.map_err(machine("the public key's file"))?;
        let socket = directory.join(SOCKET_FILE);
        let listener = listener::open(&socket).map_err(machine("the control socket"))?;
        let desk = Desk::new(&self.dispatcher, &self.sealing, &self.hub, &self.links);
        let lease = LeaseRow::new(&self.database).current().await?;
        self.links.saw_epoch(lease.map_or(1, |lease| lease.epoch));
        let node = node_of(self.installation, settings.node.kind());
        let version = match &settings.node {
            NodeSettings::Local(local) => local.agent_version.clone(),
            NodeSettings::Simulated(simulated) => simulated.agent_version.clone(),
        };
        let reception = Arc::new(Reception {
            installation: self.installation,
            node,
            version,
            signing,
            links: self.links.clone(),
            reports: Reports::start(desk, &self.listening),
            hub: self.hub.clone(),
            clock: Arc::clone(&clock),
        });
        let tasks = self.listening.clone();
        self.listening.start("agent listener", listener::run(listener, reception, tasks));
        let provider: Arc<dyn Provider> = match (settings.node.clone(), &self.homes) {
            (_, Some(homes)) => Arc::new(ElsewhereProvider::new(homes.clone())),
            (NodeSettings::Local(local), None) => {
                let control = Control { socket, public_key, installation: self.installation, node };
                Arc::new(LocalProvider::new(local, control, &self.listening))
            }
            (NodeSettings::Simulated(simulated), None) => {
                Arc::new(SimulatedProvider::new(simulated, node, socket, &self.listening))
            }
        };
        self.join_replicas(settings.internal_listen, Arc::clone(&provider)).await?;
        let acting = Acting::new(self, settings, provider, clock);
        if self.homes.is_none() {
            acting.resume_node(node).await;
        }
        let links = self.links.clone();
        let stopped = self.acting.stopped();
        let act =
            lease::act_while_held(self.database.clone(), is_held, stopped, move |tenure, tasks| {
                links.saw_epoch(tenure.order);
                acting.act(tenure, tasks);
            });
        self.acting.start_to_its_end("lease", act);
        Ok(())
    }

    /// Takes part among the replicas of a database that can have some.
    async fn join_replicas(
        &self,
        listen: Option<SocketAddr>,
        provider: Arc<dyn Provider>,
    ) -> Result<(), StartError> {
        let Some(listen) = listen.filter(|_| self.log.is_shared()) else { return Ok(()) };
        let key = self.sealing.replica_key().await?;
        let home = Home { key, links: self.links.clone(), hub: self.hub.clone(), provider };
        let membership = Membership {
            id: self.replica,
            database: self.database.clone(),
            links: self.links.clone(),
            homes: self.homes.clone().unwrap_or_else(Homes::new),
            home: self.homes.is_none().then(|| Arc::new(home)),
            key,
        };
        let joined = membership.start(listen, &self.listening).await;
        joined.map_err(|source| StartError::Machine { what: "the internal socket", source })
    }

    /// The account that owns this installation: another one after it was erased.
    #[must_use]
    pub fn owner(&self) -> AccountId {
        self.sign_in.owner()
    }

    /// Whether processes and timers run in this server: it holds the lease.
    #[must_use]
    pub fn is_acting(&self) -> bool {
        *self.is_acting.borrow()
    }

    /// The newest epoch of the lease that this server has heard of.
    #[must_use]
    pub fn lease_epoch(&self) -> u64 {
        self.links.epoch()
    }

    /// Follows the streamed text of a session, wherever it comes in.
    pub async fn follow(&self, session: SessionId) -> Following {
        let Some(homes) = &self.homes else { return self.hub.follow(session) };
        // Before the question: what changes after it ends the following.
        let changes = homes.changes();
        match homes.follow(session).await {
            Some(following) => following,
            None => self.hub.follow(session).until(changes),
        }
    }

    /// A receiver that sees up to where the read models show the log.
    #[must_use]
    pub fn projected(&self) -> watch::Receiver<Position> {
        self.projector.projected()
    }

    /// How each read model is, against the head of the log.
    pub async fn projections(&self) -> Result<Overview, DatabaseError> {
        let (now, names) = (self.clock.now(), self.projector.names());
        let names: Vec<&str> = names.iter().copied().chain([chat_search::NAME]).collect();
        projection_status::overview(&self.database, &self.log, &names, now).await
    }

    /// Asks something of a read model; false when there is none of this name.
    pub async fn ask_projection(
        &self,
        name: &str,
        request: projection_status::Request,
    ) -> Result<bool, DatabaseError> {
        if name == chat_search::NAME {
            // Whoever fills it begins again: that is all there is to mend in it.
            chat_search::Index::new(&self.database).clear().await?;
            return Ok(true);
        }
        if !self.projector.names().contains(&name) {
            return Ok(false);
        }
        projection_status::Requests::new(&self.database).ask(name, request).await?;
        Ok(true)
    }

    /// Streams that cannot be folded, as far as anybody met them.
    pub async fn damaged_streams(&self) -> Result<Vec<DamagedStream>, DatabaseError> {
        DamagedStreams::new(&self.database).list().await
    }

    /// What is known of a node's agent at this moment; None while it is not connected.
    #[must_use]
    pub fn node_health(&self, node: NodeId) -> Option<NodeHealth> {
        self.links.health(node)
    }

    /// Lends a model key for one execution; it is never stored.
    pub fn lend_model_key(&self, execution: ExecutionId, key: &str) {
        self.credentials.lend(execution, key);
    }

    /// Ends everything, in the reverse order of its start. What is under way goes on at the next start.
    pub async fn stop(self) {
        self.acting.stop().await;
        self.listening.stop().await;
        if self.log.is_shared() {
            // Worth a try only: the others notice anyway.
            let _ = ReplicaList::new(&self.database).leave(self.replica).await;
        }
        self.projector.close().await;
        self.log.close().await;
        self.actors.stop().await;
        self.database.close().await;
    }
}

/// Where heads are kept outside the database.
fn heads_file_of(settings: &Settings) -> HeadsFile {
    let named = settings.heads.file.clone();
    HeadsFile::new(named.unwrap_or_else(|| signed_heads::default_file(&settings.data_dir)))
}

/// Whether the node of this installation is the machine of this data directory. The first server that
/// uses its own settles it.
async fn is_home(
    node: &NodeSettings,
    database: &Database,
    replica: Uuid,
) -> Result<bool, StartError> {
    let NodeSettings::Local(local) = node else { return Ok(true) };
    if !database.log().is_postgres() {
        return Ok(true);
    }
    let (meta, own) = (Meta::new(database), replica.to_string());
    if local.is_used {
        meta.set_if_absent(HOME, &own).await?;
    }
    let is_home = meta.get(HOME).await?.is_some_and(|home| home == own);
    if local.is_used && !is_home {
        return Err(StartError::NodeElsewhere);
    }
    Ok(is_home)
}
