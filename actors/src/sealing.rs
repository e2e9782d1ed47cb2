//! Encrypts what must not be readable in the database: texts of projects, and secrets of users.
//!
//! AES-256-GCM with a nonce of its own for every row. Each project has a key for its texts, so that
//! destroying one key erases the project; the vault has a key that can be replaced. All keys are rows
//! wrapped by the master key, which is a file (0600) in the data directory and nowhere else.
//!
//! What a ciphertext is for is bound to it as associated data: a row that is moved does not open.
//!
//! Read next: `sealing/cipher.rs`.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use domain::{
    ids::{ContentId, ProjectId},
    values::ContentRef,
};
use projections::{
    database::Database,
    error::DatabaseError,
    event_log::{EventLog, NewContent, StoredContent},
    keys::{Keys, WrappedKey},
    vault::{SealedSecret, Vault},
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    clock::SharedClock,
    random,
    sealing::cipher::{Cipher, NONCE_BYTES},
    signing::SigningKey,
};

pub(crate) mod cipher;
mod master_key;

const CONTENT: &str = "content";
/// What the keys of secrets are for.
pub(crate) const VAULT: &str = "vault";
const SIGNING: &str = "signing";
const REPLICAS: &str = "replicas";
const SALT_BYTES: usize = 16;

/// Why something was not encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The key is gone, because its project was erased, or the row is not what it claims to be.
    #[error("{what} cannot be decrypted")]
    Unreadable { what: String },
    /// Nothing is written for it any more, and nothing can be read.
    #[error("its project or its account was erased")]
    Erased,
    #[error("the master key {path}: {reason}")]
    MasterKey { path: String, reason: String },
}

/// Encrypts and decrypts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sealing {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    master: Cipher,
    keys: Keys,
    vault: Vault,
    log: EventLog,
    clock: SharedClock,
    /// Opened keys by their row's id, and content keys by their project.
    opened: Mutex<HashMap<Uuid, Arc<Cipher>>>,
}

impl Sealing {
    /// Opens the master key of a data directory, making one at the first start.
    pub fn open(
        database: &Database,
        log: &EventLog,
        data_dir: &Path,
        clock: SharedClock,
    ) -> Result<Self, SealingError> {
        let shared = Shared {
            master: master_key::open(data_dir)?,
            keys: Keys::new(database),
            vault: Vault::new(database),
            log: log.clone(),
            clock,
            opened: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Encrypts a text of a project: the row to append beside the event, and what the event says of it.
    pub async fn seal(
        &self,
        project: ProjectId,
        id: ContentId,
        text: &str,
    ) -> Result<(ContentRef, NewContent), SealingError> {
        let cipher = self.content_key(project).await?;
        let salt: [u8; SALT_BYTES] = random::bytes();
        let body = [&salt, text.as_bytes()].concat();
        let (nonce, ciphertext) = cipher.seal(&body, id.0.as_bytes());
        let reference = ContentRef {
            id,
            length: u32::try_from(text.len()).unwrap_or(u32::MAX),
            digest: random::hex(&Sha256::digest(&body)),
        };
        let content = NewContent { id: id.0, project: project.0, nonce: nonce.into(), ciphertext };
        Ok((reference, content))
    }

    /// Decrypts the texts that events refer to. One whose key was destroyed is missing in the answer.
    pub async fn open_contents(
        &self,
        contents: &[StoredContent],
    ) -> Result<HashMap<ContentId, String>, SealingError> {
        let mut texts = HashMap::with_capacity(contents.len());
        for content in contents {
            if let Some(text) = self.open_content(content).await? {
                texts.insert(ContentId(content.id), text);
            }
        }
        Ok(texts)
    }

    /// Decrypts one text; none where it was erased, or its key is not there.
    pub(crate) async fn open_content(
        &self,
        content: &StoredContent,
    ) -> Result<Option<String>, SealingError> {
        // Without ciphertext it is a tombstone.
        if content.ciphertext.is_empty() {
            return Ok(None);
        }
        let Some(cipher) = self.find_content_key(content.project).await? else { return Ok(None) };
        let body = cipher.open(&content.nonce, &content.ciphertext, content.id.as_bytes());
        let text = body
            .filter(|body| body.len() >= SALT_BYTES)
            .and_then(|body| String::from_utf8(body[SALT_BYTES..].to_vec()).ok());
        let what = || SealingError::Unreadable { what: format!("content {}", content.id) };
        text.map(Some).ok_or_else(what)
    }

    /// Reads and decrypts texts by their ids.
    pub async fn texts(
        &self,
        ids: &[ContentId],
    ) -> Result<HashMap<ContentId, String>, SealingError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        self.open_contents(&self.shared.log.contents(&ids).await?).await
    }

    /// Reads and decrypts texts to be shown: of one that is damaged there is none, and the others are as ever. One
    /// whose key was destroyed is missing in the answer.
    pub async fn shown_texts(
        &self,
        ids: &[ContentId],
    ) -> Result<HashMap<ContentId, Option<String>>, SealingError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let contents = self.shared.log.contents(&ids).await?;
        let mut texts = HashMap::with_capacity(contents.len());
        for content in &contents {
            let text = match self.open_content(content).await {
                Ok(Some(text)) => Some(text),
                Ok(None) => continue,
                Err(SealingError::Unreadable { what }) => {
                    tracing::warn!(what, "a text is damaged");
                    None
                }
                Err(error) => return Err(error),
            };
            texts.insert(ContentId(content.id), text);
        }
        Ok(texts)
    }

    /// Reads and decrypts one text.
    pub async fn text(&self, content: &ContentRef) -> Result<String, SealingError> {
        let what = || SealingError::Unreadable { what: format!("content {}", content.id) };
        self.texts(&[content.id]).await?.remove(&content.id).ok_or_else(what)
    }

    /// Stores a secret under an id; the label says whose it is and what for. Refused where it was erased.
    pub async fn put_secret(
        &self,
        id: Uuid,
        label: &str,
        secret: &str,
    ) -> Result<(), SealingError> {
        let (key_id, cipher) = self.vault_key().await?;
        let (nonce, ciphertext) = cipher.seal(secret.as_bytes(), label.as_bytes());
        let label = label.to_owned();
        let sealed = SealedSecret { id, key_id, nonce: nonce.into(), ciphertext, label };
        let is_stored = self.shared.vault.put_unless_erased(&sealed).await?;
        if is_stored { Ok(()) } else { Err(SealingError::Erased) }
    }

    /// Reads a secret, if it is there under this label.
    pub async fn secret(&self, id: Uuid, label: &str) -> Result<Option<String>, SealingError> {
        match self.shared.vault.get(id).await? {
            Some(sealed) => Ok(Some(self.open_secret(&sealed, label).await?)),
            None => Ok(None),
        }
    }

    /// Removes a secret; tells whether it was there.
    pub async fn delete_secret(&self, id: Uuid) -> Result<bool, SealingError> {
        Ok(self.shared.vault.delete(id).await?)
    }

    /// Makes a new key for the vault, encrypts every secret again under it, and destroys the old keys.
    ///
    /// Can be interrupted at any point and run again. Tells how many secrets were moved.
    pub async fn rotate_vault_key(&self) -> Result<usize, SealingError> {
        let new = self.new_key(VAULT, None);
        self.shared.keys.put(&new).await?;
        let mut n_moved = 0;
        for sealed in self.shared.vault.list().await? {
            if sealed.key_id != new.id {
                let secret = self.open_secret(&sealed, &sealed.label).await?;
                match self.put_secret(sealed.id, &sealed.label, &secret).await {
                    Ok(()) => n_moved += 1,
                    // Meanwhile; with the old key goes nothing that is still there.
                    Err(SealingError::Erased) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        for old in self.shared.keys.list().await? {
            // A secret that was stored meanwhile may still be under an old key, which then stays.
            if old.purpose == VAULT
                && old.id != new.id
                && self.shared.vault.list_by_key(old.id).await?.is_empty()
            {
                self.shared.keys.destroy(old.id).await?;
            }
        }
        Ok(n_moved)
    }

    /// The installation's signing key; the first call ever makes it.
    pub async fn signing_key(&self) -> Result<SigningKey, SealingError> {
        let row = self.shared.keys.put_first(&self.new_key(SIGNING, None)).await?;
        Ok(SigningKey::from_seed(&self.unwrap(&row)?))
    }

    /// The same where nothing may be made: None if there is none yet.
    pub async fn find_signing_key(&self) -> Result<Option<SigningKey>, SealingError> {
        let Some(row) = self.shared.keys.find(SIGNING, None).await? else { return Ok(None) };
        Ok(Some(SigningKey::from_seed(&self.unwrap(&row)?)))
    }

    /// The key by which replicas know each other; the first call ever makes it.
    pub(crate) async fn replica_key(&self) -> Result<[u8; 32], SealingError> {
        let row = self.shared.keys.put_first(&self.new_key(REPLICAS, None)).await?;
        self.unwrap(&row)
    }

    /// Fails where the database has keys and the data directory has no master key to open them: making
    /// a new one would help nobody.
    pub(crate) async fn check_master_key(
        database: &Database,
        data_dir: &Path,
    ) -> Result<(), SealingError> {
        if master_key::is_there(data_dir) || Keys::new(database).list().await?.is_empty() {
            return Ok(());
        }
        Err(master_key::missing(data_dir))
    }

    async fn open_secret(
        &self,
        sealed: &SealedSecret,
        label: &str,
    ) -> Result<String, SealingError> {
        let what = || SealingError::Unreadable { what: format!("secret {}", sealed.id) };
        let row = self.shared.keys.get(sealed.key_id).await?.ok_or_else(what)?;
        let cipher = self.opened(row.id, &row)?;
        let secret = cipher.open(&sealed.nonce, &sealed.ciphertext, label.as_bytes());
        String::from_utf8(secret.ok_or_else(what)?).map_err(|_| what())
    }

    async fn vault_key(&self) -> Result<(Uuid, Arc<Cipher>), SealingError> {
        // Asked each time: another replica may have made a new one.
        let row = match self.shared.keys.find(VAULT, None).await? {
            Some(row) => row,
            None => self.shared.keys.put_first(&self.new_key(VAULT, None)).await?,
        };
        Ok((row.id, self.opened(row.id, &row)?))
    }

    async fn content_key(&self, project: ProjectId) -> Result<Arc<Cipher>, SealingError> {
        if let Some(cipher) = self.find_content_key(project.0).await? {
            return Ok(cipher);
        }
        let key = self.new_key(CONTENT, Some(project.0));
        let row = self.shared.keys.put_first_unless_erased(&key).await?;
        self.opened(project.0, &row.ok_or(SealingError::Erased)?)
    }

    /// Drops the opened key of a project whose row was destroyed.
    pub(crate) fn forget(&self, project: Uuid) {
        self.lock().remove(&project);
    }

    async fn find_content_key(&self, project: Uuid) -> Result<Option<Arc<Cipher>>, SealingError> {
        if let Some(cipher) = self.lock().get(&project) {
            return Ok(Some(Arc::clone(cipher)));
        }
        match self.shared.keys.find(CONTENT, Some(project)).await? {
            Some(row) => Ok(Some(self.opened(project, &row)?)),
            None => Ok(None),
        }
    }

    fn opened(&self, name: Uuid, row: &WrappedKey) -> Result<Arc<Cipher>, SealingError> {
        if let Some(cipher) = self.lock().get(&name) {
            return Ok(Arc::clone(cipher));
        }
        let cipher = Arc::new(Cipher::new(&self.unwrap(row)?));
        self.lock().insert(name, Arc::clone(&cipher));
        Ok(cipher)
    }

    fn new_key(&self, purpose: &str, scope: Option<Uuid>) -> WrappedKey {
        let id = random::uuid();
        let key: [u8; 32] = random::bytes();
        let (nonce, wrapped) = self.shared.master.seal(&key, &wrapping_label(id, purpose, scope));
        WrappedKey {
            id,
            purpose: purpose.to_owned(),
            scope,
            wrapped_by: None,
            nonce: <[u8; NONCE_BYTES]>::into(nonce),
            wrapped,
            created_at: self.shared.clock.now(),
        }
    }

    fn unwrap(&self, row: &WrappedKey) -> Result<[u8; 32], SealingError> {
        let label = wrapping_label(row.id, &row.purpose, row.scope);
        self.shared
            .master
            .open(&row.nonce, &row.wrapped, &label)
            .and_then(|key| key.try_into().ok())
            .ok_or_else(|| SealingError::Unreadable { what: format!("key {}", row.id) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Arc<Cipher>>> {
        self.shared.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wrapping_label(id: Uuid, purpose: &str, scope: Option<Uuid>) -> Vec<u8> {
    format!("{id}/{purpose}/{}", scope.unwrap_or_default()).into_bytes()
}

#[cfg(test)]
mod tests;
