//! Runs aggregates and processes, and performs effects: the part of the control plane that acts.
//!
//! It alone decides what a node's agent is told. It knows neither HTTP nor SQL. actix stays behind
//! three files: the thread its loop runs on, the dispatcher and the aggregate actor.
//!
//! Read next: [`system`] starts everything, [`dispatcher`] brings commands to their actors.

pub mod agent_link;
mod aggregate_actor;
pub mod archive;
pub mod audit;
mod branch_name;
pub mod caller;
pub mod chat_search;
pub mod clock;
pub mod crash_points;
pub mod credentials;
pub mod dispatcher;
mod effects;
pub mod erasure;
pub mod faults;
mod idea_titles;
mod intent_runner;
mod lease;
pub mod live_hub;
pub mod model;
mod order;
pub mod preparation;
mod process_actor;
pub mod provider;
pub mod random;
mod replica;
mod report;
pub mod restore;
pub mod sealing;
pub mod settings;
pub mod sign_in;
pub mod signed_heads;
pub mod signing;
mod silence;
pub mod submit_idea;
pub mod sweeper;
pub mod system;
pub mod tasks;
mod timer;
pub mod variables;
pub mod write_side;
