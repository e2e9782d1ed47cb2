//! The nodes' agents, as far as they are connected.
//!
//! Agents dial in; a node has one link at most, and the newest counts. Orders wait here until they are
//! settled: one that was sent before a reconnect is sent again under its key, and the agent answers it
//! with its first outcome. Nothing here is durable: after a restart the runner gives every order again.
//!
//! Read next: `agent_link/connection.rs` talks to one agent, `report.rs` deals with what it tells.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::{
    agent_protocol::{ControlFrame, Hello, Order, OrderOutcome, RefusalKind},
    ids::NodeId,
    values::Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

pub(crate) mod connection;
pub(crate) mod listener;
pub(crate) mod signing;

/// How many frames may wait for a slow agent before its link is cut; orders are sent again then.
const FRAMES_WAITING_MAX: usize = 1024;

/// What is known of a connected agent. Never an event: losing it loses no decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeHealth {
    pub hello: Hello,
    pub connected_at: Timestamp,
    pub last_heard_at: Timestamp,
    pub n_workspaces: u32,
    /// It is of another version and leaves when its last workspace is gone.
    pub is_draining: bool,
}

/// How an order ended.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) outcome: OrderOutcome,
    /// The report is acknowledged when this is dropped: after the outcome was recorded.
    _recorded: oneshot::Sender<()>,
}

impl Settled {
    fn stale() -> Self {
        let reason = "the lease has passed on to another server".to_owned();
        let outcome = OrderOutcome::Refused { kind: RefusalKind::Stale, reason };
        Self { outcome, _recorded: oneshot::channel().0 }
    }

    /// The agent has heard of a newer control plane.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self.outcome, OrderOutcome::Refused { kind: RefusalKind::Stale, .. })
    }
}

/// All links. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct AgentLinks {
    nodes: Arc<Mutex<HashMap<NodeId, NodeLink>>>,
    /// Counts changes of who is connected.
    changes: watch::Sender<u64>,
    /// The highest epoch of the lease that was heard of.
    epoch: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct NodeLink {
    connection: Option<Connected>,
    /// In the order in which they were given.
    orders: BTreeMap<u64, PendingOrder>,
    n_orders: u64,
}

#[derive(Debug)]
struct Connected {
    number: u64,
    frames: mpsc::Sender<ControlFrame>,
    health: NodeHealth,
}

#[derive(Debug)]
struct PendingOrder {
    key: Uuid,
    epoch: u64,
    order: Order,
    settled: oneshot::Sender<Settled>,
}

impl PendingOrder {
    /// An agent on its way out opens nothing new: that waits for its successor.
    fn is_for(&self, health: &NodeHealth) -> bool {
        !(health.is_draining && matches!(self.order, Order::OpenWorkspace(_)))
    }

    fn frame(&self) -> ControlFrame {
        ControlFrame::Order { key: self.key, epoch: self.epoch, order: self.order.clone() }
    }
}

impl AgentLinks {
    pub(crate) fn new() -> Self {
        Self { nodes: Arc::default(), changes: watch::channel(0).0, epoch: watch::channel(1).0 }
    }

    /// Notes that the lease is in an epoch, or was.
    pub(crate) fn saw_epoch(&self, epoch: u64) {
        self.epoch.send_if_modified(|highest| {
            let is_news = *highest < epoch;
            *highest = (*highest).max(epoch);
            is_news
        });
    }

    /// The highest epoch of the lease that was heard of; 1 at first.
    pub(crate) fn epoch(&self) -> u64 {
        *self.epoch.borrow()
    }

    /// Gives an order and waits, for as long as it takes, until it is settled. One of an epoch that is
    /// known to be over goes nowhere, as the agent itself would refuse it.
    pub(crate) async fn order(&self, node: NodeId, key: Uuid, epoch: u64, order: Order) -> Settled {
        if epoch < self.epoch() {
            return Settled::stale();
        }
        loop {
            let (settled, outcome) = oneshot::channel();
            let pending = PendingOrder { key, epoch, order: order.clone(), settled };
            let _withdraw = self.give(node, pending);
            // The sender goes only when the same order was given twice at once; then once more.
            if let Ok(settled) = outcome.await {
                return settled;
            }
        }
    }

    fn give(&self, node: NodeId, pending: PendingOrder) -> Withdraw {
        let mut nodes = self.lock();
        let link = nodes.entry(node).or_default();
        link.n_orders += 1;
        let number = link.n_orders;
        let is_sent = match &link.connection {
            Some(connected) if pending.is_for(&connected.health) => {
                crash_point::crash_point!("order.before_sent");
                let is_sent = connected.frames.try_send(pending.frame()).is_ok();
                crash_point::crash_point!("order.after_sent");
                is_sent
            }
            _ => true,
        };
        link.orders.insert(number, pending);
        if !is_sent {
            // Too slow or gone: the next connection gets all of them.
            link.connection = None;
        }
        Withdraw { links: self.clone(), node, number }
    }

    /// Resolves when a node's agent is connected that takes new work.
    pub(crate) async fn connected(&self, node: NodeId) -> NodeHealth {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(health) = self.health(node).filter(|health| !health.is_draining) {
                return health;
            }
            // It cannot end before `self`, which holds the sender.
            let _ = changes.changed().await;
        }
    }

    /// What is known of a node's agent; None while it is not connected.
    pub(crate) fn health(&self, node: NodeId) -> Option<NodeHealth> {
        Some(self.lock().get(&node)?.connection.as_ref()?.health.clone())
    }

    /// What is known of all connected agents.
    pub(crate) fn all(&self) -> Vec<NodeHealth> {
        let nodes = self.lock();
        let connected = nodes.values().filter_map(|link| link.connection.as_ref());
        connected.map(|connected| connected.health.clone()).collect()
    }

    /// Sees when somebody is connected or is not any more.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Takes what is newly known of a connected agent; false when its connection is another one now.
    pub(crate) fn refresh(&self, number: u64, health: &NodeHealth) -> bool {
        let mut nodes = self.lock();
        let connection =
            nodes.get_mut(&health.hello.node).and_then(|link| link.connection.as_mut());
        let Some(connected) = connection.filter(|connected| connected.number == number) else {
            return false;
        };
        let is_other = connected.health.hello != health.hello
            || connected.health.is_draining != health.is_draining;
        connected.health = health.clone();
        if is_other {
            self.changes.send_modify(|changes| *changes += 1);
        }
        true
    }

    /// Puts a new connection in the place of an older one, with all orders that are under way.
    pub(crate) fn attach(&self, health: NodeHealth) -> (u64, mpsc::Receiver<ControlFrame>) {
        let (frames, outgoing) = mpsc::channel(FRAMES_WAITING_MAX);
        let mut nodes = self.lock();
        let link = nodes.entry(health.hello.node).or_default();
        let number = *self.changes.borrow() + 1;
        for pending in link.orders.values().filter(|pending| pending.is_for(&health)) {
            // What does not fit comes when the agent has made room by reconnecting.
            let _ = frames.try_send(pending.frame());
        }
        link.connection = Some(Connected { number, frames, health });
        self.changes.send_replace(number);
        (number, outgoing)
    }

    pub(crate) fn detach(&self, node: NodeId, number: u64) {
        let mut nodes = self.lock();
        let Some(link) = nodes.get_mut(&node) else { return };
        if link.connection.as_ref().is_some_and(|connected| connected.number == number) {
            link.connection = None;
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    fn heard(&self, node: NodeId, at: Timestamp, n_workspaces: Option<u32>) {
        let mut nodes = self.lock();
        let Some(link) = nodes.get_mut(&node) else { return };
        let Some(Connected { health, .. }) = &mut link.connection else { return };
        health.last_heard_at = at;
        health.n_workspaces = n_workspaces.unwrap_or(health.n_workspaces);
    }

    /// Hands an outcome to whoever waits for it. The answer resolves when it is recorded; where nobody
    /// waits there is nothing to record: an order that is given again is answered again.
    pub(crate) fn settle(
        &self,
        node: NodeId,
        key: Uuid,
        outcome: OrderOutcome,
    ) -> Option<oneshot::Receiver<()>> {
        let mut nodes = self.lock();
        let orders = &mut nodes.get_mut(&node)?.orders;
        let number = orders.iter().find(|(_, pending)| pending.key == key).map(|(n, _)| *n)?;
        let pending = orders.remove(&number)?;
        let (recorded, is_recorded) = oneshot::channel();
        pending.settled.send(Settled { outcome, _recorded: recorded }).ok()?;
        Some(is_recorded)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, NodeLink>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes an order back when nobody waits for it any more.
struct Withdraw {
    links: AgentLinks,
    node: NodeId,
    number: u64,
}

impl Drop for Withdraw {
    fn drop(&mut self) {
        if let Some(link) = self.links.lock().get_mut(&self.node) {
            link.orders.remove(&self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{agent_protocol::Order, ids::NodeId};
    use futures_util::FutureExt as _;
    use uuid::Uuid;

    use super::AgentLinks;

    #[tokio::test]
    async fn an_order_of_an_epoch_that_is_over_goes_nowhere() {
        let (links, node) = (AgentLinks::new(), NodeId(Uuid::from_u128(1)));
        links.saw_epoch(5);
        links.saw_epoch(4);
        assert_eq!(links.epoch(), 5);
        let old = links.order(node, Uuid::from_u128(2), 4, Order::Retire).now_or_never();
        assert!(old.is_some_and(|settled| settled.is_stale()));
        let current = links.order(node, Uuid::from_u128(3), 5, Order::Retire).now_or_never();
        assert!(current.is_none(), "it waits for the agent");
    }
}
