use super::{END_MS_MAX, EraseProject, RETRY_MS};
use crate::{
    event::Event,
    process::{
        Effect, Intent, Outcome,
        testing::{Given, given_process},
    },
    project::{ProjectCommand, ProjectEvent},
    testing::{noon, project},
    values::after,
};

fn requested() -> Event {
    (project(1), ProjectEvent::ErasureRequested).into()
}

fn end_executions() -> Intent {
    let until = after(noon(), END_MS_MAX);
    Intent::run(Effect::EndExecutions { project: project(1), until })
}

fn destroy() -> Intent {
    Intent::run(Effect::DestroyTexts { project: project(1) })
}

fn name_streams() -> Intent {
    Intent::run(Effect::NameErasedStreams { project: project(1) })
}

fn record() -> Intent {
    Intent::tell((project(1), ProjectCommand::RecordErased))
}

fn again() -> Intent {
    Intent::wake_at(after(noon(), RETRY_MS), "again")
}

fn begun() -> Given<EraseProject> {
    given_process::<EraseProject>().happened(requested())
}

#[test]
fn executions_end_before_texts_go_and_texts_before_the_read_models_forget() {
    begun()
        .then([end_executions()])
        .settled(Outcome::Done)
        .then([destroy()])
        .settled(Outcome::Done)
        .then([name_streams()])
        .settled(Outcome::Done)
        .then([record()])
        .told()
        .then([])
        .then_unsettled([]);
}

#[test]
fn each_step_that_fails_is_tried_again() {
    begun()
        .failed("a workspace does not stop")
        .then([again()])
        .woken()
        .then([end_executions()])
        .settled(Outcome::Done)
        .failed("the disk is full")
        .then([again()])
        .woken()
        .then([destroy()])
        .settled(Outcome::Done)
        .failed("the log is away")
        .then([again()])
        .woken()
        .then([name_streams()])
        .settled(Outcome::Done)
        .then([record()]);
}

#[test]
fn a_second_request_starts_nothing() {
    begun().happened(requested()).then([]).then_unsettled([end_executions()]);
}
