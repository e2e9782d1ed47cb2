//! A project is erased: nothing of its texts is left, not after a restart, and not after a restore.

use std::path::Path;

use actors::{
    audit::{self, Report, Trusted},
    dispatcher::DispatchError,
    random,
    submit_idea::{NewIdea, Wish},
};
use domain::{
    idea::Stage,
    ids::{ContentId, IdeaId},
    project::{Project, ProjectCommand},
};
use projections::{
    database::Database, erasure_ledger::ErasureLedger, error::DatabaseError, sql::SqlPool,
};

use crate::world::{Place, World, on_both};

on_both! {
    a_project_is_erased_with_all_its_texts
    an_erasure_that_is_asked_for_twice_happens_once
}

/// In no word of the story but the ideas'.
const SECRET: &str = "pelikan";

async fn erase(world: &World) -> Result<u64, DispatchError> {
    let command = (world.project, ProjectCommand::Erase);
    world.system().dispatcher.send(&world.caller(), command, Vec::new()).await
}

pub(crate) async fn until_erased(world: &World) {
    world
        .until("the project to be erased", async || {
            world.clock.advance(std::time::Duration::from_secs(20));
            let project = world.system().dispatcher.state::<Project>(world.project.0).await;
            matches!(&*project.unwrap(), Project::Erased { .. })
        })
        .await;
    let head = world.system().log.head().await.unwrap();
    world.until_projected(head).await;
}

async fn contents(database: &Database) -> Vec<ContentId> {
    let list = "SELECT id FROM contents";
    let rows = database.log().fetch_all(list, ()).await.unwrap();
    rows.iter().map(|row| ContentId(row.uuid("id").unwrap())).collect()
}

/// All words that the read models hold.
pub(crate) async fn shown(database: &Database) -> Result<String, DatabaseError> {
    let tables = match database.views() {
        SqlPool::Sqlite { .. } => "SELECT name FROM sqlite_master WHERE type = 'table'",
        SqlPool::Postgres(_) => {
            "SELECT table_name::TEXT AS name FROM information_schema.tables
             WHERE table_schema = 'sam_views'"
        }
    };
    let mut words = String::new();
    for table in database.views().fetch_all(tables, ()).await? {
        let table = table.text("name")?;
        let columns = match database.views() {
            SqlPool::Sqlite { .. } => format!("SELECT name FROM pragma_table_info('{table}')"),
            SqlPool::Postgres(_) => format!(
                "SELECT column_name::TEXT AS name FROM information_schema.columns
                 WHERE table_schema = 'sam_views' AND table_name = '{table}'"
            ),
        };
        for column in database.views().fetch_all(&columns, ()).await? {
            let column = column.text("name")?;
            // Of SQLite in hexadecimal digits: an index of words is blocks of bytes.
            let word = match database.views() {
                SqlPool::Sqlite { .. } => format!("hex(\"{column}\")"),
                SqlPool::Postgres(_) => format!("CAST(\"{column}\" AS TEXT)"),
            };
            let list = format!("SELECT {word} AS word FROM {table}");
            for row in database.views().fetch_all(&list, ()).await? {
                let word = row.text_option("word")?.unwrap_or_default();
                words += &match database.views() {
                    SqlPool::Sqlite { .. } => plain(&word),
                    SqlPool::Postgres(_) => word,
                };
                words.push('\n');
            }
        }
    }
    Ok(words)
}

/// What hexadecimal digits stand for.
fn plain(digits: &str) -> String {
    let digits = digits.as_bytes().chunks(2);
    let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16));
    String::from_utf8_lossy(&bytes.collect::<Result<Vec<_>, _>>().unwrap()).into_owned()
}

async fn assert_erased(world: &World) {
    let database = &world.system().database;
    let contents = contents(database).await;
    assert!(!contents.is_empty(), "tombstones stay");
    assert_eq!(world.system().sealing.texts(&contents).await.unwrap().len(), 0);
    let ledger = ErasureLedger::new(database);
    assert!(ledger.find(world.project.0).await.unwrap().is_some());
    assert!(ledger.unfinished().await.unwrap().is_empty());
    let report = audited(world).await;
    assert!(report.is_intact() && report.n_erasures == 1, "{report:?}");
    let shown = shown(database).await.unwrap();
    let told = shown.lines().find(|line| line.contains(SECRET) || line.contains("/srv/repository"));
    assert_eq!(told, None, "a read model still says it");
}

async fn a_project_is_erased_with_all_its_texts(place: Place) {
    let mut world = World::new(place, 3).await;
    let done = world.submit(&format!("say: the {SECRET} is done")).await;
    assert_eq!(world.ended(done.idea).await, Stage::Done);
    let failed = world.submit(&format!("fail: no {SECRET}")).await;
    assert_eq!(world.ended(failed.idea).await, Stage::Parked);
    let running = world.submit(&format!("say: {SECRET}\nhang")).await;
    world.until_position(running.position + 20, running.idea).await;
    let before = contents(&world.system().database).await;
    assert!(!world.system().sealing.texts(&before).await.unwrap().is_empty());
    let position = world.system().log.head().await.unwrap();
    world.until_projected(position).await;
    assert!(shown(&world.system().database).await.unwrap().contains(SECRET));

    erase(&world).await.unwrap();
    let refused = world.submit_here(&world.another(SECRET)).await.unwrap_err();
    assert!(matches!(refused, DispatchError::Refused { code, .. } if code == "erased"));
    until_erased(&world).await;
    assert_eq!(world.stage(running.idea).await, Stage::Parked);
    world.rest().await;
    assert_erased(&world).await;

    world.stop().await;
    if matches!(place, Place::Sqlite) {
        // Made again from the log, the read models know no more than before.
        for file in ["views.db", "views.db-wal", "views.db-shm"] {
            let _ = std::fs::remove_file(world.directory().join(file));
        }
    }
    world.start().await;
    let head = world.system().log.head().await.unwrap();
    world.until_projected(head).await;
    assert_erased(&world).await;
    let refused = world.submit_here(&world.another(SECRET)).await.unwrap_err();
    assert!(matches!(refused, DispatchError::Refused { code, .. } if code == "erased"));
}

async fn an_erasure_that_is_asked_for_twice_happens_once(place: Place) {
    let world = World::new(place, 1).await;
    world.submit_here(&world.another(SECRET)).await.unwrap();
    let caller = world.caller();
    let command = (world.project, ProjectCommand::Erase);
    let dispatcher = &world.system().dispatcher;
    let first = dispatcher.send(&caller, command.clone(), Vec::new()).await.unwrap();
    assert_eq!(dispatcher.send(&caller, command, Vec::new()).await.unwrap(), first);
    erase(&world).await.unwrap();
    until_erased(&world).await;
    erase(&world).await.unwrap();
    let entries = ErasureLedger::new(&world.system().database).list().await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(world.system().eraser.file.read().unwrap(), entries);
    assert_erased(&world).await;
}

/// Whether the log, its texts and its ledger are what they were, to somebody who has the key and the file.
async fn audited(world: &World) -> Report {
    let system = world.system();
    let erasures = system.eraser.file.read().unwrap();
    let trusted = Trusted { key: Some(system.signing.public()), outside: None, erasures };
    audit::verify_database(&system.database, trusted).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tombstone_without_an_entry_is_found() {
    let world = World::new(Place::Sqlite, 1).await;
    world.submit_here(&world.another(SECRET)).await.unwrap();
    let other = world.another(SECRET);
    world.submit_here(&other).await.unwrap();
    let database = &world.system().database;
    assert!(audited(&world).await.is_intact());
    let empty = "UPDATE contents SET ciphertext = x'' WHERE id = (SELECT min(id) FROM contents)";
    database.log().execute(empty, ()).await.unwrap();
    let said = format!("texts of project {} are missing, and no erasure says why", world.project);
    let report = audited(&world).await;
    assert_eq!((report.findings.len(), &report.findings[0].what), (1, &said));
    erase(&world).await.unwrap();
    until_erased(&world).await;
    let report = audited(&world).await;
    assert!(report.is_intact() && report.n_erasures == 1, "now it is a valid one: {report:?}");
    database.log().execute("DELETE FROM erasures", ()).await.unwrap();
    let report = audited(&world).await;
    assert_eq!(
        report.findings.len(),
        3,
        "the entry, the stream that tells of it, and the tombstones that need it: {report:?}"
    );
}

/// What a backup tool copies while SAM is not running.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in ["log.db", "log.db-wal", "views.db", "views.db-wal", "heads.ndjson"] {
        let (from, to) = (from.join(file), to.join(file));
        let _ = std::fs::remove_file(&to);
        if from.exists() {
            std::fs::copy(from, to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_from_before_an_erasure_is_erased_again_when_it_is_restored() {
    let mut world = World::new(Place::Sqlite, 1).await;
    world.submit_here(&world.another(SECRET)).await.unwrap();
    world.stop().await;
    let backup = world.directory().join("backup");
    copy(world.directory(), &backup);
    world.start().await;
    let texts = contents(&world.system().database).await;
    assert_eq!(world.system().sealing.texts(&texts).await.unwrap().len(), 1, "not erased yet");
    erase(&world).await.unwrap();
    until_erased(&world).await;
    world.stop().await;

    copy(&backup, world.directory());
    world.start().await;
    // Before anybody could ask: not only once the process has come to its end.
    assert_eq!(world.system().sealing.texts(&texts).await.unwrap().len(), 0);
    until_erased(&world).await;
    assert_erased(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_nobody_signed_destroys_nothing() {
    let mut world = World::new(Place::Sqlite, 1).await;
    world.submit_here(&world.another(SECRET)).await.unwrap();
    erase(&world).await.unwrap();
    until_erased(&world).await;
    let file = world.system().eraser.file.path().to_owned();
    world.stop().await;
    let signed = std::fs::read_to_string(&file).unwrap();
    let forged = signed.replace(&world.project.to_string(), &random::uuid().to_string());
    assert_ne!(forged, signed);
    std::fs::write(&file, forged).unwrap();
    let error = world.try_start().await.err().unwrap().to_string();
    assert!(error.contains("is not signed by this installation's key"), "{error}");
    std::fs::write(&file, signed).unwrap();
    world.start().await;
    assert_erased(&world).await;
}

impl World {
    /// A draft with these words.
    fn another(&self, words: &str) -> NewIdea {
        let (idea, description) = (IdeaId(random::uuid()), words.to_owned());
        NewIdea { project: self.project, idea, description, wish: Wish::Explore }
    }

    async fn submit_here(&self, new: &NewIdea) -> Result<u64, DispatchError> {
        let submitted = self.system().ideas.submit(&self.caller(), new.clone()).await?;
        Ok(submitted.position)
    }
}
