//! Kill anything at any moment: the story goes on, and nothing is lost, doubled or left behind.
//!
//! Each round starts a SAM with a real repository and real containers, submits one idea, has a process killed by SIGKILL
//! at a named crash point or at a random moment, starts again whatever does not start by itself, and holds the end
//! against an undisturbed run. In the gate each point is visited once, the databases alternating, and 10 random kills;
//! with `SAM_NIGHTLY=1` each point on both databases, and 100.
//!
//! The coding agent is slow enough (a second of streaming) for kills to land in the middle of its turn.

#![expect(clippy::print_stdout, reason = "how many were killed is for people to see")]

mod checks;
mod erasure;
mod story;

use actors::crash_points::{ACCOUNT_ERASURE_CRASH_POINTS, ERASURE_CRASH_POINTS};
use anyhow::{Result, bail};
use tests::world::Store;

use erasure::What;
use story::{Kill, Story};

const STORES: [Store; 2] = [Store::Sqlite, Store::Postgres];

fn is_nightly() -> bool {
    std::env::var("SAM_NIGHTLY").is_ok_and(|value| value == "1")
}

/// Plays one round per kill, and tells how many there were and what was violated.
async fn survive_all(what: &str, kills: impl IntoIterator<Item = Kill>) -> Result<()> {
    let (mut n_rounds, mut n_killed, mut violations) = (0_usize, 0_usize, Vec::new());
    for kill in kills {
        let stores = match is_nightly() {
            true => STORES.to_vec(),
            false => vec![STORES[n_rounds % STORES.len()]],
        };
        for store in stores {
            n_rounds += 1;
            match Story::play(store, &kill).await {
                Ok(true) => n_killed += 1,
                Ok(false) if kill.is_certain() => {
                    println!("not passed: {kill} on {store:?}");
                    violations.push(format!("{kill} on {store:?}: the story never comes by"));
                }
                Ok(false) => println!("too late: {kill} on {store:?}"),
                Err(violation) => {
                    println!("violation: {kill} on {store:?}: {violation:#}");
                    violations.push(format!("{kill} on {store:?}: {violation:#}"));
                }
            }
        }
    }
    println!("crash {what}: {n_rounds} rounds, {n_killed} killed, {} violations", violations.len());
    if !violations.is_empty() {
        bail!("{}", violations.join("\n\n"));
    }
    if n_killed == 0 {
        bail!("no round was killed: the points are never passed");
    }
    Ok(())
}

#[tokio::test]
async fn an_execution_survives_the_control_plane_dying_at_each_named_point() -> Result<()> {
    survive_all("sam", actors::crash_points::CRASH_POINTS.iter().map(|name| Kill::at(name))).await
}

#[tokio::test]
async fn an_execution_survives_the_agent_dying_at_each_named_point() -> Result<()> {
    survive_all("sam-agent", agent::crash_point::CRASH_POINTS.iter().map(|name| Kill::at(name)))
        .await
}

#[tokio::test]
async fn an_execution_goes_on_after_the_holder_died_and_a_person_said_continue() -> Result<()> {
    let n_kills = if is_nightly() { 10 } else { 2 };
    survive_all("holder", (0..n_kills).map(Kill::holder)).await
}

#[tokio::test]
async fn an_execution_survives_kills_at_random_moments() -> Result<()> {
    let n_kills = if is_nightly() { 100 } else { 10 };
    survive_all("random", (0..n_kills).map(Kill::random)).await
}

#[tokio::test]
async fn an_erasure_survives_the_control_plane_dying_at_each_of_its_points() -> Result<()> {
    survive_erasures("erasure", &ERASURE_CRASH_POINTS, What::Project).await
}

#[tokio::test]
async fn an_erasure_of_an_account_survives_the_control_plane_dying_at_each_of_its_points()
-> Result<()> {
    let own = &ACCOUNT_ERASURE_CRASH_POINTS[..];
    // It comes by all points of its projects; the longest stretch with one of them is tried as well.
    survive_erasures("account erasure", &[own, &["erasure.after_written"]].concat(), What::Account)
        .await
}

async fn survive_erasures(name: &str, points: &[&str], what: What) -> Result<()> {
    let (mut n_rounds, mut violations) = (0_usize, Vec::new());
    for point in points {
        let stores = match is_nightly() {
            true => STORES.to_vec(),
            false => vec![STORES[n_rounds % STORES.len()]],
        };
        for store in stores {
            n_rounds += 1;
            match erasure::survive(store, point, what).await {
                Ok(true) => {}
                Ok(false) => violations.push(format!("{point} on {store:?}: never passed")),
                Err(violation) => violations.push(format!("{point} on {store:?}: {violation:#}")),
            }
        }
    }
    println!("crash {name}: {n_rounds} rounds, {} violations", violations.len());
    if !violations.is_empty() {
        bail!("{}", violations.join("\n\n"));
    }
    Ok(())
}
