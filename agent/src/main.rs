//! The `sam-agent` binary: opens what the agent needs, in order, and runs it until it leaves.

use std::{collections::BTreeSet, fs::File, sync::Arc};

use agent::{
    config::{Config, EngineKind},
    control_link::{CHUNKS_WAITING_MAX, ControlLink, LinkConfig},
    engine::{Engine, docker::DockerEngine, simulated::SimulatedEngine},
    holder,
    journal::Journal,
    mirror::Mirrors,
    model_proxy::ModelProxy,
    node::Node,
    secrets::SecretFiles,
    tasks::{self, MAILBOX_MESSAGES_MAX},
    token::ControlKey,
    workspace::Context,
};
use anyhow::{Context as _, bail};
use clap::Parser as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("{} cannot be made", config.data_dir.display()))?;
    let _lock = lock(&config)?;
    run(config).await
}

/// One agent per data directory; the lock goes with the process, however it ends.
fn lock(config: &Config) -> anyhow::Result<File> {
    let path = config.data_dir.join("agent.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    if file.try_lock().is_err() {
        bail!("another agent uses {}", config.data_dir.display());
    }
    Ok(file)
}

async fn run(config: Config) -> anyhow::Result<()> {
    let key = ControlKey::read(&config.control_key, config.installation, config.node)?;
    let journal = Journal::open(&config.data_dir).await?;
    let engine = engine(&config)?;
    let (chunk_sender, chunks) = mpsc::channel(CHUNKS_WAITING_MAX);
    let context = Arc::new(Context {
        journal: journal.clone(),
        engine: Arc::clone(&engine),
        mirrors: Mirrors::open(&config.data_dir)?,
        proxy: ModelProxy::new(Arc::clone(&engine), journal.clone()),
        secrets: SecretFiles::open(&config.data_dir)?,
        chunks: chunk_sender,
        sessions: Default::default(),
        ready_links: Default::default(),
    });
    let (n_workspaces_sender, n_workspaces) = watch::channel(0);
    let mut node = Node::new(context, n_workspaces_sender);
    node.recover().await?;

    let (order_sender, orders) = mpsc::channel(MAILBOX_MESSAGES_MAX);
    let (is_connected, connection) = watch::channel(false);
    let link = ControlLink {
        config: LinkConfig {
            address: config.control.clone(),
            node: config.node,
            installation: config.installation,
            key,
            slots: config.slots,
        },
        journal,
        engine,
        orders: order_sender,
        chunks,
        n_workspaces,
        is_connected,
    };
    let link = tasks::spawn("control link", link.run());
    let leave_after = config.leave_after();
    let mut terminations = signal(SignalKind::terminate())?;
    let mut interrupts = signal(SignalKind::interrupt())?;
    tokio::select! {
        () = node.run(orders, connection, leave_after) => {}
        // Containers and coding agents stay; the next agent takes them up.
        _ = terminations.recv() => tracing::info!("told to end"),
        _ = interrupts.recv() => tracing::info!("told to end"),
    }
    link.abort();
    tracing::info!("left");
    Ok(())
}

fn engine(config: &Config) -> anyhow::Result<Arc<dyn Engine>> {
    let (installation, node) = (config.installation, config.node);
    Ok(match config.engine {
        EngineKind::Docker => Arc::new(DockerEngine::new(None, installation, node, holder::BINARY)),
        EngineKind::Simulated => {
            let images = None::<BTreeSet<String>>;
            Arc::new(SimulatedEngine::open(&config.data_dir, holder::BINARY, images)?)
        }
    })
}
