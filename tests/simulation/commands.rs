//! The dispatcher's promises: repeats get their first answer, a full mailbox says so, damage stays local.

use actors::{
    dispatcher::DispatchError,
    random,
    submit_idea::{Choices, NewIdea, Wish},
};
use domain::{
    idea::Stage,
    ids::{IdeaId, ProjectId},
    project::ProjectCommand,
};
use projections::event_log::{Append, FIRST_HASH, Metadata, NewEvent, StreamId};

use crate::world::{Place, World, on_both};

on_both! {
    a_repeated_command_gets_its_first_answer
    the_same_idea_from_two_tabs_is_one
    a_bad_text_is_refused_with_a_reason
    a_full_mailbox_tells_to_come_back
    a_damaged_stream_keeps_nobody_else_from_working
    a_second_server_on_the_same_log_decides_on_what_the_first_one_recorded
}

fn rename(name: &str) -> ProjectCommand {
    ProjectCommand::Rename { name: name.to_owned() }
}

async fn a_repeated_command_gets_its_first_answer(place: Place) {
    let mut world = World::new(place, 1).await;
    let (first, second) = (world.caller(), world.caller());
    let send = async |world: &World, caller, name| {
        let command = (world.project, rename(name));
        world.system().dispatcher.send(caller, command, Vec::new()).await
    };
    let position = send(&world, &first, "one").await.unwrap();
    send(&world, &second, "two").await.unwrap();
    assert_eq!(send(&world, &first, "one").await.unwrap(), position);
    world.restart().await;
    assert_eq!(send(&world, &first, "one").await.unwrap(), position);
    // A repeat counts even where the same command would be refused now.
    assert!(send(&world, &world.caller(), "").await.is_err());
    let repeated = (world.project, rename(""));
    assert_eq!(
        world.system().dispatcher.send(&first, repeated, Vec::new()).await.unwrap(),
        position
    );
}

async fn the_same_idea_from_two_tabs_is_one(place: Place) {
    let world = World::new(place, 1).await;
    let choices = Choices::default();
    let new = NewIdea {
        project: world.project,
        idea: IdeaId(random::uuid()),
        description: "say: once".to_owned(),
        wish: Wish::Execute { execution: None, session: None, choices },
    };
    let ideas = &world.system().ideas;
    let (left, right) = (world.caller(), world.caller());
    let (left, right) = tokio::join!(ideas.submit(&left, new.clone()), ideas.submit(&right, new));
    let (left, right) = (left.unwrap(), right.unwrap());
    assert_eq!((left.idea, left.execution), (right.idea, right.execution));
    assert_eq!(left.branch, right.branch);
    assert_eq!(world.ended(left.idea).await, Stage::Done);
    world.rest().await;
    assert_eq!(world.machine.branches().len(), 1);
}

async fn a_bad_text_is_refused_with_a_reason(place: Place) {
    let world = World::new(place, 1).await;
    for (text, expected) in [(" \n", "empty_message"), (&*"x".repeat(1 << 20), "message_too_long")]
    {
        let new = NewIdea {
            project: world.project,
            idea: IdeaId(random::uuid()),
            description: text.to_owned(),
            wish: Wish::Explore,
        };
        match world.system().ideas.submit(&world.caller(), new).await {
            Err(DispatchError::Refused { code, .. }) => assert_eq!(code, expected),
            other => panic!("expected a refusal, not {other:?}"),
        }
    }
}

async fn a_full_mailbox_tells_to_come_back(place: Place) {
    const COMMANDS: usize = 500;
    let world = World::new(place, 1).await;
    let sends = (0..COMMANDS).map(|n| {
        let (caller, name) = (world.caller(), format!("name {n}"));
        let world = &world;
        async move {
            let command = (world.project, rename(&name));
            world.system().dispatcher.send(&caller, command, Vec::new()).await
        }
    });
    let answers = futures_util::future::join_all(sends).await;
    let n_busy =
        answers.iter().filter(|answer| matches!(answer, Err(DispatchError::Busy { .. }))).count();
    let n_done = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(n_busy + n_done, COMMANDS);
    assert!(n_busy > 0 && n_done > 0, "{n_done} done, {n_busy} told to come back");
}

async fn a_damaged_stream_keeps_nobody_else_from_working(place: Place) {
    let world = World::new(place, 1).await;
    let damaged = ProjectId(random::uuid());
    let event = NewEvent {
        event_type: "renamed".to_owned(),
        event_version: "1".to_owned(),
        payload: r#"{"name":"a name for nothing"}"#.to_owned(),
    };
    let metadata = Metadata {
        actor: "nobody".to_owned(),
        command: random::uuid(),
        causation: None,
        correlation: random::uuid(),
        at: "2026-01-01T12:00:00Z".parse().unwrap(),
    };
    let append = Append {
        stream: StreamId::new("project", damaged.0),
        expected: 0,
        previous_hash: FIRST_HASH,
        project: None,
        epoch: None,
        metadata,
        events: vec![event],
        contents: Vec::new(),
    };
    world.system().log.append(append).await.unwrap();
    let dispatcher = &world.system().dispatcher;
    for _ in 0..2 {
        let refused = dispatcher.send(&world.caller(), (damaged, rename("x")), Vec::new()).await;
        assert!(matches!(refused, Err(DispatchError::Damaged { .. })), "{refused:?}");
    }
    let listed = world.system().damaged_streams().await.unwrap();
    let listed: Vec<_> =
        listed.iter().map(|damaged| (damaged.stream.id, damaged.sequence)).collect();
    assert_eq!(listed, [(damaged.0, 1)], "it is visible");
    dispatcher.send(&world.caller(), (world.project, rename("x")), Vec::new()).await.unwrap();
}

/// Two dispatchers on one log, as two replicas have.
async fn a_second_server_on_the_same_log_decides_on_what_the_first_one_recorded(place: Place) {
    if matches!(place, Place::Sqlite) {
        // One server per data directory: two are a matter of PostgreSQL.
        return;
    }
    let world = World::new(place, 1).await;
    let other = world.replica().await;
    for n in 0..10 {
        for system in [world.system(), &other] {
            let command = (world.project, rename(&format!("name {n} {}", random::token())));
            system.dispatcher.send(&world.caller(), command, Vec::new()).await.unwrap();
        }
    }
    other.stop().await;
}
