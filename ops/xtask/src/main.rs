//! `cargo xtask`: the commands a person and CI use on this repository.
//!
//! Each command first makes the machine able to do what is asked (container engine, Node, the
//! workspace image; for tests also PostgreSQL and a browser), says so before it installs
//! anything, and does nothing the second time. Every step is either done or fails with one
//! sentence; none is skipped.
//!
//! Uses no crate, ours or foreign, so that it compiles in a second.
//!
//! Read next: `setup.rs` for what each command needs, `verify.rs` for what a green run means.
#![expect(clippy::print_stderr, reason = "a command line tool talks to a person")]

mod base_image;
mod bench;
mod browser;
mod command;
mod console;
mod engine;
mod nightly;
mod node_js;
mod options;
mod packages;
mod places;
mod postgres;
mod run;
mod setup;
mod test;
mod tools;
mod verify;
mod web;

use std::process::ExitCode;

use command::Outcome;
use options::{Options, Verb};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(failure) => {
            eprintln!("error: {failure}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match perform(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn perform(options: &Options) -> Outcome {
    match options.verb {
        Verb::Run => run::run(options),
        Verb::Test => test::run(options),
        Verb::Verify => verify::run(options),
        Verb::Bench => bench::run(options),
        Verb::Nightly => nightly::run(options),
    }
}
