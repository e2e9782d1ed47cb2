//! Mirrors against real repositories, good and bad.

use std::{
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use agent::{
    git::GitError,
    mirror::{Mirror, Mirrors, Prepared, changes},
};
use domain::ids::WorkspaceId;
use tokio::io::AsyncReadExt;

use crate::rig::{Directory, bare_repository, git, id};

const BRANCH: &str = "sam/try-x1";

struct Place {
    directory: Directory,
    mirrors: Mirrors,
}

impl Place {
    fn new() -> Self {
        let directory = Directory::new();
        let mirrors = Mirrors::open(directory.path()).unwrap();
        Self { directory, mirrors }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    async fn prepare(&self, repository: &str) -> Result<Prepared, GitError> {
        self.mirrors.lock(repository).await?.prepare(None, BRANCH).await
    }

    async fn refusal(&self, repository: &str) -> GitError {
        self.prepare(repository).await.expect_err("the repository is bad")
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Clones what a container would get, commits in it, and gives the bundle of it.
async fn worked(mirror: &Mirror, prepared: &Prepared, place: &Path) -> (PathBuf, String) {
    let mut bundling = mirror.start_bundle(prepared, BRANCH).unwrap();
    let mut bundle = Vec::new();
    bundling.take_stdout().unwrap().read_to_end(&mut bundle).await.unwrap();
    bundling.finish().await.unwrap();
    std::fs::write(place.join("in.bundle"), bundle).unwrap();
    let inside = place.join("inside");
    git(place, &["init", "--quiet", "inside"]);
    git(&inside, &["fetch", "--quiet", "../in.bundle", "+refs/heads/*:refs/remotes/origin/*"]);
    let start = format!("refs/remotes/origin/{}", prepared.base_branch);
    git(&inside, &["checkout", "--quiet", "--no-track", "-B", BRANCH, &start]);
    std::fs::write(inside.join("new.txt"), "new\n").unwrap();
    git(&inside, &["add", "."]);
    git(&inside, &["commit", "--quiet", "--message", "Add new.txt"]);
    git(&inside, &["bundle", "create", "--quiet", "../out.bundle", "HEAD", &format!("^{start}")]);
    (place.join("out.bundle"), git(&inside, &["rev-parse", "HEAD"]))
}

#[tokio::test]
async fn a_bare_and_a_non_bare_path_can_be_worked_on() {
    let place = Place::new();
    let bare = bare_repository(place.path());
    for (index, repository) in [bare, place.path().join("work")].iter().enumerate() {
        let scratch = place.path().join(format!("scratch{index}"));
        std::fs::create_dir_all(&scratch).unwrap();
        let mirror = place.mirrors.lock(&text(repository)).await.unwrap();
        let prepared = mirror.prepare(None, BRANCH).await.unwrap();
        assert_eq!(prepared.base_branch, "main");
        assert!(!prepared.has_branch);
        let (bundle, head) = worked(&mirror, &prepared, &scratch).await;
        let workspace = WorkspaceId(id());
        mirror.keep(workspace, Some(&bundle), &head).await.unwrap();
        let base = git(repository, &["rev-parse", "main"]);
        let changed = changes::between(&mirror, &base, &head).await.unwrap();
        assert_eq!(changed.commits[0].subject, "Add new.txt");
        assert_eq!(changed.files[0].path, "new.txt");
        let reference = mirror.push_branch(&head, BRANCH).await.unwrap();
        assert_eq!(git(repository, &["rev-parse", &reference]), head);
        // Again: nothing to do. And what is there is continued next time.
        mirror.push_branch(&head, BRANCH).await.unwrap();
        assert!(mirror.prepare(None, BRANCH).await.unwrap().has_branch);
        mirror.forget(workspace).await.unwrap();
    }
}

#[tokio::test]
async fn the_default_branch_is_never_pushed_to() {
    let place = Place::new();
    let bare = bare_repository(place.path());
    let mirror = place.mirrors.lock(&text(&bare)).await.unwrap();
    mirror.prepare(None, BRANCH).await.unwrap();
    let head = git(&bare, &["rev-parse", "main"]);
    let refused = Err(GitError::DefaultBranch { branch: "main".into() });
    assert_eq!(mirror.push_branch(&head, "main").await, refused);
    let refused = mirror.prepare(None, "main").await.unwrap_err();
    assert!(matches!(refused, GitError::DefaultBranch { .. }));
}

#[tokio::test]
async fn bad_repositories_have_plain_reasons() {
    let place = Place::new();
    let bare = bare_repository(place.path());
    git(place.path(), &["init", "--quiet", "--bare", "empty.git"]);

    let nowhere = text(&place.path().join("nowhere.git"));
    assert_eq!(place.refusal(&nowhere).await, GitError::DoesNotExist { repository: nowhere });
    let file = text(&place.path().join("work/README.md"));
    assert_eq!(place.refusal(&file).await, GitError::DoesNotExist { repository: file });
    let empty = text(&place.path().join("empty.git"));
    assert_eq!(place.refusal(&empty).await, GitError::Empty { repository: empty });
    for name in ["relative/path", "-uevil", "", "ext::sh -c true"] {
        let refusal = place.refusal(name).await;
        let is_named =
            matches!(refusal, GitError::NotARepositoryName { .. } | GitError::Unreachable { .. });
        assert!(is_named, "{name:?}: {refusal:?}");
    }

    let mirror = place.mirrors.lock(&text(&bare)).await.unwrap();
    let missing = mirror.prepare(Some("no-such"), BRANCH).await.unwrap_err();
    let branch = "no-such".to_string();
    assert_eq!(missing, GitError::NoSuchBranch { repository: text(&bare), branch });
    for branch in ["-x", "a..b", "a b", "", "a\0b", "refs/../x"] {
        let refusal = mirror.prepare(None, branch).await.unwrap_err();
        assert!(matches!(refusal, GitError::BadBranchName { .. }), "{branch:?}: {refusal:?}");
    }
}

#[tokio::test]
async fn a_detached_head_asks_for_a_base_branch() {
    let place = Place::new();
    bare_repository(place.path());
    let work = place.path().join("work");
    git(&work, &["checkout", "--quiet", "--detach"]);
    let refusal = place.refusal(&text(&work)).await;
    assert!(matches!(refusal, GitError::NoDefaultBranch { .. }), "{refusal:?}");
    let mirror = place.mirrors.lock(&text(&work)).await.unwrap();
    assert_eq!(mirror.prepare(Some("main"), BRANCH).await.unwrap().base_branch, "main");
}

/// A server that answers every request the same way.
fn http_server(answer: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}/repo.git")
}

#[tokio::test]
async fn a_repository_that_needs_a_password_says_so_without_a_prompt() {
    let place = Place::new();
    let url = http_server(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(place.refusal(&url).await, GitError::NeedsPassword { repository: url });
    let missing =
        http_server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(place.refusal(&missing).await, GitError::DoesNotExist { repository: missing });
    let closed = "http://127.0.0.1:1/repo.git";
    assert!(matches!(place.refusal(closed).await, GitError::Unreachable { .. }));
}

#[tokio::test]
async fn a_password_in_a_url_is_not_repeated() {
    let place = Place::new();
    let refusal = place.refusal("http://ada:hunter2@127.0.0.1:1/repo.git").await.to_string();
    assert!(!refusal.contains("hunter2"), "{refusal}");
}

#[tokio::test]
async fn a_path_that_another_user_owns_works() {
    let place = Place::new();
    let bare = bare_repository(place.path());
    let chowned = Command::new("chown").args(["-R", "1000:1000"]).arg(&bare).status().unwrap();
    assert!(chowned.success(), "this test runs as root");
    let mirror = place.mirrors.lock(&text(&bare)).await.unwrap();
    let prepared = mirror.prepare(None, BRANCH).await.unwrap();
    let scratch = place.path().join("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    let (bundle, head) = worked(&mirror, &prepared, &scratch).await;
    mirror.keep(WorkspaceId(id()), Some(&bundle), &head).await.unwrap();
    mirror.push_branch(&head, BRANCH).await.unwrap();
    assert_eq!(git(&bare, &["rev-parse", BRANCH]), head);
}

#[tokio::test]
async fn a_rejected_push_repeats_the_remotes_words() {
    let place = Place::new();
    let bare = bare_repository(place.path());
    let hook = bare.join("hooks/update");
    std::fs::write(&hook, "#!/bin/sh\necho closed for today >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mirror = place.mirrors.lock(&text(&bare)).await.unwrap();
    let prepared = mirror.prepare(None, BRANCH).await.unwrap();
    let scratch = place.path().join("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    let (bundle, head) = worked(&mirror, &prepared, &scratch).await;
    mirror.keep(WorkspaceId(id()), Some(&bundle), &head).await.unwrap();
    let refusal = mirror.push_branch(&head, BRANCH).await.unwrap_err();
    let GitError::PushRejected { reason, .. } = refusal else { panic!("{refusal:?}") };
    assert!(reason.contains("closed for today"), "{reason}");
}

#[tokio::test]
async fn a_bundle_that_is_not_what_it_says_is_refused() {
    let place = Place::new();
    let bare = bare_repository(place.path());
    let mirror = place.mirrors.lock(&text(&bare)).await.unwrap();
    let prepared = mirror.prepare(None, BRANCH).await.unwrap();
    let scratch = place.path().join("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    let (bundle, head) = worked(&mirror, &prepared, &scratch).await;
    let mut broken = std::fs::read(&bundle).unwrap();
    let middle = broken.len() - 30;
    broken[middle] ^= 0xff;
    let broken_bundle = scratch.join("broken.bundle");
    std::fs::write(&broken_bundle, broken).unwrap();
    assert!(mirror.keep(WorkspaceId(id()), Some(&broken_bundle), &head).await.is_err());
    let other = "0123456789012345678901234567890123456789";
    assert!(mirror.keep(WorkspaceId(id()), Some(&bundle), other).await.is_err());
    assert!(mirror.keep(WorkspaceId(id()), Some(&bundle), "--upload-pack=x").await.is_err());
}

#[tokio::test]
async fn a_lock_that_a_killed_git_left_is_removed_at_the_start() {
    let place = Place::new();
    let bare = bare_repository(place.path());
    place.prepare(&text(&bare)).await.unwrap();
    let mirror = std::fs::read_dir(place.path().join("mirrors")).unwrap().next().unwrap();
    let lock = mirror.unwrap().path().join("packed-refs.lock");
    std::fs::write(&lock, "").unwrap();
    let again = Mirrors::open(place.path()).unwrap();
    assert!(!lock.exists());
    again.lock(&text(&bare)).await.unwrap().prepare(None, BRANCH).await.unwrap();
}
