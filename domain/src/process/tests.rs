//! All processes and aggregates together, with an outside world by script.

mod outside;
mod scheduler;
mod stories;
mod world;
