//! Makes sure that the folder of the built UI exists, so that `cargo build` works without Node.

use std::{env, fs, path::PathBuf};

fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=web/dist");
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    fs::create_dir_all(manifest.join("web/dist"))
}
