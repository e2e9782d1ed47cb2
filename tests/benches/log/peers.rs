//! The event stores of others, from `tests/benches/peers`: those of npm and PyPI on the same server with the same
//! writers, and sqlite-es with the same commands of as many aggregates on the same disk.
//!
//! Each is installed on demand into the cache folder, never into the repository. sqlite-es is a program of its own,
//! with a lock file of its own, because it brings a second cryptography provider.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use tests::{
    bench::{Figures, Folder, Goal, run, say},
    postgres::Cluster,
    world::random,
};

const PERIOD_MS: u32 = 1500;
/// As many as our side keeps busy.
const N_AGGREGATES: u32 = 64;
/// Of sqlite-es, after its first, which is not counted.
const N_ROUNDS: u32 = 3;
/// The size of its default pool.
const DEFAULT_CONNECTIONS: u32 = 10;
const TIMES_SQLITE_ES_MIN: f64 = 8.0;

/// Adds our appends on SQLite, of which there is a figure, beside those of sqlite-es.
///
/// Its goal is against what it is unmodified, with its own pool of connections. They fight for the one lock that
/// a database file has; what it does with a single one stands beside it.
pub(crate) fn add_sqlite_es(figures: &mut Figures, prefix: &str, folder: &Folder) -> Result<()> {
    let ours = figures.value(&format!("log/{prefix}sqlite_64"));
    let ours = ours.context("our appends on SQLite are measured first")?;
    let unmodified = sqlite_es(folder, DEFAULT_CONNECTIONS);
    let on_one = sqlite_es(folder, 1);
    let goal = Goal::AtLeast(TIMES_SQLITE_ES_MIN);
    for (name, rate, goal) in
        [("sqlite_es", unmodified, goal), ("sqlite_es_on_one_connection", on_one, Goal::None)]
    {
        let rate = rate.unwrap_or_else(|reason| {
            say(&format!("{name} could not be measured, which fails its figure: {reason:#}"));
            f64::INFINITY
        });
        if rate.is_finite() {
            figures.add(&format!("log/{prefix}{name}_64"), rate, "appends/s", Goal::None);
        }
        figures.add(&format!("log/{prefix}sqlite_to_{name}"), ours / rate, "times", goal);
    }
    Ok(())
}

fn sqlite_es(folder: &Folder, n_connections: u32) -> Result<f64> {
    let target = cache("sqlite_es")?.display().to_string();
    let manifest = manifests("sqlite_es").join("Cargo.toml").display().to_string();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let program = format!("{target}/release/sqlite_es_peer");
    if !Path::new(&program).exists() {
        say("sqlite-es is built, which takes some minutes once");
    }
    let build = ["build", "--quiet", "--release", "--locked", "--manifest-path", &manifest];
    run(&cargo, &[&build[..], &["--target-dir", &target]].concat())?;
    let file = folder.path().join(format!("sqlite-es-{}.db", random())).display().to_string();
    let numbers = [N_AGGREGATES, n_connections, N_ROUNDS, PERIOD_MS].map(|n| n.to_string());
    let [aggregates, connections, rounds, period] = numbers.each_ref().map(String::as_str);
    let printed = run(&program, &[&file, aggregates, connections, rounds, period])?;
    for line in printed.lines().rev().skip(1) {
        say(&format!("sqlite-es on {n_connections} connections: {line}"));
    }
    number(&printed)
}

/// Appends a second of each peer, or why it could not be measured.
pub(crate) fn rates(
    n_writers: usize,
    cluster: &Cluster,
) -> Result<[(&'static str, Result<f64>); 2]> {
    let writers = n_writers.to_string();
    let [one, two] = [cluster.database()?, cluster.database()?];
    Ok([("emmett", emmett(&one, &writers)), ("eventsourcing", eventsourcing(&two, &writers))])
}

fn emmett(url: &str, writers: &str) -> Result<f64> {
    let folder = installed("emmett", |folder| {
        let status = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--silent"])
            .current_dir(folder)
            .status()
            .context("npm cannot be started")?;
        anyhow::ensure!(status.success(), "npm install failed");
        Ok(())
    })?;
    let script = folder.join("bench.js").display().to_string();
    number(&run("node", &[&script, url, writers, &PERIOD_MS.to_string()])?)
}

fn eventsourcing(url: &str, writers: &str) -> Result<f64> {
    let folder = installed("eventsourcing", |folder| {
        let path = |name: &str| folder.join(name).display().to_string();
        run("python3", &["-m", "venv", &path("venv")])?;
        run(&path("venv/bin/pip"), &["install", "--quiet", "-r", &path("requirements.txt")])?;
        Ok(())
    })?;
    let (user_and_database, socket) = url.split_once("?host=").context("a socket's URL")?;
    let (user, database) = user_and_database
        .strip_prefix("postgres://")
        .and_then(|rest| rest.split_once("@localhost/"))
        .context("a URL of the test server")?;
    let python = folder.join("venv/bin/python").display().to_string();
    let script = folder.join("bench.py").display().to_string();
    number(&run(&python, &[&script, socket, database, user, writers, &PERIOD_MS.to_string()])?)
}

fn number(printed: &str) -> Result<f64> {
    Ok(printed.lines().last().unwrap_or_default().trim().parse()?)
}

/// The folder of a peer in the cache, with what its manifest names.
fn installed(name: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = cache(name)?;
    for entry in std::fs::read_dir(manifests(name))? {
        let entry = entry?;
        std::fs::copy(entry.path(), folder.join(entry.file_name()))?;
    }
    let is_done = folder.join("installed");
    if !is_done.exists() {
        install(&folder)?;
        std::fs::write(is_done, "")?;
    }
    Ok(folder)
}

fn manifests(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(name)
}

fn cache(name: &str) -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let folder = cache.context("no home folder")?.join("sam/bench-peers").join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
