//! The secrets that people lend to SAM, and those lent for one execution only.
//!
//! A stored secret is ciphertext in the vault; the log says only that it is there. What the command
//! line brings along from its environment stays in memory and goes with the program.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use domain::{
    agent_protocol::CodingAgentKind,
    credential::{CredentialCommand, CredentialKind},
    ids::{AccountId, CredentialId, ExecutionId, derived},
};
use projections::event_log::Position;
use uuid::Uuid;

use crate::{
    caller::Caller,
    dispatcher::{DispatchError, Dispatcher},
    sealing::{Sealing, SealingError},
};

const SECRET_BYTES_MAX: usize = 4096;
const LAST_CHARS: usize = 4;

/// Stores, removes and reads secrets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Credentials {
    sealing: Sealing,
    dispatcher: Dispatcher,
    lent: Arc<Mutex<HashMap<ExecutionId, String>>>,
}

impl From<SealingError> for DispatchError {
    fn from(error: SealingError) -> Self {
        match error {
            SealingError::Database(error) => error.into(),
            // Refused, so that an agent does not report the same text again and again.
            SealingError::Erased => {
                Self::Refused { code: "erased".to_owned(), reason: error.to_string() }
            }
            error => Self::Failed { reason: error.to_string() },
        }
    }
}

/// What a coding agent needs to reach its model; none for the demo.
#[must_use]
pub fn needed_by(coding_agent: CodingAgentKind) -> Option<CredentialKind> {
    match coding_agent {
        CodingAgentKind::Demo => None,
        CodingAgentKind::ClaudeCode => Some(CredentialKind::Anthropic),
    }
}

/// The id of an account's credential of a kind: there is one of each.
#[must_use]
pub fn credential_of(account: AccountId, kind: CredentialKind) -> CredentialId {
    CredentialId(derived(account.0, &format!("credential {}", kind.name())))
}

impl Credentials {
    pub(crate) fn new(sealing: &Sealing, dispatcher: &Dispatcher) -> Self {
        let (sealing, dispatcher) = (sealing.clone(), dispatcher.clone());
        Self { sealing, dispatcher, lent: Arc::default() }
    }

    /// Stores a secret of the caller, in place of the one of that kind if there is one.
    pub async fn put(
        &self,
        caller: &Caller,
        kind: CredentialKind,
        secret: &str,
    ) -> Result<Position, DispatchError> {
        let secret = secret.trim();
        check(secret)?;
        let owner = caller.account;
        self.dispatcher.check_account(owner).await?;
        let id = credential_of(owner, kind);
        // First the secret: an event without one would be a promise that nobody keeps.
        self.sealing.put_secret(id.0, &label(owner, kind), secret).await?;
        let n_skipped = secret.chars().count().saturating_sub(LAST_CHARS);
        let last_four = secret.chars().skip(n_skipped).collect();
        let store = CredentialCommand::Store { owner, kind, last_four };
        self.dispatcher.send(caller, (id, store), Vec::new()).await
    }

    /// Removes a secret of the caller.
    pub async fn remove(
        &self,
        caller: &Caller,
        kind: CredentialKind,
    ) -> Result<Position, DispatchError> {
        let owner = caller.account;
        let id = credential_of(owner, kind);
        self.sealing.delete_secret(id.0).await?;
        self.dispatcher.send(caller, (id, CredentialCommand::Remove { owner }), Vec::new()).await
    }

    /// Tells whether an account has a secret of a kind.
    pub async fn has(&self, owner: AccountId, kind: CredentialKind) -> Result<bool, DispatchError> {
        Ok(self.read(owner, kind).await?.is_some())
    }

    /// Lends a secret for one execution; it is in no file and no log.
    pub fn lend(&self, execution: ExecutionId, secret: &str) {
        self.lock().insert(execution, secret.trim().to_owned());
    }

    /// Forgets a secret that was lent.
    pub fn forget(&self, execution: ExecutionId) {
        self.lock().remove(&execution);
    }

    /// The secret for an execution: the one that was lent for it, else the owner's stored one.
    pub(crate) async fn for_execution(
        &self,
        execution: Option<ExecutionId>,
        owner: AccountId,
        kind: CredentialKind,
    ) -> Result<Option<String>, SealingError> {
        let lent = execution.and_then(|execution| self.lock().get(&execution).cloned());
        match lent {
            Some(lent) => Ok(Some(lent)),
            None => self.read(owner, kind).await,
        }
    }

    async fn read(
        &self,
        owner: AccountId,
        kind: CredentialKind,
    ) -> Result<Option<String>, SealingError> {
        let id: Uuid = credential_of(owner, kind).0;
        self.sealing.secret(id, &label(owner, kind)).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ExecutionId, String>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn label(owner: AccountId, kind: CredentialKind) -> String {
    format!("{owner}/{}", kind.name())
}

fn check(secret: &str) -> Result<(), DispatchError> {
    let is_one_line = secret.chars().all(|char| char.is_ascii_graphic());
    if secret.is_empty() || secret.len() > SECRET_BYTES_MAX || !is_one_line {
        return Err(DispatchError::Refused {
            code: "bad_secret".to_owned(),
            reason: "a key is one line of letters, digits and signs without spaces".to_owned(),
        });
    }
    Ok(())
}
