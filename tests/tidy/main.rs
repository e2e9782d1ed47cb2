//! The rules of this repository that no compiler checks. Each is one test, and each failure says
//! file, line, and what to do about it.
//!
//! What is style rather than rule stands in `ops/style.md`; what a lint can hold is in
//! `Cargo.toml` and `clippy.toml`.

mod dependencies;
mod documents;
mod domain_rules;
mod event_names;
mod files;
mod migrations;
mod names;
mod sources;
