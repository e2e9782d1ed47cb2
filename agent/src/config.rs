//! What the agent is told when it is started.

use std::{path::PathBuf, str::FromStr, time::Duration};

use domain::ids::{InstallationId, NodeId};

/// The program on a node that carries out a control plane's orders.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "sam-agent", version)]
pub struct Config {
    /// Journal, mirrors, secrets and the lock file live here; one agent per directory (since 0.1).
    #[arg(long, env = "SAM_AGENT_DATA_DIR")]
    pub data_dir: PathBuf,
    /// Where the control plane listens: `unix:/path/to/control.sock` (since 0.1).
    #[arg(long, env = "SAM_AGENT_CONTROL")]
    pub control: ControlAddress,
    /// Which node this is (since 0.1).
    #[arg(long, env = "SAM_AGENT_NODE")]
    pub node: NodeId,
    /// Whose node this is (since 0.1).
    #[arg(long, env = "SAM_AGENT_INSTALLATION")]
    pub installation: InstallationId,
    /// File with the control plane's Ed25519 public key, as JWK or PEM (since 0.1).
    #[arg(long, env = "SAM_AGENT_CONTROL_KEY")]
    pub control_key: PathBuf,
    /// How many workspaces this machine may carry (since 0.1).
    #[arg(long, env = "SAM_AGENT_SLOTS", default_value_t = 3)]
    pub slots: u8,
    /// What runs the workspaces (since 0.1).
    #[arg(long, env = "SAM_AGENT_ENGINE", value_enum, default_value_t = EngineKind::Docker)]
    pub engine: EngineKind,
    /// Leaves after this long with no control plane and nothing running (since 0.1).
    #[arg(long, env = "SAM_AGENT_LEAVE_AFTER_SECONDS", default_value_t = 600)]
    pub leave_after_seconds: u64,
}

impl Config {
    pub fn leave_after(&self) -> Duration {
        Duration::from_secs(self.leave_after_seconds)
    }
}

/// What runs the workspaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineKind {
    /// Containers of a Docker engine; `DOCKER_HOST` is honoured.
    Docker,
    /// Processes on this machine without isolation: for tests only.
    Simulated,
}

/// Where the control plane listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlAddress {
    Unix(PathBuf),
}

impl FromStr for ControlAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            _ => Err(format!("{text:?} is not of the form unix:/absolute/path")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ControlAddress;

    #[test]
    fn a_control_address_is_an_absolute_socket_path() {
        assert_eq!("unix:/run/c.sock".parse(), Ok(ControlAddress::Unix("/run/c.sock".into())));
        assert!("unix:c.sock".parse::<ControlAddress>().is_err());
        assert!("http://localhost".parse::<ControlAddress>().is_err());
    }
}
