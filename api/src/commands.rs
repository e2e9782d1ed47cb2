//! What a person can ask for: one file per noun, each handler translates, authorises, dispatches and
//! answers `202` with the position of its write.

pub mod account;
pub mod credential;
pub mod execution;
pub mod idea;
pub mod node;
pub mod project;
pub mod projection;
pub mod session;
pub mod variable;
