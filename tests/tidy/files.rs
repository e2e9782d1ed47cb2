//! What every file has to be: short, introduced, finished, and fit for any machine.

use crate::sources::{SOURCES, Violations};

const LINES_MAX: usize = 500;

#[test]
fn files_are_short_enough_to_be_read_in_one_sitting() {
    let mut violations = Violations::new("split the file along its concepts; one noun, one file");
    for source in SOURCES.iter().filter(|source| source.is_code()) {
        let n_lines = source.text.lines().count();
        if n_lines > LINES_MAX {
            violations.add(&source.path, LINES_MAX, &format!("{n_lines} lines"));
        }
    }
    violations.assert_none();
}

#[test]
fn each_module_says_what_it_is() {
    let mut violations = Violations::new(
        "begin the file with `//!`: what it is, what is absent on purpose, where to read next",
    );
    for source in SOURCES.iter().filter(|source| source.is_rust()) {
        // The tests of a module are introduced by the module.
        if source.path.ends_with("/tests.rs") {
            continue;
        }
        let header: Vec<&str> =
            source.text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let n_words = header.join(" ").split_whitespace().count();
        if n_words < 4 {
            violations.add(&source.path, 1, "no header that says anything");
        }
    }
    violations.assert_none();
}

#[test]
fn nothing_is_left_for_later_without_an_issue() {
    let markers = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let mut violations = Violations::new("do it, or name the issue: `(#12)` on the same line");
    for source in SOURCES.iter().filter(|source| !source.is_generated()) {
        for (number, line) in source.lines() {
            let is_marked = markers.iter().any(|marker| has_word(line, marker));
            if is_marked && !line.contains("(#") {
                violations.add(&source.path, number, line.trim());
            }
        }
    }
    violations.assert_none();
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    // Cut in two, or this file would break its own rule.
    let hosts = [
        concat!("registry.", "npmjs"),
        concat!("registry.", "yarnpkg"),
        concat!("deb.", "debian.org"),
        concat!("archive.", "ubuntu.com"),
        concat!("static.", "crates.io"),
        concat!("index.", "crates.io"),
        concat!("files.", "pythonhosted"),
    ];
    let folders = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let mut violations =
        Violations::new("take mirrors and folders from the machine's own settings at run time");
    for source in SOURCES.iter() {
        for (number, line) in source.lines() {
            if hosts.iter().any(|host| line.contains(host)) {
                violations.add(&source.path, number, "names a package registry's host");
            }
            if folders.iter().any(|folder| has_path(line, folder)) {
                violations.add(&source.path, number, "names a folder of one machine");
            }
        }
    }
    violations.assert_none();
}

/// Whether `word` stands in `line` with no letter or digit beside it.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// Whether an absolute path begins with `folder` in `line`.
fn has_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}$)".contains(c))
    })
}

#[test]
fn words_and_paths_are_told_from_their_neighbours() {
    assert!(has_word("// XY: later", "XY"));
    assert!(!has_word("aXYb", "XY"));
    assert!(has_path("cd /srv/x", "/srv/"));
    assert!(!has_path("$HOME/srv/x", "/srv/"));
}
