//! Files of the repository, and nothing outside it.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// What a write changed.
pub(super) struct Written {
    pub(super) path: PathBuf,
    pub(super) before: Option<String>,
}

/// Finds where `path` is inside `root`. Refuses everything that leads out of it, by `..` or by a
/// symbolic link.
pub(super) fn inside(root: &Path, path: &str) -> io::Result<PathBuf> {
    let refused = || {
        let reason = format!("{path} is not inside the repository");
        io::Error::new(io::ErrorKind::PermissionDenied, reason)
    };
    let root = root.canonicalize()?;
    let mut place = root.clone();
    let relative = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(path));
    for component in relative.components() {
        match component {
            Component::Normal(name) => place.push(name),
            Component::CurDir => continue,
            _ => return Err(refused()),
        }
        if place.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
            place = place.canonicalize().map_err(|_| refused())?;
        }
        if !place.starts_with(&root) {
            return Err(refused());
        }
    }
    if place == root { Err(refused()) } else { Ok(place) }
}

/// Writes a file inside `root`, with the directories it needs.
pub(super) fn write(root: &Path, path: &str, text: &str) -> io::Result<Written> {
    let place = inside(root, path)?;
    let before = fs::read_to_string(&place).ok();
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&place, text)?;
    Ok(Written { path: place, before })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::inside;

    #[test]
    fn nothing_leads_out_of_the_repository() {
        let root = std::env::temp_dir().join(format!("sam-demo-{}", std::process::id()));
        fs::create_dir_all(root.join("src")).unwrap();
        let _ = fs::remove_file(root.join("out"));
        symlink("/etc", root.join("out")).unwrap();
        let _ = fs::remove_file(root.join("in"));
        symlink("src", root.join("in")).unwrap();
        for path in ["../x", "/etc/x", "src/../../x", "out/x", "out", "", "."] {
            assert!(inside(&root, path).is_err(), "{path} must be refused");
        }
        let root = root.canonicalize().unwrap();
        assert_eq!(inside(&root, "a/b").unwrap(), root.join("a/b"));
        assert_eq!(inside(&root, "in/x").unwrap(), root.join("src/x"));
        assert_eq!(inside(&root, root.join("y").to_str().unwrap()).unwrap(), root.join("y"));
        fs::remove_dir_all(root).unwrap();
    }
}
