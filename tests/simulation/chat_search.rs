//! What was said is found again, in conversations that go on and in those that ended.

use domain::ids::ProjectId;
use projections::chat_search::{self, Index, IndexedMessage, NAME, Query, Scope};
use projections::checkpoint::Checkpoints;

use crate::world::{Place, World, on_both};

on_both! {
    what_was_said_is_found_by_its_words
    an_index_that_is_made_again_finds_the_same
    a_project_that_is_taken_out_is_not_found
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
    actors::chat_search::purge(database, ProjectId(uuid::Uuid::from_u128(7))).await.unwrap();
    assert_eq!(found(&world, "needle", None).await.len(), 2, "another project stays");
    actors::chat_search::purge(database, project).await.unwrap();
    assert_eq!(found(&world, "needle", None).await.len(), 0);
}
