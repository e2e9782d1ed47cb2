//! Starts the control plane and its door in this process, and ends them in order.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle, middleware::from_fn, web::Data};
use actors::{
    clock::system::SystemClock,
    faults::Faults,
    model::{Model, anthropic::AnthropicModel},
    random,
    settings::{
        ANTHROPIC_BASE_URL, HeadSettings, LocalSettings, NodeSettings, Settings as SystemSettings,
    },
    system::System,
    tasks::Tasks,
};
use anyhow::Context as _;
use domain::{credential::CredentialKind, values::Periods};

use crate::{
    VERSION,
    cli::{
        data_directory::{Announcement, Lock},
        setup,
    },
    config::Settings,
    headers, metrics, routes, sample_repository,
    server::Server,
};

/// Threads that answer requests; handlers wait for the database far more than they compute.
const WORKERS: usize = 2;
/// How long answers under way may take once the server is told to stop.
const SHUTDOWN_SECONDS: u64 = 3;
const AGENT: &str = "sam-agent";

/// A control plane that runs in this process.
pub(super) struct ControlPlane {
    pub(super) announcement: Announcement,
    server: Data<Server>,
    http: ServerHandle,
    tasks: Tasks,
    _lock: Lock,
}

/// Starts everything and announces it once requests are answered.
pub(super) async fn start(
    settings: Settings,
    lock: Lock,
    listener: TcpListener,
    has_ui: bool,
) -> anyhow::Result<ControlPlane> {
    let address = listener.local_addr()?;
    let system = System::start(system_settings(&settings)?).await?;
    if has_ui {
        sample_repository::make(&settings.data_dir).await;
    }
    let token = random::token();
    let hosts = settings.hosts(address.port());
    let announcement = Announcement {
        pid: std::process::id(),
        installation: system.installation.0,
        address: reachable(address),
        token: token.clone(),
        api_host: hosts.api(),
        app_origin: has_ui.then(|| hosts.app_origin()),
    };
    let server = Data::new(Server::new(Arc::new(system), settings, hosts, &token, has_ui));
    let shared = server.clone();
    let http = HttpServer::new(move || {
        let server = shared.clone();
        App::new()
            .configure(|config| routes::configure(config, &server))
            .wrap(routes::compression())
            .wrap(from_fn(headers::secure))
            .wrap(from_fn(metrics::count))
    });
    // Streamed text comes in small pieces, which must not wait for each other's acknowledgement.
    let http = http.workers(WORKERS).tcp_nodelay(true);
    let http = http.shutdown_timeout(SHUTDOWN_SECONDS).disable_signals();
    let http = http.listen(listener).context("the listener cannot be used")?.run();
    let handle = http.handle();
    let tasks = Tasks::new();
    tasks.start("http", async move {
        if let Err(error) = http.await {
            tracing::error!(%error, "the HTTP server ended");
        }
    });
    lock.announce(&announcement)?;
    let credentials = &server.system().credentials;
    if credentials.has(server.owner(), CredentialKind::Anthropic).await? {
        server.prepare_coding_agent();
    }
    Ok(ControlPlane { announcement, server, http: handle, tasks, _lock: lock })
}

impl ControlPlane {
    /// A link that signs one browser in.
    pub(super) async fn new_sign_in_link(&self) -> anyhow::Result<String> {
        let token = self.server.system().sign_in.new_link().await?;
        Ok(format!("{}/sign-in#{token}", self.server.hosts().app_origin()))
    }

    /// Resolves with the reason when the storage has failed: nothing can be acknowledged any more.
    pub(super) async fn failed(&self) -> String {
        let mut failure = self.server.log().failure();
        let failed = failure.wait_for(Option::is_some).await;
        failed.ok().and_then(|reason| reason.clone()).unwrap_or_else(|| "it has ended".to_owned())
    }

    /// Ends everything in order. What is under way goes on at the next start.
    pub(super) async fn stop(self) {
        self.server.stop().await;
        self.http.stop(true).await;
        self.tasks.stop().await;
        let (log, database) = (self.server.log().clone(), self.server.database().clone());
        let alone = Arc::try_unwrap(self.server.into_inner()).ok().and_then(Server::into_system);
        match alone {
            Some(system) => system.stop().await,
            // A socket is still on its way out. The log is closed in order; all else may be cut off.
            None => {
                log.close().await;
                database.close().await;
            }
        }
    }
}

/// How programs on this machine reach a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, v6.port()).into()
        }
        address => address,
    }
}

fn system_settings(settings: &Settings) -> anyhow::Result<SystemSettings> {
    let data_dir = std::path::absolute(&settings.data_dir)?;
    let local = LocalSettings {
        is_used: !settings.no_local_node,
        agent: if settings.no_local_node { None } else { agent(settings) },
        agent_version: VERSION.to_owned(),
        agent_data_dir: data_dir.join("agent"),
        slots: settings.node_slots,
        arguments: Vec::new(),
    };
    let base_url = settings.anthropic_base_url.clone();
    let anthropic_base_url = base_url.unwrap_or_else(|| ANTHROPIC_BASE_URL.to_owned());
    let title_model = title_model(settings, &anthropic_base_url);
    let periods = Periods { node_warm_ms: settings.node_warm_timeout_ms, ..Periods::default() };
    Ok(SystemSettings {
        data_dir,
        database_url: settings.database_url.clone(),
        owner_name: owner_name(),
        clock: Arc::new(SystemClock),
        node: NodeSettings::Local(local),
        workspaces: settings.workspaces(),
        periods,
        heads: HeadSettings {
            period: Duration::from_millis(settings.head_period_ms),
            events_max: settings.head_events_max,
            file: Some(settings.heads_file()),
        },
        snapshot_events: settings.snapshot_events,
        anthropic_base_url,
        internal_listen: Some(settings.internal_address()?),
        title_model,
        images: setup::image_maker(settings),
        faults: Faults::default(),
    })
}

/// The model that makes titles; none where its name is empty.
fn title_model(settings: &Settings, base_url: &str) -> Option<Arc<dyn Model>> {
    let name = settings.title_model.trim();
    (!name.is_empty()).then(|| Arc::new(AnthropicModel::new(base_url, name)) as Arc<dyn Model>)
}

/// The agent's program: as it is set, or beside this one.
fn agent(settings: &Settings) -> Option<PathBuf> {
    if let Some(agent) = &settings.agent_program {
        return Some(agent.clone());
    }
    let beside = std::env::current_exe().ok()?.canonicalize().ok()?.with_file_name(AGENT);
    beside.is_file().then_some(beside)
}

fn owner_name() -> String {
    let name = std::env::var("USER").ok().filter(|name| !name.trim().is_empty());
    name.unwrap_or_else(|| "Owner".to_owned())
}
