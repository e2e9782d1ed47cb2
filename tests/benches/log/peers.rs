//! The event stores of npm and PyPI, from `tests/benches/peers`, on the same server with the same writers.
//!
//! Each is installed on demand into the cache folder, never into the repository.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use tests::{bench::run, postgres::Cluster};

const PERIOD_MS: u32 = 1500;

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
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let folder = cache.context("no home folder")?.join("sam/bench-peers").join(name);
    std::fs::create_dir_all(&folder)?;
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(name);
    for entry in std::fs::read_dir(manifest)? {
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
