//! The program ends in the middle of anything, and goes on when it is started again.

use domain::idea::Stage;

use crate::world::{Dice, Place, World, on_both};

on_both! {
    the_story_goes_on_after_a_restart_at_any_moment
    a_hanging_turn_outlives_restarts
}

const STORY: &str = "say: Hello there.\nLook around";
const RESTARTS: u64 = 12;

async fn the_story_goes_on_after_a_restart_at_any_moment(place: Place) {
    let mut dice = Dice::new();
    let mut world = World::new(place, 3).await;
    let whole = world.submit(STORY).await;
    assert_eq!(world.ended(whole.idea).await, Stage::Done);
    world.rest().await;
    let n_events = world.system().log.head().await.unwrap() - whole.position;
    let width = n_events / RESTARTS + 1;
    for n in 0..RESTARTS {
        let after = n * width + dice.below(width);
        println!("restart after {after} of {n_events} events");
        let submitted = world.submit(STORY).await;
        world.until_position(submitted.position + after, submitted.idea).await;
        world.restart().await;
        assert_eq!(world.ended(submitted.idea).await, Stage::Done);
        world.rest().await;
    }
    assert_eq!(u64::try_from(world.machine.branches().len()).unwrap(), RESTARTS + 1);
    world.keeps_its_promises().await;
}

async fn a_hanging_turn_outlives_restarts(place: Place) {
    let mut world = World::new(place, 3).await;
    let submitted = world.submit("hang").await;
    for n in [10, 20, 30] {
        world.until_position(submitted.position + n, submitted.idea).await;
        world.restart().await;
    }
    assert_eq!(world.stage(submitted.idea).await, Stage::Executing);
    world.cancel(submitted.execution.unwrap()).await;
    assert_eq!(world.ended(submitted.idea).await, Stage::Parked);
    world.rest().await;
}
