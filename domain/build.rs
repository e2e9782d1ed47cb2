//! Gives the rules of this build a fingerprint: that of the sources. A kept state was folded by some
//! version of `evolve` into some version of a struct; where either may have changed, it is not used.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::Path,
};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=src");
    let mut sources = BTreeMap::new();
    collect(Path::new("src"), &mut sources)?;
    let mut hasher = DefaultHasher::new();
    sources.hash(&mut hasher);
    println!("cargo::rustc-env=DOMAIN_FINGERPRINT={:016x}", hasher.finish());
    Ok(())
}

/// All sources but tests, by their path.
fn collect(folder: &Path, sources: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, sources)?;
        } else if path.file_name().is_some_and(|name| name != "tests.rs") {
            sources.insert(path.display().to_string(), fs::read_to_string(&path)?);
        }
    }
    Ok(())
}
