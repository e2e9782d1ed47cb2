//! What a session may use and nobody may read afterwards: its model key and its proxy token.
//!
//! A running coding agent outlives the agent, so the proxy must know its token and key after a
//! restart. They are kept in one file per session, readable by the agent's user only, and deleted
//! when the session ends. Not in the journal: a deleted row can still be read from a database's free
//! pages and from its write-ahead log, a removed file cannot be read through the file system.

use std::{
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use domain::{agent_protocol::ModelAccess, ids::SessionId};
use serde::{Deserialize, Serialize};

/// What the model proxy must know about one session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionSecrets {
    /// What the coding agent shows to the proxy.
    pub token: String,
    pub model: ModelAccess,
}

/// The directory with one file per running session.
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

    /// Writes a session's secrets; a reader sees all of them or none.
    pub fn put(&self, session: SessionId, secrets: &SessionSecrets) -> io::Result<()> {
        let unfinished = self.directory.join(format!("{session}.new"));
        let _ = std::fs::remove_file(&unfinished);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(&serde_json::to_vec(secrets)?)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, self.path(session))
    }

    /// A session's secrets, if it still runs.
    pub fn get(&self, session: SessionId) -> io::Result<Option<SessionSecrets>> {
        match std::fs::read(self.path(session)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes what a session knew. Success when there is nothing.
    pub fn remove(&self, session: SessionId) -> io::Result<()> {
        match std::fs::remove_file(self.path(session)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, session: SessionId) -> PathBuf {
        self.directory.join(session.to_string())
    }
}
