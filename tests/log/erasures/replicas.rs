//! Several servers on one database: the file of each has all erasures, so whichever of them is left respects them.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use actors::{
    caller::Caller,
    clock::simulated::SimulatedClock,
    erasure::{Eraser, file::LedgerFile},
    faults::Faults,
    preparation::NothingToMake,
    provider::simulated::{Machine, SimulatedSettings},
    random,
    settings::{
        ANTHROPIC_BASE_URL, HeadSettings, NodeSettings, SNAPSHOT_EVENTS, Settings,
        WorkspaceSettings,
    },
    signing::SigningKey,
    submit_idea::{NewIdea, Wish},
    system::System,
};
use domain::{
    ids::{CommandId, ContentId, IdeaId, ProjectId},
    project::ProjectCommand,
    values::Periods,
};
use projections::{database::Database, erasure_ledger::ErasureLedger, keys::Keys};
use tests::postgres::Cluster;

use super::{Erased, KEPT, entry};
use crate::{
    support::{Directory, Place, id, now, on_both},
    tampering::key,
};

on_both! {
    what_is_signed_is_copied_once_and_nothing_is_taken_out
}

/// Real time for something that takes a second or two; only a failure waits that long.
const PATIENCE: Duration = Duration::from_secs(120);
const VERSION: &str = "simulated 1";

async fn what_is_signed_is_copied_once_and_nothing_is_taken_out(place: Place) {
    let erased = Erased::new(place).await;
    let directory = Directory::new();
    let file = LedgerFile::of(directory.path());
    let other =
        Eraser { file: file.clone(), one_at_a_time: Arc::default(), ..erased.eraser.clone() };
    let ledger = ErasureLedger::new(erased.database());
    let mut signed = ledger.list().await.unwrap();
    other.complete_file().await.unwrap();
    assert_eq!(file.read().unwrap(), signed);
    // Somebody who may write to the database has something destroyed; the next erasure is ours again.
    let forged = entry(&SigningKey::from_seed(&[8; 32]), 3, KEPT, signed[1].digest());
    let next = entry(&key(), 4, 9004, forged.digest());
    ledger.destroy_key(&forged).await.unwrap();
    ledger.destroy_key(&next).await.unwrap();
    signed.push(next);
    for _ in 0..2 {
        let refused = other.complete_file().await.unwrap_err().to_string();
        assert!(refused.contains("is not signed by this installation's key"), "{refused}");
        assert_eq!(file.read().unwrap(), signed);
    }
    erased.audited.sql("DELETE FROM erasures").await;
    other.complete_file().await.unwrap();
    assert_eq!(file.read().unwrap(), signed, "the file only grows");
}

async fn start(url: &str, data_dir: &Path, clock: &SimulatedClock) -> System {
    let machine = Machine::new(1, VERSION);
    let settings = Settings {
        data_dir: data_dir.to_owned(),
        database_url: url.to_owned(),
        owner_name: "Ada".to_owned(),
        clock: Arc::new(clock.clone()),
        node: NodeSettings::Simulated(SimulatedSettings {
            machine,
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
    System::start(settings).await.unwrap()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The owner, with a new command id.
fn owner_of(system: &System) -> Caller {
    Caller::person(system.owner(), CommandId(random::uuid()))
}

async fn tell(system: &System, project: ProjectId, command: ProjectCommand) {
    let caller = owner_of(system);
    system.dispatcher.send(&caller, (project, command), Vec::new()).await.unwrap();
}

/// Links a project and writes a text for it.
async fn write_text(system: &System, project: ProjectId) {
    let link = ProjectCommand::Link {
        owner: system.owner(),
        repository: "/srv/repository".to_owned(),
        name: "repository".to_owned(),
    };
    tell(system, project, link).await;
    let (idea, description) = (IdeaId(random::uuid()), "what is erased".to_owned());
    let new = NewIdea { project, idea, description, wish: Wish::Explore };
    system.ideas.submit(&owner_of(system), new).await.unwrap();
}

async fn contents(database: &Database) -> Vec<ContentId> {
    let rows = database.log().fetch_all("SELECT id FROM contents", ()).await.unwrap();
    rows.iter().map(|row| ContentId(row.uuid("id").unwrap())).collect()
}

async fn has_key(database: &Database, project: ProjectId) -> bool {
    Keys::new(database).find("content", Some(project.0)).await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_had_the_lease_respects_the_erasures_of_one_that_is_lost() {
    let folder = Directory::new();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .unwrap();
    let cluster = Cluster::start(&folder.path().join("one"), "fsync=off").unwrap();
    let (url, clock) = (cluster.database().unwrap(), SimulatedClock::new(now()));
    let (lost, left) = (Directory::new(), Directory::new());
    let acting = start(&url, lost.path(), &clock).await;
    until("the first server acts", || acting.is_acting()).await;
    let master_key = "master.key";
    std::fs::copy(lost.path().join(master_key), left.path().join(master_key)).unwrap();
    let other = start(&url, left.path(), &clock).await;
    let project = ProjectId(id(9001));
    write_text(&acting, project).await;
    let texts = contents(&acting.database).await;
    assert_eq!(other.sealing.texts(&texts).await.unwrap().len(), 1, "each server can read it");
    let target = folder.path().join("two");
    let (cluster, backup) = tokio::task::spawn_blocking(move || {
        let backup = cluster.base_backup(&target).unwrap();
        (cluster, backup)
    })
    .await
    .unwrap();

    tell(&acting, project, ProjectCommand::Erase).await;
    until("the erasure is in the file of the server that is left", || {
        clock.advance(Duration::from_secs(20));
        !other.eraser.file.read().unwrap().is_empty()
    })
    .await;
    let entries = ErasureLedger::new(&acting.database).list().await.unwrap();
    assert_eq!(other.eraser.file.read().unwrap(), entries);
    assert!(!other.is_acting(), "it learned of it without the lease");
    other.stop().await;
    acting.stop().await;
    drop((lost, cluster));

    backup.start_server("fsync=off").unwrap();
    let name = url.split('?').next().unwrap().rsplit_once('/').unwrap().1;
    let url = backup.url(name);
    let before = Database::open(&url, Path::new("")).await.unwrap();
    assert!(has_key(&before, project).await, "the backup is from before the erasure");
    assert_eq!(ErasureLedger::new(&before).list().await.unwrap(), vec![]);
    before.close().await;
    let left = start(&url, left.path(), &clock).await;
    // Before anybody could ask: not only once the project is erased again.
    let ledger = ErasureLedger::new(&left.database);
    assert_eq!(ledger.find(project.0).await.unwrap().as_ref(), entries.first());
    assert!(!has_key(&left.database, project).await);
    assert_eq!(contents(&left.database).await, texts, "tombstones stay");
    assert!(left.sealing.texts(&texts).await.unwrap().is_empty());
    assert!(ledger.unfinished().await.unwrap().is_empty());
    left.stop().await;
}
