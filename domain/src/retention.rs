//! What is kept of each kind of stream, and for how long: the one table of it.
//!
//! Today every event is kept for ever; what goes is the texts of a project that is erased, by itself or with its
//! account, whose secrets are no events either. A kind that may be
//! thinned gets another [`Keep`] here, and whoever thins it looks nowhere else. Telemetry is
//! deliberately absent: heartbeats, terminal bytes and node health are no events.

use std::fmt;

use serde::Serialize;

/// How long the events of a stream are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// All of them, and no text belongs to them.
    Forever,
    /// All of them; the texts that they refer to go when their project is erased.
    ForeverWithoutErasedTexts,
}

impl fmt::Display for Keep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Forever => "for ever",
            Self::ForeverWithoutErasedTexts => "for ever; its texts until the project is erased",
        })
    }
}

/// The rule for one kind of stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    pub kind: &'static str,
    pub keep: Keep,
    pub why: &'static str,
}

/// One rule for each kind of stream.
pub const RULES: [Rule; 15] = [
    forever("account", "who did something, and that it was erased"),
    forever("credential", "which secrets there were; the secrets are in the vault"),
    texts("project", "what was linked, which variables it had, and that it was erased"),
    texts("idea", "what was wanted"),
    texts("execution", "what was tried, and what came of it"),
    forever("node", "what was rented"),
    forever("workspace", "what ran where"),
    texts("session", "what was said and done"),
    forever("run_execution", "why a step was taken"),
    forever("open_workspace", "why a step was taken"),
    forever("close_workspace", "why a step was taken"),
    forever("retire_node", "why a step was taken"),
    forever("erase_project", "why a step was taken"),
    forever("erase_account", "why a step was taken"),
    forever("title_idea", "why a step was taken"),
];

const fn forever(kind: &'static str, why: &'static str) -> Rule {
    Rule { kind, keep: Keep::Forever, why }
}

const fn texts(kind: &'static str, why: &'static str) -> Rule {
    Rule { kind, keep: Keep::ForeverWithoutErasedTexts, why }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Keep, RULES};
    use crate::event::registry::CURRENT;

    #[test]
    fn each_kind_of_stream_has_one_rule() {
        let kinds: BTreeSet<_> = CURRENT.events().map(|(kind, _, _)| kind).collect();
        let ruled: BTreeSet<_> = RULES.iter().map(|rule| rule.kind).collect();
        assert_eq!(ruled, kinds);
        assert_eq!(RULES.len(), ruled.len());
    }

    /// A reference to content in a payload means that there is a text to be erased.
    #[test]
    fn kinds_with_texts_say_so() {
        let with_texts: BTreeSet<&str> = include_str!("../golden/events.jsonl")
            .lines()
            .filter(|line| line.contains("\"digest\":"))
            .filter_map(|line| line.split('"').nth(1))
            .collect();
        let ruled: BTreeSet<_> = RULES
            .iter()
            .filter(|rule| rule.keep == Keep::ForeverWithoutErasedTexts)
            .map(|rule| rule.kind)
            .collect();
        assert_eq!(ruled, with_texts);
    }
}
