//! What no process can know is swept: a lost machine, a wait without a deadline, containers of nobody.

use std::time::Duration;

use domain::{
    agent_protocol::PermissionPolicy,
    event::Event,
    execution::{Execution, ExecutionCommand, InputChoice},
    idea::Stage,
    ids::{SessionId, WorkspaceId},
    session::SessionEvent,
    values::Periods,
};
use projections::{
    chat_transcript::{self, Item},
    event_log::StreamId,
    read_models,
};

use crate::{
    story::{answer, asked, until_running},
    world::{Place, World, on_both},
};

on_both! {
    what_a_lost_machine_had_said_is_kept_and_marked_as_cut_off
    a_machine_that_comes_back_without_its_memory_is_a_lost_one
    a_machine_that_is_away_for_a_moment_is_not_lost
    a_machine_whose_link_held_for_long_is_not_lost_when_it_breaks
    a_report_that_cannot_be_recorded_is_recorded_once_it_can_be
    an_execution_whose_deadline_was_lost_is_cancelled
    containers_that_belong_to_nothing_are_removed
}

const MINUTE: Duration = Duration::from_secs(60);

/// The sentence that browsers have seen and no report has.
const STORY: &str = "relay: This was only relayed.\nhang";

/// What a session recorded, in order: texts, and what became of messages.
async fn recorded(world: &World, session: SessionId) -> Vec<String> {
    let stream = StreamId::new("session", session.0);
    let events = world.system().log.read_stream(&stream, 0, 10_000).await.unwrap();
    let mut recorded = Vec::new();
    for event in &events {
        match read_models::decode(event).unwrap().unwrap() {
            Event::Session(_, SessionEvent::SegmentRecorded(segment)) => {
                recorded.push(world.system().sealing.text(&segment.content).await.unwrap());
            }
            Event::Session(_, SessionEvent::MessageTruncated { .. }) => {
                recorded.push("truncated".to_owned());
            }
            Event::Session(_, SessionEvent::AttachmentLost { reason, .. }) => recorded.push(reason),
            _ => {}
        }
    }
    recorded
}

/// Submits the story and waits until everything was relayed and what is reported is recorded.
async fn relayed(world: &World) -> (actors::submit_idea::Submitted, SessionId) {
    let submitted = world.submit(STORY).await;
    let session = submitted.session.unwrap();
    world
        .until("the relayed text", async || {
            let open = world.system().hub.follow(session).open;
            let is_relayed = open.iter().any(|message| message.text.contains("And on"));
            is_relayed && recorded(world, session).await == ["Begun. "]
        })
        .await;
    (submitted, session)
}

/// Lets time pass until something is so.
async fn wait_for(world: &World, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    world
        .until(what, async || {
            world.clock.advance(MINUTE);
            is_so().await
        })
        .await;
}

async fn parks(world: &World, submitted: &actors::submit_idea::Submitted) {
    let execution = submitted.execution.unwrap();
    world
        .until("the question", async || {
            let state = world.system().dispatcher.state::<Execution>(execution.0).await.unwrap();
            matches!(&*state, Execution::UnderWay { needs_input: true, .. })
        })
        .await;
    let park = ExecutionCommand::AnswerInput { choice: InputChoice::Park };
    let dispatcher = &world.system().dispatcher;
    dispatcher.send(&world.caller(), (execution, park), Vec::new()).await.unwrap();
    assert_eq!(world.ended(submitted.idea).await, Stage::Parked);
    world.rest().await;
}

async fn what_a_lost_machine_had_said_is_kept_and_marked_as_cut_off(place: Place) {
    let world = World::new(place, 3).await;
    let (submitted, session) = relayed(&world).await;
    world.machine.lose();
    wait_for(&world, "the loss", async || recorded(&world, session).await.len() > 3).await;
    let expected = [
        "Begun. ",
        "This was only relayed. And on",
        "truncated",
        "the machine has been away for too long",
    ];
    assert_eq!(recorded(&world, session).await, expected);
    // The same in what people read, once.
    world
        .until("the transcript", async || {
            let database = &world.system().database;
            let page = chat_transcript::changed_after(database, session, 0, 100).await.unwrap();
            page.iter().any(is_truncated)
        })
        .await;
    world
        .until("nothing to be open any more", async || {
            world.system().hub.follow(session).open.is_empty()
        })
        .await;
    world.machine.found();
    parks(&world, &submitted).await;
    assert_eq!(recorded(&world, session).await, expected, "and nothing twice");
    world.keeps_its_promises().await;
}

fn is_truncated(item: &Item) -> bool {
    format!("{item:?}").contains("is_truncated: true")
}

async fn a_machine_that_comes_back_without_its_memory_is_a_lost_one(place: Place) {
    let world = World::new(place, 3).await;
    let (submitted, session) = relayed(&world).await;
    world.machine.lose();
    world.machine.found();
    // Before it is time for a sweep: until then it may have got new work.
    world.until("the loss", async || recorded(&world, session).await.len() > 3).await;
    let last = recorded(&world, session).await.pop().unwrap();
    assert_eq!(last, "the machine came back without its memory");
    parks(&world, &submitted).await;
}

async fn a_machine_that_is_away_for_a_moment_is_not_lost(place: Place) {
    let world = World::new(place, 3).await;
    let (submitted, session) = relayed(&world).await;
    let known = WorkspaceId(actors::random::uuid());
    for _ in 0..3 {
        world.machine.cut_link();
        world.machine.leave_container(known);
        wait_for(&world, "a sweep", async || !world.machine.workspaces().contains(&known)).await;
    }
    assert_eq!(recorded(&world, session).await, ["Begun. "]);
    world.cancel(submitted.execution.unwrap()).await;
    assert_eq!(world.ended(submitted.idea).await, Stage::Parked);
    world.rest().await;
}

async fn a_machine_whose_link_held_for_long_is_not_lost_when_it_breaks(place: Place) {
    let world = World::new(place, 3).await;
    let (first, session) = relayed(&world).await;
    world.clock.advance(60 * MINUTE);
    world.machine.lose();
    // Long enough for whoever saw the link break.
    let second = world.submit("say: hello").await;
    world
        .until("it to wait for the machine", async || {
            let state = world.system().dispatcher.state::<Execution>(second.execution.unwrap().0);
            matches!(&*state.await.unwrap(), Execution::UnderWay { step: Some(_), .. })
        })
        .await;
    world.until_projected(world.system().log.head().await.unwrap()).await;
    world.machine.found_whole();
    assert_eq!(world.ended(second.idea).await, Stage::Done);
    assert_eq!(recorded(&world, session).await, ["Begun. "]);
    world.cancel(first.execution.unwrap()).await;
    assert_eq!(world.ended(first.idea).await, Stage::Parked);
    world.rest().await;
}

/// Not only after a restart of SAM: nobody who mends a database thinks of that.
async fn a_report_that_cannot_be_recorded_is_recorded_once_it_can_be(place: Place) {
    let world = World::new(place, 3).await;
    let story = "ask: may I?\nsay: Yes.\nhang";
    let submitted = world.submit_asking(story, Some(PermissionPolicy::Ask)).await;
    let session = submitted.session.unwrap();
    let request = asked(&world, session).await;
    let log = world.system().database.log().clone();
    log.execute("ALTER TABLE contents RENAME TO contents_elsewhere", ()).await.unwrap();
    answer(&world, session, request, "allow").await.unwrap();
    // Nobody tells that it was tried in vain; it is long before this.
    let mut n_looks = 0;
    world
        .until("it to be tried", async || {
            n_looks += 1;
            n_looks > 20
        })
        .await;
    assert!(!recorded(&world, session).await.concat().contains("Yes."));
    log.execute("ALTER TABLE contents_elsewhere RENAME TO contents", ()).await.unwrap();
    world
        .until("what was reported to be recorded", async || {
            recorded(&world, session).await.concat().contains("Yes.")
        })
        .await;
    world.cancel(submitted.execution.unwrap()).await;
    assert_eq!(world.ended(submitted.idea).await, Stage::Parked);
    world.rest().await;
    world.keeps_its_promises().await;
}

async fn an_execution_whose_deadline_was_lost_is_cancelled(place: Place) {
    const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1000;
    let mut world = World::new(place, 3).await;
    world.periods = Periods { turn_ms_max: YEAR_MS, ..Periods::default() };
    world.restart().await;
    let submitted = world.submit("hang").await;
    let execution = submitted.execution.unwrap();
    world
        .until("the turn", async || {
            let state = world.system().dispatcher.state::<Execution>(execution.0).await.unwrap();
            matches!(&*state, Execution::UnderWay { step: Some(domain::values::Step::Running), .. })
        })
        .await;
    world.clock.advance(24 * 60 * MINUTE);
    world.machine.leave_container(WorkspaceId(actors::random::uuid()));
    wait_for(&world, "a sweep", async || world.machine.workspaces().len() == 1).await;
    assert_eq!(world.stage(submitted.idea).await, Stage::Executing, "a day is no reason yet");
    world.clock.advance(2 * 60 * MINUTE);
    let is_parked = async || world.stage(submitted.idea).await == Stage::Parked;
    wait_for(&world, "the sweep", is_parked).await;
    assert!(world.machine.branches().iter().any(|branch| branch.contains("checkpoints")));
    world.rest().await;
}

async fn containers_that_belong_to_nothing_are_removed(place: Place) {
    let world = World::new(place, 3).await;
    let submitted = world.submit("hang").await;
    until_running(&world, submitted.execution.unwrap()).await;
    let own = world.machine.workspaces();
    world.machine.leave_container(WorkspaceId(actors::random::uuid()));
    wait_for(&world, "the sweep", async || world.machine.workspaces() == own).await;
    assert_eq!(world.stage(submitted.idea).await, Stage::Executing, "its own container stays");
    world.cancel(submitted.execution.unwrap()).await;
    assert_eq!(world.ended(submitted.idea).await, Stage::Parked);
    world.rest().await;
}
