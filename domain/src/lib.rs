//! The rules of SAM: what may happen, and what follows from what happened.
//!
//! Absent on purpose: input and output, clocks, randomness, async. Time, ids, limits and periods
//! arrive inside commands, so that every decision can be repeated from the log.
//!
//! Read next: [`event_sourced`](mod@event_sourced) for the shape of an aggregate, [`process`] for that of a process.

pub mod account;
pub mod agent_protocol;
pub mod aggregate;
pub mod credential;
pub mod event;
pub mod event_sourced;
pub mod execution;
pub mod idea;
pub mod ids;
pub mod node;
pub mod process;
pub mod project;
pub mod retention;
pub mod session;
#[cfg(test)]
mod testing;
pub mod values;
pub mod workspace;
