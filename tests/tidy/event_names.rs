//! Names of events are stored for ever, so the list of them only grows.

use std::collections::BTreeSet;

use domain::event::Event;
use domain::event_sourced::EventPayload;
use domain::process::ProcessEvent;
use serde_json::Value;
use uuid::Uuid;

use crate::sources::{SOURCES, Violations, git, top};

const LIST: &str = "domain/event_names.txt";

#[test]
fn the_list_of_event_names_is_complete() {
    let listed = listed_now();
    let mut violations =
        Violations::new("add the line to domain/event_names.txt; from then on it is a contract");
    for name in names_in_code() {
        if !listed.contains(&name) {
            violations.add(LIST, 1, &format!("`{name}` is missing"));
        }
    }
    violations.assert_none();
}

#[test]
fn every_listed_event_can_still_be_read() {
    let in_code = names_in_code();
    let mut violations = Violations::new(
        "old logs hold such events: keep the variant, or an upcaster that reads it",
    );
    for name in listed_now() {
        if !in_code.contains(&name) {
            violations.add(LIST, 1, &format!("`{name}` is known to no event enum"));
        }
    }
    violations.assert_none();
}

#[test]
fn no_event_name_was_ever_taken_back() {
    let listed = listed_now();
    let mut violations = Violations::new("put the line back: somebody's log holds such events");
    for commit in git(&["log", "--format=%H", "--", LIST]).lines() {
        // A commit that removed the whole list has none to show.
        let Some(then) = list_at(commit) else { continue };
        for name in names_of(&then).difference(&listed) {
            violations.add(LIST, 1, &format!("`{name}` was there in {commit}"));
        }
    }
    violations.assert_none();
}

fn list_at(commit: &str) -> Option<String> {
    let is_there = git(&["ls-tree", "--name-only", commit, LIST]);
    (!is_there.trim().is_empty()).then(|| git(&["show", &format!("{commit}:{LIST}")]))
}

fn listed_now() -> BTreeSet<String> {
    let text = std::fs::read_to_string(top().join(LIST)).expect("domain/event_names.txt is there");
    names_of(&text)
}

fn names_of(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// `node started` and so on, as the code would store them.
fn names_in_code() -> BTreeSet<String> {
    let aggregates = quoted_after("domain/src/", "\nevent_sourced!(");
    let processes = quoted_after("domain/src/process/", "const TYPE: &'static str =");
    assert!(aggregates.len() > 5, "only {aggregates:?} found: this rule sees nothing");
    assert!(processes.len() > 2, "only {processes:?} found: this rule sees nothing");
    let of_aggregates = aggregates.iter().flat_map(|kind| {
        let unknown = Event::restored(kind, Uuid::nil(), "no such event", Value::Null);
        names_from(kind, unknown.map(drop))
    });
    let of_processes = processes.iter().flat_map(|kind| {
        names_from(kind, ProcessEvent::restored("no such event", Value::Null).map(drop))
    });
    of_aggregates.chain(of_processes).collect()
}

/// The first quoted word after each `mark`: the kind of a stream.
fn quoted_after(folder: &str, mark: &str) -> Vec<String> {
    let files = SOURCES.iter().filter(|source| source.path.starts_with(folder));
    let uses = files.flat_map(|source| source.text.split(mark).skip(1));
    uses.filter_map(|rest| rest.split('"').nth(1).map(str::to_owned)).collect()
}

/// Serde names every variant when it is asked for one that does not exist.
fn names_from(kind: &str, unknown: Result<(), serde_json::Error>) -> Vec<String> {
    let message = unknown.expect_err("there is no such event").to_string();
    let (_, expected) = message.split_once("expected").expect("serde says what it expected");
    expected.split('`').skip(1).step_by(2).map(|name| format!("{kind} {name}")).collect()
}
