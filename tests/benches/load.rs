//! How long does an aggregate with 10 000 events take until it takes a command, over what reading them takes?
//!
//! Budget: 10 ms over the read, from the whole stream; less where its state was kept. The log is SQLite's; each
//! stream is loaded by a control plane that has just started, by asking for its state. The baseline is the bare read
//! of the same events in the pages in which the actor reads them.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use actors::{
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
use anyhow::{Result, ensure};
use domain::{
    event_sourced::{EventPayload as _, canonical_json},
    ids::AccountId,
    project::{Project, ProjectEvent},
    values::Periods,
};
use projections::{
    database::Database,
    event_log::{
        APPEND_EVENTS_MAX, Append, EventLog, FIRST_HASH, Metadata, NewEvent, Options, StreamId,
    },
};
use tests::{
    bench::{Figures, Folder, Goal, Samples, say},
    world::random,
};
use uuid::Uuid;

const N_STREAMS: usize = 9;
const N_EVENTS: u64 = 10_000;
const EVENTS_PER_READ: usize = 512;
const OVER_READ_MS_MAX: f64 = 10.0;
/// More than the writing of what is kept takes.
const CALM: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<()> {
    let folder = Folder::new("load")?;
    let data_dir = folder.path().join("data");
    let projects = write(&data_dir).await?;
    let [mut read, mut whole, mut kept]: [Samples; 3] = Default::default();
    // The first life finds nothing kept and keeps the states; the second one finds them.
    for samples in [&mut whole, &mut kept] {
        let system = start(&data_dir).await?;
        tokio::time::sleep(CALM).await;
        for project in &projects {
            let begun = Instant::now();
            let n_events = read_all(&system.log, *project).await?;
            read.push_ms(begun.elapsed());
            ensure!(n_events == N_EVENTS, "{n_events} events");
            let begun = Instant::now();
            let state = system.dispatcher.state::<Project>(*project).await?;
            samples.push_ms(begun.elapsed());
            ensure!(matches!(&*state, Project::Linked { .. }), "{state:?}");
        }
        tokio::time::sleep(CALM).await;
        system.stop().await;
    }
    say(&format!("{N_STREAMS} streams of {N_EVENTS} events, each loaded twice"));
    let over = whole.median() - read.median();
    let mut figures = Figures::default();
    figures.add("load/read_10k", read.median(), "ms", Goal::None);
    figures.add("load/whole_10k", whole.median(), "ms", Goal::None);
    figures.add("load/whole_over_read_10k", over, "ms", Goal::AtMost(OVER_READ_MS_MAX));
    figures.add("load/kept_10k", kept.median(), "ms", Goal::AtMost(OVER_READ_MS_MAX));
    figures.close()
}

async fn read_all(log: &EventLog, project: Uuid) -> Result<u64> {
    let stream = StreamId::new("project", project);
    let mut after = 0;
    loop {
        let events = log.read_stream(&stream, after, EVENTS_PER_READ).await?;
        match events.last() {
            Some(last) => after = last.sequence,
            None => return Ok(after),
        }
    }
}

async fn start(data_dir: &Path) -> Result<System> {
    let settings = Settings {
        data_dir: data_dir.to_owned(),
        database_url: "sqlite:".to_owned(),
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
        title_model: None,
        images: Arc::new(NothingToMake),
        faults: Faults::default(),
    };
    Ok(System::start(settings).await?)
}

/// Projects that were linked and renamed again and again.
async fn write(data_dir: &Path) -> Result<Vec<Uuid>> {
    std::fs::create_dir_all(data_dir)?;
    let database = Database::open("sqlite:", data_dir).await?;
    let log = EventLog::open(&database, Options::default()).await?;
    let mut projects = Vec::new();
    for _ in 0..N_STREAMS {
        let project = random();
        let (mut expected, mut previous_hash) = (0, FIRST_HASH);
        while expected < N_EVENTS {
            let until = N_EVENTS.min(expected + APPEND_EVENTS_MAX as u64);
            let command = random();
            let append = Append {
                stream: StreamId::new("project", project),
                expected,
                previous_hash,
                project: Some(project),
                epoch: None,
                metadata: Metadata {
                    actor: "bench".to_owned(),
                    command,
                    causation: None,
                    correlation: command,
                    at: chrono::DateTime::UNIX_EPOCH,
                },
                events: (expected..until).map(event).collect(),
                contents: Vec::new(),
            };
            let appended = log.append(append).await?;
            (expected, previous_hash) = (appended.sequence, appended.hash);
        }
        projects.push(project);
    }
    log.close().await;
    database.close().await;
    Ok(projects)
}

fn event(number: u64) -> NewEvent {
    let name = format!("project {number}");
    let event = match number {
        0 => ProjectEvent::Linked {
            owner: AccountId(Uuid::nil()),
            repository: "https://example.com/team/project.git".to_owned(),
            name,
        },
        _ => ProjectEvent::Renamed { name },
    };
    let (event_type, payload) = event.stored();
    NewEvent { event_type, event_version: "1".to_owned(), payload: canonical_json(&payload) }
}
