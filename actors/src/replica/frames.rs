//! What replicas say to each other. They are of one version, or do not understand each other.

use domain::{
    agent_protocol::{LiveChunk, Order, OrderOutcome},
    ids::{NodeId, SessionId},
    values::NodeSpec,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{agent_link::NodeHealth, live_hub::OpenMessage};

/// From whoever asks. Numbers are the asker's and tell answers apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub(crate) enum GuestFrame {
    /// The first one: it proves that the key is known.
    Hello {
        replica: Uuid,
    },
    /// Something for an agent to carry out.
    Order {
        node: NodeId,
        key: Uuid,
        epoch: u64,
        order: Order,
    },
    /// The outcome of an order is recorded, or of no interest any more.
    Recorded {
        key: Uuid,
    },
    /// Have the machine run an agent.
    StartNode {
        number: u64,
        node: NodeId,
        spec: NodeSpec,
    },
    /// Give the machine back.
    StopNode {
        number: u64,
        node: NodeId,
    },
    /// Tell of streamed text, beginning with what is open.
    Follow {
        number: u64,
        session: SessionId,
    },
    Unfollow {
        number: u64,
    },
    /// Nothing to say, but here.
    Beat,
}

/// From the home of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub(crate) enum HomeFrame {
    /// Which agents are connected; at once, after changes, and as a beat.
    Nodes {
        nodes: Vec<NodeHealth>,
        trouble: Option<String>,
    },
    Settled {
        node: NodeId,
        key: Uuid,
        outcome: OrderOutcome,
    },
    /// Answers `StartNode` and `StopNode`.
    Provided {
        number: u64,
        refusal: Option<String>,
    },
    /// Answers `Follow`, before its first chunk.
    Open {
        number: u64,
        open: Vec<OpenMessage>,
    },
    Chunk {
        number: u64,
        chunk: LiveChunk,
    },
    /// The follower was too slow, and has to follow again.
    CutOff {
        number: u64,
    },
}
