//! What runs workspaces: a container engine, or a simulation of one.
//!
//! Both implementations keep the same promises, and the same tests run against both: creating a
//! container that exists adopts it, removing one that is gone succeeds, and the volume survives a
//! restart of the container. Whoever asks does not learn which of them it talks to.
//!
//! Read next: [`docker`] for real containers, [`simulated`] for processes in a directory.

pub mod docker;
pub mod simulated;

use std::{
    collections::BTreeSet,
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use domain::{
    agent_protocol::{Environment, WorkspaceLimits},
    ids::WorkspaceId,
};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// How much of a program's stderr is kept for the reason of its failure.
pub const STDERR_BYTES_MAX: usize = 8 * 1024;

/// Why an engine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No engine answers, or it is too old: the machine's owner has to act.
    #[error("{reason}")]
    Unusable { reason: String },
    /// The image is not on this machine and could not be had.
    #[error(
        "the image {image} is not on this machine, and no registry has it: \
         `sam setup` makes SAM's own"
    )]
    ImageMissing { image: String },
    /// There is no such container.
    #[error("there is no container for workspace {workspace}")]
    Gone { workspace: WorkspaceId },
    /// The container exists and does not run.
    #[error("the container of workspace {workspace} does not run")]
    Stopped { workspace: WorkspaceId },
    /// The engine said no, in its own words.
    #[error("the container engine refused: {reason}")]
    Refused { reason: String },
}

/// How an engine names itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineVersion {
    pub version: String,
    pub api: String,
}

impl fmt::Display for EngineVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (API {})", self.version, self.api)
    }
}

/// A container to be made.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    pub workspace: WorkspaceId,
    pub image: String,
    pub environment: Environment,
    pub limits: WorkspaceLimits,
}

/// A container that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub workspace: WorkspaceId,
    pub container: String,
    pub is_running: bool,
}

/// A container that was made or adopted.
pub struct Created {
    pub container: String,
    /// The stdio of the holder's `begin`, where this very call has started the container and the engine
    /// can attach to it. Whoever has none runs the holder instead.
    pub beginning: Option<Attached>,
}

/// A program that runs in a container, attached by its three streams.
pub struct Attached {
    pub stdin: Pin<Box<dyn AsyncWrite + Send>>,
    /// Ends with the program.
    pub stdout: Pin<Box<dyn AsyncRead + Send>>,
    pub stderr: StderrTail,
    /// To be awaited after stdout has ended: the exit code.
    pub exit: BoxFuture<'static, Result<i64, EngineError>>,
}

/// The end of what a program wrote to stderr.
#[derive(Clone, Debug, Default)]
pub struct StderrTail(Arc<Mutex<Vec<u8>>>);

impl StderrTail {
    /// Adds what was written and forgets what is too old.
    pub fn push(&self, bytes: &[u8]) {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(bytes);
        let excess = tail.len().saturating_sub(STDERR_BYTES_MAX);
        tail.drain(..excess);
    }

    pub fn text(&self) -> String {
        let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&tail).trim().to_string()
    }
}

/// What runs workspaces.
pub trait Engine: Send + Sync + 'static {
    /// Who answers; an error if nobody does or if it is too old.
    fn version(&self) -> BoxFuture<'_, Result<EngineVersion, EngineError>>;

    /// Whether the image can be used, getting it if a registry has it.
    fn need_image<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<(), EngineError>>;

    /// Makes volume and container, puts the holder in, and starts it. One that exists is adopted.
    fn create(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Created, EngineError>>;

    /// Starts a container that has stopped; its volume is as it was.
    fn start(&self, workspace: WorkspaceId) -> BoxFuture<'_, Result<(), EngineError>>;

    /// The workspace's container, if there is one.
    fn find(&self, workspace: WorkspaceId) -> BoxFuture<'_, Result<Option<Found>, EngineError>>;

    /// Every container of this node.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>, EngineError>>;

    /// Every workspace of this node of which there is a container or a volume.
    fn leftovers(&self) -> BoxFuture<'_, Result<BTreeSet<WorkspaceId>, EngineError>>;

    /// Runs the holder's binary with `arguments` as the unprivileged user, attached.
    fn run_holder(
        &self,
        workspace: WorkspaceId,
        arguments: Vec<String>,
    ) -> BoxFuture<'_, Result<Attached, EngineError>>;

    /// Removes container and volume. Success when there is nothing.
    fn remove(&self, workspace: WorkspaceId) -> BoxFuture<'_, Result<(), EngineError>>;

    /// The address at which containers reach this machine.
    fn host_address(&self) -> BoxFuture<'_, Result<IpAddr, EngineError>>;

    /// Where the repository lies, as programs in the container see it.
    fn repository_directory(&self, workspace: WorkspaceId) -> String;

    /// Where the holder's binary lies, as programs in the container see it.
    fn holder_path(&self, workspace: WorkspaceId) -> String;
}
