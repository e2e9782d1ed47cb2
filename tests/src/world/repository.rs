//! A bare Git repository with one commit, and what is on its branches.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

/// A remote on this machine.
#[derive(Clone, Debug)]
pub struct Repository {
    path: PathBuf,
}

impl Repository {
    /// Makes one whose default branch `main` has a README.
    pub fn create(path: &Path) -> Result<Self> {
        let work = path.with_extension("work");
        git(&["init", "-q", "-b", "main", text(&work)])?;
        std::fs::write(work.join("README.md"), "# Story\n\nA repository for tests.\n")?;
        git(&["-C", text(&work), "add", "."])?;
        let author = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
        git(&[&["-C", text(&work)], &author[..], &["commit", "-qm", "Begin"]].concat())?;
        git(&["clone", "-q", "--bare", text(&work), text(path)])?;
        std::fs::remove_dir_all(&work)?;
        Ok(Self { path: path.to_path_buf() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all refs but the default branch.
    pub fn references(&self) -> Result<Vec<String>> {
        let listed = self.git(&["for-each-ref", "--format=%(refname)"])?;
        let names = listed.lines().filter(|name| *name != "refs/heads/main");
        Ok(names.map(str::to_owned).collect())
    }

    /// The files of a branch with their contents, as one text: equal branches give equal texts.
    pub fn tree(&self, reference: &str) -> Result<String> {
        self.git(&["ls-tree", "-r", reference])
    }

    /// One file of a branch.
    pub fn file(&self, reference: &str, path: &str) -> Result<String> {
        self.git(&["show", &format!("{reference}:{path}")])
    }

    /// Runs git in the repository and gives back what it printed.
    pub fn git(&self, words: &[&str]) -> Result<String> {
        git(&[&["-C", text(&self.path)], words].concat())
    }
}

fn git(words: &[&str]) -> Result<String> {
    let output = Command::new("git").args(words).env("GIT_CONFIG_GLOBAL", "/dev/null").output()?;
    if !output.status.success() {
        bail!("git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
