//! `setup` brings a repository into the container, `bundle` brings the commits out.
//!
//! Both talk git bundles over stdio, so the container needs no remote and no credential. Either may
//! be killed at any point and run again.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{
    place,
    protocol::{Bundle, BundleMade, Setup, SetupDone},
};

/// Written last: a repository without it was not finished.
const MARK: &str = ".git/sam-setup.json";

/// Clones the bundle on stdin, or finds that it was done before.
pub(crate) fn setup(wish: &str) -> io::Result<()> {
    set_up(wish, &mut io::stdin().lock())
}

/// The same with a bundle that comes from anywhere, and to its end.
pub(crate) fn set_up(wish: &str, bundle: &mut impl Read) -> io::Result<()> {
    let wish: Setup = serde_json::from_str(wish)?;
    let directory = PathBuf::from(&wish.directory);
    let done = match fs::read(directory.join(MARK)) {
        Ok(mark) => {
            // Whoever sends the bundle waits until it is taken.
            io::copy(bundle, &mut io::sink())?;
            serde_json::from_slice(&mark)?
        }
        Err(_) => clone(&wish, &directory, bundle)?,
    };
    let mut line = serde_json::to_vec(&done)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

/// Receives the bundle, and clones it unless an earlier attempt, whose bringer was killed, is quicker.
fn clone(wish: &Setup, directory: &Path, incoming: &mut impl Read) -> io::Result<SetupDone> {
    let bundle = place::directory()?.join(format!("incoming-{}.bundle", std::process::id()));
    let received = fs::File::create(&bundle).and_then(|mut file| io::copy(incoming, &mut file));
    let cloned = received.and_then(|_| {
        let lock = fs::File::create(place::directory()?.join("setup.lock"))?;
        lock.lock()?;
        match fs::read(directory.join(MARK)) {
            Ok(mark) => Ok(serde_json::from_slice(&mark)?),
            Err(_) => check_out(wish, directory, &bundle),
        }
    });
    let _ = fs::remove_file(&bundle);
    cloned
}

fn check_out(wish: &Setup, directory: &Path, bundle: &Path) -> io::Result<SetupDone> {
    fs::create_dir_all(directory)?;
    empty(directory)?;
    let git = Git::new(directory);
    git.run(&["init", "--quiet", "--initial-branch", &wish.base_branch])?;
    let bundle_path = bundle.to_string_lossy().into_owned();
    let all = "+refs/heads/*:refs/remotes/origin/*";
    git.run(&["fetch", "--quiet", "--no-tags", &bundle_path, all])?;
    let author = format!(
        "[user]\n\tname = {}\n\temail = {}\n",
        quoted(&wish.author_name),
        quoted(&wish.author_email)
    );
    let config = directory.join(".git/config");
    fs::File::options().append(true).open(config)?.write_all(author.as_bytes())?;

    // Each call of git takes longer than what it does, so one tells of all branches.
    let branches = ["for-each-ref", "--format=%(objectname) %(refname)", "refs/remotes/origin/"];
    let branches = git.run(&branches)?;
    let commit_of = |branch: &str| {
        let reference = format!("refs/remotes/origin/{branch}");
        let mut lines = branches.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(_, name)| *name == reference).map(|(commit, _)| commit.to_string())
    };
    let base = commit_of(&wish.base_branch).ok_or_else(|| {
        io::Error::other(format!("the bundle has no branch {:?}", wish.base_branch))
    })?;
    let start_commit = commit_of(&wish.branch).unwrap_or_else(|| base.clone());
    git.run(&["checkout", "--quiet", "--no-track", "-B", &wish.branch, &start_commit])?;
    let base_commit = match start_commit == base {
        true => base,
        // Histories without a common commit are compared from the base itself.
        false => git.run(&["merge-base", &base, &start_commit]).unwrap_or(base),
    };
    let done = SetupDone { base_branch: wish.base_branch.clone(), base_commit, start_commit };
    let unfinished = directory.join(".git/sam-setup.json.new");
    fs::write(&unfinished, serde_json::to_vec(&done)?)?;
    fs::rename(unfinished, directory.join(MARK))?;
    Ok(done)
}

/// A value as git's configuration file takes it.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
    format!("\"{escaped}\"")
}

/// Removes what a set-up that was cut short has left. The directory itself is a mount point.
fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name() == "lost+found" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Commits what is left, and writes one line of JSON and a git bundle to stdout.
pub(crate) fn bundle(wish: &str) -> io::Result<()> {
    let wish: Bundle = serde_json::from_str(wish)?;
    let directory = PathBuf::from(&wish.directory);
    let setup: SetupDone = serde_json::from_slice(&fs::read(directory.join(MARK))?)?;
    let mut git = Git::new(&directory);
    let path = place::directory()?.join("outgoing.bundle");
    // Whoever was killed may have held a lock, a coding agent or the holder before this one; nobody else is left.
    remove_locks(&directory.join(".git"))?;
    let _ = fs::remove_file(path.with_extension("bundle.lock"));
    if let Err(error) = git.commit_all(&wish.commit_message) {
        if !wish.is_rescue || !is_disk_full(&error) {
            return Err(error);
        }
        git = git.rescue()?;
        git.commit_all(&wish.commit_message)?;
    }
    let head = git.run(&["rev-parse", "HEAD"])?;
    let beyond = format!("^{}", setup.start_commit);
    let n_commits = git.run(&["rev-list", "--count", "HEAD", &beyond])?;
    let mut n_bytes = 0;
    if n_commits != "0" {
        let path = path.to_string_lossy().into_owned();
        git.run(&["bundle", "create", "--quiet", &path, "HEAD", &beyond])?;
        n_bytes = fs::metadata(&path)?.len();
    }
    let SetupDone { base_commit, start_commit, .. } = setup;
    let mut line = serde_json::to_vec(&BundleMade { base_commit, start_commit, head, n_bytes })?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    if n_bytes > 0 {
        io::copy(&mut fs::File::open(&path)?.take(n_bytes), &mut stdout)?;
        fs::remove_file(path)?;
    }
    stdout.flush()
}

/// Removes what git locks its files with: the directory's own, and its references at any depth.
fn remove_locks(git_directory: &Path) -> io::Result<()> {
    let references = git_directory.join("refs");
    let mut directories = vec![git_directory.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                if path.starts_with(&references) {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "lock") {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// Whether git, or the system, complained about a full disk.
fn is_disk_full(error: &io::Error) -> bool {
    let complaint = error.to_string();
    error.kind() == io::ErrorKind::StorageFull
        || complaint.contains("No space left on device")
        || complaint.contains("Out of diskspace")
}

/// Git in the container's work tree.
struct Git<'a> {
    directory: &'a Path,
    /// Where it writes; none: where it always does, beside the work tree.
    git_directory: Option<PathBuf>,
}

impl<'a> Git<'a> {
    fn new(directory: &'a Path) -> Self {
        Self { directory, git_directory: None }
    }

    /// Commits whatever is in the work tree, if it is anything new.
    fn commit_all(&self, message: &str) -> io::Result<()> {
        self.run(&["add", "--all"])?;
        if self.run(&["diff", "--cached", "--quiet"]).is_err() {
            self.run(&["commit", "--quiet", "--no-verify", "--message", message])?;
        }
        Ok(())
    }

    /// The same work tree, with a repository that writes beside the holder's own files: the volume is
    /// full, and its work is to be saved all the same.
    fn rescue(&self) -> io::Result<Self> {
        let place = place::directory()?.join("rescue.git");
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        self.run(&["init", "--quiet", "--bare", &place.to_string_lossy()])?;
        let own = self.directory.join(".git");
        let objects = own.join("objects");
        fs::write(place.join("objects/info/alternates"), format!("{}\n", objects.display()))?;
        for file in ["index", "info/exclude"] {
            // Neither has to be there: the index is made anew, and nothing more is left out.
            let _ = fs::copy(own.join(file), place.join(file));
        }
        let rescue = Self { directory: self.directory, git_directory: Some(place) };
        for setting in ["user.name", "user.email"] {
            rescue.run(&["config", setting, &self.run(&["config", setting])?])?;
        }
        rescue.run(&["update-ref", "HEAD", &self.run(&["rev-parse", "HEAD"])?])?;
        Ok(rescue)
    }

    /// Runs it and gives what it printed, or what it complained about.
    fn run(&self, arguments: &[&str]) -> io::Result<String> {
        // Hooks and signing belong to the people who set them up, not to us.
        let mut command = Command::new("git");
        if let Some(git_directory) = &self.git_directory {
            command.env("GIT_DIR", git_directory).env("GIT_WORK_TREE", self.directory);
        }
        let Output { status, stdout, stderr } = command
            .args(["-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"])
            .args(["-c", "safe.directory=*"])
            .args(arguments)
            .current_dir(self.directory)
            .env("GIT_TERMINAL_PROMPT", "0")
            .output()?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).trim().to_string());
        }
        let complaint = String::from_utf8_lossy(&stderr).trim().to_string();
        let verb = arguments.first().copied().unwrap_or_default();
        Err(io::Error::other(format!("git {verb}: {complaint}")))
    }
}
