//! How a person becomes a caller: a one-use link that the server prints, then a cookie.
//!
//! Both are random tokens of which only the hash is stored. Each start revokes the links of the last
//! one; cookies live on until they have not been used for a month.

use std::time::Duration;

use domain::{
    account::AccountCommand,
    ids::{AccountId, CommandId, InstallationId, derived},
};
use projections::{
    database::Database,
    error::DatabaseError,
    replica_list::ReplicaList,
    tokens::{Token, TokenHash, Tokens},
};
use uuid::Uuid;

use crate::{
    caller::Caller,
    clock::SharedClock,
    dispatcher::{DispatchError, Dispatcher},
    random,
};

const LINK: &str = "sign_in_link";
const COOKIE: &str = "browser";
const MACHINE: &str = "machine";
const LINK_PERIOD: Duration = Duration::from_secs(24 * 3600);
/// How long a cookie or a machine's token is good for after it was made or prolonged.
pub const COOKIE_PERIOD: Duration = Duration::from_secs(30 * 24 * 3600);
/// A cookie is prolonged on use, but not on each: that would be a write per request.
const PROLONG_PERIOD: Duration = Duration::from_secs(24 * 3600);

/// Issues and checks tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SignIn {
    tokens: Tokens,
    clock: SharedClock,
    owner: AccountId,
    replicas: ReplicaList,
    own: Uuid,
}

/// A token that was just made; nobody can read it again.
#[derive(Clone, Debug)]
pub struct Cookie {
    pub token: String,
    pub account: AccountId,
}

impl SignIn {
    pub(crate) fn new(
        database: &Database,
        clock: SharedClock,
        installation: InstallationId,
        own: Uuid,
    ) -> Self {
        let owner = AccountId(derived(installation.0, "owner"));
        let replicas = ReplicaList::new(database);
        Self { tokens: Tokens::new(database), clock, owner, replicas, own }
    }

    /// Registers the owner's account at the first start.
    pub(crate) async fn register_owner(
        &self,
        dispatcher: &Dispatcher,
        name: &str,
    ) -> Result<(), DispatchError> {
        let command = CommandId(derived(self.owner.0, "register"));
        let caller = Caller::person(self.owner, command);
        let register = AccountCommand::Register { name: name.to_owned() };
        dispatcher.send(&caller, (self.owner, register), Vec::new()).await?;
        Ok(())
    }

    /// The account that owns this installation.
    #[must_use]
    pub fn owner(&self) -> AccountId {
        self.owner
    }

    /// Makes a new link token for the owner; earlier ones are no longer good, unless other servers run
    /// on this database, whose links they may be.
    pub async fn new_link(&self) -> Result<String, DatabaseError> {
        if self.replicas.others(self.own).await?.is_empty() {
            self.tokens.revoke_all(LINK, None).await?;
        }
        self.issue(LINK, LINK_PERIOD).await
    }

    /// Uses a link up and gives a cookie for it; None when it is unknown, used or too old.
    pub async fn sign_in(&self, link: &str) -> Result<Option<Cookie>, DatabaseError> {
        let used = self.tokens.consume(TokenHash::of(link), LINK, self.clock.now()).await?;
        if used.is_none() {
            return Ok(None);
        }
        let token = self.issue(COOKIE, COOKIE_PERIOD).await?;
        Ok(Some(Cookie { token, account: self.owner }))
    }

    /// Makes a bearer token for a program that may read the data directory.
    pub async fn new_machine_token(&self) -> Result<String, DatabaseError> {
        self.issue(MACHINE, COOKIE_PERIOD).await
    }

    /// Whose cookie this is.
    pub async fn cookie(&self, token: &str) -> Result<Option<AccountId>, DatabaseError> {
        self.find(token, COOKIE).await
    }

    /// Whose bearer token this is.
    pub async fn machine(&self, token: &str) -> Result<Option<AccountId>, DatabaseError> {
        self.find(token, MACHINE).await
    }

    /// Ends a cookie or a bearer token.
    pub async fn sign_out(&self, token: &str) -> Result<bool, DatabaseError> {
        self.tokens.revoke(TokenHash::of(token)).await
    }

    async fn find(&self, token: &str, kind: &str) -> Result<Option<AccountId>, DatabaseError> {
        let (hash, now) = (TokenHash::of(token), self.clock.now());
        let Some(found) = self.tokens.find(hash, kind, now).await? else { return Ok(None) };
        if found.expires_at - now
            < chrono::TimeDelta::from_std(COOKIE_PERIOD - PROLONG_PERIOD).unwrap_or_default()
        {
            self.tokens.prolong(hash, now, now + COOKIE_PERIOD).await?;
        }
        Ok(Some(AccountId(found.subject)))
    }

    async fn issue(&self, kind: &str, period: Duration) -> Result<String, DatabaseError> {
        let (token, now) = (random::token(), self.clock.now());
        let row = Token {
            hash: TokenHash::of(&token),
            kind: kind.to_owned(),
            subject: self.owner.0,
            created_at: now,
            expires_at: now + period,
            used_at: None,
        };
        self.tokens.put(&row).await?;
        Ok(token)
    }
}
