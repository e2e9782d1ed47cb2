//! Everything twice, everything failing once, and links that break.

use actors::{faults::Faults, provider::simulated::Refuse};
use domain::idea::Stage;

use crate::world::{Place, World, on_both};

on_both! {
    every_intent_can_be_performed_twice
    every_effect_may_fail_once
    every_kind_of_order_may_be_refused
    a_link_that_breaks_again_and_again_loses_nothing
}

const STORY: &str = "say: Hello there.\nLook around";

async fn every_intent_can_be_performed_twice(place: Place) {
    let once = World::new(place, 3).await;
    let submitted = once.submit(STORY).await;
    assert_eq!(once.ended(submitted.idea).await, Stage::Done);
    once.rest().await;
    let twice = World::with_faults(place, 3, Faults::every_intent_twice()).await;
    let submitted = twice.submit(STORY).await;
    assert_eq!(twice.ended(submitted.idea).await, Stage::Done);
    twice.rest().await;
    twice.keeps_its_promises().await;
    assert_eq!(twice.machine.n_carried_out(), once.machine.n_carried_out());
}

async fn every_effect_may_fail_once(place: Place) {
    for n in 1.. {
        println!("effect {n} fails");
        let world = World::with_faults(place, 3, Faults::effect_fails(n)).await;
        let submitted = world.submit(STORY).await;
        world.ended(submitted.idea).await;
        world.rest().await;
        world.keeps_its_promises().await;
        if world.faults.n_effects() < n {
            assert!(n > 5, "only {n} effects came by");
            break;
        }
    }
}

async fn every_kind_of_order_may_be_refused(place: Place) {
    let world = World::new(place, 3).await;
    for kind in [Refuse::OpenWorkspace, Refuse::StartSession, Refuse::Prompt, Refuse::Publish] {
        println!("{kind:?} is refused");
        world.machine.refuse(kind, 1);
        let submitted = world.submit(STORY).await;
        assert_eq!(world.ended(submitted.idea).await, Stage::Parked);
        world.rest().await;
    }
    world.decides_the_same().await;
}

/// Breaking as often as something is recorded.
async fn a_link_that_breaks_again_and_again_loses_nothing(place: Place) {
    let world = World::new(place, 3).await;
    let submitted = world.submit(STORY).await;
    let mut head = world.system().log.watch();
    let cutting = async {
        loop {
            let _ = head.changed().await;
            world.machine.cut_link();
            // Room for a few frames between two cuts.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        stage = world.ended(submitted.idea) => assert_eq!(stage, Stage::Done),
        () = cutting => unreachable!("it cuts for ever"),
    }
    world.rest().await;
    world.keeps_its_promises().await;
}
