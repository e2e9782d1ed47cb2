//! The event log and what stands beside it, on SQLite and on PostgreSQL.
//!
//! [`conformance`] says what both databases have to do alike; each of its tests runs on each.

#![expect(clippy::unwrap_used, reason = "it is a test to its last function")]

mod archive;
mod audit;
mod chain;
mod conformance;
mod cqrs;
mod crash;
mod erasures;
mod golden;
mod planted;
mod projector;
mod promises;
mod race;
mod read_models;
mod restore;
mod restore_again;
mod small_tables;
mod support;
mod tampering;
