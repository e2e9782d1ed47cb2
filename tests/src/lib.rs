//! What the tests of several crates share.

pub mod bench;
pub mod oracle;
pub mod plain_agent;
pub mod postgres;
pub mod scripted_model;
pub mod world;
