//! Starting other programs, and saying in one sentence what went wrong.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::console::with_progress;
use crate::places;

/// One sentence for the person at the terminal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) String);

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// How many lines of a failed program's output are repeated.
const LINES_SHOWN: usize = 25;

/// Runs a program whose output only matters if it fails; it is kept in the private folder.
pub(crate) fn quietly(title: &str, command: &mut Command) -> Outcome {
    let name: String =
        title.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let log = places::cache()?.join(format!("{name}.log"));
    let output = File::create(&log)?;
    command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
    let status = with_progress(title, || command.status())
        .map_err(|error| Failure(format!("{title}: cannot start {}: {error}", text(command))))?;
    if status.success() {
        return Ok(());
    }
    let output = std::fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = output.lines().collect();
    for line in &lines[lines.len().saturating_sub(LINES_SHOWN)..] {
        eprintln!("  {line}");
    }
    Err(Failure(format!("{title}: {} ended with {status} ({})", text(command), log.display())))
}

/// Runs a program whose output the person should see.
pub(crate) fn openly(title: &str, command: &mut Command) -> Outcome {
    let status = command
        .status()
        .map_err(|error| Failure(format!("{title}: cannot start {}: {error}", text(command))))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure(format!("{title}: {} ended with {status}", text(command))))
}

/// The trimmed standard output of a program that succeeds.
pub(crate) fn answer_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let answer = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| answer.trim().to_owned())
}

/// Where a program is; `sbin` counts although it is not on everybody's path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    std::env::split_paths(&path)
        .chain(sbin)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

pub(crate) fn is_root() -> bool {
    answer_of(Command::new("id").arg("-u")).as_deref() == Some("0")
}

/// A program run as root: through sudo where we are somebody else.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Outcome<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    let sudo = find("sudo").ok_or_else(|| {
        let name = program.as_ref().to_string_lossy().into_owned();
        Failure(format!("{name} needs root: run this as root, or install sudo"))
    })?;
    let mut command = Command::new(sudo);
    command.arg(program);
    Ok(command)
}

/// A program run in the repository.
pub(crate) fn in_repository(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(places::repository());
    command
}

/// `cargo`, as if it had not been started by another cargo.
pub(crate) fn cargo(words: &[&str]) -> Command {
    let mut command = in_repository("cargo");
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name.as_ref());
        }
    }
    command.args(words);
    command
}

/// A script of ours.
pub(crate) fn script(path: &str) -> Command {
    let mut command = in_repository("bash");
    command.arg(Path::new("ops").join(path));
    command
}

fn text(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{answer_of, find, openly};

    #[test]
    fn a_program_that_fails_is_named_with_its_words() {
        let failure = openly("trying", Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(failure.0, "trying: sh -c exit 3 ended with exit status: 3");
    }

    #[test]
    fn only_an_answer_of_success_counts() {
        assert_eq!(answer_of(Command::new("echo").arg("yes")).as_deref(), Some("yes"));
        assert_eq!(answer_of(Command::new("sh").args(["-c", "echo no; exit 1"])), None);
        assert_eq!(answer_of(&mut Command::new("no-such-program")), None);
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program").is_none());
    }
}
