//! A PostgreSQL of our own for tests: a private cluster on a Unix socket, no port, no password.
//!
//! [`database`] gives each test an empty database in a cluster that all test processes of a run share.
//! The first of them starts it; a watchdog stops it and removes its files when none has been running
//! for a while. A test that wants to stop, kill or configure a server starts a [`Cluster`] for itself.
//!
//! The server refuses to run as root, so root becomes an unprivileged user for it.

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result, bail, ensure};

const SERVER_USER: &str = "sam";

/// Settings for speed. What is tested survives a crash of the server, not one of the machine.
const QUICK: &str = "fsync=off full_page_writes=off";
const SETTINGS: &str = "listen_addresses= max_connections=200 shared_buffers=32MB autovacuum=off";

/// Makes an empty database in the shared cluster and tells its URL. It goes with the cluster.
pub fn database() -> Result<String> {
    static SHARED: OnceLock<(Cluster, File)> = OnceLock::new();
    if SHARED.get().is_none() {
        // Of two threads that come here at once, one does it for nothing.
        let _ = SHARED.set(shared_cluster()?);
    }
    let (cluster, _) = SHARED.get().context("the shared cluster was just set")?;
    cluster.database()
}

/// A running server and its files.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    directory: PathBuf,
    user: Option<String>,
    is_own: bool,
}

impl Cluster {
    /// Starts a server in a directory that must not exist, and that goes when this is dropped.
    pub fn start(directory: &Path, settings: &str) -> Result<Self> {
        let mut cluster = Self::at(directory)?;
        cluster.initialise()?;
        cluster.is_own = true;
        cluster.start_server(settings)?;
        Ok(cluster)
    }

    /// The same with the write-ahead log in a folder of its own, which may be on another disk: in segments of
    /// 1 MiB, and growing as long as nobody asks for a checkpoint.
    pub fn start_with_wal(directory: &Path, wal: &Path, settings: &str) -> Result<Self> {
        let mut cluster = Self::at(directory)?;
        let wal = cluster.give(wal, "wal")?;
        cluster.initialise_with(&["--wal-segsize=1", &format!("--waldir={}", wal.display())])?;
        cluster.is_own = true;
        let endless = "max_wal_size=10GB min_wal_size=2MB checkpoint_timeout=1d";
        cluster.start_server(&format!("{endless} {settings}"))?;
        Ok(cluster)
    }

    fn at(directory: &Path) -> Result<Self> {
        let user = unprivileged_user()?;
        Ok(Self { bin: bin()?, directory: directory.to_path_buf(), user, is_own: false })
    }

    /// Copies the running server's files into a directory that must not exist, as a base backup. The copy
    /// is started with [`Self::start_server`], and goes when it is dropped.
    pub fn base_backup(&self, directory: &Path) -> Result<Self> {
        let mut copy = Self::at(directory)?;
        copy.prepare()?;
        let host = self.directory.display().to_string();
        let data = copy.data();
        copy.run(
            "pg_basebackup",
            &[
                "--host",
                &host,
                "--username",
                SERVER_USER,
                "--pgdata",
                &data,
                "--wal-method=stream",
                "--checkpoint=fast",
                "--no-sync",
            ],
        )?;
        copy.is_own = true;
        Ok(copy)
    }

    /// Makes the directory, the server's own.
    fn prepare(&self) -> Result<()> {
        fs::create_dir_all(&self.directory)?;
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o755))?;
        self.own(&self.directory)
    }

    /// Makes a folder of the server's in another.
    fn give(&self, folder: &Path, name: &str) -> Result<PathBuf> {
        let given = folder.join(name);
        fs::create_dir(&given)?;
        self.own(&given)?;
        Ok(given)
    }

    fn own(&self, folder: &Path) -> Result<()> {
        if let Some(user) = &self.user {
            let id = |flag: &str| -> Result<u32> {
                let output = Command::new("id").args([flag, user]).output()?;
                Ok(String::from_utf8(output.stdout)?.trim().parse()?)
            };
            chown(folder, Some(id("-u")?), Some(id("-g")?))?;
        }
        Ok(())
    }

    fn initialise(&self) -> Result<()> {
        self.initialise_with(&[])
    }

    fn initialise_with(&self, more: &[&str]) -> Result<()> {
        self.prepare()?;
        let (user, data) = (format!("--username={SERVER_USER}"), self.data());
        let ours = [
            "--no-sync",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            &user,
            "--pgdata",
            &data,
        ];
        self.run("initdb", &[&ours, more].concat())
    }

    /// Starts the server over the files that are there.
    pub fn start_server(&self, settings: &str) -> Result<()> {
        let directory = self.directory.display();
        let settings: String = format!("{SETTINGS} {settings}")
            .split_whitespace()
            .map(|setting| format!(" -c {setting}"))
            .collect();
        let options = format!("-k {directory}{settings}");
        let log = format!("{directory}/server.log");
        self.run("pg_ctl", &["start", "-w", "-D", &self.data(), "-o", &options, "-l", &log])
    }

    /// Whether it answers.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.run("pg_ctl", &["status", "-D", &self.data()]).is_ok()
            && self.sql("postgres", "SELECT 1").is_ok()
    }

    /// Stops the server as if it had crashed; its connections are cut.
    pub fn crash_server(&self) -> Result<()> {
        self.run("pg_ctl", &["stop", "-m", "immediate", "-D", &self.data()])
    }

    /// Makes an empty database and tells its URL.
    pub fn database(&self) -> Result<String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{}_{n}", std::process::id());
        // A process id may come again while the cluster lives.
        self.sql("postgres", &format!("DROP DATABASE IF EXISTS {name}"))?;
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.url(&name))
    }

    /// Makes an empty database whose tables are in a folder, which may be on another disk, and tells its URL.
    pub fn database_in(&self, folder: &Path) -> Result<String> {
        let tables = self.give(folder, "tables")?;
        let space = format!("CREATE TABLESPACE elsewhere LOCATION '{}'", tables.display());
        self.sql("postgres", &space)?;
        self.sql("postgres", "CREATE DATABASE elsewhere TABLESPACE elsewhere")?;
        Ok(self.url("elsewhere"))
    }

    /// The URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SERVER_USER}@localhost/{database}?host={}", self.directory.display())
    }

    fn sql(&self, database: &str, statement: &str) -> Result<()> {
        let host = self.directory.display().to_string();
        self.run(
            "psql",
            &["-X", "-q", "-h", &host, "-U", SERVER_USER, "-d", database, "-c", statement],
        )
    }

    fn data(&self) -> String {
        self.directory.join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let path = self.bin.join(program);
        let mut command = match &self.user {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(path);
                command
            }
            None => Command::new(path),
        };
        // The server inherits what it is given here, so nothing of the test may be among it.
        let errors = self.directory.join(format!("{program}.{}.txt", std::process::id()));
        let status = command
            .args(arguments)
            .current_dir(&self.directory)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors)?)
            .status()
            .with_context(|| format!("{program} could not be started"))?;
        let said = fs::read_to_string(&errors).unwrap_or_default();
        let _ = fs::remove_file(&errors);
        ensure!(status.success(), "{program} failed: {said}");
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.is_own {
            let _ = self.crash_server();
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Finds or starts the shared cluster. While the file is held, the watchdog leaves it alone.
fn shared_cluster() -> Result<(Cluster, File)> {
    let directory = std::env::temp_dir().join(format!("sam-test-postgres-{}", own_user()?));
    let lock = |name: &str| {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(format!("{}.{name}", directory.display()))
    };
    let users = lock("users")?;
    users.lock_shared()?;
    let starting = lock("starting")?;
    starting.lock()?;
    let cluster = Cluster::at(&directory)?;
    if directory.exists() && cluster.is_running() {
        return Ok((cluster, users));
    }
    if directory.exists() {
        // Left by a run that was cut short, or by a machine that was.
        let _ = cluster.crash_server();
        fs::remove_dir_all(&directory)?;
    }
    cluster.initialise()?;
    cluster.start_server(QUICK)?;
    cluster.watch(&format!("{}.users", directory.display()))?;
    Ok((cluster, users))
}

impl Cluster {
    /// Leaves a watchdog behind that removes the cluster once no test holds the file for a while.
    fn watch(&self, users: &str) -> Result<()> {
        const SCRIPT: &str = r#"
            while [ -e "$2" ]; do
                sleep 20
                flock -n -x "$1" sh -c '"$1" stop -m immediate -D "$0/data"; rm -rf "$0"' "$2" "$3"
            done"#;
        let run_as = match &self.user {
            Some(user) => vec!["runuser", "-u", user, "--"],
            None => vec![],
        };
        // The lock file is root's where the server is not; whoever starts tests may lock it.
        fs::set_permissions(users, fs::Permissions::from_mode(0o666))?;
        let mut command = Command::new("setsid");
        command
            .args(run_as)
            .args(["sh", "-c", SCRIPT, "watchdog", users])
            .arg(&self.directory)
            .arg(self.bin.join("pg_ctl"))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // Not waited for: it outlives this process on purpose.
        command.spawn().context("the watchdog of the test cluster could not be started")?;
        Ok(())
    }
}

/// Where the server's programs are: Debian keeps them out of the way.
fn bin() -> Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        let version = entry.file_name().to_string_lossy().parse().unwrap_or(0);
        found.push((version, entry.path().join("bin")));
    }
    found.sort();
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = found.into_iter().rev().map(|(_, path)| path);
    let mut candidates = candidates.chain(std::env::split_paths(&on_path));
    candidates.find(|path| path.join("initdb").exists() && path.join("pg_ctl").exists()).context(
        "PostgreSQL is not installed: no initdb in /usr/lib/postgresql/*/bin or on the PATH",
    )
}

/// The user to run the server as, where we are root.
fn unprivileged_user() -> Result<Option<String>> {
    if own_user()? != 0 {
        return Ok(None);
    }
    for user in ["postgres", "nobody"] {
        if Command::new("id").arg(user).stdout(Stdio::null()).status()?.success() {
            return Ok(Some(user.to_string()));
        }
    }
    bail!("PostgreSQL cannot run as root, and there is no user postgres or nobody")
}

fn own_user() -> Result<u32> {
    Ok(fs::metadata("/proc/self")?.uid())
}
