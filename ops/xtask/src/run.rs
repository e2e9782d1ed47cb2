//! `cargo xtask run`: from a fresh machine to a SAM that answers in the browser.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::command::{Failure, Outcome, cargo, openly};
use crate::options::Options;
use crate::{places, setup, web};

pub(crate) fn run(options: &Options) -> Outcome {
    let surroundings = setup::for_running(options)?;
    web::build_if_stale(&surroundings)?;
    let mut build = cargo(&["build", "--workspace", "--bins"]);
    openly("building SAM", surroundings.apply(&mut build))?;
    let sam = places::target().join("debug/sam");
    let mut serve = Command::new(&sam);
    surroundings.apply(&mut serve).arg("serve").args(&options.rest);
    // Takes this process's place, so that signals and the exit code are the server's own.
    let error = serve.exec();
    Err(Failure(format!("cannot start {}: {error}", sam.display())))
}
