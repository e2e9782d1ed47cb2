//! What each command needs on the machine, in the order in which it is made.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::command::{Outcome, cargo, quietly};
use crate::options::Options;
use crate::packages::{self, Consent, Need};
use crate::{base_image, browser, engine, node_js, places, postgres, tools};

/// What other programs get to know about the machine.
pub(crate) struct Surroundings {
    pub(crate) path: OsString,
    variables: Vec<(&'static str, OsString)>,
}

impl Surroundings {
    pub(crate) fn apply<'command>(&self, command: &'command mut Command) -> &'command mut Command {
        command
            .env("PATH", &self.path)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
    }
}

const FOR_RUNNING: &[&Need] = &[
    &packages::CONTAINER_ENGINE,
    &packages::CONTAINER_CLIENT,
    &packages::FIREWALL,
    &packages::DEBOOTSTRAP,
    &packages::GIT,
    &packages::C_COMPILER,
    &packages::C_LIBRARY,
    &packages::CERTIFICATES,
];

const FOR_TESTING: &[&Need] = &[&packages::POSTGRES, &packages::SHELLCHECK];

/// Enough to build SAM and have an idea executed.
pub(crate) fn for_running(options: &Options) -> Outcome<Surroundings> {
    prepare(FOR_RUNNING, consent(options))
}

/// Enough for every check of `verify.rs`.
pub(crate) fn for_testing(consent: Consent) -> Outcome<Surroundings> {
    let mut needs = FOR_RUNNING.to_vec();
    needs.extend(FOR_TESTING);
    if has_ui() && browser::comes_from_apt() {
        needs.push(&packages::CHROMIUM);
    }
    let mut surroundings = prepare(&needs, consent)?;
    tools::ensure("cargo-nextest")?;
    tools::ensure("cargo-deny")?;
    quietly("fetching crates", &mut cargo(&["fetch", "--locked"]))?;
    let adapter = base_image::ensure_claude_code()?;
    surroundings.variables.push(("SAM_CLAUDE_AGENT_ACP", adapter.into()));
    surroundings.variables.push(("SAM_TEST_POSTGRES_URL", postgres::ensure()?.into()));
    if has_ui() {
        let browser = browser::ensure(&surroundings.path)?;
        surroundings.variables.push(("SAM_CHROMIUM", browser.into()));
    }
    Ok(surroundings)
}

/// A person at a terminal is asked once; `--yes` and CI have answered.
pub(crate) fn consent(options: &Options) -> Consent {
    let is_ci = env::var_os("CI").is_some_and(|value| value == "true");
    if options.yes || is_ci { Consent::Given } else { Consent::AskAtTerminal }
}

pub(crate) fn has_ui() -> bool {
    places::web().join("package.json").exists()
}

fn prepare(needs: &[&Need], consent: Consent) -> Outcome<Surroundings> {
    let mut needs = needs.to_vec();
    if has_ui() {
        needs.push(&packages::NPM);
    }
    packages::install_missing(&needs, consent)?;
    engine::ensure()?;
    base_image::ensure()?;
    let node = if has_ui() { node_js::ensure()? } else { None };
    Ok(Surroundings { path: search_path(node)?, variables: Vec::new() })
}

fn search_path(node: Option<PathBuf>) -> Outcome<OsString> {
    let current = env::var_os("PATH").unwrap_or_default();
    let folders = node
        .into_iter()
        .chain([tools::folder()?.join("bin")])
        .chain(env::split_paths(&current))
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    env::join_paths(folders)
        .map_err(|error| crate::command::Failure(format!("PATH cannot be extended: {error}")))
}
