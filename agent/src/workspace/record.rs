//! What the journal knows about a workspace: enough to take it up again, or to remove all of it.

use domain::agent_protocol::{Environment, OpenWorkspace};
use serde::{Deserialize, Serialize};

/// What the journal knows about a workspace. Its spec is without variables: some are secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub spec: OpenWorkspace,
    /// None while it is being opened.
    pub opened: Option<Opened>,
    /// Whether the engine may have been asked for the container. One that was never asked for needs no
    /// engine to be closed.
    #[serde(default = "yes")]
    pub may_exist: bool,
}

impl Record {
    /// Of a workspace that was asked for.
    pub fn of(spec: &OpenWorkspace, opened: Option<Opened>, may_exist: bool) -> Self {
        let spec = OpenWorkspace { environment: Environment::default(), ..spec.clone() };
        Self { spec, opened, may_exist }
    }
}

/// Records of earlier versions do not say.
fn yes() -> bool {
    true
}

/// A workspace that is usable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opened {
    pub container: String,
    pub base_branch: String,
    pub base_commit: String,
}
