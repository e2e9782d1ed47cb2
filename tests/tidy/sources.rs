//! The files under version control, read once, and the list of what is wrong with them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// A text file of the repository.
pub(crate) struct Source {
    /// Relative to the top of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Rust or TypeScript that people write and read.
    pub(crate) fn is_code(&self) -> bool {
        [".rs", ".ts", ".tsx"].iter().any(|end| self.path.ends_with(end)) && !self.is_generated()
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Made by a tool from something else that is read instead.
    pub(crate) fn is_generated(&self) -> bool {
        self.path.ends_with("generated.ts") || self.is_lock_file()
    }

    pub(crate) fn is_lock_file(&self) -> bool {
        self.path.ends_with("Cargo.lock") || self.path.ends_with("package-lock.json")
    }

    /// Lines with their numbers, as an editor counts them.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Lines of Rust without comments and without the file's own test module.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines()
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// Every text file that is tracked, or would be after `git add`.
pub(crate) static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let listed = git(&["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let mut paths: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    let sources: Vec<Source> = paths
        .into_iter()
        .filter_map(|path| {
            // Pictures are no text, and a file that was just removed is still listed.
            let text = std::fs::read_to_string(top().join(path)).ok()?;
            Some(Source { path: path.to_owned(), text })
        })
        .collect();
    assert!(
        sources.len() > 20,
        "git lists only {} files: these rules would see nothing",
        sources.len()
    );
    sources
});

pub(crate) fn top() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

pub(crate) fn git(words: &[&str]) -> String {
    let output = Command::new("git").current_dir(top()).args(words).output();
    let output = output.expect("git runs: these rules are about the files it tracks");
    assert!(
        output.status.success(),
        "git {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("git answers in UTF-8")
}

/// What breaks one rule, with what to do about it.
pub(crate) struct Violations {
    advice: &'static str,
    found: Vec<String>,
}

impl Violations {
    pub(crate) fn new(advice: &'static str) -> Self {
        Self { advice, found: Vec::new() }
    }

    pub(crate) fn add(&mut self, path: &str, line: usize, what: &str) {
        self.found.push(format!("{path}:{line}: {what}"));
    }

    #[track_caller]
    pub(crate) fn assert_none(self) {
        assert!(self.found.is_empty(), "\n{}\n→ {}\n", self.found.join("\n"), self.advice);
    }
}
