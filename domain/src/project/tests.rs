use proptest::prelude::*;

use super::{
    ErasedStreams, Project, ProjectCommand, ProjectDefaults, ProjectError, ProjectEvent,
    variable::VariableLimits,
};
use crate::{
    agent_protocol::CodingAgentKind,
    testing::{account, check_sequence, content, given, given_nothing, idea, session},
    values::ContentRef,
};

fn link(repository: &str) -> ProjectCommand {
    ProjectCommand::Link { owner: account(1), repository: repository.into(), name: "shop".into() }
}

fn linked() -> ProjectEvent {
    ProjectEvent::Linked {
        owner: account(1),
        repository: "/srv/git/shop".into(),
        name: "shop".into(),
    }
}

fn rename(name: &str) -> ProjectCommand {
    ProjectCommand::Rename { name: name.into() }
}

fn defaults(coding_agent: Option<CodingAgentKind>) -> ProjectDefaults {
    ProjectDefaults { coding_agent, ..ProjectDefaults::default() }
}

fn change(coding_agent: Option<CodingAgentKind>) -> ProjectCommand {
    ProjectCommand::ChangeDefaults { defaults: defaults(coding_agent) }
}

#[test]
fn a_repository_is_linked() {
    given_nothing::<Project>().when(link("/srv/git/shop")).then([linked()]);
}

#[test]
fn linking_the_same_repository_again_changes_nothing() {
    given::<Project>([linked()]).when(link("/srv/git/shop")).then_nothing();
}

#[test]
fn a_project_keeps_its_repository() {
    given::<Project>([linked()])
        .when(link("/srv/git/other"))
        .then_rejected(ProjectError::LinkedElsewhere);
}

#[test]
fn addresses_that_git_understands_are_accepted() {
    for repository in [
        "/srv/git/shop",
        "https://example.com/team/shop.git",
        "ssh://git@example.com/shop",
        "git@example.com:team/shop.git",
        "file:///srv/git/shop",
    ] {
        let decided = Project::default().decide(link(repository));
        assert!(decided.is_ok(), "{repository}: {decided:?}");
    }
}

#[test]
fn addresses_that_run_programs_or_carry_passwords_are_refused() {
    let endless = format!("https://example.com/{}", "x".repeat(2_000));
    for repository in [
        "",
        "  ",
        "ext::sh -c whoami",
        "--upload-pack=whoami",
        "https://ada:secret@example.com/shop",
        "gopher://example.com/shop",
        "relative/path",
        "https://example.com/\nshop",
        endless.as_str(),
    ] {
        let decided = Project::default().decide(link(repository));
        assert!(matches!(decided, Err(ProjectError::BadRepository { .. })), "{repository}");
    }
}

#[test]
fn a_project_can_be_renamed() {
    given::<Project>([linked()])
        .when(rename("store"))
        .then([ProjectEvent::Renamed { name: "store".into() }]);
    given::<Project>([linked()]).when(rename("shop")).then_nothing();
    given::<Project>([linked()])
        .when(rename(" "))
        .then_rejected(ProjectError::BadName { max: 100 });
    given_nothing::<Project>().when(rename("store")).then_rejected(ProjectError::NotFound);
}

#[test]
fn defaults_can_be_changed() {
    let demo = Some(CodingAgentKind::Demo);
    let changed = ProjectEvent::DefaultsChanged { defaults: defaults(demo) };
    given::<Project>([linked()]).when(change(demo)).then([changed.clone()]);
    given::<Project>([linked(), changed]).when(change(demo)).then_nothing();
    given_nothing::<Project>().when(change(demo)).then_rejected(ProjectError::NotFound);
}

fn set_to(name: &str, value: ContentRef) -> ProjectCommand {
    let limits = VariableLimits { variables_max: 2, value_bytes_max: 100 };
    ProjectCommand::SetVariable { name: name.into(), is_secret: false, value, limits }
}

fn set(name: &str, value: u128) -> ProjectCommand {
    set_to(name, content(value))
}

fn variable_set(name: &str, value: u128) -> ProjectEvent {
    ProjectEvent::VariableSet { name: name.into(), is_secret: false, value: content(value) }
}

fn remove(name: &str) -> ProjectCommand {
    ProjectCommand::RemoveVariable { name: name.into() }
}

fn variable_removed(name: &str) -> ProjectEvent {
    ProjectEvent::VariableRemoved { name: name.into() }
}

#[test]
fn a_variable_is_set_and_replaced() {
    given::<Project>([linked()]).when(set("COLOUR", 1)).then([variable_set("COLOUR", 1)]);
    let known = || given::<Project>([linked(), variable_set("COLOUR", 1)]);
    known().when(set("COLOUR", 1)).then_nothing();
    known().when(set("COLOUR", 2)).then([variable_set("COLOUR", 2)]);
    let limits = VariableLimits::default();
    let (name, value) = ("COLOUR".to_owned(), content(1));
    let secret = ProjectEvent::VariableSet { name: name.clone(), is_secret: true, value };
    let value = content(1);
    known()
        .when(ProjectCommand::SetVariable { name, is_secret: true, value, limits })
        .then([secret]);
    given_nothing::<Project>().when(set("COLOUR", 1)).then_rejected(ProjectError::NotFound);
}

#[test]
fn a_variable_is_removed() {
    let known = || given::<Project>([linked(), variable_set("COLOUR", 1)]);
    known().when(remove("COLOUR")).then([variable_removed("COLOUR")]);
    known().when(remove("SHAPE")).then_nothing();
    given::<Project>([linked(), variable_set("COLOUR", 1), variable_removed("COLOUR")])
        .when(remove("COLOUR"))
        .then_nothing();
    given_nothing::<Project>().when(remove("COLOUR")).then_rejected(ProjectError::NotFound);
}

#[test]
fn variables_have_their_limits() {
    let full = || given::<Project>([linked(), variable_set("COLOUR", 1), variable_set("SHAPE", 2)]);
    full().when(set("SIZE", 3)).then_rejected(ProjectError::TooManyVariables { max: 2 });
    full().when(set("SHAPE", 3)).then([variable_set("SHAPE", 3)]);
    let value = |length| ContentRef { length, ..content(1) };
    let too_long = ProjectError::VariableTooLong { max: 100 };
    given::<Project>([linked()]).when(set_to("COLOUR", value(101))).then_rejected(too_long);
    let longest =
        ProjectEvent::VariableSet { name: "COLOUR".into(), is_secret: false, value: value(100) };
    given::<Project>([linked()]).when(set_to("COLOUR", value(100))).then([longest]);
}

#[test]
fn names_that_no_shell_takes_or_that_are_taken_are_refused() {
    let mut project = Project::default();
    project.evolve(linked());
    let endless = "X".repeat(129);
    for name in [
        "",
        "1ST",
        "A-B",
        "A B",
        "A=B",
        "Ä",
        "A\n",
        "SAM_BRANCH",
        "SAM_ANYTHING",
        "GIT_DIR",
        "PATH",
        "HOME",
        "_",
        "ANTHROPIC_API_KEY",
        "CLAUDE_CODE_USE_BEDROCK",
        &endless,
    ] {
        let decided = project.decide(set(name, 1));
        assert!(matches!(decided, Err(ProjectError::BadVariableName { .. })), "{name}");
    }
    for name in ["A", "_A", "a1", "SAM", "DATABASE_URL", "OPENAI_API_KEY", "ANTHROPIC_MODEL"] {
        let decided = project.decide(set(name, 1));
        assert!(decided.is_ok(), "{name}: {decided:?}");
    }
}

fn streams() -> Box<ErasedStreams> {
    let (ideas, sessions) = (vec![idea(1)], vec![session(1)]);
    Box::new(ErasedStreams { ideas, sessions, ..ErasedStreams::default() })
}

fn record_part(part: u32) -> ProjectCommand {
    ProjectCommand::RecordErasedStreams { part, streams: streams() }
}

fn part_recorded(part: u32) -> ProjectEvent {
    ProjectEvent::StreamsErased { part, streams: streams() }
}

fn erasing() -> [ProjectEvent; 2] {
    [linked(), ProjectEvent::ErasureRequested]
}

fn erased() -> [ProjectEvent; 4] {
    [linked(), ProjectEvent::ErasureRequested, part_recorded(1), ProjectEvent::Erased]
}

#[test]
fn a_project_is_erased_once() {
    given::<Project>([linked()]).when(ProjectCommand::Erase).then([ProjectEvent::ErasureRequested]);
    given_nothing::<Project>().when(ProjectCommand::Erase).then_rejected(ProjectError::NotFound);
    given::<Project>(erasing()).when(ProjectCommand::Erase).then_nothing();
    given::<Project>(erased()).when(ProjectCommand::Erase).then_nothing();
}

#[test]
fn the_streams_of_an_erased_project_are_named_part_by_part() {
    let part = |part| [linked(), ProjectEvent::ErasureRequested, part_recorded(part)];
    given::<Project>(erasing()).when(record_part(1)).then([part_recorded(1)]);
    given::<Project>(part(1)).when(record_part(2)).then([part_recorded(2)]);
    given::<Project>(part(1)).when(record_part(1)).then_nothing();
    given::<Project>(erased()).when(record_part(2)).then_nothing();
    given::<Project>(erasing()).when(record_part(2)).then_rejected(ProjectError::PartMissing);
    given::<Project>([linked()]).when(record_part(1)).then_rejected(ProjectError::NotErasing);
}

#[test]
fn an_erasure_ends_once_it_was_asked_for() {
    let record = || ProjectCommand::RecordErased;
    given::<Project>(erasing()).when(record()).then([ProjectEvent::Erased]);
    given::<Project>(erased()).when(record()).then_nothing();
    given::<Project>([linked()]).when(record()).then_rejected(ProjectError::NotErasing);
}

#[test]
fn an_erased_project_takes_nothing_new() {
    let commands =
        [link("/srv/git/shop"), rename("store"), change(None), set("SHAPE", 1), remove("SHAPE")];
    for command in commands {
        given::<Project>(erasing()).when(command.clone()).then_rejected(ProjectError::Erased);
        given::<Project>(erased()).when(command).then_rejected(ProjectError::Erased);
    }
}

proptest! {
    #[test]
    fn any_sequence_of_commands_folds_to_the_live_state(
        commands in prop::collection::vec(
            prop::sample::select(vec![
                link("/srv/git/shop"), link("/srv/git/other"), link("ext::x"), rename("store"),
                rename(""), change(None), change(Some(CodingAgentKind::Demo)),
                set("COLOUR", 1), set("COLOUR", 2), set("SHAPE", 3), set("SIZE", 4), set("PATH", 5),
                remove("COLOUR"), remove("SHAPE"),
                ProjectCommand::Erase, record_part(1), record_part(2), ProjectCommand::RecordErased,
            ]),
            0..20,
        )
    ) {
        check_sequence::<Project>(commands, |_| true);
    }
}
