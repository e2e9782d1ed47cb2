//! Carries out what processes want done to the outside world.
//!
//! Each effect can be repeated under its key. None of them fails by an error: what went wrong is an
//! outcome, and the process decides what follows. `None` means that the lease was lost meanwhile.

use std::{sync::Arc, time::Duration};

use domain::{
    agent_protocol::{CodingAgentKind, Order, RefusalKind},
    ids::{AccountId, InstallationId, NodeId, derived},
    node::Node,
    process::{Effect, OrderIntent, Outcome},
    values::{NodeSpec, ProviderKind, Timestamp},
};
use projections::event_log::{EventLog, NewContent};
use uuid::Uuid;

use crate::{
    agent_link::AgentLinks,
    clock::SharedClock,
    dispatcher::{DispatchError, Dispatcher},
    erasure::Erasure,
    idea_titles::IdeaTitles,
    lease::Tenure,
    order::Orders,
    preparation::{Preparation, Preparations},
    provider::Provider,
    timer::Timer,
};

/// How long the last agent of a node that is given back may take to call and to leave.
const RETIRE_PERIOD_MAX: Duration = Duration::from_secs(120);
/// While waiting for room: not more often than this, however busy the log is.
const ROOM_PERIOD: Duration = Duration::from_millis(250);

/// An outcome, with the rows that it refers to.
#[derive(Debug)]
pub(crate) struct Performed {
    pub(crate) outcome: Outcome,
    pub(crate) contents: Vec<NewContent>,
}

impl From<Outcome> for Performed {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, contents: Vec::new() }
    }
}

/// The outside world, as processes reach it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Effects {
    pub(crate) installation: InstallationId,
    pub(crate) log: EventLog,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) links: AgentLinks,
    pub(crate) orders: Orders,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) erasure: Erasure,
    pub(crate) titles: IdeaTitles,
    pub(crate) preparations: Preparations,
    pub(crate) timer: Timer,
    pub(crate) clock: SharedClock,
    pub(crate) tenure: Tenure,
}

impl Effects {
    pub(crate) async fn perform(&self, key: Uuid, effect: &Effect) -> Option<Performed> {
        let outcome = match effect {
            Effect::FindNode { owner, provider } => self.find_node(*owner, *provider).await,
            Effect::AwaitRoom { owner, provider, until } => {
                self.await_room(*owner, *provider, *until).await
            }
            Effect::StartNode { node, spec } => match self.provider.start(*node, spec).await {
                Ok(()) => Outcome::Done,
                Err(error) => failed(RefusalKind::Machine, error.to_string()),
            },
            Effect::AwaitAgent { node, until } => self.await_agent(*node, *until).await,
            Effect::AwaitImage { coding_agent, seen, until } => {
                self.await_image(*coding_agent, seen.as_deref(), *until).await
            }
            Effect::StopNode { node, spec } => self.stop_node(key, *node, spec).await,
            Effect::Order { node, order } => return self.order(key, *node, order).await,
            Effect::EndExecutions { project, until } => {
                let is_late = self.timer.until(*until);
                self.erasure.end_executions(key, *project, is_late).await
            }
            Effect::DestroyTexts { project } => self.erasure.destroy_texts(*project).await,
            Effect::NameErasedStreams { project } => self.erasure.name_streams(key, *project).await,
            Effect::EndSignIns { account } => self.erasure.end_sign_ins(*account).await,
            Effect::EraseProjects { account, until } => {
                let is_late = self.timer.until(*until);
                self.erasure.erase_projects(key, *account, is_late).await
            }
            Effect::DestroySecrets { account } => self.erasure.destroy_secrets(key, *account).await,
            Effect::SummariseTitle { idea, description, until } => {
                let performed: Performed = tokio::select! {
                    biased;
                    () = self.timer.until(*until) => Outcome::Done.into(),
                    performed = self.titles.perform(key, *idea, description) => performed,
                };
                return Some(performed);
            }
        };
        Some(outcome.into())
    }

    /// The one node that a single-machine provider has. Its stream is asked, so the answer is exact;
    /// between it and the placement it may still become full, which `Node::decide` notices.
    async fn find_node(&self, owner: AccountId, provider: ProviderKind) -> Outcome {
        if provider != self.provider.kind() {
            let reason = format!("this server has no provider {provider:?}").to_lowercase();
            return failed(RefusalKind::Machine, reason);
        }
        let node = node_of(self.installation, provider);
        let no_room = |reason: String| Outcome::NoRoom { reason };
        match self.node(node).await.as_deref() {
            Ok(Node::Running { slots, placed, .. }) if placed.len() < usize::from(*slots) => {
                Outcome::NodeFound { node }
            }
            Ok(Node::Running { slots, .. }) => no_room(format!(
                "this machine carries {slots} workspaces already: waiting until one is done"
            )),
            Ok(Node::Stopping { .. }) => no_room(
                "the machine is being stopped: waiting until it can be started again".to_owned(),
            ),
            Ok(Node::Unknown | Node::Requested { .. } | Node::Gone) => {
                let name = self.provider.name();
                Outcome::NodeMissing { node, spec: NodeSpec { owner, provider, name } }
            }
            Err(error) => failed(RefusalKind::Machine, error.to_string()),
        }
    }

    async fn await_room(
        &self,
        owner: AccountId,
        provider: ProviderKind,
        until: Timestamp,
    ) -> Outcome {
        let mut head = self.log.watch();
        let is_late = self.timer.until(until);
        tokio::pin!(is_late);
        loop {
            head.mark_unchanged();
            match self.find_node(owner, provider).await {
                Outcome::NoRoom { .. } => {}
                failed @ Outcome::Failed { .. } => return failed,
                _ => return Outcome::Done,
            }
            tokio::select! {
                () = &mut is_late => {
                    let reason = "no machine had room in time".to_owned();
                    return failed(RefusalKind::Machine, reason);
                }
                // An error means that the log is closed; the pause keeps this from spinning.
                _ = head.changed() => tokio::time::sleep(ROOM_PERIOD).await,
            }
        }
    }

    async fn await_agent(&self, node: NodeId, until: Timestamp) -> Outcome {
        tokio::select! {
            health = self.links.connected(node) => {
                Outcome::AgentReady { slots: health.hello.slots, version: health.hello.version }
            }
            () = self.timer.until(until) => {
                let reason = self.provider.trouble().unwrap_or_else(|| {
                    "the node's agent did not call in time".to_owned()
                });
                failed(RefusalKind::Machine, reason)
            }
        }
    }

    async fn await_image(
        &self,
        coding_agent: CodingAgentKind,
        seen: Option<&str>,
        until: Timestamp,
    ) -> Outcome {
        let name = coding_agent.name();
        tokio::select! {
            news = self.preparations.news(coding_agent, seen) => match news {
                Preparation::Ready => Outcome::Done,
                Preparation::UnderWay { told } => Outcome::ImagePending { reason: told },
                Preparation::Failed { reason } => {
                    let reason = format!("the image of {name} could not be made: {reason}");
                    failed(RefusalKind::Machine, reason)
                }
                Preparation::Unknown => {
                    failed(RefusalKind::Machine, format!("nobody makes the image of {name}"))
                }
            },
            () = self.timer.until(until) => {
                let last = seen.map(|seen| format!("; the last that was heard: {seen}"));
                let reason = format!(
                    "the image of {name} was not made in time{}",
                    last.unwrap_or_default()
                );
                failed(RefusalKind::Machine, reason)
            }
        }
    }

    /// Has the agent leave, and then the machine given back. Only a confirmation counts as done.
    async fn stop_node(&self, key: Uuid, node: NodeId, spec: &NodeSpec) -> Outcome {
        // Somebody may have started it again meanwhile, under the same id.
        if !matches!(self.node(node).await.as_deref(), Ok(Node::Stopping { .. })) {
            return Outcome::Done;
        }
        if let Err(error) = self.provider.start(node, spec).await {
            if !self.provider.has_run() {
                return Outcome::Done;
            }
            return failed(RefusalKind::Machine, error.to_string());
        }
        let retire = async {
            self.links.connected(node).await;
            self.links.order(node, key, self.tenure.order, Order::Retire).await
        };
        tokio::select! {
            outcome = retire => {
                if let domain::agent_protocol::OrderOutcome::Refused { kind, reason } = outcome.outcome {
                    return failed(kind, reason);
                }
            }
            () = self.clock.pause(RETIRE_PERIOD_MAX) => {
                let reason = "the node's agent did not leave in time".to_owned();
                return failed(RefusalKind::Machine, reason);
            }
        }
        match self.provider.stop(node).await {
            Ok(()) => Outcome::Done,
            Err(error) => failed(RefusalKind::Machine, error.to_string()),
        }
    }

    async fn order(&self, key: Uuid, node: NodeId, intent: &OrderIntent) -> Option<Performed> {
        let order = match self.orders.order(intent).await {
            Ok(order) => order,
            Err(refusal) => return Some(failed(refusal.kind, refusal.reason).into()),
        };
        let settled = tokio::select! {
            settled = self.links.order(node, key, self.tenure.order, order) => settled,
            () = self.clock.pause(Orders::period_max(intent)) => {
                let trouble = self.provider.trouble().unwrap_or_default();
                let reason = format!("the node's agent did not answer in time. {trouble}");
                return Some(failed(RefusalKind::Machine, reason.trim_end().to_owned()).into());
            }
        };
        if settled.is_stale() && self.tenure.append.is_some() {
            return None;
        }
        Some(self.orders.outcome(key, intent, settled.outcome).await)
    }

    async fn node(&self, node: NodeId) -> Result<Arc<Node>, DispatchError> {
        self.dispatcher.state::<Node>(node.0).await
    }
}

/// The id of the node of a provider that has only one machine.
pub(crate) fn node_of(installation: InstallationId, provider: ProviderKind) -> NodeId {
    let word = match provider {
        ProviderKind::Local => "local node",
        ProviderKind::Simulated => "simulated node",
    };
    NodeId(derived(installation.0, word))
}

pub(crate) fn failed(kind: RefusalKind, reason: String) -> Outcome {
    Outcome::Failed { kind, reason }
}
