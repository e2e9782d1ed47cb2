//! A project's variables: every workspace has them, and nothing that is kept or printed says a secret one.

use actors::{dispatcher::DispatchError, variables::NewVariable};
use domain::{
    idea::Stage,
    project::{ProjectCommand, variable::VariableLimits},
};
use projections::variable_list;

use crate::{
    erasure::until_erased,
    story::answers,
    world::{Place, World, on_both},
};

on_both! {
    a_coding_agent_sees_the_variables_of_its_project
    a_workspace_has_what_was_set_when_it_was_opened
    the_log_and_the_read_models_do_not_say_a_value
    what_does_not_fit_is_refused
    an_erased_project_has_no_variables
}

const SECRET: &str = "pelikan-4711";

async fn set(
    world: &World,
    name: &str,
    value: &str,
    is_secret: bool,
) -> Result<u64, DispatchError> {
    let (name, value) = (name.to_owned(), value.to_owned());
    let (new, limits) = (NewVariable { name, value, is_secret }, VariableLimits::default());
    world.system().variables.set(&world.caller(), world.project, new, limits).await
}

async fn remove(world: &World, name: &str) -> u64 {
    let variables = &world.system().variables;
    variables.remove(&world.caller(), world.project, name.to_owned()).await.unwrap()
}

/// What a coding agent answers to directives.
async fn answered(world: &World, directives: &str) -> String {
    let submitted = world.submit(directives).await;
    assert_eq!(world.ended(submitted.idea).await, Stage::Done);
    world.rest().await;
    answers(world, submitted.session.unwrap()).await
}

async fn a_coding_agent_sees_the_variables_of_its_project(place: Place) {
    let world = World::new(place, 3).await;
    set(&world, "COLOUR", "red, and\n\"blue\" = $GREEN", false).await.unwrap();
    set(&world, "TOKEN", SECRET, true).await.unwrap();
    set(&world, "EMPTY", "", false).await.unwrap();
    let said = answered(&world, "env: COLOUR\nenv: TOKEN\nenv: EMPTY\nsay: .").await;
    assert_eq!(said, format!("red, and\n\"blue\" = $GREEN{SECRET}."));

    let names =
        ["PROJECT_ID", "IDEA_ID", "EXECUTION_ID", "SESSION_ID", "NODE_ID", "BRANCH", "REPOSITORY"];
    let submitted = world.submit(&names.map(|name| format!("env: SAM_{name}")).join("\n")).await;
    assert_eq!(world.ended(submitted.idea).await, Stage::Done);
    let (execution, session) = (submitted.execution.unwrap(), submitted.session.unwrap());
    let (project, idea, node) = (world.project, submitted.idea, world.node());
    let branch = submitted.branch.unwrap();
    let expected = format!("{project}{idea}{execution}{session}{node}{branch}/srv/repository");
    assert_eq!(answers(&world, session).await, expected);
}

async fn a_workspace_has_what_was_set_when_it_was_opened(place: Place) {
    let mut world = World::new(place, 3).await;
    set(&world, "COLOUR", "red", false).await.unwrap();
    assert_eq!(answered(&world, "env: COLOUR").await, "red");
    set(&world, "COLOUR", "blue", true).await.unwrap();
    world.restart().await;
    assert_eq!(answered(&world, "env: COLOUR").await, "blue");
    let position = remove(&world, "COLOUR").await;
    assert_eq!(answered(&world, "env: COLOUR").await, "");
    // Again: nothing happens, and that is said.
    remove(&world, "COLOUR").await;
    world.until_projected(position).await;
    let database = &world.system().database;
    assert!(variable_list::list(database, world.project).await.unwrap().is_empty());
}

async fn the_log_and_the_read_models_do_not_say_a_value(place: Place) {
    let world = World::new(place, 3).await;
    set(&world, "COLOUR", "crimson", false).await.unwrap();
    let position = set(&world, "TOKEN", SECRET, true).await.unwrap();
    world.until_projected(position).await;
    let system = &world.system();
    for event in system.log.read_all(0, 1_000).await.unwrap() {
        let kept = format!("{} {}", event.payload, event.metadata_text);
        assert!(!kept.contains(SECRET) && !kept.contains("crimson"), "{kept}");
    }
    let shown = crate::erasure::shown(&system.database).await.unwrap();
    assert!(shown.contains("TOKEN") && !shown.contains(SECRET) && !shown.contains("crimson"));
    let rows = variable_list::list(&system.database, world.project).await.unwrap();
    let [colour, token] = &rows[..] else { panic!("{rows:?}") };
    let text = system.sealing.text(colour.value.as_ref().unwrap()).await.unwrap();
    assert_eq!((colour.name.as_str(), text.as_str()), ("COLOUR", "crimson"));
    assert_eq!((token.name.as_str(), token.is_secret, &token.value), ("TOKEN", true, &None));
}

async fn what_does_not_fit_is_refused(place: Place) {
    let world = World::new(place, 3).await;
    let refusal = async |name: &str, value: &str| match set(&world, name, value, false).await {
        Err(DispatchError::Refused { code, reason }) => (code, reason),
        other => panic!("{name}: {other:?}"),
    };
    let too_long = "x".repeat(8 * 1024 + 1);
    let (code, reason) = refusal("COLOUR", &too_long).await;
    assert_eq!(code, "variable_too_long");
    assert!(reason.contains("8192"), "{reason}");
    assert_eq!(refusal("PATH", "/bin").await.0, "bad_variable_name");
    assert_eq!(refusal("COLOUR", "a\0b").await.0, "bad_variable_value");
    set(&world, "COLOUR", &too_long[1..], false).await.unwrap();
    for n in 1..150 {
        set(&world, &format!("V{n}"), "x", false).await.unwrap();
    }
    assert_eq!(refusal("ONE_MORE", "x").await.0, "too_many_variables");
    assert_eq!(answered(&world, "env: V149").await, "x");
}

async fn an_erased_project_has_no_variables(place: Place) {
    let world = World::new(place, 3).await;
    set(&world, "TOKEN", SECRET, true).await.unwrap();
    set(&world, "COLOUR", "crimson", false).await.unwrap();
    let command = (world.project, ProjectCommand::Erase);
    world.system().dispatcher.send(&world.caller(), command, Vec::new()).await.unwrap();
    until_erased(&world).await;
    let database = &world.system().database;
    assert!(variable_list::list(database, world.project).await.unwrap().is_empty());
    let refused = set(&world, "COLOUR", "red", false).await;
    assert!(matches!(refused, Err(DispatchError::Refused { code, .. }) if code == "erased"));
}
