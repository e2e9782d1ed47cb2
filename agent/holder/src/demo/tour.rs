//! What the demo agent finds when it looks round a repository.

use std::{collections::BTreeMap, fs, path::Path};

/// How many files it looks at before it calls it a day.
const FILES_MAX: usize = 10_000;

/// What is there to be seen.
pub(super) struct Sights {
    pub(super) n_files: usize,
    /// Kinds of files by number, most first.
    kinds: Vec<(String, usize)>,
    /// The first heading of the README.
    heading: Option<String>,
}

/// Counts the files below `root`, hidden ones aside.
pub(super) fn look_round(root: &Path) -> Sights {
    let mut kinds = BTreeMap::<String, usize>::new();
    let mut n_files = 0;
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(kind) = entry.file_type() else { continue };
            if name.starts_with('.') || name == "node_modules" || name == "target" {
                continue;
            }
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() && n_files < FILES_MAX {
                let extension = Path::new(&name).extension();
                let kind = extension.map_or("no extension".to_string(), |extension| {
                    format!(".{}", extension.to_string_lossy())
                });
                *kinds.entry(kind).or_default() += 1;
                n_files += 1;
            }
        }
    }
    let mut kinds: Vec<(String, usize)> = kinds.into_iter().collect();
    kinds.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    Sights { n_files, kinds, heading: heading(root) }
}

fn heading(root: &Path) -> Option<String> {
    let readme = fs::read_to_string(root.join("README.md")).ok()?;
    let heading = readme.lines().find_map(|line| line.strip_prefix("# "))?;
    Some(heading.trim().to_string())
}

impl Sights {
    /// One sentence about the repository.
    pub(super) fn sentence(&self) -> String {
        let kinds: Vec<String> =
            self.kinds.iter().take(4).map(|(kind, n)| format!("{n} × {kind}")).collect();
        let files = match self.n_files {
            1 => "1 file".to_string(),
            n => format!("{n} files"),
        };
        let kinds =
            if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        match &self.heading {
            Some(heading) => format!("“{heading}” has {files}{kinds}."),
            None => format!("The repository has {files}{kinds}."),
        }
    }

    /// The text of `SAM-DEMO.md`.
    pub(super) fn note(&self, prompt: &str) -> String {
        let quoted: Vec<String> = prompt.lines().map(|line| format!("> {line}")).collect();
        format!(
            "# A note from the SAM demo agent\n\n{}\n\nThe idea was:\n\n{}\n\n\
             The demo agent does not understand ideas; it shows the way from an idea to a branch. \
             Add a key in Settings to let a real coding agent work on it.\n",
            self.sentence(),
            quoted.join("\n"),
        )
    }
}
