//! What all handlers share: the running control plane, seen from the door.

use std::{sync::Arc, time::Duration};

use actors::{sign_in, system::System};
use domain::{
    agent_protocol::{CodingAgentKind, Hello},
    ids::{AccountId, InstallationId, NodeId},
    values::Timestamp,
};
use projections::{
    database::Database,
    event_log::{EventLog, Position},
    tokens::TokenHash,
};
use tokio::sync::{Mutex, watch};

use crate::{
    config::{Hosts, Settings},
    live::feed::Feed,
    metrics::Metrics,
    problem::Problem,
    queries::timeline::Source,
    reading::WAIT_PERIOD_MAX,
};

/// How long a browser stays signed in without being used.
pub const BROWSER_PERIOD: Duration = sign_in::COOKIE_PERIOD;

/// A handle on everything that answers requests. Lives in an `Arc` that all workers share.
pub struct Server {
    system: Arc<System>,
    settings: Settings,
    hosts: Hosts,
    /// What the command line shows to be let in; only its hash is kept.
    own_token: TokenHash,
    has_ui: bool,
    feed: Feed,
    metrics: Metrics,
    verifying: Arc<Mutex<()>>,
}

/// What is known of a node's agent at this moment.
#[derive(Clone, Debug, Default)]
pub struct Link {
    pub is_connected: bool,
    pub engine: Option<String>,
    pub heard_at: Option<Timestamp>,
}

impl Server {
    /// Puts a door before a running system.
    #[must_use]
    pub fn new(
        system: Arc<System>,
        settings: Settings,
        hosts: Hosts,
        own_token: &str,
        has_ui: bool,
    ) -> Self {
        let own_token = TokenHash::of(own_token);
        let metrics = Metrics::new();
        let feed = Feed::start(&system.log, system.projected());
        let verifying = Arc::default();
        Self { system, settings, hosts, own_token, has_ui, feed, metrics, verifying }
    }

    /// The system behind the door, if nobody else holds it.
    #[must_use]
    pub fn into_system(self) -> Option<System> {
        Arc::into_inner(self.system)
    }

    #[must_use]
    pub fn system(&self) -> &System {
        &self.system
    }

    #[must_use]
    pub fn database(&self) -> &Database {
        &self.system.database
    }

    #[must_use]
    pub fn log(&self) -> &EventLog {
        &self.system.log
    }

    #[must_use]
    pub fn sealing(&self) -> &actors::sealing::Sealing {
        &self.system.sealing
    }

    /// What accounts of executions are made from.
    pub(crate) fn source(&self) -> Source<'_> {
        Source { database: self.database(), log: self.log(), sealing: self.sealing() }
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    #[must_use]
    pub fn has_ui(&self) -> bool {
        self.has_ui
    }

    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    #[must_use]
    pub fn owner(&self) -> AccountId {
        self.system.owner()
    }

    /// Who owns the installation now, even if another server has made it so. Where that cannot be asked it is
    /// who owned it last: what begins something asks for itself, and everything else can still be seen.
    pub async fn newest_owner(&self) -> AccountId {
        let newest = self.system.sign_in.newest_owner().await;
        newest.unwrap_or_else(|error| {
            tracing::debug!(%error, "who owns this installation now is not known");
            self.owner()
        })
    }

    #[must_use]
    pub fn installation(&self) -> InstallationId {
        self.system.installation
    }

    /// Whether this is the token that the server wrote into its own file.
    #[must_use]
    pub fn is_own_token(&self, token: &str) -> bool {
        // Hashes are compared: how long that takes says nothing about the token.
        TokenHash::of(token) == self.own_token
    }

    /// What is known of a node's agent.
    #[must_use]
    pub fn link(&self, node: NodeId) -> Link {
        let Some(health) = self.system.node_health(node) else { return Link::default() };
        let Hello { engine, .. } = health.hello;
        Link { is_connected: true, engine, heard_at: Some(health.last_heard_at) }
    }

    /// Makes the image with Claude Code in it, in the background: it takes minutes, and it is fetched
    /// only once there is a key for it. Ideas that need it meanwhile wait for it.
    pub fn prepare_coding_agent(&self) {
        self.system.preparations.begin(CodingAgentKind::ClaudeCode);
    }

    /// Held while the log is checked: that reads all of it, so once at a time is enough.
    #[must_use]
    pub fn verifying(&self) -> &Arc<Mutex<()>> {
        &self.verifying
    }

    /// Tells whether Claude Code's image is being made.
    #[must_use]
    pub fn is_preparing_coding_agent(&self) -> bool {
        self.system.preparations.is_under_way(CodingAgentKind::ClaudeCode)
    }

    /// Ends what the door itself started.
    pub async fn stop(&self) {
        self.feed.stop().await;
    }

    /// Up to where the read models show the log.
    #[must_use]
    pub fn projected_position(&self) -> Position {
        *self.system.projected().borrow()
    }

    /// Waits a few seconds until the read models show a position; tells whether they do.
    pub async fn projected_up_to(&self, position: Position) -> bool {
        reached(self.system.projected(), position).await
    }

    /// Waits until the read models show everything that is recorded now, so that a write finds what
    /// its caller has just made.
    pub async fn settled(&self) {
        let log = &self.system.log;
        let mut head = *log.watch().borrow();
        if log.is_shared() {
            // What another replica has recorded may not have been heard of yet.
            head = log.head().await.unwrap_or(head);
        }
        self.projected_up_to(head).await;
    }

    /// Checks the length of a text that a person wrote.
    pub fn check_length(&self, text: &str) -> Result<(), Problem> {
        let limit = self.settings.message_bytes_max;
        if text.len() > limit {
            return Err(Problem::too_large("A message", "MESSAGE_BYTES_MAX", limit));
        }
        Ok(())
    }
}

async fn reached(mut projected: watch::Receiver<Position>, position: Position) -> bool {
    let reached = projected.wait_for(|shown| *shown >= position);
    matches!(tokio::time::timeout(WAIT_PERIOD_MAX, reached).await, Ok(Ok(_)))
}
