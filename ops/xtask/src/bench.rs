//! `cargo xtask bench`: measures what `tests/benches` asks, beside a baseline of the same run.
//!
//! Everything is built at once and in one way, so that nothing is compiled twice or while something is measured.
//! It ends with all figures; one that is short of its goal is no failure.

use std::fs;

use crate::command::{Failure, Outcome, cargo, openly};
use crate::console::say;
use crate::options::Options;
use crate::{places, setup, web};

pub(crate) fn run(options: &Options) -> Outcome {
    let surroundings = setup::for_testing(setup::consent(options))?;
    web::build_if_stale(&surroundings)?;
    let benches = names()?;
    let chosen: Vec<&String> = match options.rest.first() {
        Some(name) => benches.iter().filter(|bench| *bench == name).collect(),
        None => benches.iter().collect(),
    };
    if chosen.is_empty() {
        return Err(Failure(format!("no such benchmark; there are: {}", benches.join(", "))));
    }
    let mut build = cargo(&["build", "--release", "--workspace", "--bins"]);
    build.args(chosen.iter().flat_map(|bench| ["--bench", bench]));
    openly("building what is measured", surroundings.apply(&mut build))?;
    let figures = places::target().join("figures.txt");
    // There is none at first.
    let _ = fs::remove_file(&figures);
    for bench in chosen {
        let mut measure = cargo(&["bench", "--workspace", "--bench", bench, "--"]);
        measure.args(options.rest.iter().skip(1));
        measure.env("SAM_BIN_DIR", places::target().join("release"));
        measure.env("SAM_FIGURES", &figures);
        openly(bench, surroundings.apply(&mut measure))?;
    }
    let said = fs::read_to_string(&figures)
        .map_err(|error| Failure(format!("cannot read {}: {error}", figures.display())))?;
    say(said.trim_end());
    Ok(())
}

/// Every file of `tests/benches` is one benchmark.
fn names() -> Outcome<Vec<String>> {
    let folder = places::repository().join("tests/benches");
    let entries = fs::read_dir(&folder)
        .map_err(|error| Failure(format!("cannot read {}: {error}", folder.display())))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_rust = path.extension().is_some_and(|extension| extension == "rs");
            is_rust.then(|| path.file_stem()?.to_str().map(str::to_owned)).flatten()
        })
        .collect();
    names.sort();
    Ok(names)
}
