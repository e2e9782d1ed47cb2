//! An idea for a coding agent whose image is still being made waits for it, and says so.

use std::{sync::atomic::Ordering, time::Duration};

use actors::submit_idea::{Choices, Submitted};
use domain::{
    agent_protocol::CodingAgentKind, credential::CredentialKind, execution::Execution, idea::Stage,
};

use crate::world::{Place, World, on_both};

on_both! {
    an_idea_waits_for_the_image_and_goes_on_by_itself
    an_image_that_cannot_be_made_parks_the_idea_and_is_tried_again_for_the_next
    an_image_that_is_never_made_parks_the_idea_at_the_deadline
    waiting_for_an_image_outlives_a_restart_and_can_be_cancelled
}

async fn submit(world: &World) -> Submitted {
    let credentials = &world.system().credentials;
    credentials.put(&world.caller(), CredentialKind::Anthropic, "sk-ant-test").await.unwrap();
    let coding_agent = Some(CodingAgentKind::ClaudeCode);
    world.submit_choosing("say: done", Choices { coding_agent, ..Choices::default() }).await
}

/// What people read while an execution waits.
async fn waits(world: &World, submitted: &Submitted, words: &str) {
    world
        .until(words, async || {
            let id = submitted.execution.unwrap().0;
            match &*world.system().dispatcher.state::<Execution>(id).await.unwrap() {
                Execution::UnderWay { waiting: Some(reason), .. } => reason.contains(words),
                _ => false,
            }
        })
        .await;
}

async fn parked_because(world: &World, submitted: &Submitted, words: &str) {
    assert_eq!(world.ended(submitted.idea).await, Stage::Parked);
    let reason = world.parked_reason(submitted.idea).await;
    assert!(reason.contains(words), "{reason:?} does not say {words:?}");
}

async fn an_idea_waits_for_the_image_and_goes_on_by_itself(place: Place) {
    let world = World::new(place, 3).await;
    world.images.tell("fetching the adapter");
    let (first, second) = (submit(&world).await, submit(&world).await);
    waits(&world, &first, "fetching the adapter").await;
    waits(&world, &second, "fetching the adapter").await;
    world.images.tell("nearly there");
    waits(&world, &first, "nearly there").await;
    assert!(world.machine.workspaces().is_empty(), "no container before its image");
    world.images.end(Ok(()));
    assert_eq!(world.ended(first.idea).await, Stage::Done);
    assert_eq!(world.ended(second.idea).await, Stage::Done);
    world.rest().await;
    assert_eq!(world.images.n_begun.load(Ordering::SeqCst), 1, "one image for both");
}

async fn an_image_that_cannot_be_made_parks_the_idea_and_is_tried_again_for_the_next(place: Place) {
    let world = World::new(place, 3).await;
    world.images.tell("fetching the adapter");
    let first = submit(&world).await;
    waits(&world, &first, "fetching").await;
    world.images.end(Err("no network"));
    parked_because(&world, &first, "could not be made: no network").await;
    world.images.end(Ok(()));
    let second = submit(&world).await;
    assert_eq!(world.ended(second.idea).await, Stage::Done);
    world.rest().await;
}

async fn an_image_that_is_never_made_parks_the_idea_at_the_deadline(place: Place) {
    let world = World::new(place, 3).await;
    world.images.tell("fetching the adapter");
    let submitted = submit(&world).await;
    waits(&world, &submitted, "fetching").await;
    world.clock.advance(Duration::from_secs(31 * 60));
    parked_because(&world, &submitted, "not made in time").await;
    world.images.end(Ok(()));
    world.rest().await;
}

async fn waiting_for_an_image_outlives_a_restart_and_can_be_cancelled(place: Place) {
    let mut world = World::new(place, 3).await;
    world.images.tell("fetching the adapter");
    let (first, second) = (submit(&world).await, submit(&world).await);
    waits(&world, &first, "fetching").await;
    waits(&world, &second, "fetching").await;
    world.restart().await;
    world.cancel(first.execution.unwrap()).await;
    assert_eq!(world.ended(first.idea).await, Stage::Parked);
    world.images.end(Ok(()));
    assert_eq!(world.ended(second.idea).await, Stage::Done);
    world.rest().await;
}
