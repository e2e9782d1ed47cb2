//! One server per data directory: whoever holds `server.lock` is it, and `server.json` says where.
//!
//! The lock goes with its process, however that ends. The file stays behind and means nothing without
//! the lock: its token is good only as long as that server lives.

use std::{
    fs::{self, File, TryLockError},
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const LOCK: &str = "server.lock";
const ANNOUNCEMENT: &str = "server.json";
/// A server takes the lock first and writes the file when it answers.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(20);
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// Where the server of a data directory is, and how its owner's programs get in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Announcement {
    pub pid: u32,
    /// What everything at the container engine is labelled with.
    pub installation: Uuid,
    pub address: SocketAddr,
    /// A bearer token; the file is readable by its owner only.
    pub token: String,
    /// The host that machines ask for.
    pub api_host: String,
    /// Where the UI is; absent if it is not served.
    pub app_origin: Option<String>,
}

/// The right to be the server. It ends when this is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    announcement: PathBuf,
}

/// Who is the server of a data directory?
#[derive(Debug)]
pub enum Holder {
    /// Nobody was; now we are.
    Us(Lock),
    /// Another process, which answers here.
    Other(Announcement),
}

/// Takes the lock, or finds who has it.
pub async fn take(data_dir: &Path) -> anyhow::Result<Holder> {
    let started = tokio::time::Instant::now();
    loop {
        if let Some(lock) = try_lock(data_dir)? {
            return Ok(Holder::Us(lock));
        }
        if let Some(other) = announced(data_dir) {
            return Ok(Holder::Other(other));
        }
        if started.elapsed() > ANNOUNCED_WITHIN {
            bail!(
                "another SAM holds {} and does not say where it answers",
                data_dir.join(LOCK).display()
            );
        }
        tokio::time::sleep(LOOK_PERIOD).await;
    }
}

/// Finds the running server without becoming it.
pub async fn find(data_dir: &Path) -> anyhow::Result<Option<Announcement>> {
    if !data_dir.join(LOCK).exists() {
        return Ok(None);
    }
    match take(data_dir).await? {
        Holder::Us(_) => Ok(None),
        Holder::Other(other) => Ok(Some(other)),
    }
}

fn try_lock(data_dir: &Path) -> anyhow::Result<Option<Lock>> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.with_context(|| format!("the data directory {} cannot be made", data_dir.display()))?;
    let path = data_dir.join(LOCK);
    let options = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = options.with_context(|| format!("{} cannot be opened", path.display()))?;
    match file.try_lock() {
        Ok(()) => {
            let announcement = data_dir.join(ANNOUNCEMENT);
            // Left behind by a server that was killed; it answers no more.
            let _ = fs::remove_file(&announcement);
            Ok(Some(Lock { _file: file, announcement }))
        }
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", path.display()))
        }
    }
}

fn announced(data_dir: &Path) -> Option<Announcement> {
    let text = fs::read_to_string(data_dir.join(ANNOUNCEMENT)).ok()?;
    serde_json::from_str(&text).ok()
}

impl Lock {
    /// Says where this server answers.
    pub fn announce(&self, announcement: &Announcement) -> anyhow::Result<()> {
        let written = self.announcement.with_extension("json.new");
        let write = || -> std::io::Result<()> {
            let _ = fs::remove_file(&written);
            let mut file =
                File::options().create_new(true).write(true).mode(0o600).open(&written)?;
            file.write_all(&serde_json::to_vec_pretty(announcement)?)?;
            fs::rename(&written, &self.announcement)
        };
        write().with_context(|| format!("{} cannot be written", self.announcement.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn announcement() -> Announcement {
        Announcement {
            pid: 1,
            installation: Uuid::nil(),
            address: ([127, 0, 0, 1], 8080).into(),
            token: "secret".to_owned(),
            api_host: "api.sam.localhost".to_owned(),
            app_origin: None,
        }
    }

    #[tokio::test]
    async fn the_second_server_learns_where_the_first_one_answers() {
        let folder = std::env::temp_dir().join(format!("sam-lock-{}", std::process::id()));
        let Holder::Us(lock) = take(&folder).await.unwrap() else { panic!("nobody holds it") };
        lock.announce(&announcement()).unwrap();
        let mode = fs::metadata(folder.join(ANNOUNCEMENT)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let Holder::Other(other) = take(&folder).await.unwrap() else { panic!("it is held") };
        assert_eq!(other.address.port(), 8080);
        drop(lock);
        assert!(find(&folder).await.unwrap().is_none());
        assert!(matches!(take(&folder).await.unwrap(), Holder::Us(_)));
        fs::remove_dir_all(&folder).unwrap();
    }
}
