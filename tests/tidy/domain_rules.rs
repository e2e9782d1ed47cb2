//! The domain decides and does nothing else; and every one of its aggregates is tested as such.

use crate::sources::{SOURCES, Source, Violations};

/// What would make a decision depend on anything but its command and its history.
const IMPURE: [&str; 14] = [
    "SystemTime::now",
    "Instant::now",
    "Utc::now",
    "Local::now",
    "Uuid::new_v4",
    "Uuid::now_v7",
    "async fn",
    ".await",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "tracing::",
];

fn domain_files() -> impl Iterator<Item = &'static Source> {
    SOURCES.iter().filter(|source| source.path.starts_with("domain/src/") && source.is_rust())
}

#[test]
fn the_domain_touches_nothing_outside() {
    let mut violations = Violations::new(
        "let time, ids and periods arrive inside the command; effects are intents of a process",
    );
    for source in domain_files() {
        // Its one async function is the shape that cqrs-es wants; nothing is awaited in it.
        let is_bridge = source.path == "domain/src/event_sourced.rs";
        for (number, line) in source.code_lines() {
            if is_bridge && (line.contains("async fn") || line.contains("sink.write")) {
                continue;
            }
            if let Some(word) = IMPURE.iter().find(|word| line.contains(**word)) {
                violations.add(&source.path, number, &format!("{word} in the domain"));
            }
        }
    }
    violations.assert_none();
}

#[test]
fn each_aggregate_is_tested_working_refused_and_repeated() {
    let mut violations = Violations::new(
        "add given/when/then tests to <noun>/tests.rs: it works (`then`), it is refused \
         (`then_rejected`), it is repeated (`then_nothing`)",
    );
    let mut n_aggregates = 0;
    for source in domain_files() {
        if !source.lines().any(|(_, line)| line.starts_with("event_sourced!(")) {
            continue;
        }
        n_aggregates += 1;
        let folder = source.path.trim_end_matches(".rs");
        let tests: String = SOURCES
            .iter()
            .filter(|file| file.path.starts_with(&format!("{folder}/tests")))
            .map(|file| file.text.as_str())
            .collect();
        for kind in [".then(", ".then_rejected(", ".then_nothing("] {
            if !tests.contains(kind) {
                violations.add(&format!("{folder}/tests.rs"), 1, &format!("no `{kind}…)` in it"));
            }
        }
    }
    assert!(n_aggregates > 0, "domain/src: no `event_sourced!(…)` found; this rule sees nothing");
    violations.assert_none();
}
