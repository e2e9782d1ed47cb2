//! Why an order is not carried out: whose turn it is, and a sentence for people.

use domain::{
    agent_protocol::{OrderOutcome, RefusalKind},
    ids::WorkspaceId,
};

use crate::{
    engine::EngineError, git::GitError, journal::JournalError, model_proxy::ProxyError,
    session::SessionRefusal,
};

/// Why an order is not carried out; becomes [`OrderOutcome::Refused`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    pub kind: RefusalKind,
    pub reason: String,
}

impl Refusal {
    pub fn new(kind: RefusalKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    pub fn unknown(workspace: WorkspaceId) -> Self {
        Self::new(RefusalKind::Unknown, format!("there is no workspace {workspace} on this node"))
    }

    pub(crate) fn machine(error: impl std::fmt::Display) -> Self {
        Self::new(RefusalKind::Machine, error.to_string())
    }
}

impl From<Refusal> for OrderOutcome {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { kind: refusal.kind, reason: refusal.reason }
    }
}

impl From<GitError> for Refusal {
    fn from(error: GitError) -> Self {
        let kind = match error {
            GitError::DiskFull | GitError::NotInstalled { .. } | GitError::Failed { .. } => {
                RefusalKind::Machine
            }
            _ => RefusalKind::Repository,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self::machine(error)
    }
}

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        Self::machine(error)
    }
}

impl From<ProxyError> for Refusal {
    fn from(error: ProxyError) -> Self {
        Self::machine(error)
    }
}

impl From<SessionRefusal> for Refusal {
    fn from(refusal: SessionRefusal) -> Self {
        Self::new(refusal.kind, refusal.reason)
    }
}
