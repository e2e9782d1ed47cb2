//! Whole stories on the simulated machine, on both databases, with everything going wrong that can.
//!
//! Whatever happens, in the end an idea is done or parked, nothing waits for an outcome, no slot is taken and
//! no container is left. What is random here follows from a seed, which a failure prints.

#![expect(clippy::unwrap_used, reason = "it is a test to its last function")]
#![expect(
    clippy::print_stdout,
    reason = "a failure has to say where it happened and by which seed"
)]

mod account_erasure;
mod chat_search;
mod commands;
mod erasure;
mod golden;
mod images;
mod lease;
mod luck;
mod models;
mod newer_program;
mod replay;
mod restart;
mod story;
mod sweeper;
mod titles;
mod variables;
mod world;
