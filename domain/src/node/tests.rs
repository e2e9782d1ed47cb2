use proptest::prelude::*;

use super::{Node, NodeCommand, NodeError, NodeEvent};
use crate::testing::{check_sequence, given, given_nothing, node_spec, noon, timestamp, workspace};

fn request() -> NodeCommand {
    NodeCommand::Request { spec: node_spec() }
}

fn requested() -> NodeEvent {
    NodeEvent::Requested { spec: node_spec() }
}

fn start(slots: u8) -> NodeCommand {
    NodeCommand::RecordStart { slots, version: "1".into() }
}

fn started(slots: u8) -> NodeEvent {
    NodeEvent::Started { slots, version: "1".into() }
}

fn place(n: u128) -> NodeCommand {
    NodeCommand::PlaceWorkspace { workspace: workspace(n) }
}

fn placed(n: u128) -> NodeEvent {
    NodeEvent::WorkspacePlaced { workspace: workspace(n) }
}

fn release(n: u128) -> NodeCommand {
    NodeCommand::ReleaseWorkspace { workspace: workspace(n), now: noon(), warm_ms: 1_800_000 }
}

fn released(n: u128) -> NodeEvent {
    NodeEvent::WorkspaceReleased { workspace: workspace(n) }
}

fn stop() -> NodeCommand {
    NodeCommand::Stop { reason: "told to".into() }
}

fn stop_requested() -> NodeEvent {
    NodeEvent::StopRequested { spec: node_spec(), reason: "told to".into() }
}

fn fail() -> NodeCommand {
    NodeCommand::RecordFailure { reason: "gone".into() }
}

fn failed() -> NodeEvent {
    NodeEvent::Failed { reason: "gone".into() }
}

#[test]
fn a_node_is_requested() {
    given_nothing::<Node>().when(request()).then([requested()]);
    given::<Node>([requested()]).when(request()).then_nothing();
    given::<Node>([requested(), started(2)]).when(request()).then_nothing();
}

#[test]
fn the_local_node_can_be_requested_again_after_it_stopped_or_failed() {
    let stopped = [requested(), started(2), stop_requested(), NodeEvent::Stopped];
    given::<Node>(stopped).when(request()).then([requested()]);
    given::<Node>([requested(), failed()]).when(request()).then([requested()]);
}

#[test]
fn a_node_that_is_being_stopped_cannot_be_requested() {
    given::<Node>([requested(), stop_requested()])
        .when(request())
        .then_rejected(NodeError::NotRunning);
}

#[test]
fn a_node_starts_when_its_agent_has_called() {
    given::<Node>([requested()]).when(start(2)).then([started(2)]);
    given::<Node>([requested(), started(2)]).when(start(2)).then_nothing();
    given::<Node>([requested()]).when(start(0)).then_rejected(NodeError::NoSlots);
    given_nothing::<Node>().when(start(2)).then_rejected(NodeError::NotRunning);
}

#[test]
fn a_workspace_takes_a_slot() {
    given::<Node>([requested(), started(2)]).when(place(1)).then([placed(1)]);
    given::<Node>([requested(), started(2), placed(1)]).when(place(1)).then_nothing();
}

#[test]
fn a_full_node_refuses_one_more_workspace() {
    given::<Node>([requested(), started(1), placed(1)])
        .when(place(2))
        .then_rejected(NodeError::Full { slots: 1 });
}

#[test]
fn nothing_is_placed_on_a_node_that_does_not_run() {
    given::<Node>([requested()]).when(place(1)).then_rejected(NodeError::NotRunning);
}

#[test]
fn releasing_the_last_workspace_warms_the_node() {
    given::<Node>([requested(), started(2), placed(1)])
        .when(release(1))
        .then([released(1), NodeEvent::Warmed { until: timestamp("2026-01-01T12:30:00Z") }]);
}

#[test]
fn releasing_one_of_two_workspaces_does_not_warm_the_node() {
    given::<Node>([requested(), started(2), placed(1), placed(2)])
        .when(release(1))
        .then([released(1)]);
}

#[test]
fn releasing_what_is_not_there_changes_nothing() {
    given::<Node>([requested(), started(2)]).when(release(1)).then_nothing();
    given_nothing::<Node>().when(release(1)).then_nothing();
}

#[test]
fn an_empty_node_can_be_stopped() {
    given::<Node>([requested(), started(2)]).when(stop()).then([stop_requested()]);
    given::<Node>([requested()]).when(stop()).then([stop_requested()]);
    given::<Node>([requested(), stop_requested()]).when(stop()).then_nothing();
}

#[test]
fn a_node_in_use_is_not_stopped() {
    given::<Node>([requested(), started(2), placed(1)])
        .when(stop())
        .then_rejected(NodeError::InUse { n_workspaces: 1 });
}

#[test]
fn a_node_is_stopped_when_the_provider_says_so() {
    let stopping = [requested(), stop_requested()];
    given::<Node>(stopping.clone()).when(NodeCommand::RecordStop).then([NodeEvent::Stopped]);
    let [requested, stop_requested] = stopping;
    given::<Node>([requested.clone(), stop_requested, NodeEvent::Stopped])
        .when(NodeCommand::RecordStop)
        .then_nothing();
    given::<Node>([requested]).when(NodeCommand::RecordStop).then_rejected(NodeError::NotRunning);
}

#[test]
fn a_machine_can_go_without_being_told_to() {
    given::<Node>([requested(), started(2), placed(1)]).when(fail()).then([failed()]);
    given::<Node>([requested()]).when(fail()).then([failed()]);
    given::<Node>([requested(), failed()]).when(fail()).then_nothing();
    given_nothing::<Node>().when(fail()).then_rejected(NodeError::NotRunning);
}

proptest! {
    #[test]
    fn any_sequence_of_commands_folds_to_the_live_state(
        commands in prop::collection::vec(
            prop::sample::select(vec![
                request(), start(2), start(0), place(1), place(2), place(3), release(1),
                release(2), stop(), NodeCommand::RecordStop, fail(),
            ]),
            0..40,
        )
    ) {
        check_sequence::<Node>(commands, |_| true);
    }
}
