//! A PostgreSQL server of our own for the tests, on loopback, on a free port.
//!
//! Not the system's server: tests make and drop databases and stop connections. It keeps running
//! between runs; one that died is started again.

use std::ffi::OsString;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, Outcome, answer_of, find, is_root, quietly};
use crate::places;

const SUPERUSER: &str = "sam";

/// Where Debian keeps the newest server's programs.
pub(crate) fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let numbered = versions.filter_map(|entry| {
        let path = entry.ok()?.path();
        let number: u32 = path.file_name()?.to_str()?.parse().ok()?;
        path.join("bin/initdb").exists().then_some((number, path.join("bin")))
    });
    numbered.max().map(|(_, path)| path)
}

/// The URL under which tests may create databases.
pub(crate) fn ensure() -> Outcome<String> {
    let programs = programs().ok_or_else(|| Failure("PostgreSQL is not installed".to_owned()))?;
    let cluster = Cluster { programs, folder: folder()? };
    if !cluster.folder.join("data/PG_VERSION").exists() {
        cluster.create()?;
    }
    if !cluster.is_running() {
        cluster.bury_the_dead()?;
        cluster.start()?;
    }
    let port = cluster.port()?;
    let password = std::fs::read_to_string(cluster.folder.join("password"))?;
    Ok(format!("postgres://{SUPERUSER}:{}@127.0.0.1:{port}/postgres", password.trim()))
}

/// The server refuses to run as root, and its own user cannot look into root's home.
fn folder() -> Outcome<PathBuf> {
    if is_root() { Ok(PathBuf::from("/var/lib/postgresql/sam-tests")) } else { private_folder() }
}

fn private_folder() -> Outcome<PathBuf> {
    Ok(places::cache()?.join("postgres"))
}

struct Cluster {
    programs: PathBuf,
    folder: PathBuf,
}

impl Cluster {
    fn create(&self) -> Outcome {
        let password_file = self.folder.join("password");
        // A set-up that was cut off leaves a folder that initdb would refuse.
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)?;
        }
        std::fs::create_dir_all(&self.folder)?;
        std::fs::set_permissions(&self.folder, std::fs::Permissions::from_mode(0o700))?;
        std::fs::write(&password_file, random_password()?)?;
        std::fs::set_permissions(&password_file, std::fs::Permissions::from_mode(0o600))?;
        if is_root() {
            let mut chown = Command::new("chown");
            quietly(
                "handing over the test database",
                chown.arg("-R").arg("postgres").arg(&self.folder),
            )?;
        }
        let mut initdb = self.command("initdb");
        initdb.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        initdb.arg("--username").arg(SUPERUSER);
        initdb.arg("--pwfile").arg(&password_file).arg("--pgdata").arg(self.data());
        quietly("creating the test database", &mut initdb)
    }

    fn start(&self) -> Outcome {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' \
             -c max_connections=300"
        );
        let mut start = self.command("pg_ctl");
        start.arg("--pgdata").arg(self.data()).arg("--log").arg(self.folder.join("server.log"));
        start.args(["--wait", "--timeout", "60", "--options", &options, "start"]);
        quietly("starting the test database", &mut start)
    }

    fn is_running(&self) -> bool {
        let mut status = self.command("pg_ctl");
        let is_there = answer_of(status.arg("--pgdata").arg(self.data()).arg("status")).is_some();
        let answers = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
        is_there && self.port().is_ok_and(answers)
    }

    /// Removes the pid file of a server that was killed and whose corpse nobody has collected:
    /// PostgreSQL takes such a process for a living one. Any other it judges by itself.
    fn bury_the_dead(&self) -> Outcome {
        let pid_file = self.data().join("postmaster.pid");
        let Ok(text) = std::fs::read_to_string(&pid_file) else { return Ok(()) };
        let pid = text.lines().next().unwrap_or_default();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        if status.lines().any(|line| line.starts_with("State:") && line.contains('Z')) {
            std::fs::remove_file(&pid_file)?;
        }
        Ok(())
    }

    /// The fourth line of the server's pid file.
    fn port(&self) -> Outcome<u16> {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid"))?;
        let line = text.lines().nth(3).and_then(|line| line.trim().parse().ok());
        line.ok_or_else(|| Failure("the test database does not say its port".to_owned()))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() { as_postgres(&program) } else { Command::new(program) };
        command.current_dir(if self.folder.exists() {
            self.folder.as_path()
        } else {
            Path::new("/")
        });
        command
    }
}

fn as_postgres(program: &Path) -> Command {
    let runuser = find("runuser").map_or_else(|| OsString::from("runuser"), OsString::from);
    let mut command = Command::new(runuser);
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

fn random_password() -> Outcome<String> {
    let mut bytes = [0_u8; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
