use super::{OpenWorkspace, RETRY_MS};
use crate::{
    event::Event,
    process::{Intent, OrderIntent, Outcome, testing::given_process},
    testing::{execution, node, noon, workspace, workspace_spec},
    values::after,
    workspace::{WorkspaceCommand, WorkspaceEvent},
};

fn requested() -> Event {
    let event = WorkspaceEvent::Requested { execution: Some(execution(1)), spec: workspace_spec() };
    (workspace(1), event).into()
}

fn stop_requested() -> Event {
    let event = WorkspaceEvent::StopRequested {
        execution: Some(execution(1)),
        spec: workspace_spec(),
        reason: "told to".into(),
    };
    (workspace(1), event).into()
}

fn open() -> Intent {
    let order = OrderIntent::OpenWorkspace {
        workspace: workspace(1),
        execution: Some(execution(1)),
        spec: *workspace_spec(),
    };
    Intent::order(node(1), order)
}

fn remove() -> Intent {
    Intent::order(node(1), OrderIntent::CloseWorkspace { workspace: workspace(1) })
}

fn opened() -> Outcome {
    Outcome::WorkspaceOpened { base_branch: "main".into(), base_commit: "a".repeat(40) }
}

fn record_start() -> Intent {
    let (base_branch, base_commit) = ("main".into(), "a".repeat(40));
    Intent::tell((workspace(1), WorkspaceCommand::RecordStart { base_branch, base_commit }))
}

#[test]
fn a_requested_workspace_is_opened_by_its_node() {
    given_process::<OpenWorkspace>().happened(requested()).then([open()]);
}

#[test]
fn a_usable_workspace_is_recorded_as_started() {
    given_process::<OpenWorkspace>()
        .happened(requested())
        .settled(opened())
        .then([record_start()])
        .settled(Outcome::Done)
        .then([]);
}

#[test]
fn what_went_wrong_is_recorded() {
    let reason = "no such branch".to_owned();
    given_process::<OpenWorkspace>()
        .happened(requested())
        .failed(&reason)
        .then([Intent::tell((workspace(1), WorkspaceCommand::RecordFailure { reason }))]);
}

#[test]
fn a_stop_gives_the_opening_up_and_removes_what_there_is() {
    given_process::<OpenWorkspace>()
        .happened(requested())
        .happened(stop_requested())
        .then([remove()])
        .then_unsettled([remove()]);
}

#[test]
fn a_workspace_that_was_closed_before_it_was_opened_is_removed() {
    given_process::<OpenWorkspace>()
        .happened(requested())
        .settled(opened())
        .settled(Outcome::Refused { code: "stopped".into(), reason: "it is stopping".into() })
        .then([remove()]);
}

#[test]
fn removing_is_tried_again() {
    let again = Intent::wake_at(after(noon(), RETRY_MS), "again");
    given_process::<OpenWorkspace>()
        .happened(requested())
        .happened(stop_requested())
        .failed("no connection")
        .then([again])
        .woken()
        .then([remove()]);
}

#[test]
fn a_late_stop_asks_for_nothing() {
    given_process::<OpenWorkspace>()
        .happened(requested())
        .settled(opened())
        .settled(Outcome::Done)
        .happened(stop_requested())
        .then([]);
}
