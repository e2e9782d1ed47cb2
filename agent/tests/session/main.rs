//! Sessions against the real holder and the real demo agent, with the agent killed at every point.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broken;
mod crashes;
mod story;
mod world;
