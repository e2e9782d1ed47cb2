//! The control plane's storage: the event log, the small tables beside it, and the read models.
//!
//! The only crate that knows the control plane's SQL. It runs on SQLite and on PostgreSQL, chosen by
//! the URL, and one conformance suite (`tests/log`) holds both to the same behaviour.
//!
//! Read next: [`database`] opens the files, [`event_log`] appends and reads events, [`projection`]
//! and [`projector`] turn events into tables.

pub mod account_list;
pub mod activity_feed;
pub mod actor_names;
pub mod audit_trail;
pub mod chat_search;
pub mod chat_transcript;
pub mod checkpoint;
pub mod cqrs;
pub mod credential_list;
pub mod damaged_streams;
pub mod database;
pub mod erasure_ledger;
pub mod error;
pub mod event_index;
pub mod event_log;
pub mod execution_timeline;
pub mod hex;
pub mod idea_board;
pub mod keys;
pub mod lease_row;
pub mod meta;
pub mod node_directory;
pub mod open_intents;
pub mod project_overview;
pub mod projection;
pub mod projection_status;
pub mod projector;
pub mod read_models;
pub mod replay;
pub mod replica_list;
pub mod signed_heads;
pub mod snapshots;
pub mod sql;
pub mod summary;
pub mod timeline;
pub mod tokens;
pub mod variable_list;
pub mod vault;
pub mod workspace_list;

mod columns;
mod task;
