//! The holder runs inside a container and owns what must outlive the agent on the node.
//!
//! It holds the coding agents' stdio and process groups and the shells' terminals, and spools both
//! directions to files; the agent attaches by offset, so that a restart or upgrade of the agent
//! loses nothing and interrupts nobody. The same binary clones the repository, brings the commits
//! out, and plays the demo agent. It is linked statically, because it must run in any image.
//!
//! Absent on purpose: ACP (but for the demo agent), ids of the domain, the network.
//!
//! Read next: [`protocol`] for what agent and holder say to each other.

mod attach;
mod begin;
mod demo;
mod follow;
mod init;
mod place;
mod processes;
mod program;
pub mod protocol;
mod repository;
mod run;
mod serve;
mod spool;
mod tasks;

use std::{env, io};

/// Runs the sub-command that the arguments name, and tells the exit code.
pub async fn run() -> io::Result<i32> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["init"] => init::init(None).await,
        ["init", "begin"] => init::init(Some("begin")).await,
        ["begin"] => begin::begin().await.map(|()| 0),
        ["serve"] => serve::serve().await.map(|()| 0),
        ["attach"] => attach::attach().await.map(|()| 0),
        ["setup", wish] => repository::setup(wish).map(|()| 0),
        ["bundle", wish] => repository::bundle(wish).map(|()| 0),
        ["demo-agent"] => demo::demo_agent().await.map(|()| 0),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "usage: sam-holder init [begin] | serve | begin | attach | setup JSON | bundle JSON \
             | demo-agent",
        )),
    }
}
