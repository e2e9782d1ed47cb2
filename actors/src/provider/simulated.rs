//! The second implementation of a provider: a machine in memory, with an agent that speaks the protocol.
//!
//! Its agent is cut off and comes back at the word of a test, with its journal as it was, like one whose
//! process was killed. What it did can be looked at afterwards: containers, branches, orders.
//!
//! Read next: `provider/simulated/machine.rs` for what it does with an order.

use std::{path::PathBuf, time::Duration};

use domain::{
    ids::NodeId,
    values::{NodeSpec, ProviderKind},
};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::{
    provider::{Provider, ProviderError},
    tasks::Tasks,
};

mod link;
mod machine;
mod turn;

pub use machine::{Machine, Refuse};

const RECONNECT_PERIOD: Duration = Duration::from_millis(20);

/// The machine that a server uses; it may outlive the server, as a real one does.
#[derive(Clone, Debug)]
pub struct SimulatedSettings {
    pub machine: Machine,
    /// The version that agents have to have.
    pub agent_version: String,
}

/// The provider of a simulated machine. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedProvider {
    machine: Machine,
    is_wanted: watch::Sender<bool>,
}

impl SimulatedProvider {
    pub(crate) fn new(
        settings: SimulatedSettings,
        node: NodeId,
        socket: PathBuf,
        tasks: &Tasks,
    ) -> Self {
        let machine = settings.machine;
        let is_wanted = watch::channel(machine.is_rented()).0;
        let (kept, mut wanted) = (machine.clone(), is_wanted.subscribe());
        tasks.start("simulated agent", async move {
            loop {
                if wanted.wait_for(|is_wanted| *is_wanted).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = link::converse(&kept, node, &socket) => {}
                    changed = wanted.changed() => if changed.is_err() { return },
                }
                tokio::time::sleep(RECONNECT_PERIOD).await;
            }
        });
        Self { machine, is_wanted }
    }
}

impl Provider for SimulatedProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Simulated
    }

    fn name(&self) -> String {
        "a simulated machine".to_owned()
    }

    fn start<'a>(
        &'a self,
        _node: NodeId,
        _spec: &'a NodeSpec,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            self.machine.rent();
            self.is_wanted.send_replace(true);
            Ok(())
        })
    }

    fn stop(&self, _node: NodeId) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async move {
            self.is_wanted.send_replace(false);
            self.machine.give_back();
            Ok(())
        })
    }
}
