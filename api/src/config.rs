//! The settings of `sam`: flags, environment variables and a file, in this order of weight.
//!
//! Each setting has one name in three spellings: `--data-dir`, `SAM_DATA_DIR`, and `data_dir` in
//! `sam.toml`, which is looked for in the data directory and in the folder `sam` is started in. Each says its
//! unit, its default and the version it came with.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
};

use actors::{
    settings::{SNAPSHOT_EVENTS, TITLE_MODEL, WorkspaceSettings},
    signed_heads,
};
use anyhow::{Context, bail};
use clap::Args;
use domain::project::variable::VariableLimits;
use figment::{
    Figment,
    providers::{Format, Serialized, Toml},
};
use serde::{Deserialize, Serialize};

/// The name of the settings file.
pub const FILE: &str = "sam.toml";

/// Linux hands a program at most 128 KiB in one variable, with its name.
const VALUE_BYTES_MAX: usize = 127 * 1024;
/// … and 2 MiB in all, of which arguments, names and the image's own variables need some.
const ENVIRONMENT_BYTES_MAX: usize = 3 * 512 * 1024;

/// Settings as flags and environment variables give them; what is absent comes from the file or is
/// the default.
#[derive(Args, Clone, Debug, Default, Serialize)]
#[command(next_help_heading = "Settings")]
pub struct Flags {
    /// Folder with the log, the keys and the server's lock [default: ~/.local/share/sam] [since 0.1]
    #[arg(long, env = "SAM_DATA_DIR", global = true, value_name = "FOLDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
    /// `sqlite:` (in the data directory), `sqlite:FOLDER` or `postgres://…` [default: sqlite:] [since 0.1]
    #[arg(
        long,
        env = "SAM_DATABASE_URL",
        global = true,
        value_name = "URL",
        hide_env_values = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    database_url: Option<String>,
    /// Domain whose hosts `app.…` and `api.…` are served [default: sam.localhost] [since 0.1]
    #[arg(long, env = "SAM_BASE_DOMAIN", global = true, value_name = "DOMAIN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    base_domain: Option<String>,
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:8080] [since 0.1]
    #[arg(long, env = "SAM_LISTEN", global = true, value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<String>,
    /// A proxy in front ends TLS: addresses are https, cookies are secure [default: false] [since 0.1]
    #[arg(
        long, env = "SAM_BEHIND_TLS", global = true, value_name = "BOOL",
        num_args = 0..=1, default_missing_value = "true"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    behind_tls: Option<bool>,
    /// Longest message or description, in bytes of UTF-8 [default: 65536] [since 0.1]
    #[arg(long, env = "SAM_MESSAGE_BYTES_MAX", global = true, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    message_bytes_max: Option<usize>,
    /// How many variables a project may have [default: 150] [since 0.2]
    #[arg(long, env = "SAM_VARIABLES_MAX", global = true, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    variables_max: Option<usize>,
    /// Longest value of a project's variable, in bytes of UTF-8 [default: 8192] [since 0.2]
    #[arg(long, env = "SAM_VARIABLE_BYTES_MAX", global = true, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    variable_bytes_max: Option<usize>,
    /// How long an empty node is kept for reuse, in milliseconds [default: 1800000] [since 0.1]
    #[arg(long, env = "SAM_NODE_WARM_TIMEOUT_MS", global = true, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    node_warm_timeout_ms: Option<u64>,
    /// How many workspaces one node may carry [default: 3] [since 0.1]
    #[arg(long, env = "SAM_NODE_SLOTS", global = true, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    node_slots: Option<u8>,
    /// Do not use this machine as a node [default: false] [since 0.1]
    #[arg(
        long, env = "SAM_NO_LOCAL_NODE", global = true, value_name = "BOOL",
        num_args = 0..=1, default_missing_value = "true"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    no_local_node: Option<bool>,
    /// How long an event may be without a signed head, in milliseconds [default: 10000] [since 0.1]
    #[arg(long, env = "SAM_HEAD_PERIOD_MS", global = true, value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    head_period_ms: Option<u64>,
    /// How many events may be without a signed head [default: 1000] [since 0.1]
    #[arg(long, env = "SAM_HEAD_EVENTS_MAX", global = true, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    head_events_max: Option<u64>,
    /// After how many events of a stream its state is kept, to load it faster [default: 1000] [since 0.1]
    #[arg(long, env = "SAM_SNAPSHOT_EVENTS", global = true, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_events: Option<u64>,
    /// Where signed heads are written outside the database [default: heads.ndjson in the data directory] [since 0.1]
    #[arg(long, env = "SAM_HEADS_FILE", global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    heads_file: Option<PathBuf>,
    /// Address and port where other replicas on the same PostgreSQL call this one; they have to reach it
    /// under this very address; port 0 takes a free one [default: 127.0.0.1:0] [since 0.2]
    #[arg(long, env = "SAM_INTERNAL_LISTEN", global = true, value_name = "ADDRESS:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    internal_listen: Option<String>,
    /// The program that runs on nodes [default: sam-agent beside sam] [since 0.1]
    #[arg(long, env = "SAM_AGENT_PROGRAM", global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_program: Option<PathBuf>,
    /// The image of workspaces for the demo agent [default: sam-base:1, which SAM makes] [since 0.1]
    #[arg(long, env = "SAM_WORKSPACE_IMAGE", global = true, value_name = "IMAGE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace_image: Option<String>,
    /// The image of workspaces for Claude Code [default: sam-claude:1, which SAM makes] [since 0.1]
    #[arg(long, env = "SAM_CLAUDE_IMAGE", global = true, value_name = "IMAGE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    claude_image: Option<String>,
    /// Size of a workspace's volume, which then lies in memory; 0 is no limit [default: 0] [since 0.1]
    #[arg(long, env = "SAM_WORKSPACE_DISK_BYTES", global = true, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace_disk_bytes: Option<u64>,
    /// Where Claude Code's requests and those for titles go, as a URL [default: `https://api.anthropic.com`] [since 0.1]
    #[arg(long, env = "SAM_ANTHROPIC_BASE_URL", global = true, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    anthropic_base_url: Option<String>,
    /// Anthropic model that makes titles of messages over 100 characters, paid with the owner's stored key;
    /// empty: they are called by their beginning [default: claude-haiku-4-5] [since 0.2]
    #[arg(long, env = "SAM_TITLE_MODEL", global = true, value_name = "MODEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    title_model: Option<String>,
    /// What is logged, for example `info` or `warn,api=debug` [default: warn] [since 0.1]
    #[arg(long, env = "SAM_LOG", global = true, value_name = "FILTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
}

/// All settings, resolved.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub database_url: String,
    pub base_domain: String,
    pub listen: String,
    pub behind_tls: bool,
    pub message_bytes_max: usize,
    pub variables_max: usize,
    pub variable_bytes_max: usize,
    pub node_warm_timeout_ms: u64,
    pub node_slots: u8,
    pub no_local_node: bool,
    pub internal_listen: String,
    pub head_period_ms: u64,
    pub head_events_max: u64,
    pub snapshot_events: u64,
    pub heads_file: Option<PathBuf>,
    pub agent_program: Option<PathBuf>,
    pub workspace_image: String,
    pub claude_image: String,
    pub workspace_disk_bytes: u64,
    pub anthropic_base_url: Option<String>,
    pub title_model: String,
    pub log: String,
}

impl Settings {
    fn defaults(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            database_url: "sqlite:".to_owned(),
            base_domain: "sam.localhost".to_owned(),
            listen: "127.0.0.1:8080".to_owned(),
            behind_tls: false,
            message_bytes_max: 64 * 1024,
            variables_max: VariableLimits::default().variables_max,
            variable_bytes_max: VariableLimits::default().value_bytes_max,
            node_warm_timeout_ms: 30 * 60 * 1000,
            node_slots: 3,
            no_local_node: false,
            internal_listen: "127.0.0.1:0".to_owned(),
            head_period_ms: 10_000,
            head_events_max: 1000,
            snapshot_events: SNAPSHOT_EVENTS,
            heads_file: None,
            agent_program: None,
            workspace_image: WorkspaceSettings::default().base_image,
            claude_image: WorkspaceSettings::default().claude_image,
            workspace_disk_bytes: 0,
            anthropic_base_url: None,
            title_model: TITLE_MODEL.to_owned(),
            log: "warn".to_owned(),
        }
    }

    /// Reads the files and lays the flags over them.
    pub fn resolve(flags: &Flags) -> anyhow::Result<Self> {
        let default_dir = default_data_dir();
        let data_dir = flags.data_dir.clone().or_else(|| default_dir.clone());
        let data_dir = data_dir.context(
            "there is no home directory for SAM's data: say where it goes with --data-dir",
        )?;
        // Absolute, since a relative name would be looked for in all folders above, too.
        let file = |folder: &Path| std::path::absolute(folder.join(FILE)).map(Toml::file);
        let (kept, here) = (file(&data_dir)?, file(Path::new(""))?);
        let settings: Self = Figment::from(Serialized::defaults(Self::defaults(data_dir)))
            .merge(kept)
            .merge(here)
            .merge(Serialized::defaults(flags))
            .extract()
            .context("a setting cannot be read")?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.node_slots == 0 {
            bail!("a node carries at least one workspace: raise SAM_NODE_SLOTS");
        }
        if self.head_period_ms == 0 || self.head_events_max == 0 {
            bail!("heads need some room: raise SAM_HEAD_PERIOD_MS and SAM_HEAD_EVENTS_MAX");
        }
        if self.snapshot_events == 0 {
            bail!("a state is kept after at least one event: raise SAM_SNAPSHOT_EVENTS");
        }
        if self.message_bytes_max == 0 {
            bail!("a message needs some room: raise SAM_MESSAGE_BYTES_MAX");
        }
        let environment_bytes = self.variables_max.saturating_mul(self.variable_bytes_max);
        if self.variable_bytes_max > VALUE_BYTES_MAX || environment_bytes > ENVIRONMENT_BYTES_MAX {
            bail!(
                "Linux hands no program that much: keep SAM_VARIABLE_BYTES_MAX at most at \
                 {VALUE_BYTES_MAX}, and SAM_VARIABLES_MAX times it at most at {ENVIRONMENT_BYTES_MAX}"
            );
        }
        let is_host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        if self.base_domain.is_empty() || !self.base_domain.chars().all(is_host) {
            bail!("SAM_BASE_DOMAIN is a domain in small letters, such as sam.example.org");
        }
        Ok(())
    }

    /// What each workspace gets.
    #[must_use]
    pub fn workspaces(&self) -> WorkspaceSettings {
        let mut workspaces = WorkspaceSettings {
            base_image: self.workspace_image.clone(),
            claude_image: self.claude_image.clone(),
            ..WorkspaceSettings::default()
        };
        workspaces.limits.disk_bytes = self.workspace_disk_bytes;
        workspaces
    }

    /// What a project's variables may be.
    #[must_use]
    pub fn variable_limits(&self) -> VariableLimits {
        VariableLimits {
            variables_max: self.variables_max,
            value_bytes_max: self.variable_bytes_max,
        }
    }

    /// The address to listen on. One that others can reach needs TLS before it.
    pub fn listen_address(&self) -> anyhow::Result<SocketAddr> {
        let address = self
            .listen
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .with_context(|| {
                format!("{} is no address to listen on: write it as 127.0.0.1:8080", self.listen)
            })?;
        if !is_loopback(address.ip()) && !self.behind_tls {
            bail!(
                "{address} can be reached from other machines and has no TLS: listen on 127.0.0.1, \
                 or put a proxy with TLS in front and say --behind-tls"
            );
        }
        Ok(address)
    }

    /// Where signed heads are written outside the database.
    #[must_use]
    pub fn heads_file(&self) -> PathBuf {
        let default = || signed_heads::default_file(&self.data_dir);
        self.heads_file.clone().unwrap_or_else(default)
    }

    /// The address where other replicas call.
    pub fn internal_address(&self) -> anyhow::Result<SocketAddr> {
        let address: SocketAddr = self.internal_listen.parse().with_context(|| {
            format!("{} is no address to listen on: write it as 127.0.0.1:0", self.internal_listen)
        })?;
        if address.ip().is_unspecified() {
            bail!(
                "{address} is no address that other replicas can call: name the one they reach with \
                 --internal-listen"
            );
        }
        Ok(address)
    }

    /// Addresses as a browser sees them, for a server that listens on `port`.
    #[must_use]
    pub fn hosts(&self, port: u16) -> Hosts {
        Hosts { domain: self.base_domain.clone(), port, is_https: self.behind_tls }
    }
}

/// What the server is called from outside.
#[derive(Clone, Debug)]
pub struct Hosts {
    pub domain: String,
    pub port: u16,
    pub is_https: bool,
}

impl Hosts {
    #[must_use]
    pub fn app(&self) -> String {
        format!("app.{}", self.domain)
    }

    #[must_use]
    pub fn api(&self) -> String {
        format!("api.{}", self.domain)
    }

    /// The one origin whose pages may write.
    #[must_use]
    pub fn app_origin(&self) -> String {
        match (self.is_https, self.port) {
            (true, _) => format!("https://{}", self.app()),
            (false, 80) => format!("http://{}", self.app()),
            (false, port) => format!("http://{}:{port}", self.app()),
        }
    }

    /// The name of the cookie that keeps a browser signed in.
    #[must_use]
    pub fn cookie(&self) -> &'static str {
        if self.is_https { "__Host-sam" } else { "sam" }
    }
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
        }
    }
}

fn default_data_dir() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let share = folder("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let share = share.or_else(|| Some(Path::new(&folder("HOME")?).join(".local/share")))?;
    Some(share.join("sam"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &str, behind_tls: bool) -> Settings {
        Settings {
            listen: listen.to_owned(),
            behind_tls,
            ..Settings::defaults(PathBuf::from("/nowhere"))
        }
    }

    #[test]
    fn a_listener_that_others_can_reach_is_refused_without_tls() {
        let refusal = settings("0.0.0.0:8080", false).listen_address().unwrap_err().to_string();
        assert!(refusal.contains("no TLS"), "{refusal}");
        assert!(!refusal.contains('\n'), "one sentence");
        assert!(settings("0.0.0.0:8080", true).listen_address().is_ok());
        assert!(settings("127.0.0.1:0", false).listen_address().is_ok());
        assert!(settings("[::1]:0", false).listen_address().is_ok());
        assert!(settings("[::]:0", false).listen_address().is_err());
    }

    #[test]
    fn the_internal_address_is_one_that_others_can_call() {
        let internal = |listen: &str| {
            let settings = Settings {
                internal_listen: listen.to_owned(),
                ..Settings::defaults(PathBuf::from("/nowhere"))
            };
            settings.internal_address()
        };
        assert!(internal("127.0.0.1:0").is_ok());
        assert!(internal("10.1.2.3:7000").is_ok());
        let refusal = internal("0.0.0.0:7000").unwrap_err().to_string();
        assert!(refusal.contains("--internal-listen") && !refusal.contains('\n'), "{refusal}");
        assert!(internal("somewhere").is_err());
    }

    #[test]
    fn variables_have_to_fit_into_a_programs_environment() {
        let checked = |variables_max, variable_bytes_max| {
            let defaults = Settings::defaults(PathBuf::from("/nowhere"));
            Settings { variables_max, variable_bytes_max, ..defaults }.check()
        };
        assert!(checked(150, 8 * 1024).is_ok());
        assert!(checked(10, 127 * 1024).is_ok());
        let refusal = checked(1, 128 * 1024).unwrap_err().to_string();
        assert!(refusal.contains("SAM_VARIABLE_BYTES_MAX"), "{refusal}");
        assert!(checked(151, 127 * 1024).is_err());
    }

    #[test]
    fn flags_outweigh_the_file_and_the_file_outweighs_defaults() {
        let folder = std::env::temp_dir().join(format!("sam-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(FILE), "node_slots = 5\nbase_domain = \"sam.test\"\n").unwrap();
        let flags = Flags {
            data_dir: Some(folder.clone()),
            base_domain: Some("other.test".to_owned()),
            ..Flags::default()
        };
        let settings = Settings::resolve(&flags).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(settings.node_slots, 5);
        assert_eq!(settings.base_domain, "other.test");
        assert_eq!(settings.message_bytes_max, 65_536);
    }

    #[test]
    fn an_unknown_setting_in_the_file_is_an_error() {
        let folder = std::env::temp_dir().join(format!("sam-config-bad-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(FILE), "node_slot = 5\n").unwrap();
        let flags = Flags { data_dir: Some(folder.clone()), ..Flags::default() };
        let refusal = Settings::resolve(&flags).unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(format!("{refusal:#}").contains("node_slot"), "{refusal:#}");
    }

    #[test]
    fn a_browser_on_plain_http_gets_a_plain_cookie() {
        let hosts = settings("127.0.0.1:8080", false).hosts(8080);
        assert_eq!(hosts.app_origin(), "http://app.sam.localhost:8080");
        assert_eq!(hosts.cookie(), "sam");
        let hosts = settings("0.0.0.0:8080", true).hosts(8080);
        assert_eq!(hosts.app_origin(), "https://app.sam.localhost");
        assert_eq!(hosts.cookie(), "__Host-sam");
    }
}
