//! Any cut of the spool and any crash give the same story.

use std::collections::BTreeMap;

use domain::{
    agent_protocol::{CodingAgentKind, PermissionPolicy, Report, TextKind, TurnEnd},
    ids::{MessageId, SessionId},
};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
use serde_json::json;
use uuid::Uuid;

use crate::session::{
    SessionConfig,
    attachment::Attachment,
    progress::{Phase, SessionProgress},
};

const MESSAGE: MessageId = MessageId(Uuid::from_u128(7));

fn config() -> SessionConfig {
    SessionConfig {
        session: SessionId(Uuid::from_u128(1)),
        epoch: 3,
        kind: CodingAgentKind::Demo,
        permissions: PermissionPolicy::Allow,
        argv: Vec::new(),
        env: BTreeMap::new(),
        cwd: "/workspace".to_string(),
    }
}

/// A session whose prompt is in flight under request 3.
fn prompted() -> Attachment {
    let mut attachment = Attachment::new(&config(), SessionProgress::new(3));
    attachment.started();
    attachment.line(r#"{"id":1,"result":{"protocolVersion":1}}"#, 0);
    attachment.line(r#"{"id":2,"result":{"sessionId":"s"}}"#, 0);
    attachment.prompt(MESSAGE, "Do it").unwrap();
    attachment.telling.take_reports(&attachment.progress);
    attachment
}

fn line() -> impl Strategy<Value = String> {
    let update = |update| json!({ "method": "session/update", "params": { "update": update } });
    let said = move |kind: &str, text: String| {
        update(json!({ "sessionUpdate": kind, "content": { "type": "text", "text": text } }))
    };
    let text = prop_oneof![8 => "[a-zé ]{0,30}", 1 => Just("x".repeat(9_000))];
    let kinds = prop_oneof![Just("agent_message_chunk"), Just("agent_thought_chunk")];
    let statuses = prop_oneof![Just("pending"), Just("in_progress"), Just("completed")];
    let calls = prop_oneof![Just("tool_call"), Just("tool_call_update")];
    let called = move |(kind, call, status): (&str, u8, &str)| {
        update(json!({ "sessionUpdate": kind, "toolCallId": call.to_string(), "status": status }))
    };
    let asked = json!({
        "id": "theirs",
        "method": "session/request_permission",
        "params": { "toolCall": { "toolCallId": "1" }, "options": [
            { "optionId": "o", "name": "Yes", "kind": "allow_once" },
        ] },
    });
    prop_oneof![
        6 => (kinds, text).prop_map(move |(kind, text)| said(kind, text).to_string()),
        3 => (calls, 0..3_u8, statuses).prop_map(move |told| called(told).to_string()),
        1 => Just(asked.to_string()),
        1 => Just(r#"{"method":"_auth/status_update","params":{}}"#.to_string()),
        1 => Just("no JSON".to_string()),
        1 => Just(r#"{"id":3,"result":{"stopReason":"end_turn"}}"#.to_string()),
    ]
}

/// What happens after a line was read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    ReadOn,
    Record,
    /// Everything since the last record is forgotten.
    Crash,
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![4 => Just(Then::ReadOn), 2 => Just(Then::Record), 1 => Just(Then::Crash)]
}

/// Reads the spool to its end, with records and crashes on the way.
fn tell(spool: &[String], thens: &[Then]) -> (Vec<Report>, SessionProgress) {
    let mut attachment = prompted();
    let mut recorded = serde_json::to_string(&attachment.progress).unwrap();
    let (mut reports, mut at) = (Vec::new(), 0);
    let mut thens = thens.iter();
    while at < spool.len() {
        attachment.line(&spool[at], 1);
        at += 1;
        // After as many as there are, nothing goes wrong any more.
        match thens.next().unwrap_or(&Then::ReadOn) {
            Then::ReadOn => {}
            Then::Record => {
                reports.extend(attachment.telling.take_reports(&attachment.progress));
                recorded = serde_json::to_string(&attachment.progress).unwrap();
            }
            Then::Crash => {
                let progress: SessionProgress = serde_json::from_str(&recorded).unwrap();
                at = usize::try_from(progress.offset).unwrap();
                attachment = Attachment::new(&config(), progress);
            }
        }
    }
    reports.extend(attachment.telling.take_reports(&attachment.progress));
    (essence(&reports), attachment.progress)
}

/// The story without its cut into segments and without passing states of tool calls.
fn essence(reports: &[Report]) -> Vec<Report> {
    let mut story: Vec<Report> = Vec::new();
    for report in reports {
        let known = story.iter_mut().find(|known| match (known, report) {
            (Report::Segment(known), Report::Segment(segment)) => known.message == segment.message,
            (Report::ToolCall(known), Report::ToolCall(call)) => known.call == call.call,
            _ => false,
        });
        match (known, report) {
            (Some(Report::Segment(known)), Report::Segment(segment)) => {
                assert_eq!(known.first_chunk + known.n_chunks, segment.first_chunk);
                assert!(!known.is_last);
                known.n_chunks += segment.n_chunks;
                known.text.push_str(&segment.text);
                known.is_last = segment.is_last;
            }
            (Some(known), _) => *known = report.clone(),
            (None, _) => story.push(report.clone()),
        }
    }
    story
}

proptest! {
    #[test]
    fn any_cut_of_the_spool_and_any_crash_give_the_same_story(
        spool in prop::collection::vec(line(), 0..60),
        thens in prop::collection::vec(then(), 0..80),
    ) {
        let (expected, state) = tell(&spool, &[]);
        let (story, same_state) = tell(&spool, &thens);
        prop_assert_eq!(story, expected);
        prop_assert_eq!(same_state, state);
    }

    #[test]
    fn no_line_at_all_makes_it_fall_over(lines in prop::collection::vec(any::<String>(), 0..50)) {
        let mut attachment = prompted();
        for line in &lines {
            attachment.line(line, 1);
        }
    }
}

#[test]
fn updates_after_the_end_of_the_turn_are_messages_of_their_own() {
    let mut attachment = prompted();
    let said = json!({ "method": "session/update", "params": { "update": {
        "sessionUpdate": "agent_message_chunk", "content": { "type": "text", "text": "Hm." },
    } } });
    attachment.line(&said.to_string(), 1);
    attachment.line(r#"{"id":3,"result":{"stopReason":"max_tokens"}}"#, 1);
    attachment.line(&said.to_string(), 1);
    let reports = attachment.telling.take_reports(&attachment.progress);
    let [Report::Segment(first), Report::TurnEnded { end, .. }, Report::Segment(second)] =
        reports.as_slice()
    else {
        panic!("{reports:#?}");
    };
    assert_eq!(*end, TurnEnd::Stopped { reason: "max_tokens".to_string() });
    assert!(first.is_last && first.message != second.message);
    assert_eq!((first.kind, second.text.as_str()), (TextKind::Answer, "Hm."));
}

#[test]
fn what_was_never_offered_is_answered_with_an_error() {
    let mut attachment = prompted();
    attachment.progress.unwritten.clear();
    attachment.line(r#"{"id":"x","method":"fs/read_text_file","params":{"path":"/a"}}"#, 1);
    let [answer] = attachment.progress.unwritten.as_slice() else { panic!("no answer") };
    assert!(answer.line.contains("-32601") && answer.line.contains("\"x\""), "{}", answer.line);
}

#[test]
fn an_agent_of_another_version_is_refused() {
    let mut attachment = Attachment::new(&config(), SessionProgress::new(3));
    attachment.started();
    attachment.line(r#"{"id":1,"result":{"protocolVersion":2}}"#, 1);
    assert!(matches!(attachment.progress.phase, Phase::Ended { is_refused: true, .. }));
}
