//! The browser in which the UI's stories are clicked through.

use std::path::PathBuf;
use std::process::Command;

use crate::command::{Failure, Outcome, find, in_repository, quietly};
use crate::{places, web};

/// Ubuntu's package of that name is a snap, which does not run everywhere.
pub(crate) fn comes_from_apt() -> bool {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    !release.lines().any(|line| line == "ID=ubuntu")
}

pub(crate) fn ensure(path: &std::ffi::OsStr) -> Outcome<PathBuf> {
    if let Some(browser) = find("chromium").or_else(|| find("google-chrome")) {
        return Ok(browser);
    }
    web::install(path)?;
    let folder = places::cache()?.join("browsers");
    let mut install = in_repository("npx");
    install.current_dir(places::web()).env("PATH", path);
    install.env("PLAYWRIGHT_BROWSERS_PATH", &folder);
    install.args(["playwright-core", "install", "--with-deps", "chromium"]);
    quietly("fetching Chromium", &mut install)?;
    newest_chrome(&folder)
        .ok_or_else(|| Failure(format!("no Chromium under {} after its set-up", folder.display())))
}

fn newest_chrome(folder: &std::path::Path) -> Option<PathBuf> {
    let mut find = Command::new("find");
    find.arg(folder).args(["-type", "f", "-name", "chrome", "-perm", "-u+x"]);
    let found = crate::command::answer_of(&mut find)?;
    found.lines().max().map(PathBuf::from)
}
