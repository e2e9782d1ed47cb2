//! Builds the holder as a static binary, so that `agent/src/holder.rs` can embed it.
//!
//! A nested cargo, because a crate cannot yet depend on another one's binary. It has a target
//! directory of its own, so it does not wait for the lock of the outer one.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("holder/Cargo.toml");
    let out = PathBuf::from(variable("OUT_DIR"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=holder/src");
    println!("cargo::rerun-if-changed=holder/Cargo.toml");
    println!("cargo::rerun-if-changed=../Cargo.lock");

    // glibc can be linked statically where nothing looks up host names or users.
    let target = format!("{}-unknown-linux-gnu", variable("CARGO_CFG_TARGET_ARCH"));
    let target_directory = out.join("holder-target");
    let mut cargo = Command::new(variable("CARGO"));
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let is_ours = ["CARGO_HOME", "CARGO_NET_OFFLINE"].contains(&name.as_str());
        // What the outer cargo says about this crate and its profile is wrong for the inner one.
        if (name.starts_with("CARGO") || name.starts_with("RUSTC")) && !is_ours {
            cargo.env_remove(name);
        }
    }
    // Everything it needs was fetched for the outer build already.
    let status = cargo
        .args(["build", "--quiet", "--offline", "--profile", "holder", "--bin", "sam-holder"])
        .arg("--manifest-path")
        .arg(&manifest)
        .args(["--target", &target])
        .arg("--target-dir")
        .arg(&target_directory)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("the holder does not build: {status}"),
        Err(error) => panic!("cargo cannot be started: {error}"),
    }
    let built = target_directory.join(&target).join("holder/sam-holder");
    copy(&built, &out.join("sam-holder"));
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// Copies only what has changed, so that nothing is rebuilt for the same holder.
fn copy(from: &Path, to: &Path) {
    let read = |path: &Path| std::fs::read(path).unwrap_or_default();
    let built = read(from);
    assert!(!built.is_empty(), "{} is not there", from.display());
    if built != read(to) {
        std::fs::write(to, built).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
    }
}
