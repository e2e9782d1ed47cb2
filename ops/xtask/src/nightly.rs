//! `cargo xtask nightly`: the tests in their long form, then the measurements.
//!
//! `SAM_NIGHTLY=1` makes the crash tests take every point on both databases and a hundred random
//! moments, where the gate takes each point once.

use crate::bench;
use crate::command::{Outcome, cargo, openly};
use crate::options::Options;
use crate::{setup, web};

pub(crate) fn run(options: &Options) -> Outcome {
    let surroundings = setup::for_testing(setup::consent(options))?;
    web::build_if_stale(&surroundings)?;
    let mut build = cargo(&["build", "--workspace", "--all-targets"]);
    openly("building", surroundings.apply(&mut build))?;
    let mut tests =
        cargo(&["nextest", "run", "--workspace", "--profile", "nightly", "--no-fail-fast"]);
    tests.args(["-E", "package(tests)"]).env("SAM_NIGHTLY", "1");
    openly("the long tests", surroundings.apply(&mut tests))?;
    bench::run(options)
}
