use std::collections::BTreeSet;

use cqrs_es::persist::{EventUpcaster as _, SerializedEvent};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CURRENT, Registry, Unreadable, Upcaster, of_nested, read};
use crate::{
    event_sourced::{EventPayload as _, canonical_json},
    idea::IdeaEvent,
    process::ProcessEvent,
    testing::execution,
};

/// Two older versions of an event that no release ever had: once the execution was called `attempt`, and
/// before that it was a text.
const OLD_DONE: [Upcaster; 2] = [
    Upcaster { kind: "idea", name: "done", from: 1, upcast: |text| json!({ "attempt": text }) },
    Upcaster {
        kind: "idea",
        name: "done",
        from: 2,
        upcast: |payload| json!({ "execution": payload["attempt"] }),
    },
];

fn registry() -> Registry {
    Registry::new("# Names\nidea done\nidea marked_ready\nrun_execution reacted\n", &OLD_DONE)
}

fn done() -> IdeaEvent {
    IdeaEvent::Done { execution: execution(1) }
}

#[test]
fn an_event_of_each_older_version_becomes_the_newest() {
    let registry = registry();
    let id = execution(1).to_string();
    for (version, payload) in
        [("1", json!(id)), ("2", json!({ "attempt": id })), ("3", json!({ "execution": id }))]
    {
        let event = registry.read::<IdeaEvent>("idea", "done", version, &payload.to_string());
        assert_eq!(event, Ok(done()), "version {version}");
        let upcast = registry.upcast("idea", "done", version, payload).unwrap();
        assert_eq!(upcast, json!({ "execution": id }), "version {version}");
    }
    assert_eq!(registry.version("idea", "done"), Some(3));
    assert_eq!(registry.version("idea", "marked_ready"), Some(1));
}

#[test]
fn an_event_without_fields_can_be_read() {
    let read = registry().read::<IdeaEvent>("idea", "marked_ready", "1", "null");
    assert_eq!(read, Ok(IdeaEvent::MarkedReady));
}

#[test]
fn an_unknown_name_says_which_event_it_is() {
    for (kind, name) in [("idea", "teleported"), ("teleporter", "done")] {
        let error = read::<IdeaEvent>(kind, name, "1", "null").unwrap_err();
        assert!(matches!(error, Unreadable::Unknown { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains(&format!("`{kind} {name}` version 1")), "{said}");
    }
}

#[test]
fn a_version_newer_than_the_program_says_so() {
    let error = registry().read::<IdeaEvent>("idea", "done", "4", "{}").unwrap_err();
    let newer = Unreadable::Newer {
        kind: "idea".into(),
        name: "done".into(),
        version: "4".into(),
        newest: 3,
    };
    assert_eq!(error, newer);
    let said = error.to_string();
    assert!(said.contains("`idea done` has version 4, newer than 3"), "{said}");
}

#[test]
fn a_version_that_is_no_number_from_1_on_is_unknown() {
    for version in ["", "0", "-1", "1.0", "newest"] {
        let error = registry().read::<IdeaEvent>("idea", "done", version, "{}").unwrap_err();
        assert!(matches!(error, Unreadable::Unknown { .. }), "{version}: {error}");
    }
}

#[test]
fn a_payload_that_is_not_the_events_is_malformed() {
    for payload in ["", "{", "null", "{}", r#"{"execution":1}"#, r#"null},"marked_ready":{}"#] {
        let error = registry().read::<IdeaEvent>("idea", "done", "3", payload).unwrap_err();
        assert!(matches!(error, Unreadable::Malformed { .. }), "{payload}: {error}");
    }
}

#[test]
fn an_event_that_a_process_saw_is_upcast_inside_its_reaction() {
    let id = execution(1).to_string();
    let idea = "00000000-0000-0003-0000-000000000001";
    let stored = json!({
        "stimulus": { "happened": {
            "event": { "idea": [idea, { "done": { "attempt": id } }] },
            "position": 7, "at": "2026-01-01T12:00:00Z",
        } },
        "intents": [],
    });
    let upcast = of_nested(&OLD_DONE[1], stored);
    let restored = ProcessEvent::restored("reacted", upcast.clone()).unwrap();
    assert_eq!(restored.stored().1, upcast);
    let other = json!({ "stimulus": { "woken": { "label": "warm" } }, "intents": [] });
    assert_eq!(of_nested(&OLD_DONE[1], other.clone()), other);
}

#[test]
fn an_upcaster_is_one_of_cqrs_es() {
    let stored = |kind: &str| SerializedEvent {
        aggregate_id: "1".into(),
        sequence: 1,
        aggregate_type: kind.into(),
        event_type: "done".into(),
        event_version: "1".into(),
        payload: Value::from("x"),
        metadata: Value::Null,
    };
    let [first, second] = OLD_DONE;
    assert!(first.can_upcast("done", "1") && !first.can_upcast("done", "2"));
    assert!(!first.can_upcast("parked", "1"));
    let event = first.upcast(stored("idea"));
    assert!(second.can_upcast(&event.event_type, &event.event_version));
    let event = second.upcast(event);
    assert_eq!((event.event_version.as_str(), event.payload), ("3", json!({ "execution": "x" })));
    assert_eq!(first.upcast(stored("execution")).event_version, "1");
}

#[test]
fn versions_have_no_gaps() {
    let [_, second] = OLD_DONE;
    let made = std::panic::catch_unwind(|| Registry::new("idea done", &[second]));
    assert!(made.is_err(), "version 1 has no way to version 2");
}

#[test]
fn this_program_knows_each_event_once() {
    let events: Vec<_> = CURRENT.events().collect();
    let names: BTreeSet<_> = events.iter().map(|(kind, name, _)| (*kind, *name)).collect();
    assert_eq!(events.len(), names.len());
    assert!(names.contains(&("session", "segment_recorded")));
    assert!(names.contains(&("run_execution", "reacted")));
}

proptest! {
    /// Whatever is in a row, reading it ends in an event or an error.
    #[test]
    fn no_row_makes_reading_panic(
        kind in "[a-z_]{0,12}", name in "[a-z_]{0,12}", version in ".{0,4}", payload in ".{0,40}",
    ) {
        let _ = read::<IdeaEvent>(&kind, &name, &version, &payload);
        let _ = read::<IdeaEvent>("idea", "done", &version, &payload);
    }

    #[test]
    fn the_text_and_the_value_of_a_payload_give_the_same_event(n in any::<u128>()) {
        let event = IdeaEvent::Parked { execution: Some(execution(n % 1000)), reason: n.to_string() };
        let (name, payload) = event.stored();
        let text = canonical_json(&payload);
        prop_assert_eq!(IdeaEvent::restored_text(&name, &text).unwrap(), event.clone());
        prop_assert_eq!(IdeaEvent::restored(&name, payload).unwrap(), event);
    }
}
