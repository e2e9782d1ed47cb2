//! Containers of a Docker engine, through bollard.
//!
//! Each workspace has one container and one volume, both named after it and labelled with
//! installation and node, so that they are found again after any crash and never mistaken for
//! somebody else's. The container's first process is the holder, which is in the [`furnished_image`];
//! there is no host mount. Version 1.41 of the API (Debian's 20.10) is the oldest that is used.

mod furnished_image;
mod leftovers;
mod streams;

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use bollard::{
    API_DEFAULT_VERSION, ClientVersion, Docker,
    container::AttachContainerResults,
    errors::Error as BollardError,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
    models::{
        ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions,
        MountVolumeOptionsDriverConfig,
    },
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, CreateImageOptionsBuilder,
        InspectNetworkOptions, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
        RemoveVolumeOptionsBuilder,
    },
};
use domain::ids::{InstallationId, NodeId, WorkspaceId};
use futures_util::{TryStreamExt as _, future::BoxFuture};
use tokio::{
    sync::{Mutex, OnceCell},
    time::Instant,
};

use self::{
    furnished_image::Holder,
    streams::{exit_code, joined},
};
use crate::engine::{Attached, ContainerSpec, Created, Engine, EngineError, EngineVersion, Found};

/// The oldest API that is used: Docker 20.10.
const API_OLDEST: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };
/// The user in every container; images without that name still have the number.
const USER_ID: u64 = 1000;
const HOLDER_PATH: &str = "/.sam/holder";
const HOLDER_STATE: &str = "/.sam/state";
const WORKSPACE_PATH: &str = "/workspace";
/// How long the engine's own version is remembered: it starts several programs to tell it.
const VERSION_PERIOD: Duration = Duration::from_secs(60);
/// Largest piece of a program's output that is taken at once.
const OUTPUT_CAPACITY: usize = 64 * 1024;

/// A Docker engine, seen by one node.
pub struct DockerEngine {
    /// None: what `DOCKER_HOST` says, or the usual socket.
    host: Option<String>,
    installation: InstallationId,
    node: NodeId,
    holder: Holder,
    client: OnceCell<Docker>,
    n_processors: OnceCell<i64>,
    version: Mutex<Option<(Instant, EngineVersion)>>,
    /// The furnished image of each base image, as last seen. Held while one is looked for or made, so that
    /// it is made once.
    furnished: Mutex<HashMap<String, String>>,
}

impl DockerEngine {
    /// Nothing is dialled before it is needed: an engine may come up after the agent.
    pub fn new(
        host: Option<String>,
        installation: InstallationId,
        node: NodeId,
        holder: &'static [u8],
    ) -> Self {
        let (client, n_processors) = (OnceCell::new(), OnceCell::new());
        let (version, furnished) = (Mutex::default(), Mutex::default());
        let holder = Holder::new(holder);
        Self { host, installation, node, holder, client, n_processors, version, furnished }
    }

    async fn client(&self) -> Result<&Docker, EngineError> {
        self.client.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Docker, EngineError> {
        let unusable = |error: BollardError| EngineError::Unusable {
            reason: format!("no container engine answers on this machine: {error}"),
        };
        let docker = match &self.host {
            Some(host) => Docker::connect_with_host(host),
            None => Docker::connect_with_defaults(),
        };
        let docker = docker.map_err(unusable)?.negotiate_version().await.map_err(unusable)?;
        let spoken = docker.client_version();
        if spoken < API_OLDEST {
            return Err(EngineError::Unusable {
                reason: format!(
                    "the container engine is too old: it speaks API {spoken}, SAM needs {API_OLDEST} \
                     (Docker 20.10) or newer"
                ),
            });
        }
        debug_assert!(spoken <= *API_DEFAULT_VERSION, "negotiation never goes up");
        Ok(docker)
    }

    /// Makes the container and, with it, its volume. None: there is a container of that name.
    async fn make_container(&self, spec: &ContainerSpec) -> Result<Option<String>, EngineError> {
        let known = self.furnished.lock().await.get(&spec.image).cloned();
        let image = match known {
            Some(image) => image,
            None => self.furnished_image(&spec.image).await?,
        };
        match self.make_container_of(image, spec).await {
            // Somebody has removed the image since it was seen.
            Err(EngineError::ImageMissing { .. }) => {
                self.furnished.lock().await.remove(&spec.image);
                self.make_container_of(self.furnished_image(&spec.image).await?, spec).await
            }
            made => made,
        }
    }

    async fn make_container_of(
        &self,
        image: String,
        spec: &ContainerSpec,
    ) -> Result<Option<String>, EngineError> {
        let mut environment: Vec<String> =
            spec.environment.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        environment.push(format!("SAM_HOLDER_DIR={HOLDER_STATE}"));
        let body = ContainerCreateBody {
            image: Some(image),
            user: Some(format!("{USER_ID}:{USER_ID}")),
            env: Some(environment),
            entrypoint: Some([HOLDER_PATH, "init", "begin"].map(str::to_string).to_vec()),
            cmd: Some(Vec::new()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            working_dir: Some(WORKSPACE_PATH.to_string()),
            labels: Some(self.labels(spec.workspace)),
            host_config: Some(self.host_config(spec).await?),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&name(spec.workspace)).build();
        match self.client().await?.create_container(Some(options), body).await {
            Ok(made) => Ok(Some(made.id)),
            Err(error) if status(&error) == Some(404) => {
                Err(EngineError::ImageMissing { image: spec.image.clone() })
            }
            Err(error) if status(&error) == Some(409) => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }

    async fn host_config(&self, spec: &ContainerSpec) -> Result<HostConfig, EngineError> {
        let limits = &spec.limits;
        let memory = i64::try_from(limits.memory_bytes).ok().filter(|bytes| *bytes > 0);
        // The engine refuses more processors than there are, so what is asked for is capped.
        let cpus_max = self.n_processors().await? * 1_000_000_000;
        let cpus = (i64::from(limits.cpu_millis) * 1_000_000).min(cpus_max);
        Ok(HostConfig {
            memory,
            memory_swap: memory,
            nano_cpus: (cpus > 0).then_some(cpus),
            pids_limit: (limits.processes > 0).then_some(limits.processes.into()),
            cap_drop: Some(vec!["ALL".to_string()]),
            security_opt: Some(vec!["no-new-privileges".to_string()]),
            network_mode: Some("bridge".to_string()),
            // Its output is a conversation with us: nothing of it belongs into files of the engine.
            log_config: Some(HostConfigLogConfig {
                typ: Some("none".to_string()),
                ..HostConfigLogConfig::default()
            }),
            mounts: Some(vec![Mount {
                target: Some(WORKSPACE_PATH.to_string()),
                source: Some(name(spec.workspace)),
                typ: Some(MountType::VOLUME),
                volume_options: Some(self.volume(spec)),
                ..Mount::default()
            }]),
            ..HostConfig::default()
        })
    }

    /// The volume is made with the container that mounts it.
    fn volume(&self, spec: &ContainerSpec) -> MountVolumeOptions {
        let mut options = HashMap::new();
        if spec.limits.disk_bytes > 0 {
            let size = spec.limits.disk_bytes;
            options.insert("type".to_string(), "tmpfs".to_string());
            options.insert("device".to_string(), "tmpfs".to_string());
            let settings = format!("size={size},mode=755,uid={USER_ID},gid={USER_ID}");
            options.insert("o".to_string(), settings);
        }
        MountVolumeOptions {
            labels: Some(self.labels(spec.workspace)),
            driver_config: Some(MountVolumeOptionsDriverConfig {
                name: Some("local".to_string()),
                options: Some(options),
            }),
            ..MountVolumeOptions::default()
        }
    }

    async fn n_processors(&self) -> Result<i64, EngineError> {
        let asked = self.n_processors.get_or_try_init(|| async {
            let info = self.client().await?.info().await.map_err(refused)?;
            Ok(info.ncpu.unwrap_or(1).max(1))
        });
        asked.await.copied()
    }

    /// The image to make containers of, as the base image is now.
    async fn furnished_image(&self, base: &str) -> Result<String, EngineError> {
        let mut furnished = self.furnished.lock().await;
        let known = furnished.get(base).map(String::as_str);
        let image = furnished_image::of(self.client().await?, &self.holder, base, known).await?;
        furnished.insert(base.to_string(), image.clone());
        Ok(image)
    }

    async fn run(&self, workspace: WorkspaceId) -> Result<(), EngineError> {
        let options = None::<bollard::query_parameters::StartContainerOptions>;
        let started = self.client().await?.start_container(&name(workspace), options).await;
        started.map_err(|error| about(workspace, error))
    }

    /// Attaches to the stdio of a container that is made and not started yet.
    async fn attach(&self, workspace: WorkspaceId) -> Result<Attached, EngineError> {
        let docker = self.client().await?;
        let options = AttachContainerOptionsBuilder::new()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = docker.attach_container(&name(workspace), Some(options)).await;
        let AttachContainerResults { output, input } =
            attached.map_err(|error| about(workspace, error))?;
        // The container outlives it, so there is no code.
        let exit = Box::pin(async { Ok(0) });
        Ok(joined(output, input, exit))
    }

    fn labels(&self, workspace: WorkspaceId) -> HashMap<String, String> {
        HashMap::from([
            ("sam.installation".to_string(), self.installation.to_string()),
            ("sam.node".to_string(), self.node.to_string()),
            ("sam.workspace".to_string(), workspace.to_string()),
        ])
    }

    fn is_ours(&self, labels: Option<&HashMap<String, String>>) -> bool {
        let labelled = |name: &str| labels.and_then(|labels| labels.get(name)).map(String::as_str);
        labelled("sam.installation") == Some(&self.installation.to_string())
            && labelled("sam.node") == Some(&self.node.to_string())
    }

    async fn exec(
        &self,
        workspace: WorkspaceId,
        arguments: Vec<String>,
    ) -> Result<Attached, EngineError> {
        let docker = self.client().await?.clone();
        let mut command = vec![HOLDER_PATH.to_string()];
        command.extend(arguments);
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command),
            ..CreateExecOptions::default()
        };
        let created = docker.create_exec(&name(workspace), options).await;
        let exec = created.map_err(|error| about(workspace, error))?.id;
        let options = StartExecOptions {
            output_capacity: Some(OUTPUT_CAPACITY),
            ..StartExecOptions::default()
        };
        let started = docker.start_exec(&exec, Some(options)).await;
        let StartExecResults::Attached { output, input } =
            started.map_err(|error| about(workspace, error))?
        else {
            return Err(EngineError::Refused { reason: "the engine did not attach".into() });
        };
        let exit = Box::pin(async move { exit_code(&docker, &exec).await });
        Ok(joined(output, input, exit))
    }
}

impl Engine for DockerEngine {
    fn version(&self) -> BoxFuture<'_, Result<EngineVersion, EngineError>> {
        Box::pin(async {
            let mut known = self.version.lock().await;
            if let Some((since, version)) = known.as_ref()
                && since.elapsed() < VERSION_PERIOD
            {
                return Ok(version.clone());
            }
            let version = self.client().await?.version().await.map_err(|error| {
                let reason = format!("the container engine does not answer: {error}");
                EngineError::Unusable { reason }
            })?;
            let version = EngineVersion {
                version: version.version.unwrap_or_default(),
                api: version.api_version.unwrap_or_default(),
            };
            *known = Some((Instant::now(), version.clone()));
            Ok(version)
        })
    }

    fn need_image<'a>(&'a self, image: &'a str) -> BoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            let docker = self.client().await?;
            match self.furnished_image(image).await {
                Ok(_) => return Ok(()),
                Err(EngineError::ImageMissing { .. }) => {}
                Err(error) => return Err(error),
            }
            let options = CreateImageOptionsBuilder::new().from_image(image).build();
            let pulled =
                docker.create_image(Some(options), None, None).try_collect::<Vec<_>>().await;
            pulled.map(drop).map_err(|error| {
                tracing::info!(image, %error, "the image could not be pulled");
                EngineError::ImageMissing { image: image.to_string() }
            })
        })
    }

    fn create(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Created, EngineError>> {
        Box::pin(async move {
            let workspace = spec.workspace;
            if let Some(container) = self.make_container(&spec).await? {
                // Before it runs, so that nothing of what it says is missed.
                let beginning = self.attach(workspace).await?;
                self.run(workspace).await?;
                return Ok(Created { container, beginning: Some(beginning) });
            }
            // An earlier attempt made it, if it is ours. What it was told then is not known.
            self.start(workspace).await?;
            let found = self.find(workspace).await?;
            let container = found.ok_or(EngineError::Gone { workspace })?.container;
            Ok(Created { container, beginning: None })
        })
    }

    fn start(&self, workspace: WorkspaceId) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(async move {
            let found = self.find(workspace).await?.ok_or(EngineError::Gone { workspace })?;
            if found.is_running {
                return Ok(());
            }
            self.run(workspace).await
        })
    }

    fn find(&self, workspace: WorkspaceId) -> BoxFuture<'_, Result<Option<Found>, EngineError>> {
        Box::pin(async move {
            let options = None::<bollard::query_parameters::InspectContainerOptions>;
            let inspected = self.client().await?.inspect_container(&name(workspace), options).await;
            let container = match inspected {
                Ok(container) => container,
                Err(error) if status(&error) == Some(404) => return Ok(None),
                Err(error) => return Err(refused(error)),
            };
            let labels = container.config.as_ref().and_then(|config| config.labels.as_ref());
            if !self.is_ours(labels) {
                let reason = format!("the container {} belongs to somebody else", name(workspace));
                return Err(EngineError::Refused { reason });
            }
            let is_running = container.state.and_then(|state| state.running).unwrap_or(false);
            let container = container.id.unwrap_or_default();
            Ok(Some(Found { workspace, container, is_running }))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>, EngineError>> {
        Box::pin(async {
            let filters = leftovers::own(self);
            let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
            let listed =
                self.client().await?.list_containers(Some(options)).await.map_err(refused)?;
            let found = listed.into_iter().filter_map(|container| {
                let workspace = container.labels?.get("sam.workspace")?.parse().ok()?;
                let is_running =
                    container.state.map(|state| state.to_string()).as_deref() == Some("running");
                Some(Found { workspace, container: container.id?, is_running })
            });
            Ok(found.collect())
        })
    }

    fn leftovers(&self) -> BoxFuture<'_, Result<BTreeSet<WorkspaceId>, EngineError>> {
        Box::pin(leftovers::of(self))
    }

    fn run_holder(
        &self,
        workspace: WorkspaceId,
        arguments: Vec<String>,
    ) -> BoxFuture<'_, Result<Attached, EngineError>> {
        Box::pin(self.exec(workspace, arguments))
    }

    fn remove(&self, workspace: WorkspaceId) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(async move {
            let docker = self.client().await?;
            // Also refuses to remove what is not ours.
            if self.find(workspace).await?.is_some() {
                let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
                gone_is_fine(docker.remove_container(&name(workspace), Some(options)).await)?;
            }
            let options = RemoveVolumeOptionsBuilder::new().force(true).build();
            gone_is_fine(docker.remove_volume(&name(workspace), Some(options)).await)
        })
    }

    fn host_address(&self) -> BoxFuture<'_, Result<IpAddr, EngineError>> {
        Box::pin(async {
            let options = None::<InspectNetworkOptions>;
            let network =
                self.client().await?.inspect_network("bridge", options).await.map_err(refused)?;
            let configured = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
            configured
                .into_iter()
                .filter_map(|config| match config.gateway {
                    Some(gateway) => gateway.parse().ok(),
                    None => first_host(&config.subnet?),
                })
                .find(IpAddr::is_ipv4)
                .ok_or_else(|| EngineError::Unusable {
                    reason: "the container engine's bridge network has no gateway".into(),
                })
        })
    }

    fn repository_directory(&self, _: WorkspaceId) -> String {
        WORKSPACE_PATH.to_string()
    }

    fn holder_path(&self, _: WorkspaceId) -> String {
        HOLDER_PATH.to_string()
    }
}

/// The bridge's own address when the engine was not told one: it takes the first of the subnet.
fn first_host(subnet: &str) -> Option<IpAddr> {
    let network: Ipv4Addr = subnet.split_once('/')?.0.parse().ok()?;
    Some(Ipv4Addr::from(u32::from(network) + 1).into())
}

fn name(workspace: WorkspaceId) -> String {
    format!("sam-{workspace}")
}

fn status(error: &BollardError) -> Option<u16> {
    match error {
        BollardError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

fn gone_is_fine(done: Result<(), BollardError>) -> Result<(), EngineError> {
    match done {
        Err(error) if status(&error) != Some(404) => Err(refused(error)),
        _ => Ok(()),
    }
}

fn about(workspace: WorkspaceId, error: BollardError) -> EngineError {
    match status(&error) {
        Some(404) => EngineError::Gone { workspace },
        Some(409) => EngineError::Stopped { workspace },
        _ => refused(error),
    }
}

fn refused(error: BollardError) -> EngineError {
    match error {
        BollardError::DockerResponseServerError { message, .. } => {
            EngineError::Refused { reason: message }
        }
        error => EngineError::Unusable {
            reason: format!("the container engine does not answer: {error}"),
        },
    }
}
