//! What a person can read: one file per read model, each row decrypted and rendered as a document of
//! the API.
//!
//! Every read takes `after=POSITION` and waits a few seconds for the read models to get there, so that
//! whoever wrote something sees it.

pub mod account;
pub mod activity;
pub mod agents;
pub mod audit;
pub mod chat_search;
pub mod credentials;
pub mod executions;
pub mod ideas;
pub mod items;
pub mod log;
pub mod nodes;
pub mod projections;
pub mod projects;
pub mod replay;
pub mod sessions;
pub mod timeline;
pub mod variables;
pub mod workspaces;
