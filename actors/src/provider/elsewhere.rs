//! The machine of another replica: this server has none of its own and asks that one, its home.

use std::time::Duration;

use domain::{
    ids::NodeId,
    values::{NodeSpec, ProviderKind},
};
use futures_util::future::BoxFuture;

use crate::{
    provider::{Provider, ProviderError},
    replica::{frames::GuestFrame, guest::Homes},
};

/// How long a home may be away, for example while it is started again.
const HOME_PERIOD_MAX: Duration = Duration::from_secs(60);

/// The provider of a server that does not use its own machine.
#[derive(Clone, Debug)]
pub(crate) struct ElsewhereProvider {
    homes: Homes,
}

impl ElsewhereProvider {
    pub(crate) fn new(homes: Homes) -> Self {
        Self { homes }
    }

    async fn ask(&self, ask: impl Fn(u64) -> GuestFrame) -> Result<(), ProviderError> {
        match tokio::time::timeout(HOME_PERIOD_MAX, self.homes.provide(ask)).await {
            Ok(None) => Ok(()),
            Ok(Some(reason)) => Err(ProviderError::Refused { reason }),
            Err(_) => Err(ProviderError::Refused {
                reason: "no running server uses its machine as a node: start one without \
                         --no-local-node"
                    .to_owned(),
            }),
        }
    }
}

impl Provider for ElsewhereProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Local
    }

    fn name(&self) -> String {
        "this machine".to_owned()
    }

    fn start<'a>(
        &'a self,
        node: NodeId,
        spec: &'a NodeSpec,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        let spec = spec.clone();
        Box::pin(self.ask(move |number| GuestFrame::StartNode { number, node, spec: spec.clone() }))
    }

    fn stop(&self, node: NodeId) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(self.ask(move |number| GuestFrame::StopNode { number, node }))
    }

    fn trouble(&self) -> Option<String> {
        self.homes.trouble()
    }
}
