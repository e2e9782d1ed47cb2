//! Files that are on disk when a function returns, and put into their place as a whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// Copies a file for its owner only.
pub(super) fn copy_file(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copy = || -> std::io::Result<()> {
        let mut source = File::open(from)?;
        let mut target = create(to)?;
        std::io::copy(&mut source, &mut target)?;
        target.sync_all()
    };
    copy().with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))
}

pub(super) fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

/// Puts a copy of a file into a place, which may be on another disk: a crash leaves all of it there or nothing.
pub(super) fn put_copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let draft = with_suffix(to, ".new");
    // Left by one that was cut off.
    remove_if_there(&draft)?;
    copy_file(from, &draft)?;
    put(&draft, to)
}

/// Moves a file that is on disk into its place on the same disk.
pub(super) fn put(from: &Path, to: &Path) -> anyhow::Result<()> {
    let put = fs::rename(from, to).and_then(|()| sync_folder_of(to));
    put.with_context(|| format!("{} cannot be put to {}", from.display(), to.display()))
}

/// Tells whether there was one.
pub(super) fn remove_if_there(path: &Path) -> anyhow::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("{} cannot be removed", path.display())),
    }
}

/// The files that SQLite has beside one of its own, or that one with an empty suffix.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
