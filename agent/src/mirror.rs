//! A bare copy of each repository, on the node.
//!
//! The mirror alone talks to the remote, with the node's git settings and keys. Containers get a
//! bundle of it and give a bundle back, so that neither a host path nor a credential enters them, and
//! a local path works like any URL. What comes out of a container is checked object by object before
//! it is kept, under `refs/sam/work/<workspace>`, and only one ref of it is ever pushed.
//!
//! Invariant: one lock per mirror; whoever fetches, keeps or pushes holds it.

pub mod changes;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use domain::ids::WorkspaceId;
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedMutexGuard;

use crate::{
    clock::hex,
    git::{
        self, Git, GitError, OUTPUT_BYTES_MAX, REMOTE_PERIOD_MAX, Running, failed, local_path,
        push_failure, remote_failure,
    },
};

/// All mirrors of a node.
#[derive(Clone)]
pub struct Mirrors {
    directory: PathBuf,
    locks: Arc<Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>>,
}

/// One repository's mirror, locked for its holder.
pub struct Mirror {
    path: PathBuf,
    repository: String,
    _lock: OwnedMutexGuard<()>,
}

/// What a workspace starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The remote's default branch, to which nothing is pushed; none if its HEAD names no branch.
    pub default_branch: Option<String>,
    pub base_branch: String,
    /// The remote has the execution's branch already: it is continued.
    pub has_branch: bool,
}

/// What a remote has.
struct Remote {
    default_branch: Option<String>,
    /// Branch name to commit.
    heads: BTreeMap<String, String>,
}

impl Mirrors {
    /// Uses `mirrors` below the data directory. Locks that a killed git left there are removed: one
    /// agent owns the directory, and no git of its own runs yet.
    pub fn open(data_dir: &Path) -> std::io::Result<Self> {
        let directory = data_dir.join("mirrors");
        std::fs::create_dir_all(&directory)?;
        for mirror in std::fs::read_dir(&directory)? {
            remove_stale_locks(&mirror?.path())?;
        }
        Ok(Self { directory, locks: Arc::default() })
    }

    /// The mirror of `repository`, made if there is none, for the caller alone.
    pub async fn lock(&self, repository: &str) -> Result<Mirror, GitError> {
        if !is_repository_name(repository) {
            let repository = repository.to_string();
            return Err(GitError::NotARepositoryName { repository });
        }
        let name = hex(&Sha256::digest(repository.as_bytes())[..16]);
        let path = self.directory.join(format!("{name}.git"));
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(path.clone()).or_default())
        };
        let lock = lock.lock_owned().await;
        if !path.join("HEAD").exists() {
            Git::plain().args(["init", "--quiet", "--bare"]).args([&path]).output().await?;
        }
        Ok(Mirror { path, repository: repository.to_string(), _lock: lock })
    }
}

impl Mirror {
    /// Brings the mirror up to date and says what a workspace would start from.
    pub async fn prepare(
        &self,
        base_branch: Option<&str>,
        branch: &str,
    ) -> Result<Prepared, GitError> {
        check_branch_name(branch).await?;
        let remote = self.look().await?;
        let base_branch = match base_branch {
            Some(name) => name.to_string(),
            None => remote.default_branch.clone().ok_or_else(|| GitError::NoDefaultBranch {
                repository: git::without_password(&self.repository),
            })?,
        };
        if !remote.heads.contains_key(&base_branch) {
            let repository = git::without_password(&self.repository);
            return Err(GitError::NoSuchBranch { repository, branch: base_branch });
        }
        if remote.default_branch.as_deref() == Some(branch) {
            return Err(GitError::DefaultBranch { branch: branch.to_string() });
        }
        self.fetch(&remote).await?;
        let has_branch = remote.heads.contains_key(branch);
        Ok(Prepared { default_branch: remote.default_branch, base_branch, has_branch })
    }

    /// Starts a bundle of what `prepared` names, to be read from its stdout.
    pub fn start_bundle(&self, prepared: &Prepared, branch: &str) -> Result<Running, GitError> {
        let mut refs = vec![format!("refs/heads/{}", prepared.base_branch)];
        if prepared.has_branch {
            refs.push(format!("refs/heads/{branch}"));
        }
        self.git().args(["bundle", "create", "--quiet", "-"]).args(refs).start()
    }

    /// Where a bundle from a container may be put before [`Mirror::keep`] reads it.
    pub fn incoming_file(&self, workspace: WorkspaceId) -> PathBuf {
        self.path.join(format!("sam-incoming-{workspace}.bundle"))
    }

    /// Checks every object of a container's bundle and keeps it under the workspace's ref. Without a
    /// bundle the head must be here already.
    pub async fn keep(
        &self,
        workspace: WorkspaceId,
        bundle: Option<&Path>,
        head: &str,
    ) -> Result<(), GitError> {
        check_commit_id(head)?;
        let reference = work_ref(workspace);
        if let Some(bundle) = bundle {
            self.git()
                .args(["-c", "fetch.fsckObjects=true", "-c", "transfer.fsckObjects=true"])
                .args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"])
                .arg_path(bundle)
                .args([format!("+HEAD:{reference}")])
                .output()
                .await?;
        } else {
            self.git().args(["update-ref", &reference, head]).output().await?;
        }
        let kept = self.git().args(["rev-parse", "--verify", &reference]).output().await?;
        if kept != head {
            let reason = format!("the workspace announced {head} and gave {kept}");
            return Err(GitError::Failed { reason });
        }
        Ok(())
    }

    /// Pushes a kept commit to one branch of the remote, never to its default branch.
    pub async fn push_branch(&self, head: &str, branch: &str) -> Result<String, GitError> {
        check_commit_id(head)?;
        check_branch_name(branch).await?;
        let remote = self.look().await?;
        if remote.default_branch.as_deref() == Some(branch) {
            return Err(GitError::DefaultBranch { branch: branch.to_string() });
        }
        let reference = format!("refs/heads/{branch}");
        if remote.heads.get(branch).map(String::as_str) != Some(head) {
            self.push(&format!("{head}:{reference}"), branch).await?;
        }
        Ok(reference)
    }

    /// Pushes a kept commit to a ref of SAM's own, replacing what was there.
    pub async fn push_checkpoint(&self, head: &str, reference: &str) -> Result<(), GitError> {
        check_commit_id(head)?;
        assert!(reference.starts_with("refs/sam/checkpoints/"), "checkpoints have their own place");
        self.push(&format!("+{head}:{reference}"), reference).await
    }

    /// Keeps a commit in the mirror itself, when the remote does not take it.
    pub async fn keep_checkpoint(&self, head: &str, reference: &str) -> Result<(), GitError> {
        check_commit_id(head)?;
        self.git().args(["update-ref", reference, head]).output().await.map(drop)
    }

    /// Forgets what a workspace gave; it was pushed, or its owner gave it up.
    pub async fn forget(&self, workspace: WorkspaceId) -> Result<(), GitError> {
        let _ = tokio::fs::remove_file(self.incoming_file(workspace)).await;
        self.git().args(["update-ref", "-d", &work_ref(workspace)]).output().await.map(drop)
    }

    /// Git in this mirror.
    pub fn git(&self) -> Git {
        Git::in_bare(&self.path)
    }

    async fn push(&self, refspec: &str, shown: &str) -> Result<(), GitError> {
        let pushed = self
            .git()
            .args(["push", "--quiet", "--porcelain", "--no-verify"])
            .args(self.served_by("receive-pack"))
            .args(["--", &self.repository, refspec])
            .within(REMOTE_PERIOD_MAX)
            .finish(64 * 1024)
            .await?;
        if pushed.is_success {
            return Ok(());
        }
        let printed = String::from_utf8_lossy(&pushed.stdout);
        let said = format!("{printed}\n{}", pushed.stderr);
        Err(push_failure(&self.repository, shown, &said))
    }

    async fn look(&self) -> Result<Remote, GitError> {
        let looked = self
            .git()
            .args(["ls-remote", "--symref"])
            .args(self.served_by("upload-pack"))
            .args(["--", &self.repository, "HEAD", "refs/heads/*"])
            .within(REMOTE_PERIOD_MAX)
            .finish(OUTPUT_BYTES_MAX)
            .await?;
        if !looked.is_success {
            return Err(remote_failure(&self.repository, &looked.stderr));
        }
        let mut remote = Remote { default_branch: None, heads: BTreeMap::new() };
        for line in String::from_utf8_lossy(&looked.stdout).lines() {
            let Some((value, name)) = line.split_once('\t') else { continue };
            if let Some(branch) = value.strip_prefix("ref: refs/heads/")
                && name == "HEAD"
            {
                remote.default_branch = Some(branch.to_string());
            } else if let Some(branch) = name.strip_prefix("refs/heads/") {
                remote.heads.insert(branch.to_string(), value.to_string());
            }
        }
        if remote.heads.is_empty() {
            return Err(GitError::Empty { repository: git::without_password(&self.repository) });
        }
        Ok(remote)
    }

    /// Fetches all branches, unless the mirror has exactly what the remote shows.
    async fn fetch(&self, remote: &Remote) -> Result<(), GitError> {
        let had = self
            .git()
            .args(["for-each-ref", "--format=%(objectname)%09%(refname:lstrip=2)", "refs/heads/"])
            .output()
            .await?;
        let had: BTreeMap<&str, &str> = had
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(id, name)| (name, id))
            .collect();
        let is_same = had.len() == remote.heads.len()
            && remote.heads.iter().all(|(name, id)| had.get(name.as_str()) == Some(&id.as_str()));
        if is_same {
            return Ok(());
        }
        let fetched = self
            .git()
            .args(["fetch", "--quiet", "--prune", "--force", "--no-write-fetch-head"])
            .args(["--no-recurse-submodules"])
            .args(self.served_by("upload-pack"))
            .args(["--", &self.repository, "+refs/heads/*:refs/heads/*"])
            .within(REMOTE_PERIOD_MAX)
            .finish(64 * 1024)
            .await?;
        if !fetched.is_success {
            return Err(remote_failure(&self.repository, &fetched.stderr));
        }
        Ok(())
    }

    /// For a repository on this machine: lets git serve it although another user owns it. The owner
    /// of the node named this path, and only this path is excepted.
    fn served_by(&self, program: &str) -> Option<String> {
        let path = local_path(&self.repository)?;
        let path = path.canonicalize().unwrap_or(path);
        let quoted = path.to_string_lossy().replace('\'', r"'\''");
        Some(format!(
            "--{program}=git -c safe.directory='{quoted}' -c safe.directory='{quoted}/.git' {program}"
        ))
    }
}

impl Git {
    fn arg_path(self, path: &Path) -> Self {
        self.args([path])
    }
}

fn work_ref(workspace: WorkspaceId) -> String {
    format!("refs/sam/work/{workspace}")
}

/// Whether git could understand it: a URL, an absolute path, or `host:path`.
fn is_repository_name(repository: &str) -> bool {
    let is_shaped = repository.contains("://")
        || repository.starts_with('/')
        || repository.split_once(':').is_some_and(|(host, path)| {
            !host.is_empty() && !host.contains('/') && !path.is_empty() && !path.starts_with(':')
        });
    is_shaped && !repository.starts_with('-') && !repository.contains(['\n', '\0'])
}

/// Refuses what git refuses as a branch name, and everything that could be taken for an option.
pub async fn check_branch_name(branch: &str) -> Result<(), GitError> {
    let bad = || GitError::BadBranchName { branch: branch.to_string() };
    if branch.starts_with('-') || branch.contains('\0') {
        return Err(bad());
    }
    let checked = Git::plain().args(["check-ref-format", &format!("refs/heads/{branch}")]);
    if checked.finish(1024).await?.is_success { Ok(()) } else { Err(bad()) }
}

/// Commit ids come out of containers: anything but hexadecimal digits could be an option.
pub fn check_commit_id(id: &str) -> Result<(), GitError> {
    let is_id = matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { Ok(()) } else { Err(failed("the workspace named a commit by something else")) }
}

/// Removes `*.lock` in a mirror; `objects` holds none that git would wait for.
fn remove_stale_locks(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "objects" {
                remove_stale_locks(&path)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "lock") {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}
