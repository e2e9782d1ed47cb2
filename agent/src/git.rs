//! Runs the node's own git, never with a prompt and never for ever.
//!
//! Every command runs in a process group of its own that is killed when its time is up or nobody
//! waits for it any more, so that no `ssh` is left behind. Hooks are off, `ext::` URLs are refused, and
//! nothing is ever run inside a work tree: a repository's own configuration could start programs
//! there.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, ChildStdout, Command},
};

/// A fetch or a push over a slow network.
pub const REMOTE_PERIOD_MAX: Duration = Duration::from_secs(600);
/// Anything that needs no network.
pub const LOCAL_PERIOD_MAX: Duration = Duration::from_secs(120);
/// How much of a command's output is read.
pub const OUTPUT_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Why git did not do what was asked. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    #[error("{repository} is neither a URL nor an absolute path")]
    NotARepositoryName { repository: String },
    #[error("the repository {repository} does not exist, or this machine may not read it")]
    DoesNotExist { repository: String },
    #[error("the repository {repository} is empty: it needs at least one commit")]
    Empty { repository: String },
    #[error("the repository {repository} asks for a password, and nobody is there to type it")]
    NeedsPassword { repository: String },
    #[error("{repository} cannot be reached: {reason}")]
    Unreachable { repository: String, reason: String },
    #[error("the repository {repository} has no branch {branch:?}")]
    NoSuchBranch { repository: String, branch: String },
    #[error("{repository} has no default branch checked out: name a base branch")]
    NoDefaultBranch { repository: String },
    #[error("{branch:?} is no branch name that git accepts")]
    BadBranchName { branch: String },
    #[error("{branch:?} is the repository's default branch, to which SAM never pushes")]
    DefaultBranch { branch: String },
    #[error("the push of {branch:?} was rejected: {reason}")]
    PushRejected { branch: String, reason: String },
    #[error("git was not done after {seconds} s and was stopped")]
    TimedOut { seconds: u64 },
    #[error("the disk of this machine is full")]
    DiskFull,
    #[error("git cannot be started: {reason}")]
    NotInstalled { reason: String },
    #[error("git failed: {reason}")]
    Failed { reason: String },
}

/// One call of git.
pub struct Git {
    command: Command,
    period_max: Duration,
}

/// What a finished command left.
#[derive(Debug)]
pub struct Finished {
    pub is_success: bool,
    pub stdout: Vec<u8>,
    pub is_stdout_cut: bool,
    pub stderr: String,
}

impl Git {
    /// Git in the bare repository `directory`.
    pub fn in_bare(directory: &Path) -> Self {
        let mut git = Self::plain();
        git.command.current_dir(directory).arg("--git-dir").arg(directory);
        git
    }

    /// Git outside any repository.
    pub fn plain() -> Self {
        let mut command = Command::new("git");
        for name in [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_OBJECT_DIRECTORY",
            "GIT_ALTERNATE_OBJECT_DIRECTORIES",
            "GIT_CONFIG_PARAMETERS",
            "GIT_CONFIG_COUNT",
        ] {
            command.env_remove(name);
        }
        command
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/false")
            .env("SSH_ASKPASS", "/bin/false")
            .env("GCM_INTERACTIVE", "never")
            .env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=20")
            .args(["-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never"])
            .args(["-c", "core.askPass=/bin/false", "-c", "gc.auto=0"])
            .args(["-c", "maintenance.auto=false", "-c", "core.fsmonitor=false"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        Self { command, period_max: LOCAL_PERIOD_MAX }
    }

    pub fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub fn within(mut self, period_max: Duration) -> Self {
        self.period_max = period_max;
        self
    }

    /// Runs to the end; success or not is for the caller to judge.
    pub async fn finish(self, stdout_bytes_max: u64) -> Result<Finished, GitError> {
        let period_max = self.period_max;
        let mut running = self.start()?;
        let stdout = running.child.stdout.take();
        let stderr = running.child.stderr.take();
        let work = async {
            let (stdout, stderr) = tokio::join!(
                read_limited(stdout, stdout_bytes_max),
                read_limited(stderr, 64 * 1024)
            );
            let status = running.child.wait().await.map_err(failed)?;
            let (stdout, is_stdout_cut) = stdout?;
            let stderr = String::from_utf8_lossy(&stderr?.0).trim().to_string();
            Ok(Finished { is_success: status.success(), stdout, is_stdout_cut, stderr })
        };
        let finished = tokio::time::timeout(period_max, work).await;
        finished.unwrap_or(Err(GitError::TimedOut { seconds: period_max.as_secs() }))
    }

    /// Runs to the end and gives what it printed; anything but success is an error.
    pub async fn output(self) -> Result<String, GitError> {
        let finished = self.finish(OUTPUT_BYTES_MAX).await?;
        if !finished.is_success {
            return Err(local_failure(&finished.stderr));
        }
        Ok(String::from_utf8_lossy(&finished.stdout).trim_end().to_string())
    }

    /// Starts it for a reader of its stdout.
    pub fn start(mut self) -> Result<Running, GitError> {
        let child = self
            .command
            .spawn()
            .map_err(|error| GitError::NotInstalled { reason: error.to_string() })?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Running { child, group })
    }
}

/// A command under way. Dropping it kills its process group.
pub struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits for the end, after stdout was read to its end.
    pub async fn finish(mut self) -> Result<(), GitError> {
        let stderr = self.child.stderr.take();
        let (stderr, _) = read_limited(stderr, 64 * 1024).await?;
        let status = self.child.wait().await.map_err(failed)?;
        if !status.success() {
            return Err(local_failure(&String::from_utf8_lossy(&stderr)));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only while git itself is not reaped: later the number may belong to somebody else.
        if let (Some(group), Some(_)) = (self.group, self.child.id()) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads to the end and keeps at most `bytes_max`; the rest is thrown away so that nobody blocks.
async fn read_limited(
    from: Option<impl AsyncRead + Unpin>,
    bytes_max: u64,
) -> Result<(Vec<u8>, bool), GitError> {
    let Some(mut from) = from else { return Ok((Vec::new(), false)) };
    let mut kept = Vec::new();
    (&mut from).take(bytes_max).read_to_end(&mut kept).await.map_err(failed)?;
    let rest = tokio::io::copy(&mut from, &mut tokio::io::sink()).await.map_err(failed)?;
    Ok((kept, rest > 0))
}

pub(crate) fn failed(error: impl std::fmt::Display) -> GitError {
    GitError::Failed { reason: error.to_string() }
}

/// What a failure that has nothing to do with a remote means.
pub(crate) fn local_failure(stderr: &str) -> GitError {
    if stderr.contains("No space left on device") {
        return GitError::DiskFull;
    }
    GitError::Failed { reason: last_lines(stderr) }
}

/// What a failure to read from a remote means.
pub(crate) fn remote_failure(repository: &str, stderr: &str) -> GitError {
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    let repository = without_password(repository);
    if says(&["No space left on device"]) {
        GitError::DiskFull
    } else if says(&[
        "could not read Username",
        "could not read Password",
        "Authentication failed",
        "Permission denied (publickey",
        "unable to read askpass response",
        "Host key verification failed",
        "The requested URL returned error: 403",
    ]) {
        GitError::NeedsPassword { repository }
    } else if says(&[
        "does not exist",
        "does not appear to be a git repository",
        "not found",
        "Repository not found",
        "No such file or directory",
        "not a git repository",
        "invalid gitfile format",
    ]) {
        GitError::DoesNotExist { repository }
    } else {
        GitError::Unreachable { repository, reason: last_lines(stderr) }
    }
}

/// What a failed push means.
pub(crate) fn push_failure(repository: &str, branch: &str, stderr: &str) -> GitError {
    let is_rejected = ["[rejected]", "[remote rejected]", "pre-receive hook declined", "denied"]
        .iter()
        .any(|word| stderr.contains(word));
    let is_secret_needed = stderr.contains("could not read Username");
    if is_rejected && !is_secret_needed {
        return GitError::PushRejected { branch: branch.into(), reason: last_lines(stderr) };
    }
    remote_failure(repository, stderr)
}

/// The last few lines, without the ceremony around them.
fn last_lines(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("hint:"))
        .collect();
    lines[lines.len().saturating_sub(4)..].join("; ")
}

/// A URL as people may see it: user names and passwords are cut out.
pub(crate) fn without_password(repository: &str) -> String {
    let Some((scheme, rest)) = repository.split_once("://") else { return repository.to_string() };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}/{path}"),
        None => repository.to_string(),
    }
}

/// The directory of a repository on this machine; none for a remote one.
pub(crate) fn local_path(repository: &str) -> Option<PathBuf> {
    let path = repository.strip_prefix("file://").unwrap_or(repository);
    path.starts_with('/').then(|| path.into())
}
