//! What nobody may read afterwards: a session's model key and proxy token, and a workspace's variables.
//!
//! A running coding agent outlives the agent, so the proxy must know its token and key after a
//! restart; and an opening that was cut short is carried out again, with the variables that its order
//! brought. They are kept in files, readable by the agent's user only: one per session, deleted when
//! the session ends, and one per order, deleted when it is settled. Not in the journal: a deleted row can
//! still be read from a database's free pages and from its write-ahead log, a removed file cannot be
//! read through the file system.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use domain::{
    agent_protocol::{Environment, ModelAccess},
    ids::SessionId,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// What files of orders begin with; those of sessions are named by the session alone.
const ORDER_PREFIX: &str = "order-";

/// What the model proxy must know about one session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionSecrets {
    /// What the coding agent shows to the proxy.
    pub token: String,
    pub model: ModelAccess,
}

/// The directory with one file per running session, and one per workspace that is being opened.
#[derive(Clone, Debug)]
pub struct SecretFiles {
    directory: PathBuf,
}

impl SecretFiles {
    /// Uses `secrets` below the agent's data directory.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let directory = data_dir.join("secrets");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        Ok(Self { directory })
    }

    /// Writes a session's secrets.
    pub fn put(&self, session: SessionId, secrets: &SessionSecrets) -> io::Result<()> {
        self.write(&session.to_string(), secrets)
    }

    /// A session's secrets, if it still runs.
    pub fn get(&self, session: SessionId) -> io::Result<Option<SessionSecrets>> {
        self.read(&session.to_string())
    }

    /// Deletes what a session knew. Success when there is nothing.
    pub fn remove(&self, session: SessionId) -> io::Result<()> {
        self.delete(&session.to_string())
    }

    /// Writes the variables that an order brought.
    pub fn put_variables(&self, order: Uuid, variables: &Environment) -> io::Result<()> {
        self.write(&of_order(order), variables)
    }

    /// The variables that an order brought, if it is not settled.
    pub fn variables(&self, order: Uuid) -> io::Result<Option<Environment>> {
        self.read(&of_order(order))
    }

    /// Deletes the variables that an order brought. Success when there are none.
    pub fn remove_variables(&self, order: Uuid) -> io::Result<()> {
        self.delete(&of_order(order))
    }

    /// Deletes the variables of all other orders.
    pub fn keep_variables(&self, orders: &BTreeSet<Uuid>) -> io::Result<()> {
        let kept: BTreeSet<String> = orders.iter().copied().map(of_order).collect();
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(ORDER_PREFIX) && !kept.contains(&name) {
                self.delete(&name)?;
            }
        }
        Ok(())
    }

    /// A reader sees all of it or nothing.
    fn write(&self, name: &str, secrets: &impl Serialize) -> io::Result<()> {
        let unfinished = self.directory.join(format!("{name}.new"));
        let _ = std::fs::remove_file(&unfinished);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(&serde_json::to_vec(secrets)?)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, self.directory.join(name))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match std::fs::read(self.directory.join(name)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn of_order(key: Uuid) -> String {
    format!("{ORDER_PREFIX}{key}")
}
