//! `cargo xtask verify`: what has to be green before a change is taken.
//!
//! Every check runs even after one failed, so that one run shows everything that is wrong. The
//! repository's own rules (file sizes, dependencies, names) are tests in `tests/tidy`.

use std::time::Instant;

use crate::command::{Failure, Outcome, cargo, in_repository, openly};
use crate::console::{readable, say};
use crate::options::Options;
use crate::packages::Consent;
use crate::setup::{self, Surroundings};
use crate::web;

struct Gate {
    name: &'static str,
    needs_ui: bool,
    check: fn(&Surroundings) -> Outcome,
}

const fn gate(name: &'static str, check: fn(&Surroundings) -> Outcome) -> Gate {
    Gate { name, needs_ui: false, check }
}

const fn ui_gate(name: &'static str, check: fn(&Surroundings) -> Outcome) -> Gate {
    Gate { name, needs_ui: true, check }
}

/// In this order: the UI is embedded by what comes after it, and the stories in the browser need
/// the finished binary.
const GATES: &[Gate] = &[
    ui_gate("ui-install", |surroundings| web::install(&surroundings.path)),
    ui_gate("ui-types", |surroundings| web::run_script("check", surroundings)),
    ui_gate("ui-lint", |surroundings| web::run_script("lint", surroundings)),
    ui_gate("ui-test", |surroundings| web::run_script("test", surroundings)),
    ui_gate("ui-build", |surroundings| web::run_script("build", surroundings)),
    gate("format", |surroundings| run_cargo(surroundings, &["fmt", "--all", "--check"])),
    gate("scripts", check_scripts),
    gate("deny", |surroundings| {
        run_cargo(surroundings, &["deny", "--offline", "check", "licenses", "bans", "sources"])
    }),
    gate("clippy", |surroundings| {
        let words = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        run_cargo(surroundings, &words)
    }),
    gate("doc", check_docs),
    // The same words as the tests below need, so that nothing is compiled twice.
    gate("build", |surroundings| {
        run_cargo(surroundings, &["build", "--workspace", "--all-targets"])
    }),
    gate("tests", |surroundings| {
        run_cargo(surroundings, &["nextest", "run", "--workspace", "--no-fail-fast"])
    }),
    ui_gate("ui-stories", |surroundings| web::run_script("e2e", surroundings)),
    ui_gate("ui-real", |surroundings| web::run_script("e2e:real", surroundings)),
];

pub(crate) fn run(options: &Options) -> Outcome {
    let surroundings = setup::for_testing(Consent::Refused)?;
    check(&surroundings, options.only.as_deref())
}

pub(crate) fn check(surroundings: &Surroundings, only: Option<&str>) -> Outcome {
    let chosen: Vec<&Gate> =
        GATES.iter().filter(|gate| only.is_none_or(|name| name == gate.name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = GATES.iter().map(|gate| gate.name).collect();
        return Err(Failure(format!("no such check; there are: {}", names.join(", "))));
    }
    let mut results = Vec::new();
    for gate in chosen.into_iter().filter(|gate| !gate.needs_ui || setup::has_ui()) {
        say(&format!("── {}", gate.name));
        let since = Instant::now();
        let outcome = (gate.check)(surroundings);
        if let Err(failure) = &outcome {
            say(&format!("error: {failure}"));
        }
        results.push((gate.name, outcome.is_ok(), since.elapsed()));
    }
    say("── result");
    for (name, is_green, elapsed) in &results {
        let word = if *is_green { "ok    " } else { "FAILED" };
        say(&format!("{word} {name} ({})", readable(*elapsed)));
    }
    let failed: Vec<&str> =
        results.iter().filter(|(_, is_green, _)| !is_green).map(|(name, ..)| *name).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure(format!(
        "{} of {} checks failed: {}",
        failed.len(),
        results.len(),
        failed.join(", ")
    )))
}

fn run_cargo(surroundings: &Surroundings, words: &[&str]) -> Outcome {
    let mut command = cargo(words);
    let title = words.first().copied().unwrap_or("cargo");
    openly(title, surroundings.apply(&mut command))
}

fn check_docs(surroundings: &Surroundings) -> Outcome {
    let mut doc =
        cargo(&["doc", "--workspace", "--no-deps", "--keep-going", "--document-private-items"]);
    // Private items are documented too here, so a link to one leads somewhere.
    doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
    openly("doc", surroundings.apply(&mut doc))
}

fn check_scripts(surroundings: &Surroundings) -> Outcome {
    let mut list = in_repository("git");
    list.args(["ls-files", "-z", "*.sh", ".ci/run"]);
    let listed = crate::command::answer_of(&mut list)
        .ok_or_else(|| Failure("git does not list the scripts".to_owned()))?;
    let mut shellcheck = in_repository("shellcheck");
    shellcheck.args(listed.split('\0').filter(|path| !path.is_empty()));
    openly("shellcheck", surroundings.apply(&mut shellcheck))
}
