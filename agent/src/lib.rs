//! The node's program: it carries out orders and reports facts, and takes no business decision.
//!
//! [`node`] receives orders and gives each to its [`workspace`]; a workspace is an actor that owns a
//! container, its sessions and what they publish. [`journal`] keeps what must survive, and
//! [`control_link`] keeps the one connection, which the agent dials itself. Containers are made by an
//! [`engine`], repositories are fetched and pushed by a [`mirror`].
//!
//! Invariants: an order is on disk before it is begun and its outcome before it is told; `journal`
//! alone knows SQL; git is never run inside a work tree; a credential never enters a container.
//!
//! Read next: [`node`].

mod acp;
pub mod clock;
pub mod coding_agent;
pub mod config;
pub mod control_link;
pub mod crash_point;
pub mod engine;
pub mod git;
pub mod holder;
pub mod journal;
pub mod mirror;
pub mod model_proxy;
pub mod node;
pub mod secrets;
pub mod session;
pub mod tasks;
pub mod token;
pub mod workspace;

/// Version and build, as told to the control plane.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
