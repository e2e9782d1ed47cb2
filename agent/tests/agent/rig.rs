//! A node to test on: the real `sam-agent` in a directory of its own, and real git remotes.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use domain::{
    agent_protocol::{Environment, OpenWorkspace, WorkspaceLimits},
    ids::{InstallationId, NodeId, ProjectId, WorkspaceId},
};
use uuid::Uuid;

use crate::control_plane::{ControlPlane, Heard, Key, rand};

/// The value of a variable that nobody but the workspace's programs may see.
pub(crate) const PASSWORD: &str = "pelikan-4711 and more";

/// The image that the repository's own recipe makes.
pub(crate) const IMAGE: &str = "sam-base:1";

/// A directory that goes when the test is over.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("sam-agent-{:x}", rand()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Which engine an agent runs its workspaces on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Docker,
    Simulated,
}

/// An agent that can be killed and started again.
pub(crate) struct Rig {
    pub(crate) directory: Directory,
    pub(crate) installation: InstallationId,
    pub(crate) node: NodeId,
    on: On,
    child: Option<Child>,
    opened: Vec<WorkspaceId>,
}

impl Rig {
    pub(crate) fn new(on: On) -> Self {
        let directory = Directory::new();
        std::fs::write(directory.path().join("control.jwk"), Key::of(7).public_jwk()).unwrap();
        let installation = InstallationId(id());
        Self { directory, installation, node: NodeId(id()), on, child: None, opened: Vec::new() }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    pub(crate) fn control_plane(&self) -> ControlPlane {
        ControlPlane::listen(&self.socket(), self.installation, self.node, Heard::default())
    }

    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the agent; a second one is the test's own fault.
    pub(crate) fn start_with(&mut self, environment: &[(&str, &str)]) {
        assert!(self.child.is_none(), "one agent at a time");
        self.child = Some(self.command(environment).spawn().unwrap());
    }

    pub(crate) fn command(&self, environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sam-agent"));
        let log = self.directory.path().join("agent.log");
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        command
            .arg("--data-dir")
            .arg(self.directory.path().join("data"))
            .arg(format!("--control=unix:{}", self.socket().display()))
            .arg(format!("--node={}", self.node))
            .arg(format!("--installation={}", self.installation))
            .arg("--control-key")
            .arg(self.directory.path().join("control.jwk"))
            .arg(match self.on {
                On::Docker => "--engine=docker",
                On::Simulated => "--engine=simulated",
            })
            .env("RUST_LOG", "info,agent=debug,sam_agent=debug")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stderr(log);
        command
    }

    /// Whether the agent has died since it was started.
    pub(crate) fn has_died(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// SIGKILL, as when the machine runs out of memory.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits until the agent is gone by itself.
    pub(crate) async fn left(&mut self) -> std::process::ExitStatus {
        let mut child = self.child.take().unwrap();
        tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("agent.log")).unwrap_or_default()
    }

    pub(crate) fn open(&mut self, repository: &Path) -> OpenWorkspace {
        let open = open_workspace(&repository.to_string_lossy());
        self.opened.push(open.workspace);
        open
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "why the test failed")]
            {
                eprintln!("--- the agent's log ---\n{}", self.log());
            }
        }
        for workspace in &self.opened {
            remove_container(*workspace);
            remove_simulated(*workspace);
        }
    }
}

pub(crate) fn id() -> Uuid {
    uuid::Builder::from_random_bytes((u128::from(rand()) << 64 | u128::from(rand())).to_be_bytes())
        .into_uuid()
}

pub(crate) fn open_workspace(repository: &str) -> OpenWorkspace {
    OpenWorkspace {
        workspace: WorkspaceId(id()),
        project: ProjectId(id()),
        repository: repository.to_string(),
        base_branch: None,
        branch: "sam/add-a-file-x1".into(),
        image: IMAGE.into(),
        environment: Environment(
            [("SAM_GREETING", "hello"), ("PASSWORD", PASSWORD)]
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .into(),
        ),
        author_name: "Ada".into(),
        author_email: "ada@example.org".into(),
        limits: WorkspaceLimits {
            memory_bytes: 512 * 1024 * 1024,
            cpu_millis: 1000,
            processes: 256,
            disk_bytes: 0,
        },
    }
}

/// What a failed test may have left in the engine.
pub(crate) fn remove_container(workspace: WorkspaceId) {
    for arguments in [["rm", "-fv"], ["volume", "rm"]] {
        let _ = Command::new("docker")
            .args(arguments)
            .arg(format!("sam-{workspace}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

fn remove_simulated(workspace: WorkspaceId) {
    let mark = format!("SAM_SIMULATED_CONTAINER={workspace}");
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(process) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            let _ = Command::new("kill").arg("-9").arg(process.to_string()).status();
        }
    }
}

/// Runs git for the test itself and gives what it printed.
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.org"])
        .args(["-c", "init.defaultBranch=main", "-c", "safe.directory=*"])
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

/// A bare repository with one commit on `main`.
pub(crate) fn bare_repository(directory: &Path) -> PathBuf {
    let work = directory.join("work");
    std::fs::create_dir_all(&work).unwrap();
    git(&work, &["init", "--quiet"]);
    std::fs::write(work.join("README.md"), "# A project\n").unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "--quiet", "--message", "Begin"]);
    let bare = directory.join("repo.git");
    git(directory, &["clone", "--quiet", "--bare", "work", "repo.git"]);
    bare
}
