//! The agent as its neighbours see it: a control plane on a socket, an engine, a git remote.
//!
//! Nothing is skipped: without Docker, the base image or git these tests fail.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod control_plane;
mod crashes;
mod engine_contract;
mod journal;
mod link;
mod mirror;
mod model_proxy;
mod rig;
mod story;
mod variables;
