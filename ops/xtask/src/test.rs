//! `cargo xtask test`: set up this machine, then everything that `verify` checks.

use crate::command::Outcome;
use crate::options::Options;
use crate::{setup, verify};

pub(crate) fn run(options: &Options) -> Outcome {
    let surroundings = setup::for_testing(setup::consent(options))?;
    verify::check(&surroundings, options.only.as_deref())
}
