//! An event of a newer program, which the present one cannot react to, waits for the one that can.

use actors::random;
use domain::idea::Stage;
use projections::{
    checkpoint::Checkpoints,
    database::Database,
    event_log::{RawLog, StreamId},
};

use crate::world::{Place, World, on_both};

on_both! {
    an_unknown_event_is_brought_to_its_process_by_the_program_that_knows_it
}

const KNOWN: &str = "execution_requested";
const UNKNOWN: &str = "execution_requested_some_day";

async fn an_unknown_event_is_brought_to_its_process_by_the_program_that_knows_it(place: Place) {
    let mut world = World::new(place, 3).await;
    let submitted = world.submit("say: Hello.").await;
    assert_eq!(world.ended(submitted.idea).await, Stage::Done);
    world.rest().await;
    world.stop().await;
    let execution = random::uuid();
    let database = Database::open(world.url(), world.directory()).await.unwrap();
    let unknown = put_unknown(&database, submitted.execution.unwrap().0, execution).await;
    database.close().await;

    world.start().await;
    let other = world.submit("say: Hello again.").await;
    assert_eq!(world.ended(other.idea).await, Stage::Done, "everything else goes on");
    let checkpoints = Checkpoints::new(&world.system().database);
    world
        .until("readers to save how far they are", async || {
            checkpoints.position("process retire_node").await.unwrap() > unknown
        })
        .await;
    let position = checkpoints.position("process run_execution").await.unwrap();
    assert_eq!(position, unknown - 1, "the event may not be taken as seen");
    world.stop().await;

    // As if the program had learned it.
    let database = Database::open(world.url(), world.directory()).await.unwrap();
    let learn = "UPDATE events SET event_type = $1 WHERE position = $2";
    database.log().execute(learn, (KNOWN, unknown)).await.unwrap();
    database.close().await;
    world.start().await;
    let process = StreamId::new("run_execution", execution);
    world
        .until("the reaction", async || {
            !world.system().log.read_stream(&process, 0, 1).await.unwrap().is_empty()
        })
        .await;
    world.stop().await;
}

/// The request of another execution, for another idea, under a name that nobody knows.
async fn put_unknown(database: &Database, like: uuid::Uuid, execution: uuid::Uuid) -> u64 {
    let log = RawLog::new(database);
    let end = log.end().await.unwrap();
    let events = log.events(0, end.position, 10_000).await.unwrap();
    let mut event = events
        .into_iter()
        .find(|event| event.event_type == KNOWN && event.payload.contains(&like.to_string()))
        .unwrap();
    event.position = end.position + 1;
    event.id = random::uuid().to_string();
    event.command = random::uuid();
    event.event_type = UNKNOWN.to_owned();
    event.payload = event.payload.replace(&like.to_string(), &execution.to_string());
    log.put(end.position, &[event.clone()], &[]).await.unwrap();
    event.position
}
