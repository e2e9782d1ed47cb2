//! A long idea gets a title from a model, later; and whatever the model does, nobody notices but the title.

use std::time::Duration;

use actors::{
    faults::Faults,
    model::simulated::Reply,
    random,
    submit_idea::{Choices, NewIdea, Submitted, Wish},
};
use domain::{
    agent_protocol::CodingAgentKind,
    credential::CredentialKind,
    idea::{Idea, Stage, title::TITLE_CHARS_MAX},
    ids::IdeaId,
    project::{Project, ProjectCommand},
};
use projections::{chat_transcript, event_log::StreamId, idea_board};

use crate::world::{Place, World, on_both};

on_both! {
    nobody_waits_for_a_title
    a_model_that_fails_or_hangs_leaves_the_beginning
    without_a_key_or_a_need_nobody_is_asked
    a_title_is_made_once_whenever_the_program_ends
    every_intent_may_run_twice_or_fail
    a_rewritten_idea_gets_the_title_of_its_new_text
    an_erased_project_gets_no_title
}

const TITLE: &str = "Calm the pelicans";

/// More than a hundred characters, and a story for the simulated coding agent.
fn long() -> String {
    format!("say: Hello there.\n{}", "The pelicans fly in circles again. ".repeat(8))
}

async fn with_key(place: Place, faults: Faults) -> World {
    let world = World::with_faults(place, 3, faults).await;
    let credentials = &world.system().credentials;
    credentials.put(&world.caller(), CredentialKind::Anthropic, "sk-ant-1").await.unwrap();
    world
}

fn say(text: &str) -> [Reply; 1] {
    [Reply::Say(text.to_owned())]
}

async fn execute(world: &World, description: &str) -> Submitted {
    let coding_agent = Some(CodingAgentKind::Demo);
    world.submit_choosing(description, Choices { coding_agent, ..Choices::default() }).await
}

async fn draft(world: &World, description: &str) -> Submitted {
    let new = NewIdea {
        project: world.project,
        idea: IdeaId(random::uuid()),
        description: description.to_owned(),
        wish: Wish::Explore,
    };
    world.system().ideas.submit(&world.caller(), new).await.unwrap()
}

/// The title that was made, if one was.
async fn made(world: &World, idea: IdeaId) -> Option<String> {
    let title = match &*world.system().dispatcher.state::<Idea>(idea.0).await.unwrap() {
        Idea::Known { title, .. } => (*title)?,
        Idea::Unknown => panic!("there is no idea {idea}"),
    };
    world.system().sealing.texts(&[title]).await.unwrap().remove(&title)
}

/// Waits for a title, letting time pass for a model that takes its time.
async fn until_made(world: &World, idea: IdeaId) -> String {
    world
        .until("a title", async || {
            world.clock.advance(Duration::from_secs(1));
            made(world, idea).await.is_some()
        })
        .await;
    made(world, idea).await.unwrap()
}

async fn until_asked(world: &World, n_asked: usize) {
    world
        .until("a question to the model", async || {
            world.clock.advance(Duration::from_secs(1));
            world.model.n_asked() >= n_asked
        })
        .await;
}

async fn n_titled(world: &World, idea: IdeaId) -> usize {
    let stream = StreamId::new("idea", idea.0);
    let events = world.system().log.read_stream(&stream, 0, 1_000).await.unwrap();
    events.iter().filter(|event| event.event_type == "titled").count()
}

async fn nobody_waits_for_a_title(place: Place) {
    let world = with_key(place, Faults::default()).await;
    world.model.script([Reply::Hang]);
    let submitted = execute(&world, &long()).await;
    assert_eq!(world.ended(submitted.idea).await, Stage::Done);
    // No time passes here: the model still thinks about the first question.
    world.until("a question to the model", async || world.model.n_asked() == 1).await;
    assert_eq!(made(&world, submitted.idea).await, None);
    world.model.script(say(TITLE));
    assert_eq!(until_made(&world, submitted.idea).await, TITLE);
    world.rest().await;
    world.keeps_its_promises().await;
    // The board and the conversation show the same title.
    let database = &world.system().database;
    world.until_projected(world.system().log.head().await.unwrap()).await;
    let card = idea_board::find(database, submitted.idea).await.unwrap().unwrap();
    let session = chat_transcript::find(database, submitted.session.unwrap()).await;
    assert!(card.title.is_some());
    assert_eq!(session.unwrap().unwrap().title, card.title);
    assert_eq!(world.system().sealing.text(&card.title.unwrap()).await.unwrap(), TITLE);
}

async fn a_model_that_fails_or_hangs_leaves_the_beginning(place: Place) {
    let world = with_key(place, Faults::default()).await;
    for (reply, n_questions) in [(Reply::Busy, 3), (Reply::Hang, 3), (Reply::Refuse, 1)] {
        let before = world.model.n_asked();
        world.model.script([reply.clone()]);
        let submitted = execute(&world, &long()).await;
        assert_eq!(world.ended(submitted.idea).await, Stage::Done, "{reply:?}");
        until_asked(&world, before + n_questions).await;
        world.rest().await;
        assert_eq!(made(&world, submitted.idea).await, None, "{reply:?}");
        assert_eq!(world.model.n_asked(), before + n_questions, "{reply:?}");
        world.until_projected(world.system().log.head().await.unwrap()).await;
        let (database, session) = (&world.system().database, submitted.session.unwrap());
        let card = idea_board::find(database, submitted.idea).await.unwrap().unwrap();
        assert_eq!(card.title, None);
        let session = chat_transcript::find(database, session).await.unwrap().unwrap();
        assert_eq!(session.title, Some(card.description));
    }
    world.keeps_its_promises().await;
}

async fn without_a_key_or_a_need_nobody_is_asked(place: Place) {
    let world = World::new(place, 3).await;
    world.model.script(say(TITLE));
    let keyless = draft(&world, &long()).await;
    world.rest().await;
    let credentials = &world.system().credentials;
    credentials.put(&world.caller(), CredentialKind::Anthropic, "sk-ant-1").await.unwrap();
    // More bytes than characters.
    let short = draft(&world, &"ä".repeat(TITLE_CHARS_MAX)).await;
    world.rest().await;
    assert_eq!(world.model.n_asked(), 0);
    for idea in [keyless.idea, short.idea] {
        assert_eq!(made(&world, idea).await, None);
    }
}

async fn a_title_is_made_once_whenever_the_program_ends(place: Place) {
    let mut world = with_key(place, Faults::default()).await;
    // In the middle of the question.
    world.model.script([Reply::Hang]);
    let submitted = draft(&world, &long()).await;
    until_asked(&world, 1).await;
    world.stop().await;
    world.model.script(say(TITLE));
    world.start().await;
    assert_eq!(until_made(&world, submitted.idea).await, TITLE);
    // And after each event from the text to its title.
    for n in 0..6 {
        let submitted = draft(&world, &long()).await;
        world
            .until("a position of the log", async || {
                let is_there = made(&world, submitted.idea).await.is_some();
                is_there || world.system().log.head().await.unwrap() >= submitted.position + n
            })
            .await;
        world.restart().await;
        assert_eq!(until_made(&world, submitted.idea).await, TITLE);
        world.rest().await;
        assert_eq!(n_titled(&world, submitted.idea).await, 1);
    }
    world.keeps_its_promises().await;
}

async fn every_intent_may_run_twice_or_fail(place: Place) {
    let twice = with_key(place, Faults::every_intent_twice()).await;
    twice.model.script([Reply::Say("one".to_owned()), Reply::Say("two".to_owned())]);
    let submitted = draft(&twice, &long()).await;
    assert_eq!(until_made(&twice, submitted.idea).await, "two", "the second outcome counts");
    twice.rest().await;
    assert_eq!(n_titled(&twice, submitted.idea).await, 1);
    twice.keeps_its_promises().await;

    let failing = with_key(place, Faults::effect_fails(1)).await;
    failing.model.script(say(TITLE));
    let submitted = draft(&failing, &long()).await;
    failing.rest().await;
    assert_eq!(made(&failing, submitted.idea).await, None);
    assert!(failing.faults.n_effects() >= 1, "it came by");
    let next = draft(&failing, &long()).await;
    assert_eq!(until_made(&failing, next.idea).await, TITLE);
    failing.keeps_its_promises().await;
}

async fn a_rewritten_idea_gets_the_title_of_its_new_text(place: Place) {
    let world = with_key(place, Faults::default()).await;
    let ideas = &world.system().ideas;
    world.model.script([Reply::Hang]);
    let submitted = draft(&world, &long()).await;
    until_asked(&world, 1).await;
    world.model.script(say(TITLE));
    ideas.describe(&world.caller(), submitted.idea, &format!("Again: {}", long())).await.unwrap();
    assert_eq!(until_made(&world, submitted.idea).await, TITLE);
    world.rest().await;
    assert_eq!(n_titled(&world, submitted.idea).await, 1);
    ideas.describe(&world.caller(), submitted.idea, "Something short").await.unwrap();
    assert_eq!(made(&world, submitted.idea).await, None, "the title was of the older text");
    world.rest().await;
    let head = world.system().log.head().await.unwrap();
    world.until_projected(head).await;
    let card = idea_board::find(&world.system().database, submitted.idea).await.unwrap().unwrap();
    assert_eq!(card.title, None);
    world.keeps_its_promises().await;
}

async fn an_erased_project_gets_no_title(place: Place) {
    let world = with_key(place, Faults::default()).await;
    world.model.script([Reply::Hang]);
    let submitted = draft(&world, &long()).await;
    until_asked(&world, 1).await;
    let erase = (world.project, ProjectCommand::Erase);
    world.system().dispatcher.send(&world.caller(), erase, Vec::new()).await.unwrap();
    world
        .until("the project to be erased", async || {
            let project = world.system().dispatcher.state::<Project>(world.project.0).await;
            matches!(&*project.unwrap(), Project::Erased { .. })
        })
        .await;
    // The answer comes too late: there is no key any more under which it could be written.
    world.model.script(say(TITLE));
    world.rest().await;
    assert_eq!(n_titled(&world, submitted.idea).await, 0);
}
