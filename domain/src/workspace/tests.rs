use proptest::prelude::*;

use super::{Workspace, WorkspaceCommand, WorkspaceError, WorkspaceEvent};
use crate::{
    agent_protocol::StepState,
    testing::{check_sequence, execution, given, given_nothing, workspace_spec},
};

fn request() -> WorkspaceCommand {
    WorkspaceCommand::Request { execution: Some(execution(1)), spec: workspace_spec() }
}

fn requested() -> WorkspaceEvent {
    WorkspaceEvent::Requested { execution: Some(execution(1)), spec: workspace_spec() }
}

fn record_boot() -> WorkspaceCommand {
    let (step, detail) = ("clone".to_owned(), "main".to_owned());
    WorkspaceCommand::RecordBootStep { step, state: StepState::Completed, detail }
}

fn booted() -> WorkspaceEvent {
    let (step, detail) = ("clone".to_owned(), "main".to_owned());
    WorkspaceEvent::BootStepRecorded { step, state: StepState::Completed, detail }
}

fn record_start() -> WorkspaceCommand {
    WorkspaceCommand::RecordStart { base_branch: "main".into(), base_commit: "a".repeat(40) }
}

fn started() -> WorkspaceEvent {
    WorkspaceEvent::Started {
        execution: Some(execution(1)),
        base_branch: "main".into(),
        base_commit: "a".repeat(40),
    }
}

fn record_failure() -> WorkspaceCommand {
    WorkspaceCommand::RecordFailure { reason: "no such branch".into() }
}

fn failed() -> WorkspaceEvent {
    WorkspaceEvent::Failed { execution: Some(execution(1)), reason: "no such branch".into() }
}

fn stop() -> WorkspaceCommand {
    WorkspaceCommand::Stop { reason: "told to".into() }
}

fn stop_requested() -> WorkspaceEvent {
    WorkspaceEvent::StopRequested {
        execution: Some(execution(1)),
        spec: workspace_spec(),
        reason: "told to".into(),
    }
}

#[test]
fn a_workspace_is_requested() {
    given_nothing::<Workspace>().when(request()).then([requested()]);
    given::<Workspace>([requested()]).when(request()).then_nothing();
}

#[test]
fn its_boot_log_is_recorded() {
    given::<Workspace>([requested()]).when(record_boot()).then([booted()]);
    given_nothing::<Workspace>().when(record_boot()).then_rejected(WorkspaceError::NotFound);
}

#[test]
fn a_workspace_starts() {
    given::<Workspace>([requested()]).when(record_start()).then([started()]);
    given::<Workspace>([requested(), started()]).when(record_start()).then_nothing();
}

#[test]
fn a_workspace_fails() {
    given::<Workspace>([requested()]).when(record_failure()).then([failed()]);
    given::<Workspace>([requested(), failed()]).when(record_failure()).then_nothing();
}

#[test]
fn a_workspace_is_stopped_from_every_state() {
    for history in [vec![requested()], vec![requested(), started()], vec![requested(), failed()]] {
        given::<Workspace>(history).when(stop()).then([stop_requested()]);
    }
    given::<Workspace>([requested(), stop_requested()]).when(stop()).then_nothing();
    given_nothing::<Workspace>().when(stop()).then_rejected(WorkspaceError::NotFound);
}

#[test]
fn only_a_confirmed_removal_ends_a_workspace() {
    given::<Workspace>([requested(), stop_requested()])
        .when(WorkspaceCommand::RecordStop)
        .then([WorkspaceEvent::Stopped]);
    given::<Workspace>([requested(), stop_requested(), WorkspaceEvent::Stopped])
        .when(WorkspaceCommand::RecordStop)
        .then_nothing();
    given::<Workspace>([requested(), started()])
        .when(WorkspaceCommand::RecordStop)
        .then_rejected(WorkspaceError::Stopped);
}

#[test]
fn late_reports_of_a_stopping_workspace_change_nothing() {
    for command in [record_boot(), record_start(), record_failure()] {
        given::<Workspace>([requested(), stop_requested()])
            .when(command)
            .then_rejected(WorkspaceError::Stopped);
    }
}

proptest! {
    #[test]
    fn any_sequence_of_commands_folds_to_the_live_state(
        commands in prop::collection::vec(
            prop::sample::select(vec![
                request(), record_boot(), record_start(), record_failure(), stop(),
                WorkspaceCommand::RecordStop,
            ]),
            0..30,
        )
    ) {
        // A step of the boot log may happen twice.
        check_sequence::<Workspace>(commands, |command| {
            !matches!(command, WorkspaceCommand::RecordBootStep { .. })
        });
    }
}
