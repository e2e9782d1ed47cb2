//! This machine as a node: an agent beside the server, in a process group of its own.
//!
//! The agent survives the server, as it would on another machine: a starting server takes up the one
//! that holds the lock of the agent's directory, and starts one only if nobody does. While the node is
//! wanted an agent that ends is started again.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{
    ids::{InstallationId, NodeId},
    values::{NodeSpec, ProviderKind},
};
use futures_util::future::BoxFuture;
use tokio::{process::Command, sync::watch, time::Instant};

use crate::{
    provider::{Provider, ProviderError},
    settings::LocalSettings,
    tasks::Tasks,
};

const LOCK_FILE: &str = "agent.lock";
const LOG_FILE: &str = "agent.log";
/// The agent's log is started anew when it is larger than this at the agent's start.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// How often the lock of an agent that is not our child is looked at.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
const RESTART_PERIOD_MIN: Duration = Duration::from_millis(100);
const RESTART_PERIOD_MAX: Duration = Duration::from_secs(10);
/// An agent that ran this long was a good one: its successor starts without delay.
const GOOD_RUN_PERIOD: Duration = Duration::from_secs(30);
const LEAVE_PERIOD_MAX: Duration = Duration::from_secs(30);

/// Where this server's agents find it.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub(crate) socket: PathBuf,
    pub(crate) public_key: PathBuf,
    pub(crate) installation: InstallationId,
    pub(crate) node: NodeId,
}

/// The provider of this machine. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LocalProvider {
    settings: LocalSettings,
    control: Control,
    is_wanted: watch::Sender<bool>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl LocalProvider {
    pub(crate) fn new(settings: LocalSettings, control: Control, tasks: &Tasks) -> Self {
        let is_wanted = watch::channel(false).0;
        let provider = Self { settings, control, is_wanted, trouble: Arc::default() };
        let kept = provider.clone();
        tasks.keep("local agent", move || kept.clone().keep_running());
        provider
    }

    /// Keeps an agent running while it is wanted, for ever.
    async fn keep_running(self) {
        let mut is_wanted = self.is_wanted.subscribe();
        let mut period = RESTART_PERIOD_MIN;
        loop {
            // It cannot end before `self`, which holds the sender.
            let _ = is_wanted.wait_for(|is_wanted| *is_wanted).await;
            if self.is_held() {
                tokio::time::sleep(LOOK_PERIOD).await;
                continue;
            }
            let began = Instant::now();
            match self.run_agent().await {
                Ok(ended) => tracing::warn!(%ended, "the agent of this machine ended"),
                Err(error) => {
                    tracing::error!(%error, "the agent of this machine cannot be started");
                    self.note(Some(format!("its program cannot be started: {error}")));
                }
            }
            if began.elapsed() >= GOOD_RUN_PERIOD {
                period = RESTART_PERIOD_MIN;
            }
            tokio::time::sleep(period).await;
            period = (period * 2).min(RESTART_PERIOD_MAX);
        }
    }

    /// Runs an agent to its end. Dropping this leaves it running.
    async fn run_agent(&self) -> io::Result<String> {
        let Some(program) = &self.settings.agent else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no sam-agent"));
        };
        let directory = &self.settings.agent_data_dir;
        fs::create_dir_all(directory)?;
        let log = open_log(directory)?;
        let Control { socket, public_key, installation, node } = &self.control;
        crash_point::crash_point!("provider.before_spawn");
        let mut child = Command::new(program)
            .arg("--data-dir")
            .arg(directory)
            .arg("--control")
            .arg(format!("unix:{}", socket.display()))
            .arg("--control-key")
            .arg(public_key)
            .args(["--node", &node.to_string()])
            .args(["--installation", &installation.to_string()])
            .args(["--slots", &self.settings.slots.to_string()])
            .args(&self.settings.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(false)
            .spawn()?;
        crash_point::crash_point!("provider.after_spawn");
        tracing::info!(pid = child.id(), "started the agent of this machine");
        let ended = child.wait().await?;
        let trouble = (!ended.success())
            .then(|| format!("it ended with {ended}; see {}", directory.join(LOG_FILE).display()));
        self.note(trouble);
        Ok(ended.to_string())
    }

    /// Whether some agent holds the lock, be it our child or one that was there before us.
    fn is_held(&self) -> bool {
        let path = self.settings.agent_data_dir.join(LOCK_FILE);
        match File::options().write(true).open(path) {
            // Taken for a moment at most: dropping the file lets it go.
            Ok(file) => matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)),
            Err(_) => false,
        }
    }

    fn note(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

impl Provider for LocalProvider {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Local
    }

    fn name(&self) -> String {
        "this machine".to_owned()
    }

    fn start<'a>(
        &'a self,
        _node: NodeId,
        _spec: &'a NodeSpec,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            match &self.settings.agent {
                Some(program) if program.exists() => {
                    self.is_wanted.send_replace(true);
                    Ok(())
                }
                Some(program) => Err(ProviderError::Refused {
                    reason: format!("the agent's program {} is missing", program.display()),
                }),
                None => Err(ProviderError::Refused {
                    reason: "the agent's program sam-agent is missing: it belongs beside sam"
                        .to_owned(),
                }),
            }
        })
    }

    fn stop(&self, _node: NodeId) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async move {
            self.is_wanted.send_replace(false);
            let until = Instant::now() + LEAVE_PERIOD_MAX;
            while self.is_held() {
                if Instant::now() >= until {
                    let reason = "the agent did not leave in time".to_owned();
                    return Err(ProviderError::Busy { reason });
                }
                tokio::time::sleep(LOOK_PERIOD).await;
            }
            Ok(())
        })
    }

    fn has_run(&self) -> bool {
        self.settings.agent_data_dir.exists()
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn open_log(directory: &Path) -> io::Result<File> {
    let path = directory.join(LOG_FILE);
    let is_long = fs::metadata(&path).is_ok_and(|log| log.len() > LOG_BYTES_MAX);
    if is_long {
        fs::rename(&path, directory.join("agent.log.1"))?;
    }
    File::options().create(true).append(true).open(path)
}
