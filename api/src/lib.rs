//! The control plane's door: HTTP, WebSocket, the web UI and the `sam` command.
//!
//! It carries bytes, authenticates, translates, dispatches and renders, and decides nothing.
//!
//! Read next: `routes.rs` for what is served where, `caller.rs` for who may ask.

pub mod access;
pub mod caller;
pub mod cli;
pub mod commands;
pub mod config;
pub mod headers;
pub mod health;
pub mod host;
pub mod live;
pub mod metrics;
pub mod openapi;
pub mod problem;
pub mod queries;
pub mod reading;
pub mod routes;
pub mod sample_repository;
pub mod server;
pub mod texts;
pub mod web_assets;
pub mod wire;

/// Of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
