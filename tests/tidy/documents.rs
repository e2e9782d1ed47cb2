//! Documents keep pace with what they describe.

use crate::sources::{SOURCES, Violations, top};

#[test]
fn links_inside_the_repository_lead_somewhere() {
    let mut violations = Violations::new("correct the link, or add what it promises");
    for source in SOURCES.iter().filter(|source| source.path.ends_with(".md")) {
        let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in source.lines() {
            for target in link_targets(line) {
                let is_outside = ["://", "mailto:"].iter().any(|mark| target.contains(mark));
                let path = target.split('#').next().unwrap_or_default();
                if !is_outside && !path.is_empty() && !top().join(folder).join(path).exists() {
                    violations.add(&source.path, number, target);
                }
            }
        }
    }
    violations.assert_none();
}

fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn the_code_map_names_every_crate() {
    let readme = SOURCES.iter().find(|source| source.path == "README.md");
    let readme = &readme.expect("there is a README.md").text;
    let mut violations = Violations::new("add a row to the code map in README.md");
    for source in SOURCES.iter() {
        let Some(folder) = source.path.strip_suffix("/Cargo.toml") else { continue };
        if !readme.contains(&format!("`{folder}`")) && !readme.contains(&format!("`{folder}/")) {
            violations.add(&source.path, 1, "not in the code map");
        }
    }
    violations.assert_none();
}

#[test]
fn decisions_are_numbered_and_say_why() {
    let mut violations =
        Violations::new("a decision record has the headings Context, Decision and Consequences");
    let records = SOURCES.iter().filter(|source| source.path.starts_with("ops/decisions/"));
    for (expected, source) in (1..).zip(records) {
        if !source.path.starts_with(&format!("ops/decisions/{expected:04}-")) {
            violations.add(&source.path, 1, &format!("number {expected:04} was expected"));
        }
        for heading in ["## Context", "## Decision", "## Consequences"] {
            if !source.text.contains(heading) {
                violations.add(&source.path, 1, &format!("no `{heading}`"));
            }
        }
    }
    violations.assert_none();
}
