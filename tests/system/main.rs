//! User stories against the real `sam`, its real agent, real containers and a real Git remote.
//!
//! Each test has a whole SAM of its own (`tests::world`), which fails the test if it leaves a container,
//! a volume or a process behind.

mod audit;
mod bad_coding_agent;
mod bad_input;
mod bad_machine;
mod browser;
mod command_line;
mod doors;
mod erased_replay;
mod full_disk;
mod late_feed;
mod live_ends;
mod permission;
mod projections;
mod replay;
mod replicas;
mod restore;
mod storage;
mod story;
mod titles;
mod variables;
