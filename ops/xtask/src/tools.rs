//! Cargo's companions, compiled once into the private folder where the machine has none.

use std::path::PathBuf;

use crate::command::{Outcome, cargo, find, quietly};
use crate::places;

/// The folder for the path.
pub(crate) fn folder() -> Outcome<PathBuf> {
    Ok(places::cache()?.join("tools"))
}

pub(crate) fn ensure(program: &str) -> Outcome {
    let root = folder()?;
    if find(program).is_some() || root.join("bin").join(program).exists() {
        return Ok(());
    }
    // Without optimisation it is compiled in a third of the time and still fast enough here.
    let mut install = cargo(&["install", "--locked", "--debug", "--root"]);
    install.arg(&root).arg(program).env("CARGO_PROFILE_DEV_DEBUG", "0");
    install.env_remove("CARGO_TARGET_DIR");
    quietly(&format!("compiling {program}"), &mut install)
}
