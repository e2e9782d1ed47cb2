//! Accounts as lines for people.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::queries::{
    items::{Author, Item},
    replay::{Difference, ExecutionAt, NotDecided, Verification},
    timeline::{Timeline, TimelineCause, TimelineEntry, TimelinePhase},
};

const TEXT_SHOWN: usize = 100;

/// What execution it is, and how long it took.
pub(super) fn heading(timeline: &Timeline) -> String {
    let Timeline { execution, idea, requested_at, .. } = timeline;
    let since = requested_at.format("%Y-%m-%d %H:%M:%S%.3f UTC");
    let ended = match timeline.ended_at {
        Some(ended_at) => {
            let took = (ended_at - *requested_at).num_milliseconds();
            format!("ended after {}", seconds(u64::try_from(took).unwrap_or_default()))
        }
        None => "under way".to_owned(),
    };
    format!("execution {execution} of idea {idea}\nrequested {since}, {ended}\n")
}

/// Phases, then events.
pub(super) fn timeline(timeline: &Timeline) -> String {
    let mut lines = vec![heading(timeline)];
    lines.extend(timeline.phases.iter().map(phase));
    lines.push(String::new());
    lines.extend(timeline.entries.iter().map(entry));
    lines.join("\n")
}

fn phase(phase: &TimelinePhase) -> String {
    let again = if phase.attempt > 1 { format!(" ({})", phase.attempt) } else { String::new() };
    let name = format!("{}{again}", word(&phase.phase).replace('_', " "));
    let reason = phase.reason.as_deref().map(|reason| format!("  {reason}")).unwrap_or_default();
    let took = seconds(phase.elapsed_ms);
    format!("{name:<22} {took:>12}  {:<7}{reason}", word(&phase.state)).trim_end().to_owned()
}

/// When, where, what, and in brackets who and why.
pub(super) fn entry(entry: &TimelineEntry) -> String {
    let since = format!("+{}", seconds(entry.since_ms));
    let mut details = vec![format!("by {}", entry.actor)];
    match entry.cause {
        Some(TimelineCause::Position(position)) => details.push(format!("because of {position}")),
        Some(TimelineCause::Command(command)) => details.push(format!("by command {command}")),
        None => {}
    }
    details.extend(entry.took_ms.map(|took_ms| format!("took {}", seconds(took_ms))));
    if entry.attempt > 1 {
        details.push(format!("attempt {}", entry.attempt));
    }
    let (position, kind, summary) = (entry.position, word(&entry.kind), &entry.summary);
    format!("{since:>12} {position:>8}  {kind:<10} {summary} ({})", details.join(", "))
}

/// States and conversation at a position.
pub(super) fn execution_at(execution: Uuid, at: &ExecutionAt) -> String {
    let when = at.at.format("%Y-%m-%d %H:%M:%S%.3f UTC");
    let mut lines = vec![format!("execution {execution} at position {}, {when}", at.position)];
    for aggregate in &at.aggregates {
        let erased = if aggregate.is_erased { ", texts erased" } else { "" };
        let (kind, id, sequence) = (&aggregate.kind, aggregate.id, aggregate.sequence);
        lines.push(format!("\n{kind} {id} after {sequence} events{erased}"));
        if let Some(problem) = &aggregate.problem {
            lines.push(format!("  stops before {problem}"));
        }
        let state = serde_json::to_string_pretty(&aggregate.state).unwrap_or_default();
        lines.extend(state.lines().map(|line| format!("  {line}")));
    }
    lines.push(format!("\nsession {}", at.chat.session));
    if at.chat.has_more {
        lines.push("  (older items are left out)".to_owned());
    }
    lines.extend(at.chat.items.iter().map(|item| format!("  {}", said(item))));
    lines.join("\n")
}

fn said(item: &Item) -> String {
    match item {
        Item::Message(message) => {
            let who = match message.author {
                Author::Person => "person",
                Author::Agent => "coding agent",
            };
            format!("{who}: {}", shortened(&message.text))
        }
        Item::ToolCall(call) => {
            format!("tool call: {} ({})", shortened(&call.title), word(&call.status))
        }
        Item::Plan(plan) => format!("plan of {} steps", plan.entries.len()),
        Item::Permission(permission) => {
            let answer = permission.answer.as_ref();
            let answer = answer.map_or("no answer yet", |answer| answer.name.as_str());
            format!("permission: {} ({answer})", shortened(&permission.title))
        }
        Item::TurnEnd(end) => format!("turn ended: {}", end.reason),
        Item::Notice(notice) => notice.text.clone(),
    }
}

/// What was compared, what was not, and each difference.
pub(super) fn verification(verified: &Verification) -> String {
    let Verification { execution, n_events, n_reactions, n_commands, n_rebuilt, .. } = verified;
    let verdict = match verified.differences.len() {
        0 => "the same".to_owned(),
        n => format!("{n} differences"),
    };
    let n_skipped: u64 = verified.not_decided.iter().map(|skipped| skipped.n_events).sum();
    let mut lines = vec![
        format!("execution {execution}: {verdict}"),
        format!("  {n_events} events; nothing was done again, and no model was called"),
        format!("  {n_reactions} decisions of processes decided again"),
        format!(
            "  {} decisions of aggregates decided again: {n_commands} on commands of these processes \
             ({} left no event), {n_rebuilt} on commands rebuilt from their events",
            n_commands + n_rebuilt,
            verified.n_without_events
        ),
        format!("  {n_skipped} events not decided again"),
    ];
    lines.extend(verified.not_decided.iter().map(not_decided));
    lines.extend(verified.differences.iter().map(difference));
    lines.join("\n")
}

fn not_decided(skipped: &NotDecided) -> String {
    let NotDecided { position, kind, event, n_events, reason, .. } = skipped;
    let many = if *n_events > 1 { format!(" and {} more", n_events - 1) } else { String::new() };
    format!("  not decided again: position {position}, {kind} {event}{many}: {reason}")
}

fn difference(difference: &Difference) -> String {
    let Difference { position, kind, stream, event, field, recorded, decided } = difference;
    let (recorded, decided) = (value(recorded), value(decided));
    format!(
        "  position {position}, {kind} {stream}, event {event}, field {field}: recorded {recorded}, \
         now {decided}"
    )
}

fn value(value: &Value) -> String {
    shortened(&value.to_string())
}

fn shortened(text: &str) -> String {
    let mut line: String =
        text.chars().map(|letter| if letter == '\n' { ' ' } else { letter }).collect();
    if let Some((end, _)) = line.char_indices().nth(TEXT_SHOWN) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

/// A word of the wire, as it is there.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}
