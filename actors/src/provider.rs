//! Who provides the machines on which workspaces run.
//!
//! Both providers so far have one machine, whose id follows from the installation. Starting one that
//! runs, and stopping one that is gone, is success.

use std::fmt;

use domain::{
    ids::NodeId,
    values::{NodeSpec, ProviderKind},
};
use futures_util::future::BoxFuture;

pub(crate) mod elsewhere;
pub mod local;
pub mod simulated;

/// Why a provider did not do what was asked. Variants tell the caller what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Worth another try.
    #[error("the machine is busy: {reason}")]
    Busy { reason: String },
    /// Trying again cannot help: a person has to act.
    #[error("{reason}")]
    Refused { reason: String },
}

/// A source of machines.
pub trait Provider: fmt::Debug + Send + Sync + 'static {
    fn kind(&self) -> ProviderKind;

    /// What people call its machine.
    fn name(&self) -> String;

    /// Has the machine run an agent that calls us.
    fn start<'a>(
        &'a self,
        node: NodeId,
        spec: &'a NodeSpec,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Gives the machine back, after its agent was told to leave. Done only when it is gone.
    fn stop(&self, node: NodeId) -> BoxFuture<'_, Result<(), ProviderError>>;

    /// Whether an agent ever ran on the machine. One on which none did has nothing to give back.
    fn has_run(&self) -> bool {
        true
    }

    /// What is wrong with the machine at this moment, for people.
    fn trouble(&self) -> Option<String> {
        None
    }
}
