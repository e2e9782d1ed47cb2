//! What was said is found again, in conversations that go on and in those that ended.

use actors::random;
use domain::{ids::ProjectId, project::ProjectCommand};
use projections::{
    chat_search::{self, Index, IndexedMessage, NAME, Query, Scope},
    checkpoint::Checkpoints,
    database::Database,
};
use uuid::Uuid;

use crate::{
    erasure::until_erased,
    world::{Place, World, on_both},
};

on_both! {
    what_was_said_is_found_by_its_words
    an_index_that_is_made_again_finds_the_same
    a_project_that_is_taken_out_is_not_found
    words_that_were_read_before_a_purge_are_too_late_after_it
    a_text_that_cannot_be_decrypted_keeps_no_other_out
    a_text_that_cannot_be_decrypted_holds_up_no_erasure
    an_event_that_cannot_be_decoded_is_found_once_it_can
}

async fn found(world: &World, text: &str, before: Option<u64>) -> Vec<IndexedMessage> {
    let owner = world.system().owner();
    let scope = Scope { owner, project: None, before, limit: 10 };
    chat_search::find(&world.system().database, &Query::new(text), scope).await.unwrap()
}

/// Waits until the index has all that is in the log.
async fn indexed(world: &World) {
    let system = world.system();
    let head = system.log.head().await.unwrap();
    let checkpoints = Checkpoints::new(&system.database);
    world.until("the index", async || checkpoints.position(NAME).await.unwrap() >= head).await;
}

async fn what_was_said_is_found_by_its_words(place: Place) {
    let mut world = World::new(place, 3).await;
    let first = world.submit("say: The parser_config lives in src/main.rs").await;
    world.ended(first.idea).await;
    let second = world.submit("say: Grüße from the other parser").await;
    world.ended(second.idea).await;
    indexed(&world).await;

    // The person's message and the coding agent's answer.
    let hits = found(&world, "parser CONFIG", None).await;
    assert_eq!(hits.len(), 2, "{hits:?}");
    assert!(hits[0].author.is_none() && hits[1].author.is_some());
    assert!(hits[0].position > hits[1].position, "the newest first");
    assert_eq!(
        found(&world, "main.rs conf", None).await.len(),
        2,
        "the last word may be unfinished"
    );
    assert_eq!(found(&world, "main.rs conf ", None).await.len(), 0);
    assert_eq!(found(&world, "config elsewhere", None).await.len(), 0);
    assert_eq!(found(&world, "grüß", None).await.len(), 2);
    assert_eq!(found(&world, "' OR \" NEAR( * : & |", None).await.len(), 0);
    let all = found(&world, "parser", None).await;
    assert_eq!(all.len(), 4);
    assert_eq!(found(&world, "parser", Some(all[1].position)).await, all[2..]);

    // Workspaces are gone by now, and the program too; what was said stays.
    world.restart().await;
    assert_eq!(found(&world, "parser", None).await, all);
}

async fn an_index_that_is_made_again_finds_the_same(place: Place) {
    let mut world = World::new(place, 3).await;
    let submitted = world.submit("say: one\nstream: 30 1000\nsay: and a needle").await;
    world.ended(submitted.idea).await;
    indexed(&world).await;
    let before = found(&world, "needle", None).await;
    assert!(!before.is_empty());
    Index::new(&world.system().database).clear().await.unwrap();
    world.restart().await;
    indexed(&world).await;
    assert_eq!(found(&world, "needle", None).await, before);
}

async fn a_project_that_is_taken_out_is_not_found(place: Place) {
    let world = World::new(place, 3).await;
    let submitted = world.submit("say: a needle").await;
    world.ended(submitted.idea).await;
    indexed(&world).await;
    let database = &world.system().database;
    let project = found(&world, "needle", None).await[0].project;
    actors::chat_search::purge(database, ProjectId(Uuid::from_u128(7))).await.unwrap();
    assert_eq!(found(&world, "needle", None).await.len(), 2, "another project stays");
    actors::chat_search::purge(database, project).await.unwrap();
    assert_eq!(found(&world, "needle", None).await.len(), 0);
}

async fn words_that_were_read_before_a_purge_are_too_late_after_it(place: Place) {
    let directory = std::env::temp_dir().join(format!("sam-words-{}", random::uuid()));
    let url = match place {
        Place::Sqlite => "sqlite:".to_owned(),
        Place::Postgres => tests::postgres::database().unwrap(),
    };
    let database = Database::open(&url, &directory).await.unwrap();
    let index = Index::new(&database);
    // Once where nothing is indexed yet.
    for begun in [0, 7] {
        assert_eq!(index.prepare().await.unwrap(), begun);
        index.purge(ProjectId(random::uuid())).await.unwrap();
        assert!(!index.advance(&[], &[], begun, 9).await.unwrap(), "from {begun}");
        let again = index.prepare().await.unwrap();
        assert!(again <= begun, "{again} instead of {begun}");
        assert!(index.advance(&[], &[], again, 7).await.unwrap());
    }
    database.close().await;
    let _ = std::fs::remove_dir_all(directory);
}

/// A world in which a needle was asked for and found: the two messages, the answer first.
async fn needle(place: Place) -> (World, Vec<IndexedMessage>) {
    let world = World::new(place, 3).await;
    let submitted = world.submit("say: a needle").await;
    world.ended(submitted.idea).await;
    indexed(&world).await;
    let before = found(&world, "needle", None).await;
    assert_eq!(before.len(), 2, "{before:?}");
    (world, before)
}

/// Puts something else in the place of a message's ciphertext, and tells what was there.
async fn replace_text(world: &World, message: &IndexedMessage, ciphertext: Vec<u8>) -> Vec<u8> {
    let (log, content) = (world.system().database.log(), message.segments[0].id.0);
    let get = "SELECT ciphertext FROM contents WHERE id = $1";
    let before = log.fetch_optional(get, (content,)).await.unwrap().unwrap();
    let put = "UPDATE contents SET ciphertext = $2 WHERE id = $1";
    assert_eq!(log.execute(put, (content, ciphertext)).await.unwrap(), 1);
    before.bytes("ciphertext").unwrap()
}

/// The next start makes the index again.
async fn index_again(world: &mut World) {
    Index::new(&world.system().database).clear().await.unwrap();
    world.restart().await;
    indexed(world).await;
}

async fn n_passed_over(world: &World) -> u64 {
    Index::new(&world.system().database).n_passed_over().await.unwrap()
}

/// Waits until everything is found that was, and nothing is said to be missing.
async fn until_mended(world: &World, before: &[IndexedMessage]) {
    world
        .until("what was mended to be found", async || {
            found(world, "needle", None).await == before && n_passed_over(world).await == 0
        })
        .await;
}

async fn a_text_that_cannot_be_decrypted_keeps_no_other_out(place: Place) {
    let (mut world, before) = needle(place).await;
    let [answer, wish] = &before[..] else { panic!("{before:?}") };
    let whole = replace_text(&world, wish, vec![7; 60]).await;
    index_again(&mut world).await;
    let later = world.submit("say: a thimble").await;
    world.ended(later.idea).await;
    indexed(&world).await;
    assert_eq!(found(&world, "needle", None).await, std::slice::from_ref(answer));
    assert_eq!(found(&world, "thimble", None).await.len(), 2);
    let index = Index::new(&world.system().database);
    let passed_over = index.passed_over(0, 10).await.unwrap();
    let [only] = &passed_over[..] else { panic!("{passed_over:?}") };
    assert_eq!(only.content.as_ref(), Some(&wish.segments[0]));
    assert_eq!((only.position, only.project), (wish.position, Some(wish.project)));

    world.restart().await;
    assert_eq!(n_passed_over(&world).await, 1, "it is as it was");
    replace_text(&world, wish, whole).await;
    world.restart().await;
    until_mended(&world, &before).await;
}

async fn a_text_that_cannot_be_decrypted_holds_up_no_erasure(place: Place) {
    let (mut world, before) = needle(place).await;
    replace_text(&world, &before[1], vec![7; 60]).await;
    index_again(&mut world).await;
    let (damaged, other) = (world.project, ProjectId(random::uuid()));
    let link = ProjectCommand::Link {
        owner: world.system().owner(),
        repository: "/srv/repository".to_owned(),
        name: "other".to_owned(),
    };
    world.system().dispatcher.send(&world.caller(), (other, link), Vec::new()).await.unwrap();
    for (project, n_left) in [(other, 1), (damaged, 0)] {
        world.project = project;
        let command = (project, ProjectCommand::Erase);
        world.system().dispatcher.send(&world.caller(), command, Vec::new()).await.unwrap();
        until_erased(&world).await;
        assert_eq!(found(&world, "needle", None).await.len(), n_left);
        assert_eq!(n_passed_over(&world).await, n_left as u64);
    }
}

async fn an_event_that_cannot_be_decoded_is_found_once_it_can(place: Place) {
    let (mut world, before) = needle(place).await;
    let [answer, wish] = &before[..] else { panic!("{before:?}") };
    let events = world.system().log.read_positions(&[wish.position]).await.unwrap();
    let version = events[0].event_version.clone();
    // As if a newer program had written it.
    let change = "UPDATE events SET event_version = $2 WHERE position = $1";
    let newer = (wish.position, "99");
    world.system().database.log().execute(change, newer).await.unwrap();
    world.restart().await;
    index_again(&mut world).await;
    assert_eq!(found(&world, "needle", None).await, std::slice::from_ref(answer));
    assert_eq!(n_passed_over(&world).await, 1);
    let known = (wish.position, version);
    world.system().database.log().execute(change, known).await.unwrap();
    world.restart().await;
    until_mended(&world, &before).await;
}
