//! Where things are: the repository, and the private folder for what is fetched once.

use std::env;
use std::path::{Path, PathBuf};

use crate::command::{Failure, Outcome};

/// The top of the repository.
pub(crate) fn repository() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_path_buf()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => repository().join(folder),
        None => repository().join("target"),
    }
}

/// Holds tools, logs and the test database; safe to delete while nothing runs.
pub(crate) fn cache() -> Outcome<PathBuf> {
    let folder = if let Some(own) = env::var_os("SAM_CACHE_DIR") {
        PathBuf::from(own)
    } else if let Some(shared) = env::var_os("XDG_CACHE_HOME") {
        Path::new(&shared).join("sam")
    } else {
        let home = env::var_os("HOME");
        let home = home.ok_or_else(|| Failure("HOME is not set".to_owned()))?;
        Path::new(&home).join(".cache/sam")
    };
    std::fs::create_dir_all(&folder)
        .map_err(|error| Failure(format!("cannot create {}: {error}", folder.display())))?;
    Ok(folder)
}

/// The UI's sources.
pub(crate) fn web() -> PathBuf {
    repository().join("api/web")
}
