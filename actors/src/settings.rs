//! What the control plane is told when it starts. Every limit is here; none is hidden.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use domain::{
    agent_protocol::WorkspaceLimits,
    values::{Periods, ProviderKind},
};

use crate::{
    clock::SharedClock, faults::Faults, model::Model, preparation::ImageMaker,
    provider::simulated::SimulatedSettings,
};

/// Everything that [`crate::system::System::start`] needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Keys, the control socket and, with SQLite, the databases live here.
    pub data_dir: PathBuf,
    /// `sqlite:` or `postgres://…`.
    pub database_url: String,
    /// Name of the account that owns this installation.
    pub owner_name: String,
    pub clock: SharedClock,
    pub node: NodeSettings,
    pub workspaces: WorkspaceSettings,
    pub periods: Periods,
    pub heads: HeadSettings,
    /// After how many events of a stream its state is kept, so that loading it again takes less time.
    pub snapshot_events: u64,
    /// Where Claude Code's requests go.
    pub anthropic_base_url: String,
    /// Where other replicas call this one; None takes no part. It matters only with PostgreSQL.
    pub internal_listen: Option<SocketAddr>,
    /// Makes titles of long texts; None makes none.
    pub title_model: Option<Arc<dyn Model>>,
    /// Makes the images of coding agents.
    pub images: Arc<dyn ImageMaker>,
    /// What goes wrong on purpose; nothing but in tests.
    pub faults: Faults,
}

/// When heads over the log are signed, and where they are written outside the database.
#[derive(Clone, Debug)]
pub struct HeadSettings {
    /// How long an event may be without a head that protects it.
    pub period: Duration,
    /// How many events may be without one.
    pub events_max: u64,
    /// None is `heads.ndjson` in the data directory.
    pub file: Option<PathBuf>,
}

impl Default for HeadSettings {
    fn default() -> Self {
        Self { period: Duration::from_secs(10), events_max: 1000, file: None }
    }
}

/// How many events of a stream are folded in well below a hundredth of a second.
pub const SNAPSHOT_EVENTS: u64 = 1_000;

/// Where workspaces run.
#[derive(Clone, Debug)]
pub enum NodeSettings {
    Local(LocalSettings),
    Simulated(SimulatedSettings),
}

impl NodeSettings {
    #[must_use]
    pub fn kind(&self) -> ProviderKind {
        match self {
            Self::Local(_) => ProviderKind::Local,
            Self::Simulated(_) => ProviderKind::Simulated,
        }
    }
}

/// How the agent on this machine is started.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// This machine is used as a node. Of several replicas one uses its own.
    pub is_used: bool,
    /// The agent's program; None where it could not be found.
    pub agent: Option<PathBuf>,
    /// The version that agents have to have; others are drained and replaced.
    pub agent_version: String,
    /// The agent's own directory.
    pub agent_data_dir: PathBuf,
    /// How many workspaces this machine may carry.
    pub slots: u8,
    /// Further arguments for the agent.
    pub arguments: Vec<String>,
}

/// What each workspace gets.
#[derive(Clone, Debug)]
pub struct WorkspaceSettings {
    /// For the demo agent.
    pub base_image: String,
    /// With Claude Code's adapter in it.
    pub claude_image: String,
    pub author_name: String,
    pub author_email: String,
    pub limits: WorkspaceLimits,
}

impl Default for WorkspaceSettings {
    fn default() -> Self {
        Self {
            base_image: "sam-base:1".to_owned(),
            claude_image: "sam-claude:1".to_owned(),
            author_name: "SAM".to_owned(),
            author_email: "sam@localhost".to_owned(),
            limits: WorkspaceLimits {
                memory_bytes: 4 << 30,
                cpu_millis: 2000,
                processes: 1024,
                disk_bytes: 0,
            },
        }
    }
}

/// Where Claude Code's requests go unless something else is said.
pub const ANTHROPIC_BASE_URL: &str = "https://api.anthropic.com";

/// The model that makes titles unless another one is named: small, quick and cheap.
pub const TITLE_MODEL: &str = "claude-haiku-4-5";
