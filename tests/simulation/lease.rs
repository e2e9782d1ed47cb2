//! The lease passes on between two servers of one database, and the former holder has not heard of it yet.

use std::time::Duration;

use actors::{random, system::System};
use domain::{idea::Stage, ids::WorkspaceId};
use projections::lease_row::LeaseRow;

use crate::{
    story::until_running,
    world::{Place, World},
};

const MINUTE: Duration = Duration::from_secs(60);
/// In microseconds since 1970.
const LONG_AFTER_THIS: i64 = i64::MAX / 2;

/// SQLite has one server, which always has the lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_of_an_epoch_that_is_over_is_refused_and_given_again_in_the_next() {
    let world = World::new(Place::Postgres, 3).await;
    let submitted = world.submit("hang").await;
    until_running(&world, submitted.execution.unwrap()).await;
    let own = world.machine.workspaces();
    let other = world.replica().await;
    pass_on(&world, &other).await;
    // By this sweep the machine hears of the epoch of the other one.
    world.machine.leave_container(WorkspaceId(random::uuid()));
    world
        .until("a sweep of the other one", async || {
            world.clock.advance(MINUTE);
            world.machine.workspaces() == own
        })
        .await;
    let (old, newer) = (world.system().lease_epoch(), other.lease_epoch());
    assert!(old < newer, "{old} is over since {newer}");
    act_again_in(&world, other, old).await;

    let n_carried_out = world.machine.n_carried_out();
    world.cancel(submitted.execution.unwrap()).await;
    world.until("the refusal", async || world.machine.n_stale() > 0).await;
    assert_eq!(world.machine.n_carried_out(), n_carried_out, "it was not carried out");
    assert_eq!(world.machine.workspaces(), own);
    assert_eq!(world.stage(submitted.idea).await, Stage::Executing, "it is no reason to end");

    put(&world, newer, 0).await;
    assert_eq!(world.ended(submitted.idea).await, Stage::Parked);
    world.rest().await;
    world.keeps_its_promises().await;
}

/// Has the lease of the world's own server run out until the other one has it, and the first one knows.
async fn pass_on(world: &World, other: &System) {
    let database = &world.system().database;
    let first = LeaseRow::new(database).current().await.unwrap().unwrap().holder;
    world
        .until("the other one to act", async || {
            // What the other one has taken it keeps.
            let run_out = "UPDATE lease SET held_until = 0 WHERE holder = $1";
            database.log().execute(run_out, (first,)).await.unwrap();
            other.is_acting() && !world.system().is_acting()
        })
        .await;
}

/// Has the world's own server act once more in an epoch that is over, as one does that was stopped in it and goes
/// on: it acts until its next look at the lease, which here finds nothing wrong.
async fn act_again_in(world: &World, other: System, epoch: u64) {
    put(world, epoch - 1, LONG_AFTER_THIS).await;
    world.until("the other one to give up", async || !other.is_acting()).await;
    other.stop().await;
    put(world, epoch - 1, 0).await;
    world.until("the first one to act", async || world.system().is_acting()).await;
    let lease = LeaseRow::new(&world.system().database).current().await.unwrap().unwrap();
    assert_eq!((lease.epoch, world.system().lease_epoch()), (epoch, epoch));
}

/// Gives the lease to nobody. Whoever takes it when it has run out has the epoch after this one.
async fn put(world: &World, epoch: u64, held_until: i64) {
    let put = "UPDATE lease SET holder = $1, epoch = $2, held_until = $3";
    let database = &world.system().database;
    database.log().execute(put, (random::uuid(), epoch, held_until)).await.unwrap();
}
