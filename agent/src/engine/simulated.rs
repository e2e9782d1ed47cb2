//! Workspaces as processes in a directory: no isolation, no daemon, quick to make and to break.
//!
//! The holder runs as a child in a process group of its own, with the workspace's directory in place
//! of a volume. Every process that descends from it carries a mark in its environment, by which all
//! of them are found and killed together, as a container's processes are. Faults can be planned call
//! by call, before or after the effect.
//!
//! Absent on purpose: limits, users and networks. Whoever needs those needs containers.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use domain::{agent_protocol::Environment, ids::WorkspaceId};
use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncReadExt as _, process::Command};

use crate::{
    engine::{
        Attached, ContainerSpec, Created, Engine, EngineError, EngineVersion, Found, StderrTail,
    },
    tasks,
};

/// Marks every process of a simulated container.
const MARK: &str = "SAM_SIMULATED_CONTAINER";
/// A kill that is not done after this many rounds never will be.
const KILL_ROUNDS_MAX: u32 = 500;

/// A call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineCall {
    Version,
    NeedImage,
    Create,
    Start,
    RunHolder,
    Remove,
}

/// When a planned fault strikes: before anything happened, or when only the answer is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultTime {
    BeforeEffect,
    AfterEffect,
}

/// The engine without an engine.
pub struct SimulatedEngine {
    directory: PathBuf,
    /// None: every image exists.
    images: Option<BTreeSet<String>>,
    faults: Mutex<VecDeque<(EngineCall, FaultTime)>>,
}

/// What a restart of a container needs, kept beside it.
#[derive(Serialize, Deserialize)]
struct Kept {
    environment: Environment,
}

impl SimulatedEngine {
    /// Keeps its containers below `directory`, which holds the holder's binary too.
    pub fn open(
        directory: &Path,
        holder: &[u8],
        images: Option<BTreeSet<String>>,
    ) -> io::Result<Self> {
        let directory = directory.join("simulated");
        std::fs::create_dir_all(directory.join("c"))?;
        let binary = directory.join("holder");
        if std::fs::read(&binary).ok().as_deref() != Some(holder) {
            let unfinished = directory.join("holder.new");
            std::fs::write(&unfinished, holder)?;
            std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o755))?;
            std::fs::rename(unfinished, binary)?;
        }
        Ok(Self { directory, images, faults: Mutex::default() })
    }

    /// Makes the next call of this kind fail.
    pub fn fail_next(&self, call: EngineCall, time: FaultTime) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push_back((call, time));
    }

    /// Kills everything in a container, as the kernel does when memory runs out.
    pub async fn kill(&self, workspace: WorkspaceId) -> Result<(), EngineError> {
        for _ in 0..KILL_ROUNDS_MAX {
            let alive = marked_processes(workspace);
            if alive.is_empty() {
                return Ok(());
            }
            for process in alive {
                // It may be gone by now; the next round knows.
                let _ = rustix::process::kill_process(process, Signal::KILL);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(EngineError::Refused { reason: "a process of the container cannot be killed".into() })
    }

    fn fault(&self, call: EngineCall, time: FaultTime) -> Result<(), EngineError> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(index) = faults.iter().position(|planned| *planned == (call, time)) else {
            return Ok(());
        };
        faults.remove(index);
        Err(EngineError::Unusable { reason: format!("simulated fault: {call:?} {time:?}") })
    }

    fn container(&self, workspace: WorkspaceId) -> PathBuf {
        // Short, because the path of the holder's socket must fit into 108 bytes.
        self.directory.join("c").join(workspace.0.simple().to_string())
    }

    /// The holder's command in a container, with the container's environment.
    fn command(&self, workspace: WorkspaceId) -> Result<Command, EngineError> {
        let container = self.container(workspace);
        let kept = match std::fs::read(container.join("kept.json")) {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(EngineError::Gone { workspace });
            }
            Err(error) => return Err(broken(error)),
        };
        let kept: Kept = serde_json::from_slice(&kept).map_err(broken)?;
        let mut command = Command::new(self.directory.join("holder"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", container.join("home"))
            .envs(kept.environment.0)
            .env("SAM_HOLDER_DIR", container.join("s"))
            .env(MARK, workspace.to_string())
            .current_dir(container.join("workspace"))
            .process_group(0);
        Ok(command)
    }

    fn make(&self, spec: &ContainerSpec) -> io::Result<()> {
        let container = self.container(spec.workspace);
        for part in ["home", "s", "workspace"] {
            std::fs::create_dir_all(container.join(part))?;
        }
        let kept = Kept { environment: spec.environment.clone() };
        std::fs::write(container.join("kept.json"), serde_json::to_vec(&kept)?)
    }

    async fn start_holder(&self, workspace: WorkspaceId) -> Result<(), EngineError> {
        if self.find(workspace).await?.is_some_and(|found| found.is_running) {
            return Ok(());
        }
        let container = self.container(workspace);
        let mut command = self.command(workspace)?;
        // A container's processes die together: what the last life left behind goes first.
        self.kill(workspace).await?;
        let log = std::fs::File::create(container.join("log")).map_err(broken)?;
        let errors = log.try_clone().map_err(broken)?;
        command.arg("init").stdin(Stdio::null()).stdout(log).stderr(errors);
        let mut child = spawned(&mut command).await?;
        let id = child.id().unwrap_or_default();
        std::fs::write(container.join("pid"), id.to_string()).map_err(broken)?;
        // Somebody has to take leave of it, or it stays as a zombie.
        tasks::spawn("simulated container", async move { child.wait().await });
        Ok(())
    }
}

impl Engine for SimulatedEngine {
    fn version(&self) -> BoxFuture<'_, Result<EngineVersion, EngineError>> {
        Box::pin(async {
            self.fault(EngineCall::Version, FaultTime::BeforeEffect)?;
            Ok(EngineVersion { version: "simulated".into(), api: "1.41".into() })
        })
    }

    fn need_image<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            self.fault(EngineCall::NeedImage, FaultTime::BeforeEffect)?;
            match &self.images {
                Some(images) if !images.contains(image) => {
                    Err(EngineError::ImageMissing { image: image.to_string() })
                }
                _ => Ok(()),
            }
        })
    }

    fn create(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Created, EngineError>> {
        Box::pin(async move {
            self.need_image(&spec.image).await?;
            self.fault(EngineCall::Create, FaultTime::BeforeEffect)?;
            if self.find(spec.workspace).await?.is_none() {
                self.make(&spec).map_err(broken)?;
            }
            self.start_holder(spec.workspace).await?;
            self.fault(EngineCall::Create, FaultTime::AfterEffect)?;
            let container = format!("simulated-{}", spec.workspace);
            Ok(Created { container, beginning: None })
        })
    }

    fn start(&self, workspace: WorkspaceId) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(async move {
            self.fault(EngineCall::Start, FaultTime::BeforeEffect)?;
            self.start_holder(workspace).await?;
            self.fault(EngineCall::Start, FaultTime::AfterEffect)
        })
    }

    fn find(&self, workspace: WorkspaceId) -> BoxFuture<'_, Result<Option<Found>, EngineError>> {
        Box::pin(async move {
            let directory = self.container(workspace);
            if !directory.join("kept.json").exists() {
                return Ok(None);
            }
            let id = std::fs::read_to_string(directory.join("pid")).ok();
            let id: Option<i32> = id.and_then(|id| id.parse().ok());
            let is_running = id.is_some_and(|id| is_marked(id, workspace));
            let container = format!("simulated-{workspace}");
            Ok(Some(Found { workspace, container, is_running }))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>, EngineError>> {
        Box::pin(async {
            let mut found = Vec::new();
            let containers = std::fs::read_dir(self.directory.join("c"));
            for entry in containers.map_err(broken)? {
                let name = entry.map_err(broken)?.file_name();
                let Ok(workspace) = name.to_string_lossy().parse() else { continue };
                found.extend(self.find(workspace).await?);
            }
            Ok(found)
        })
    }

    fn leftovers(&self) -> BoxFuture<'_, Result<BTreeSet<WorkspaceId>, EngineError>> {
        Box::pin(async {
            // A workspace is one directory here, volume and all.
            Ok(self.list().await?.into_iter().map(|found| found.workspace).collect())
        })
    }

    fn run_holder(
        &self,
        workspace: WorkspaceId,
        arguments: Vec<String>,
    ) -> BoxFuture<'_, Result<Attached, EngineError>> {
        Box::pin(async move {
            self.fault(EngineCall::RunHolder, FaultTime::BeforeEffect)?;
            let found = self.find(workspace).await?.ok_or(EngineError::Gone { workspace })?;
            if !found.is_running {
                return Err(EngineError::Stopped { workspace });
            }
            let mut command = self.command(workspace)?;
            command.args(arguments).kill_on_drop(true);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = spawned(&mut command).await?;
            let (Some(stdin), Some(stdout), Some(mut errors)) =
                (child.stdin.take(), child.stdout.take(), child.stderr.take())
            else {
                unreachable!("all three are piped");
            };
            let stderr = StderrTail::default();
            let tail = stderr.clone();
            let complaining = tasks::spawn("simulated stderr", async move {
                let mut piece = [0; 4096];
                while let Ok(n_bytes @ 1..) = errors.read(&mut piece).await {
                    tail.push(&piece[..n_bytes]);
                }
            });
            let exit = Box::pin(async move {
                let status = child.wait().await.map_err(broken)?;
                complaining.await.map_err(broken)?;
                Ok(i64::from(status.code().unwrap_or(-1)))
            });
            Ok(Attached { stdin: Box::pin(stdin), stdout: Box::pin(stdout), stderr, exit })
        })
    }

    fn remove(&self, workspace: WorkspaceId) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(async move {
            self.fault(EngineCall::Remove, FaultTime::BeforeEffect)?;
            self.kill(workspace).await?;
            match tokio::fs::remove_dir_all(self.container(workspace)).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(broken(error)),
                _ => self.fault(EngineCall::Remove, FaultTime::AfterEffect),
            }
        })
    }

    fn host_address(&self) -> BoxFuture<'_, Result<IpAddr, EngineError>> {
        Box::pin(async { Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)) })
    }

    fn repository_directory(&self, workspace: WorkspaceId) -> String {
        self.container(workspace).join("workspace").to_string_lossy().into_owned()
    }

    fn holder_path(&self, _: WorkspaceId) -> String {
        self.directory.join("holder").to_string_lossy().into_owned()
    }
}

/// Starts a command. "Text file busy" passes: another thread's child still has the binary open that
/// was just written.
async fn spawned(command: &mut Command) -> Result<tokio::process::Child, EngineError> {
    for _ in 0..100 {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            spawned => return spawned.map_err(broken),
        }
    }
    command.spawn().map_err(broken)
}

fn marked_processes(workspace: WorkspaceId) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|id| is_marked(*id, workspace))
        .filter_map(Pid::from_raw)
        .collect()
}

/// Whether a process is alive and belongs to the workspace. A zombie's environment is empty.
fn is_marked(id: i32, workspace: WorkspaceId) -> bool {
    let mark = format!("{MARK}={workspace}");
    let Ok(environment) = std::fs::read(format!("/proc/{id}/environ")) else { return false };
    environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

fn broken(error: impl std::fmt::Display) -> EngineError {
    EngineError::Refused { reason: error.to_string() }
}
