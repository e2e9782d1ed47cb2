//! Commands of projects: through our dispatcher, alone or of a whole control plane, and through cqrs-es.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actors::{
    caller::Caller,
    clock::system::SystemClock,
    dispatcher::Dispatcher,
    faults::Faults,
    preparation::NothingToMake,
    provider::simulated::{Machine, SimulatedSettings},
    settings::{
        ANTHROPIC_BASE_URL, HeadSettings, NodeSettings, SNAPSHOT_EVENTS, Settings,
        WorkspaceSettings,
    },
    system::System,
    write_side::WriteSide,
};
use anyhow::{Result, anyhow};
use domain::{
    ids::{AccountId, CommandId, ProjectId},
    project::{Project, ProjectCommand},
    values::Periods,
};
use futures_util::future::try_join_all;
use postgres_es::PostgresCqrs;
use projections::database::Database;
use sqlx::{Executor as _, PgPool};
use tests::{bench::Folder, postgres::Cluster, world::random};

const ROUND_PERIOD: Duration = Duration::from_millis(1500);
/// Events of one aggregate: the peer reads all of them again for each command.
const EVENTS_MAX: u32 = 20;

/// As its repository has it in `db/init.sql`.
const PEER_TABLE: &str = "CREATE TABLE events (
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint CHECK (sequence >= 0) NOT NULL,
    event_type text NOT NULL,
    event_version text NOT NULL,
    payload json NOT NULL,
    metadata json NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
)";

pub(crate) type Peer = PostgresCqrs<Project>;

/// Unmodified cqrs-es on a database of its own.
pub(crate) async fn start_peer(cluster: &Cluster) -> Result<Peer> {
    let pool: PgPool = postgres_es::default_postgress_pool(&cluster.database()?).await;
    pool.execute(PEER_TABLE).await?;
    Ok(postgres_es::postgres_cqrs(pool, vec![], ()))
}

pub(crate) async fn start(folder: &Folder, name: &str, url: &str) -> Result<System> {
    let data_dir = folder.path().join(name);
    std::fs::create_dir_all(&data_dir)?;
    let settings = Settings {
        data_dir,
        database_url: url.to_owned(),
        owner_name: "Ada".to_owned(),
        clock: Arc::new(SystemClock),
        node: NodeSettings::Simulated(SimulatedSettings {
            machine: Machine::new(1, "bench"),
            agent_version: "bench".to_owned(),
        }),
        workspaces: WorkspaceSettings::default(),
        periods: Periods::default(),
        heads: HeadSettings::default(),
        anthropic_base_url: ANTHROPIC_BASE_URL.to_owned(),
        internal_listen: None,
        title_model: None,
        images: Arc::new(NothingToMake),
        snapshot_events: SNAPSHOT_EVENTS,
        faults: Faults::default(),
    };
    Ok(System::start(settings).await?)
}

/// Ours without anything that follows the log, as the peer is without queries.
pub(crate) struct Alone {
    pub(crate) write_side: WriteSide,
    database: Database,
    owner: AccountId,
}

impl Alone {
    pub(crate) async fn start(folder: &Folder, name: &str, url: &str) -> Result<Self> {
        let data_dir = folder.path().join(name);
        std::fs::create_dir_all(&data_dir)?;
        let database = Database::open(url, &data_dir).await?;
        let write_side = WriteSide::start(&database, Arc::new(SystemClock)).await?;
        Ok(Self { write_side, database, owner: AccountId(random()) })
    }

    pub(crate) async fn rate(&self, n_aggregates: usize) -> Result<f64> {
        let dispatcher = &self.write_side.dispatcher;
        rate(n_aggregates, |id, number| dispatched(dispatcher, self.owner, id, number)).await
    }

    pub(crate) async fn stop(self) {
        self.write_side.stop().await;
        self.database.close().await;
    }
}

/// Keeps so many aggregates busy for a while; tells how many commands a second were answered.
pub(crate) async fn rate<F>(n_aggregates: usize, send: impl Fn(ProjectId, u32) -> F) -> Result<f64>
where
    F: Future<Output = Result<()>>,
{
    let n_sent = AtomicU64::new(0);
    let begun = Instant::now();
    let keep_busy = || async {
        while begun.elapsed() < ROUND_PERIOD {
            let id = ProjectId(random());
            for number in 0..EVENTS_MAX {
                send(id, number).await?;
                n_sent.fetch_add(1, Ordering::Relaxed);
                if begun.elapsed() >= ROUND_PERIOD {
                    break;
                }
            }
        }
        anyhow::Ok(())
    };
    try_join_all((0..n_aggregates).map(|_| keep_busy())).await?;
    Ok(n_sent.into_inner() as f64 / begun.elapsed().as_secs_f64())
}

/// Waits in the end until the read models have caught up: nobody else's turn is to pay for that.
pub(crate) async fn our_rate(n_aggregates: usize, system: &System) -> Result<f64> {
    let rate = rate(n_aggregates, |id, number| ours(system, id, number)).await?;
    let head = system.log.head().await?;
    system.projected().wait_for(|projected| *projected >= head).await?;
    Ok(rate)
}

pub(crate) async fn ours(system: &System, id: ProjectId, number: u32) -> Result<()> {
    dispatched(&system.dispatcher, system.owner(), id, number).await
}

async fn dispatched(
    dispatcher: &Dispatcher,
    owner: AccountId,
    id: ProjectId,
    number: u32,
) -> Result<()> {
    let caller = Caller::person(owner, CommandId(random()));
    dispatcher.send(&caller, (id, command(number, owner)), Vec::new()).await?;
    Ok(())
}

pub(crate) async fn theirs(peer: &Peer, id: ProjectId, number: u32) -> Result<()> {
    let owner = AccountId(random());
    let done = peer.execute(&id.to_string(), command(number, owner)).await;
    done.map_err(|error| anyhow!("{error}"))
}

fn command(number: u32, owner: AccountId) -> ProjectCommand {
    let name = format!("project {number}");
    match number {
        0 => {
            let repository = "https://example.com/team/project.git".to_owned();
            ProjectCommand::Link { owner, repository, name }
        }
        _ => ProjectCommand::Rename { name },
    }
}
