//! Where the holder keeps its files: one directory that whatever user it runs as may write.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::PathBuf,
};

use rustix::fs::{Access, access};

/// Overrides the place, for tests and for images with a better one.
pub(crate) const PLACE_VARIABLE: &str = "SAM_HOLDER_DIR";

/// Finds the directory, and makes it if it is missing; only its owner may look inside.
pub(crate) fn directory() -> io::Result<PathBuf> {
    if let Some(directory) = env::var_os(PLACE_VARIABLE) {
        return make(PathBuf::from(directory));
    }
    let user = rustix::process::geteuid().as_raw();
    make(PathBuf::from("/var/lib/sam"))
        .or_else(|_| make(PathBuf::from(format!("/tmp/sam-holder-{user}"))))
}

fn make(directory: PathBuf) -> io::Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
    if fs::metadata(&directory)?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    // Being the owner is not enough on a read-only file system.
    access(&directory, Access::WRITE_OK)?;
    Ok(directory)
}

/// The socket that `serve` listens on.
pub(crate) fn socket() -> io::Result<PathBuf> {
    Ok(directory()?.join("holder.sock"))
}
