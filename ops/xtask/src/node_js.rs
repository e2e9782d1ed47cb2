//! Node for building and testing the UI: recent, private, beside the system's own.

use std::path::PathBuf;
use std::process::Command;

use crate::command::{Outcome, answer_of, find, quietly};
use crate::places;

const MAJOR_MIN: u32 = 22;
const NODE: &str = "node@22";
/// Installed with it, because Debian's npm only works with Debian's Node.
const NPM: &str = "npm@11";

/// The folder to put first on the path, or nothing where the system's Node will do.
pub(crate) fn ensure() -> Outcome<Option<PathBuf>> {
    if is_recent(Command::new("node")) && find("npm").is_some() {
        return Ok(None);
    }
    let folder = private_folder()?;
    let programs = folder.join("node_modules/.bin");
    if !is_private_there() {
        std::fs::create_dir_all(&folder)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]);
        npm.arg(&folder).args([NODE, NPM]);
        quietly(&format!("installing {NODE} into {}", folder.display()), &mut npm)?;
    }
    Ok(Some(programs))
}

pub(crate) fn is_private_there() -> bool {
    let Ok(folder) = private_folder() else { return false };
    let programs = folder.join("node_modules/.bin");
    is_recent(Command::new(programs.join("node"))) && programs.join("npm").exists()
}

fn private_folder() -> Outcome<PathBuf> {
    Ok(places::cache()?.join("node-22"))
}

fn is_recent(mut node: Command) -> bool {
    let version = answer_of(node.arg("--version")).unwrap_or_default();
    major(&version).is_some_and(|major| major >= MAJOR_MIN)
}

fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(major("v22.23.3"), Some(22));
        assert_eq!(major("v9.0.0"), Some(9));
        assert_eq!(major(""), None);
    }
}
