//! What a person does, from the first idea to the last cancel.

use domain::{
    agent_protocol::PermissionPolicy,
    execution::{Execution, ExecutionCommand, InputChoice},
    idea::Stage,
    ids::{ExecutionId, MessageId, SessionId},
    session::{SessionCommand, SessionEvent},
};
use projections::{event_log::StreamId, read_models};

use crate::world::{Place, World, on_both};

on_both! {
    an_idea_becomes_a_branch
    a_follow_up_after_the_end_goes_on_in_the_same_session_on_the_same_branch
    a_follow_up_during_the_turn_is_answered_before_the_end
    a_full_machine_makes_the_next_idea_wait
    a_lost_coding_agent_asks_the_person
    a_permission_is_asked_for_and_answered
    a_failing_coding_agent_parks_the_idea
    an_empty_machine_is_given_back_after_half_an_hour
    a_cancel_counts_in_each_step
}

async fn an_idea_becomes_a_branch(place: Place) {
    let world = World::new(place, 3).await;
    let submitted = world.submit("say: Hello there.\nLook around").await;
    assert_eq!(world.ended(submitted.idea).await, Stage::Done);
    world.rest().await;
    assert!(world.machine.branches().contains(&submitted.branch.unwrap()));
    let text = answers(&world, submitted.session.unwrap()).await;
    assert_eq!(text, "Hello there.Look around");
}

/// What the coding agent said in a session, from the log.
pub(crate) async fn answers(world: &World, session: SessionId) -> String {
    let stream = StreamId::new("session", session.0);
    let events = world.system().log.read_stream(&stream, 0, 10_000).await.unwrap();
    let mut text = String::new();
    for event in &events {
        let event = read_models::decode(event).unwrap().unwrap();
        if let domain::event::Event::Session(_, SessionEvent::SegmentRecorded(segment)) = event {
            text += &world.system().sealing.text(&segment.content).await.unwrap();
        }
    }
    text
}

async fn a_follow_up_after_the_end_goes_on_in_the_same_session_on_the_same_branch(place: Place) {
    let world = World::new(place, 3).await;
    let first = world.submit("say: one").await;
    assert_eq!(world.ended(first.idea).await, Stage::Done);
    let (session, message) = (first.session.unwrap(), MessageId(actors::random::uuid()));
    let ideas = &world.system().ideas;
    world.rest().await;
    let posted = ideas.post(&world.caller(), session, message, "say: two").await.unwrap();
    let (idea, _) = posted.started.unwrap();
    assert_ne!(idea, first.idea);
    let again = ideas.post(&world.caller(), session, message, "say: two").await.unwrap();
    assert!(again.started.is_none_or(|(again, _)| again == idea));
    assert_eq!(world.ended(idea).await, Stage::Done);
    world.rest().await;
    assert_eq!(world.machine.branches().len(), 1);
    assert_eq!(answers(&world, session).await, "onetwo");
}

async fn a_follow_up_during_the_turn_is_answered_before_the_end(place: Place) {
    let world = World::new(place, 3).await;
    let first = world.submit_asking("ask: may I?\nsay: one", Some(PermissionPolicy::Ask)).await;
    let session = first.session.unwrap();
    let request = asked(&world, session).await;
    let message = MessageId(actors::random::uuid());
    let ideas = &world.system().ideas;
    let posted = ideas.post(&world.caller(), session, message, "say: two").await.unwrap();
    assert_eq!(posted.started, None);
    answer(&world, session, request, "allow").await.unwrap();
    assert_eq!(world.ended(first.idea).await, Stage::Done);
    world.rest().await;
    assert_eq!(answers(&world, session).await, "onetwo");
}

async fn a_full_machine_makes_the_next_idea_wait(place: Place) {
    let world = World::new(place, 1).await;
    let first = world.submit("hang").await;
    until_running(&world, first.execution.unwrap()).await;
    let second = world.submit("say: at last").await;
    world.until("the second idea to wait", async || {
        matches!(
            &*world.system().dispatcher.state::<Execution>(second.execution.unwrap().0).await.unwrap(),
            Execution::UnderWay { waiting: Some(reason), .. } if reason.contains("1 workspaces")
        )
    })
    .await;
    world.cancel(first.execution.unwrap()).await;
    assert_eq!(world.ended(first.idea).await, Stage::Parked);
    assert_eq!(world.ended(second.idea).await, Stage::Done);
    world.rest().await;
}

pub(crate) async fn until_running(world: &World, execution: ExecutionId) {
    world
        .until("the coding agent to be at work", async || {
            matches!(
                &*world.system().dispatcher.state::<Execution>(execution.0).await.unwrap(),
                Execution::UnderWay { step: Some(domain::values::Step::Running), .. }
            )
        })
        .await;
}

async fn a_lost_coding_agent_asks_the_person(place: Place) {
    let world = World::new(place, 3).await;
    let submitted = world.submit("hang").await;
    let execution = submitted.execution.unwrap();
    let needs_input = async || {
        matches!(
            &*world.system().dispatcher.state::<Execution>(execution.0).await.unwrap(),
            Execution::UnderWay { needs_input: true, .. }
        )
    };
    until_running(&world, execution).await;
    for choice in [InputChoice::Continue, InputChoice::Park] {
        world.machine.lose_sessions();
        world.until("a question to the person", needs_input).await;
        let before = world.machine.n_carried_out();
        let command = (execution, ExecutionCommand::AnswerInput { choice });
        world.system().dispatcher.send(&world.caller(), command, Vec::new()).await.unwrap();
        // Start and prompt: from then on it hangs again.
        world
            .until("the answer's effect", async || world.machine.n_carried_out() >= before + 2)
            .await;
    }
    assert_eq!(world.ended(submitted.idea).await, Stage::Parked);
    world.rest().await;
}

pub(crate) async fn asked(world: &World, session: SessionId) -> domain::ids::PermissionId {
    let stream = StreamId::new("session", session.0);
    let mut request = None;
    world
        .until("a permission request", async || {
            for event in world.system().log.read_stream(&stream, 0, 10_000).await.unwrap() {
                let event = read_models::decode(&event).unwrap().unwrap();
                if let domain::event::Event::Session(
                    _,
                    SessionEvent::PermissionAsked { request: id, .. },
                ) = event
                {
                    request = Some(id);
                }
            }
            request.is_some()
        })
        .await;
    request.unwrap()
}

pub(crate) async fn answer(
    world: &World,
    session: SessionId,
    request: domain::ids::PermissionId,
    option: &str,
) -> Result<u64, actors::dispatcher::DispatchError> {
    let caller = world.caller();
    let (option, by) = (option.to_owned(), caller.account);
    let command = (session, SessionCommand::AnswerPermission { request, option, by });
    world.system().dispatcher.send(&caller, command, Vec::new()).await
}

async fn a_permission_is_asked_for_and_answered(place: Place) {
    let world = World::new(place, 3).await;
    let submitted =
        world.submit_asking("ask: may I?\nsay: thanks", Some(PermissionPolicy::Ask)).await;
    let session = submitted.session.unwrap();
    let request = asked(&world, session).await;
    assert!(answer(&world, session, request, "perhaps").await.is_err());
    answer(&world, session, request, "allow").await.unwrap();
    assert_eq!(world.ended(submitted.idea).await, Stage::Done);
    world.rest().await;
}

async fn a_failing_coding_agent_parks_the_idea(place: Place) {
    let world = World::new(place, 3).await;
    let submitted = world.submit("fail: no mood").await;
    assert_eq!(world.ended(submitted.idea).await, Stage::Parked);
    world.rest().await;
    let checkpoint = format!("refs/sam/checkpoints/{}", submitted.execution.unwrap());
    assert!(world.machine.branches().contains(&checkpoint));
}

async fn an_empty_machine_is_given_back_after_half_an_hour(place: Place) {
    let world = World::new(place, 3).await;
    let first = world.submit("say: one").await;
    assert_eq!(world.ended(first.idea).await, Stage::Done);
    world.rest().await;
    assert!(world.machine.is_rented());
    world.clock.advance(std::time::Duration::from_secs(31 * 60));
    world.until("the machine to be given back", async || !world.machine.is_rented()).await;
    let second = world.submit("say: two").await;
    assert_eq!(world.ended(second.idea).await, Stage::Done);
    world.rest().await;
}

async fn a_cancel_counts_in_each_step(place: Place) {
    let world = World::new(place, 3).await;
    // The first one starts the machine, which the others find running.
    let first = world.submit("say: one").await;
    assert_eq!(world.ended(first.idea).await, Stage::Done);
    world.rest().await;
    let whole = world.submit("say: one\nhang").await;
    until_running(&world, whole.execution.unwrap()).await;
    let n_events = world.system().log.head().await.unwrap() - whole.position;
    world.cancel(whole.execution.unwrap()).await;
    assert_eq!(world.ended(whole.idea).await, Stage::Parked);
    world.rest().await;
    for n in (0..n_events).step_by(3) {
        println!("cancel after {n} of {n_events} events");
        let submitted = world.submit("say: one\nhang").await;
        world.until_position(submitted.position + n, submitted.idea).await;
        world.cancel(submitted.execution.unwrap()).await;
        assert_eq!(world.ended(submitted.idea).await, Stage::Parked);
        world.rest().await;
    }
    let verified = world.decides_the_same().await;
    assert!(verified.n_without_events > 0, "something came too late: {verified:?}");
}
