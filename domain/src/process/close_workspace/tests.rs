use super::{CloseWorkspace, RETRY_MS};
use crate::{
    event::Event,
    node::NodeCommand,
    process::{Intent, OrderIntent, Outcome, testing::given_process},
    testing::{execution, node, noon, workspace, workspace_spec},
    values::after,
    workspace::{WorkspaceCommand, WorkspaceEvent},
};

fn stop_requested() -> Event {
    let event = WorkspaceEvent::StopRequested {
        execution: Some(execution(1)),
        spec: workspace_spec(),
        reason: "told to".into(),
    };
    (workspace(1), event).into()
}

fn close() -> Intent {
    Intent::order(node(1), OrderIntent::CloseWorkspace { workspace: workspace(1) })
}

#[test]
fn a_workspace_that_is_to_stop_is_removed_by_its_node() {
    given_process::<CloseWorkspace>().happened(stop_requested()).then([close()]);
}

#[test]
fn its_slot_is_given_back_once_the_removal_is_confirmed() {
    let (workspace, now) = (workspace(1), noon());
    let release = NodeCommand::ReleaseWorkspace { workspace, now, warm_ms: 1_800_000 };
    given_process::<CloseWorkspace>().happened(stop_requested()).settled(Outcome::Done).then([
        Intent::tell((workspace, WorkspaceCommand::RecordStop)),
        Intent::tell((node(1), release)),
    ]);
}

#[test]
fn removing_is_tried_until_it_works() {
    given_process::<CloseWorkspace>()
        .happened(stop_requested())
        .failed("no connection")
        .then([Intent::wake_at(after(noon(), RETRY_MS), "again")])
        .woken()
        .then([close()]);
}

#[test]
fn a_second_stop_asks_for_nothing() {
    given_process::<CloseWorkspace>()
        .happened(stop_requested())
        .settled(Outcome::Done)
        .happened(stop_requested())
        .then([]);
}
