//! The UI's own tools, called by the names of the scripts in its `package.json`.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use crate::command::{Outcome, openly, quietly};
use crate::places;
use crate::setup::{self, Surroundings};

/// Fetches what the lock file names, unless that was done since it changed.
pub(crate) fn install(path: &OsStr) -> Outcome {
    let web = places::web();
    let is_done = changed(&web.join("node_modules/.package-lock.json")).is_some_and(|done| {
        changed(&web.join("package-lock.json")).is_some_and(|lock| lock <= done)
    });
    if is_done {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.current_dir(&web).env("PATH", path);
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
    quietly("fetching the UI's packages", &mut npm)
}

/// Runs one script and shows what it says.
pub(crate) fn run_script(name: &str, surroundings: &Surroundings) -> Outcome {
    openly(&format!("UI {name}"), npm_run(name, surroundings).as_mut())
}

/// Makes `api/web/dist`, which `cargo build` embeds, unless it is newer than every source.
pub(crate) fn build_if_stale(surroundings: &Surroundings) -> Outcome {
    if !setup::has_ui() {
        return Ok(());
    }
    install(&surroundings.path)?;
    let web = places::web();
    let built = changed(&web.join("dist/index.html"));
    if built.is_some_and(|built| newest_source(&web).is_some_and(|source| source <= built)) {
        return Ok(());
    }
    quietly("building the UI", npm_run("build", surroundings).as_mut())
}

fn npm_run(name: &str, surroundings: &Surroundings) -> Box<Command> {
    let mut npm = Box::new(Command::new("npm"));
    surroundings.apply(&mut npm).current_dir(places::web()).args(["run", "--silent", name]);
    npm
}

fn changed(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// When any file of the UI changed last; what is fetched or built does not count.
fn newest_source(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).ok()?;
    let times = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        match path.file_name()?.to_str()? {
            "node_modules" | "dist" | "test-results" => None,
            _ if path.is_dir() => newest_source(&path),
            _ => changed(&path),
        }
    });
    times.max()
}
