//! How many commands a second get through the dispatcher to disk?
//!
//! Budget, on PostgreSQL against PostgreSQL: at least 5 times what unmodified cqrs-es with postgres-es does
//! when 64 aggregates are busy, and not less when there is one. SQLite has no peer here and is shown for itself.
//!
//! Both sides run the same commands of the same aggregate (link a project, then rename it 19 times; then the next
//! project), one at a time per aggregate, on one server with `fsync` on and a database each. Ours is the whole
//! control plane: read models and processes follow the log meanwhile. The peer has neither queries nor snapshots.
//! Sides take turns within each round.

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
    faults::Faults,
    preparation::NothingToMake,
    provider::simulated::{Machine, SimulatedSettings},
    settings::{
        ANTHROPIC_BASE_URL, HeadSettings, NodeSettings, SNAPSHOT_EVENTS, Settings,
        WorkspaceSettings,
    },
    system::System,
};
use anyhow::{Result, anyhow};
use domain::{
    ids::{AccountId, CommandId, ProjectId},
    project::{Project, ProjectCommand},
    values::Periods,
};
use futures_util::future::try_join_all;
use postgres_es::PostgresCqrs;
use sqlx::{Executor as _, PgPool};
use tests::{
    bench::{Figures, Folder, Goal, Samples, say},
    postgres::Cluster,
    world::random,
};

const N_ROUNDS: usize = 5;
const ROUND_PERIOD: Duration = Duration::from_millis(1500);
const N_AGGREGATES: [usize; 3] = [1, 8, 64];
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

type Peer = PostgresCqrs<Project>;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = Folder::new("commands")?;
    let cluster = Cluster::start(&folder.path().join("postgres"), "")?;
    let sqlite = start(&folder, "sqlite", "sqlite:").await?;
    let postgres = start(&folder, "postgres-data", &cluster.database()?).await?;
    let pool: PgPool = postgres_es::default_postgress_pool(&cluster.database()?).await;
    pool.execute(PEER_TABLE).await?;
    let peer: Peer = postgres_es::postgres_cqrs(pool, vec![], ());
    let mut figures = Figures::default();
    for n in N_AGGREGATES {
        let [mut on_sqlite, mut on_postgres, mut of_peer]: [Samples; 3] = Default::default();
        for round in 0..=N_ROUNDS {
            let rates = [
                our_rate(n, &sqlite).await?,
                our_rate(n, &postgres).await?,
                rate(n, |id, number| theirs(&peer, id, number)).await?,
            ];
            if round == 0 {
                continue; // Connections and plans are made; nothing is counted.
            }
            let [s, p, c] = rates;
            say(&format!(
                "{n} aggregates, round {round}: sqlite {s:.0}, postgres {p:.0}, cqrs-es {c:.0} commands/s"
            ));
            on_sqlite.push(s);
            on_postgres.push(p);
            of_peer.push(c);
        }
        let goal = match n {
            1 => Goal::AtLeast(1.0),
            64 => Goal::AtLeast(5.0),
            _ => Goal::None,
        };
        let unit = "commands/s";
        figures.add(&format!("commands/sqlite_{n}"), on_sqlite.median(), unit, Goal::None);
        figures.add(&format!("commands/postgres_{n}"), on_postgres.median(), unit, Goal::None);
        figures.add(&format!("commands/cqrs_es_{n}"), of_peer.median(), unit, Goal::None);
        let ratio = on_postgres.median() / of_peer.median();
        figures.add(&format!("commands/ratio_{n}"), ratio, "times", goal);
    }
    sqlite.stop().await;
    postgres.stop().await;
    figures.close()
}

async fn start(folder: &Folder, name: &str, url: &str) -> Result<System> {
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
        snapshot_events: SNAPSHOT_EVENTS,
        anthropic_base_url: ANTHROPIC_BASE_URL.to_owned(),
        internal_listen: None,
        images: Arc::new(NothingToMake),
        faults: Faults::default(),
    };
    Ok(System::start(settings).await?)
}

/// Keeps so many aggregates busy for a while; tells how many commands a second were answered.
async fn rate<F>(n_aggregates: usize, send: impl Fn(ProjectId, u32) -> F) -> Result<f64>
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
async fn our_rate(n_aggregates: usize, system: &System) -> Result<f64> {
    let rate = rate(n_aggregates, |id, number| ours(system, id, number)).await?;
    let head = system.log.head().await?;
    system.projected().wait_for(|projected| *projected >= head).await?;
    Ok(rate)
}

async fn ours(system: &System, id: ProjectId, number: u32) -> Result<()> {
    let caller = Caller::person(system.owner, CommandId(random()));
    system.dispatcher.send(&caller, (id, command(number, system.owner)), Vec::new()).await?;
    Ok(())
}

async fn theirs(peer: &Peer, id: ProjectId, number: u32) -> Result<()> {
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
