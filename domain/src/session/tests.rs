use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    QUEUE_LENGTH_MAX, RecordedSegment, Session, SessionCommand, SessionError, SessionEvent,
};
use crate::{
    agent_protocol::{TextKind, ToolCallStatus, TurnEnd},
    testing::{
        account, check_sequence, content, execution, given, given_nothing, idea, message,
        permission, project, workspace,
    },
};

fn begin(n: u128) -> SessionCommand {
    SessionCommand::Begin {
        project: project(1),
        idea: idea(n),
        execution: execution(n),
        message: message(n),
        author: account(1),
        content: content(n),
    }
}

fn posted(on: u128, n: u128) -> SessionEvent {
    SessionEvent::MessagePosted {
        execution: execution(on),
        message: message(n),
        author: account(1),
        content: content(n),
    }
}

fn opened() -> SessionEvent {
    SessionEvent::Opened { project: project(1) }
}

fn begun(n: u128) -> SessionEvent {
    SessionEvent::ExecutionBegun { idea: idea(n), execution: execution(n) }
}

fn post(n: u128) -> SessionCommand {
    SessionCommand::Post { message: message(n), author: account(1), content: content(n) }
}

fn attach() -> SessionCommand {
    SessionCommand::BeginAttachment { execution: execution(1), workspace: workspace(1) }
}

fn attached(epoch: u32, prompt: u128) -> SessionEvent {
    SessionEvent::AttachmentBegun {
        execution: execution(1),
        workspace: workspace(1),
        epoch,
        message: Some(message(prompt)),
    }
}

fn start_turn(epoch: u32, n: u128) -> SessionCommand {
    SessionCommand::StartTurn { epoch, message: message(n) }
}

fn turn_started(epoch: u32, n: u128) -> SessionEvent {
    SessionEvent::TurnStarted { epoch, message: message(n) }
}

fn segment(epoch: u32, first_chunk: u32, is_last: bool) -> RecordedSegment {
    RecordedSegment {
        epoch,
        message: message(90),
        kind: TextKind::Answer,
        first_chunk,
        n_chunks: 2,
        content: content(90),
        is_last,
    }
}

fn record(epoch: u32, first_chunk: u32, is_last: bool) -> SessionCommand {
    SessionCommand::RecordSegment(segment(epoch, first_chunk, is_last))
}

fn recorded(epoch: u32, first_chunk: u32, is_last: bool) -> SessionEvent {
    SessionEvent::SegmentRecorded(segment(epoch, first_chunk, is_last))
}

fn options() -> BTreeSet<String> {
    ["yes".to_owned(), "no".to_owned()].into()
}

fn ask(epoch: u32) -> SessionCommand {
    let (request, content) = (permission(1), content(80));
    SessionCommand::RecordPermissionAsked { epoch, request, options: options(), content }
}

fn asked(epoch: u32) -> SessionEvent {
    SessionEvent::PermissionAsked {
        execution: execution(1),
        epoch,
        request: permission(1),
        options: options(),
        content: content(80),
    }
}

fn permit(option: &str) -> SessionCommand {
    let (request, by) = (permission(1), account(1));
    SessionCommand::AnswerPermission { request, option: option.into(), by }
}

fn permitted() -> SessionEvent {
    SessionEvent::PermissionAnswered {
        execution: execution(1),
        request: permission(1),
        option: Some("yes".into()),
        by: account(1),
    }
}

fn end() -> TurnEnd {
    TurnEnd::Stopped { reason: "end_turn".into() }
}

fn end_turn(epoch: u32, n: u128) -> SessionCommand {
    SessionCommand::RecordTurnEnd { epoch, message: message(n), end: end() }
}

fn turn_ended(epoch: u32, n: u128, next: Option<u128>) -> SessionEvent {
    SessionEvent::TurnEnded {
        execution: execution(1),
        epoch,
        message: message(n),
        end: end(),
        next: next.map(message),
    }
}

fn lose(epoch: u32) -> SessionCommand {
    let prompt = Some(message(1));
    SessionCommand::RecordLoss { epoch, reason: "gone".into(), prompt }
}

fn lost(epoch: u32) -> SessionEvent {
    SessionEvent::AttachmentLost {
        execution: execution(1),
        epoch,
        reason: "gone".into(),
        prompt: Some(message(1)),
    }
}

fn end_execution(n: u128) -> SessionCommand {
    SessionCommand::EndExecution { execution: execution(n) }
}

/// A session in which an execution has begun, and then these.
fn working(more: impl IntoIterator<Item = SessionEvent>) -> Vec<SessionEvent> {
    [opened(), begun(1), posted(1, 1)].into_iter().chain(more).collect()
}

/// In the first turn.
fn in_turn(more: impl IntoIterator<Item = SessionEvent>) -> Vec<SessionEvent> {
    working([attached(1, 1), turn_started(1, 1)].into_iter().chain(more))
}

#[test]
fn a_session_begins_with_its_first_prompt() {
    given_nothing::<Session>().when(begin(1)).then([opened(), begun(1), posted(1, 1)]);
    given::<Session>(working([])).when(begin(1)).then_nothing();
}

#[test]
fn one_execution_happens_in_a_session_at_a_time() {
    given::<Session>(working([])).when(begin(2)).then_rejected(SessionError::Working);
    let ended = SessionEvent::ExecutionEnded { execution: execution(1) };
    given::<Session>(working([ended])).when(begin(2)).then([begun(2), posted(2, 2)]);
}

#[test]
fn a_session_stays_in_its_project() {
    let ended = SessionEvent::ExecutionEnded { execution: execution(1) };
    let elsewhere = SessionCommand::Begin {
        project: project(2),
        idea: idea(2),
        execution: execution(2),
        message: message(2),
        author: account(1),
        content: content(2),
    };
    given::<Session>(working([ended]))
        .when(elsewhere)
        .then_rejected(SessionError::ElsewhereAlready);
}

#[test]
fn an_unknown_session_answers_nothing() {
    for command in [post(1), attach(), end_execution(1), permit("yes"), record(1, 0, true)] {
        given_nothing::<Session>().when(command).then_rejected(SessionError::NotFound);
    }
}

#[test]
fn a_follow_up_waits_for_the_turn_to_end() {
    given::<Session>(in_turn([])).when(post(2)).then([posted(1, 2)]);
    given::<Session>(in_turn([posted(1, 2)])).when(post(2)).then_nothing();
    given::<Session>(in_turn([posted(1, 2)])).when(end_turn(1, 1)).then([turn_ended(
        1,
        1,
        Some(2),
    )]);
}

#[test]
fn a_follow_up_that_nobody_would_answer_is_refused() {
    given::<Session>(in_turn([turn_ended(1, 1, None)]))
        .when(post(2))
        .then_rejected(SessionError::Ending);
    let ended = SessionEvent::ExecutionEnded { execution: execution(1) };
    given::<Session>(in_turn([ended])).when(post(2)).then_rejected(SessionError::NotWorking);
}

#[test]
fn the_queue_has_an_end() {
    let queued = (2..).map(|n| posted(1, n)).take(QUEUE_LENGTH_MAX);
    given::<Session>(in_turn(queued))
        .when(post(100))
        .then_rejected(SessionError::QueueFull { max: QUEUE_LENGTH_MAX });
}

#[test]
fn an_attachment_asks_the_prompt_that_waits() {
    given::<Session>(working([])).when(attach()).then([attached(1, 1)]);
    let ended = SessionEvent::ExecutionEnded { execution: execution(1) };
    given::<Session>(working([ended])).when(attach()).then_rejected(SessionError::NotWorking);
}

#[test]
fn a_new_attachment_asks_the_prompt_again_whose_turn_was_cut_off() {
    given::<Session>(in_turn([posted(1, 2), lost(1)])).when(attach()).then([attached(2, 1)]);
}

#[test]
fn what_the_coding_agent_is_comes_with_the_attachment() {
    let (agent_name, agent_version) = ("demo".to_owned(), "1".to_owned());
    let command = |epoch| SessionCommand::RecordAttached {
        epoch,
        agent_name: agent_name.clone(),
        agent_version: agent_version.clone(),
    };
    let event = SessionEvent::Attached {
        epoch: 1,
        agent_name: agent_name.clone(),
        agent_version: agent_version.clone(),
    };
    given::<Session>(working([attached(1, 1)])).when(command(1)).then([event]);
    given::<Session>(working([attached(1, 1)]))
        .when(command(2))
        .then_rejected(SessionError::Stale { epoch: 1 });
}

#[test]
fn a_turn_starts_once() {
    given::<Session>(working([attached(1, 1)])).when(start_turn(1, 1)).then([turn_started(1, 1)]);
    given::<Session>(in_turn([])).when(start_turn(1, 1)).then_nothing();
}

#[test]
fn text_is_recorded_once_in_order_and_without_a_gap() {
    given::<Session>(in_turn([])).when(record(1, 0, false)).then([recorded(1, 0, false)]);
    let begun = in_turn([recorded(1, 0, false)]);
    given::<Session>(begun.clone()).when(record(1, 0, false)).then_nothing();
    given::<Session>(begun.clone()).when(record(1, 2, true)).then([recorded(1, 2, true)]);
    given::<Session>(begun)
        .when(record(1, 4, true))
        .then_rejected(SessionError::Gap { expected: 2 });
    let complete = in_turn([recorded(1, 0, true)]);
    given::<Session>(complete).when(record(1, 2, true)).then_nothing();
}

#[test]
fn reports_of_an_older_attachment_are_stale() {
    let again = in_turn([lost(1), attached(2, 1)]);
    for command in [record(1, 0, false), lose(1), ask(1)] {
        given::<Session>(again.clone())
            .when(command)
            .then_rejected(SessionError::Stale { epoch: 2 });
    }
}

#[test]
fn tool_calls_plans_and_usage_are_recorded() {
    let epoch = 1;
    let (call, kind, status) = ("1".to_owned(), "edit".to_owned(), ToolCallStatus::Pending);
    let command = SessionCommand::RecordToolCall {
        epoch,
        call: call.clone(),
        kind: kind.clone(),
        status,
        content: content(1),
    };
    let event = SessionEvent::ToolCallRecorded { epoch, call, kind, status, content: content(1) };
    given::<Session>(in_turn([])).when(command).then([event]);
    given::<Session>(in_turn([]))
        .when(SessionCommand::RecordPlan { epoch, content: content(1) })
        .then([SessionEvent::PlanRecorded { epoch, content: content(1) }]);
    given::<Session>(in_turn([]))
        .when(SessionCommand::RecordUsage { epoch, content: content(1) })
        .then([SessionEvent::UsageRecorded { epoch, content: content(1) }]);
}

#[test]
fn a_permission_is_asked_and_given_once() {
    given::<Session>(in_turn([])).when(ask(1)).then([asked(1)]);
    given::<Session>(in_turn([asked(1)])).when(ask(1)).then_nothing();
    given::<Session>(in_turn([asked(1)])).when(permit("yes")).then([permitted()]);
    given::<Session>(in_turn([asked(1)]))
        .when(permit("maybe"))
        .then_rejected(SessionError::NoSuchOption);
    given::<Session>(in_turn([asked(1), permitted()]))
        .when(permit("yes"))
        .then_rejected(SessionError::NothingAsked);
}

#[test]
fn what_the_policy_decided_is_recorded() {
    let (request, option) = (permission(1), Some("yes".to_owned()));
    given::<Session>(in_turn([]))
        .when(SessionCommand::RecordPermissionSettled {
            epoch: 1,
            request,
            option: option.clone(),
            content: content(1),
        })
        .then([SessionEvent::PermissionSettled { epoch: 1, request, option, content: content(1) }]);
}

#[test]
fn the_end_of_a_turn_closes_what_it_left_open() {
    given::<Session>(in_turn([recorded(1, 0, false), asked(1)])).when(end_turn(1, 1)).then([
        SessionEvent::MessageTruncated { message: message(90) },
        SessionEvent::PermissionWithdrawn { request: permission(1) },
        turn_ended(1, 1, None),
    ]);
    given::<Session>(in_turn([turn_ended(1, 1, None)])).when(end_turn(1, 1)).then_nothing();
}

#[test]
fn a_loss_closes_what_was_open() {
    given::<Session>(in_turn([recorded(1, 0, false)]))
        .when(lose(1))
        .then([SessionEvent::MessageTruncated { message: message(90) }, lost(1)]);
}

#[test]
fn an_execution_ends_in_its_session() {
    let ended = SessionEvent::ExecutionEnded { execution: execution(1) };
    given::<Session>(in_turn([])).when(end_execution(1)).then([ended.clone()]);
    given::<Session>(in_turn([ended])).when(end_execution(1)).then_nothing();
    given::<Session>(in_turn([])).when(end_execution(2)).then_nothing();
}

proptest! {
    #[test]
    fn any_sequence_of_commands_folds_to_the_live_state(
        commands in prop::collection::vec(
            prop::sample::select(vec![
                begin(1), begin(1), begin(2), post(2), post(3), attach(), start_turn(1, 1),
                start_turn(1, 2), start_turn(2, 1), record(1, 0, false), record(1, 2, true),
                record(2, 0, false), ask(1), ask(2), permit("yes"), permit("maybe"),
                end_turn(1, 1), end_turn(1, 2), end_turn(2, 1), lose(1), end_execution(1),
                end_execution(2),
            ]),
            0..60,
        )
    ) {
        // Attaching again is another attachment, and a loss may be told twice.
        check_sequence::<Session>(commands, |command| {
            !matches!(
                command,
                SessionCommand::BeginAttachment { .. } | SessionCommand::RecordLoss { .. }
            )
        });
    }
}
