//! The lease passes on between two servers of one database, and the former holder has not heard of it yet; or the
//! clock of the database is set back.

use std::time::Duration;

use actors::{random, system::System};
use domain::{idea::Stage, ids::WorkspaceId};
use projections::lease_row::{Lease, LeaseRow};
use tokio::time::Instant;

use crate::{
    story::until_running,
    world::{Place, World},
};

const MINUTE: Duration = Duration::from_secs(60);
/// How long the lease lasts; it is renewed each 2.5 s.
const PERIOD: Duration = Duration::from_secs(8);
const N_RENEWALS: u32 = 4;
/// In microseconds: an hour.
const SET_BACK: i64 = 3_600_000_000;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_keeps_the_lease_however_often_the_clock_of_the_database_is_set_back() {
    let world = World::new(Place::Postgres, 1).await;
    world.until("the first one to act", async || world.system().is_acting()).await;
    let before = current(&world).await;
    let other = world.replica().await;
    // Only how far the end is from the clock counts: this is what one sees that was set back.
    let set_back = "UPDATE lease SET held_until = held_until + $1";
    let mut n_set_back = 0;
    world
        .until("renewals for longer than a period", async || {
            if current(&world).await.remaining <= PERIOD {
                n_set_back += 1;
                world.system().database.log().execute(set_back, (SET_BACK,)).await.unwrap();
            }
            n_set_back > N_RENEWALS
        })
        .await;
    let after = current(&world).await;
    assert_eq!((after.holder, after.epoch), (before.holder, before.epoch));
    assert!(world.system().is_acting() && !other.is_acting());
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_is_gone_is_followed_though_the_clock_of_the_database_was_set_back() {
    let world = World::new(Place::Postgres, 1).await;
    world.until("the first one to act", async || world.system().is_acting()).await;
    let (began, gone) = (Instant::now(), current(&world).await.epoch + 1);
    put(&world, gone, LONG_AFTER_THIS).await;
    world.until("the first one to give up", async || !world.system().is_acting()).await;
    world.until("it to act again", async || world.system().is_acting()).await;
    assert!(began.elapsed() >= PERIOD, "a holder that is there would not have given up before");
    assert_eq!(current(&world).await.epoch, gone + 1, "whatever it may still do is refused");
    let submitted = world.submit("say: it goes on").await;
    assert_eq!(world.ended(submitted.idea).await, Stage::Done);
    world.rest().await;
    world.keeps_its_promises().await;
}

async fn current(world: &World) -> Lease {
    LeaseRow::new(&world.system().database).current().await.unwrap().unwrap()
}

/// Has the lease of the world's own server run out until the other one has it, and the first one knows.
async fn pass_on(world: &World, other: &System) {
    let database = &world.system().database;
    let first = current(world).await.holder;
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
    world
        .until("the other one to give up", async || {
            // To somebody else each time: what stays as it is for long enough runs out.
            put(world, epoch - 1, LONG_AFTER_THIS).await;
            !other.is_acting()
        })
        .await;
    other.stop().await;
    put(world, epoch - 1, 0).await;
    world.until("the first one to act", async || world.system().is_acting()).await;
    let lease = current(world).await;
    assert_eq!((lease.epoch, world.system().lease_epoch()), (epoch, epoch));
}

/// Gives the lease to nobody. Whoever takes it when it has run out has the epoch after this one.
async fn put(world: &World, epoch: u64, held_until: i64) {
    let put = "UPDATE lease SET holder = $1, epoch = $2, held_until = $3";
    let database = &world.system().database;
    database.log().execute(put, (random::uuid(), epoch, held_until)).await.unwrap();
}
