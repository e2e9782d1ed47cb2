use proptest::prelude::*;

use super::{Ending, Execution, ExecutionCommand, ExecutionError, ExecutionEvent, InputChoice};
use crate::{
    testing::{
        check_sequence, given, given_nothing, idea, node, noon, project, result, session, settings,
        workspace,
    },
    values::Step,
};

fn request() -> ExecutionCommand {
    ExecutionCommand::Request {
        idea: idea(1),
        project: project(1),
        session: session(1),
        settings: Box::new(settings()),
    }
}

fn requested() -> ExecutionEvent {
    ExecutionEvent::Requested {
        idea: idea(1),
        project: project(1),
        session: session(1),
        settings: Box::new(settings()),
    }
}

fn start(step: Step) -> ExecutionCommand {
    ExecutionCommand::StartStep { step, reason: "now".into() }
}

fn started(step: Step) -> ExecutionEvent {
    ExecutionEvent::StepStarted { step, reason: "now".into() }
}

fn wait() -> ExecutionCommand {
    ExecutionCommand::RecordWaiting { reason: "full".into() }
}

fn waited() -> ExecutionEvent {
    ExecutionEvent::Waited { reason: "full".into() }
}

fn place() -> ExecutionCommand {
    ExecutionCommand::RecordPlacement { node: node(1), workspace: workspace(1) }
}

fn ask() -> ExecutionCommand {
    ExecutionCommand::AskInput { reason: "lost".into(), until: noon() }
}

fn asked() -> ExecutionEvent {
    ExecutionEvent::InputAsked { reason: "lost".into(), until: noon() }
}

fn answer(choice: InputChoice) -> ExecutionCommand {
    ExecutionCommand::AnswerInput { choice }
}

fn answered(choice: InputChoice) -> ExecutionEvent {
    ExecutionEvent::InputAnswered { choice }
}

fn finish(ending: Ending) -> ExecutionCommand {
    ExecutionCommand::Finish { ending }
}

fn finishing(ending: Ending) -> ExecutionEvent {
    ExecutionEvent::FinishBegun { ending }
}

fn record_result() -> ExecutionCommand {
    ExecutionCommand::RecordResult { result: Box::new(result()) }
}

fn recorded() -> ExecutionEvent {
    ExecutionEvent::ResultRecorded { result: Box::new(result()) }
}

fn fail() -> ExecutionCommand {
    ExecutionCommand::Fail { reason: "broken".into(), checkpoint: None }
}

fn failed() -> ExecutionEvent {
    ExecutionEvent::Failed { reason: "broken".into(), checkpoint: None }
}

fn record_cancelled() -> ExecutionCommand {
    ExecutionCommand::RecordCancelled { checkpoint: None }
}

fn cancelled() -> ExecutionEvent {
    ExecutionEvent::Cancelled { checkpoint: None }
}

#[test]
fn an_execution_is_requested() {
    given_nothing::<Execution>().when(request()).then([requested()]);
    given::<Execution>([requested()]).when(request()).then_nothing();
}

#[test]
fn an_unknown_execution_does_nothing() {
    for command in [start(Step::Running), ExecutionCommand::Cancel, ExecutionCommand::Complete] {
        given_nothing::<Execution>().when(command).then_rejected(ExecutionError::NotFound);
    }
}

#[test]
fn steps_only_go_forward() {
    let before = [requested(), started(Step::WorkspaceCreation)];
    given::<Execution>(before.clone())
        .when(start(Step::AgentSession))
        .then([started(Step::AgentSession)]);
    given::<Execution>(before.clone()).when(start(Step::WorkspaceCreation)).then_nothing();
    given::<Execution>(before).when(start(Step::NodeSelection)).then_nothing();
}

#[test]
fn it_says_what_it_waits_for_once() {
    given::<Execution>([requested()]).when(wait()).then([waited()]);
    given::<Execution>([requested(), waited()]).when(wait()).then_nothing();
}

#[test]
fn its_place_is_recorded() {
    let placed = ExecutionEvent::Placed { node: node(1), workspace: workspace(1) };
    given::<Execution>([requested()]).when(place()).then([placed]);
}

#[test]
fn a_person_is_asked_and_answers() {
    given::<Execution>([requested()]).when(ask()).then([asked()]);
    given::<Execution>([requested(), asked()]).when(ask()).then_nothing();
    let go_on = InputChoice::Continue;
    given::<Execution>([requested(), asked()]).when(answer(go_on)).then([answered(go_on)]);
    given::<Execution>([requested()])
        .when(answer(go_on))
        .then_rejected(ExecutionError::NothingAsked);
    given::<Execution>([requested(), asked(), answered(go_on)])
        .when(answer(InputChoice::Park))
        .then_rejected(ExecutionError::NothingAsked);
}

#[test]
fn it_finishes_and_is_done() {
    given::<Execution>([requested()])
        .when(finish(Ending::Complete))
        .then([finishing(Ending::Complete)]);
    let finishing = [requested(), finishing(Ending::Complete)];
    given::<Execution>(finishing.clone()).when(finish(Ending::Complete)).then_nothing();
    given::<Execution>(finishing.clone()).when(record_result()).then([recorded()]);
    given::<Execution>([requested(), recorded()]).when(record_result()).then_nothing();
    given::<Execution>(finishing).when(ExecutionCommand::Complete).then([ExecutionEvent::Done]);
}

#[test]
fn it_fails() {
    given::<Execution>([requested()]).when(fail()).then([failed()]);
    given::<Execution>([requested(), failed()]).when(fail()).then_nothing();
}

#[test]
fn a_cancel_wins_over_a_late_success() {
    given::<Execution>([requested()])
        .when(ExecutionCommand::Cancel)
        .then([ExecutionEvent::CancelRequested]);
    let cancelling = [requested(), ExecutionEvent::CancelRequested];
    given::<Execution>(cancelling.clone()).when(ExecutionCommand::Cancel).then_nothing();
    for late in [
        ExecutionCommand::Complete,
        fail(),
        finish(Ending::Complete),
        record_result(),
        start(Step::Running),
        ask(),
        wait(),
        place(),
    ] {
        given::<Execution>(cancelling.clone()).when(late).then_rejected(ExecutionError::Cancelled);
    }
    given::<Execution>(cancelling.clone())
        .when(finish(Ending::Cancel))
        .then([finishing(Ending::Cancel)]);
    given::<Execution>(cancelling).when(record_cancelled()).then([cancelled()]);
}

#[test]
fn a_cancel_comes_too_late_after_the_end() {
    for end in [ExecutionEvent::Done, failed(), cancelled()] {
        given::<Execution>([requested(), end.clone()])
            .when(ExecutionCommand::Cancel)
            .then_rejected(ExecutionError::Ended);
        for again in [ExecutionCommand::Complete, fail(), record_cancelled()] {
            given::<Execution>([requested(), end.clone()]).when(again).then_nothing();
        }
    }
}

proptest! {
    #[test]
    fn any_sequence_of_commands_folds_to_the_live_state(
        commands in prop::collection::vec(
            prop::sample::select(vec![
                request(), request(), start(Step::NodeSelection), start(Step::Running), wait(),
                place(), ExecutionCommand::Cancel, ask(), answer(InputChoice::Continue),
                finish(Ending::Complete), finish(Ending::Cancel), record_result(),
                ExecutionCommand::Complete, fail(), record_cancelled(),
            ]),
            0..40,
        )
    ) {
        check_sequence::<Execution>(commands, |command| {
            // It may be placed again; the newest place counts.
            !matches!(command, ExecutionCommand::RecordPlacement { .. })
        });
    }
}
