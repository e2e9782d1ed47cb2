//! How a person becomes a caller: a one-use link that the server prints, then a cookie.
//!
//! Both are random tokens of which only the hash is stored. Each start revokes the links of the last
//! one; cookies live on until they have not been used for a month. Whoever shows a cookie once and stays, as a live
//! page does, asks here for its end.
//!
//! An installation has one owner. Once that account is erased, the next start or the next link makes another,
//! under another id: nothing of the old one is the new one's. Any server of the database may be the one that
//! erases, or makes the link, so who it is is looked up again when the one that is known here is gone.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{
    account::{Account, AccountCommand},
    ids::{AccountId, CommandId, InstallationId, derived},
};
use projections::{
    database::Database,
    erasure_ledger::ErasureLedger,
    error::DatabaseError,
    replica_list::ReplicaList,
    tokens::{Token, TokenHash, Tokens},
};
use tokio::{sync::watch, time::timeout};
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
/// How long whoever stays may not know that a cookie has ended: it expired, or another server ended it. Each of them
/// asks the database once in that time.
pub const END_PERIOD_MAX: Duration = Duration::from_secs(5);

/// Issues and checks tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SignIn {
    tokens: Tokens,
    ledger: ErasureLedger,
    replicas: ReplicaList,
    dispatcher: Dispatcher,
    clock: SharedClock,
    installation: InstallationId,
    own: Uuid,
    /// What a new owner is called.
    name: String,
    owner: Arc<Mutex<AccountId>>,
    /// Rings when this server has ended cookies.
    ends: watch::Sender<()>,
}

/// A token that was just made; nobody can read it again.
#[derive(Clone, Debug)]
pub struct Cookie {
    pub token: String,
    pub account: AccountId,
}

impl SignIn {
    /// `own` is the replica; `name` is what an owner is called who has no account yet.
    pub(crate) fn new(
        database: &Database,
        dispatcher: &Dispatcher,
        clock: SharedClock,
        (installation, own): (InstallationId, Uuid),
        name: &str,
    ) -> Self {
        Self {
            tokens: Tokens::new(database),
            ledger: ErasureLedger::new(database),
            replicas: ReplicaList::new(database),
            dispatcher: dispatcher.clone(),
            clock,
            installation,
            own,
            name: name.to_owned(),
            owner: Arc::new(Mutex::new(owner_of(installation, 1))),
            ends: watch::Sender::new(()),
        }
    }

    /// Finds out who owns the installation, and registers the account if nobody has it yet: at the first start,
    /// and at whatever comes first after the last owner was erased, a start or a new link.
    pub async fn settle_owner(&self) -> Result<AccountId, DispatchError> {
        let owner = self.current_owner().await?;
        let command = CommandId(derived(owner.0, "register"));
        let caller = Caller::person(owner, command);
        let register = AccountCommand::Register { name: self.name.clone() };
        self.dispatcher.send(&caller, (owner, register), Vec::new()).await?;
        *self.lock() = owner;
        Ok(owner)
    }

    /// The first that is not erased, or about to be. The ledger is asked as well: in a restored database
    /// an account that was erased may not even be registered yet, and never is again.
    async fn current_owner(&self) -> Result<AccountId, DispatchError> {
        let mut number = 1;
        loop {
            let owner = owner_of(self.installation, number);
            let is_gone = self.ledger.find(owner.0).await?.is_some()
                || self.dispatcher.state::<Account>(owner.0).await?.is_gone();
            if !is_gone {
                return Ok(owner);
            }
            number += 1;
        }
    }

    /// The account that owns this installation, as far as this server has heard.
    #[must_use]
    pub fn owner(&self) -> AccountId {
        *self.lock()
    }

    /// The same, after a look at whether another server has erased the last owner and registered the next. Until
    /// somebody is registered it is the erased one, in whose name nothing begins.
    pub async fn newest_owner(&self) -> Result<AccountId, DispatchError> {
        let known = self.owner();
        if self.dispatcher.state::<Account>(known.0).await?.is_gone() {
            let next = self.current_owner().await?;
            if *self.dispatcher.state::<Account>(next.0).await? != Account::Unknown {
                *self.lock() = next;
            }
        }
        Ok(self.owner())
    }

    /// Makes a new link token for the owner; earlier ones are no longer good, unless other servers run
    /// on this database, whose links they may be.
    pub async fn new_link(&self) -> Result<String, DispatchError> {
        let owner = self.settle_owner().await?;
        if self.replicas.others(self.own).await?.is_empty() {
            self.tokens.revoke_all(LINK, None).await?;
        }
        Ok(self.issue(LINK, owner, LINK_PERIOD).await?)
    }

    /// Uses a link up and gives a cookie for it; None when it is unknown, used or too old.
    pub async fn sign_in(&self, link: &str) -> Result<Option<Cookie>, DatabaseError> {
        let used = self.tokens.consume(TokenHash::of(link), LINK, self.clock.now()).await?;
        let Some(used) = used else { return Ok(None) };
        let account = AccountId(used.subject);
        let token = self.issue(COOKIE, account, COOKIE_PERIOD).await?;
        Ok(Some(Cookie { token, account }))
    }

    /// Makes a bearer token for a program that may read the data directory.
    pub async fn new_machine_token(&self) -> Result<String, DatabaseError> {
        self.issue(MACHINE, self.owner(), COOKIE_PERIOD).await
    }

    /// Whose cookie this is.
    pub async fn cookie(&self, token: &str) -> Result<Option<AccountId>, DispatchError> {
        let account = self.find(token, COOKIE).await?;
        // Somebody new, whom another replica has registered.
        if account.is_some_and(|account| account != self.owner()) {
            self.newest_owner().await?;
        }
        Ok(account)
    }

    /// Resolves once a cookie is good for nothing any more: somebody signed out, here or at another server, it has
    /// expired, or its account is being erased.
    pub async fn ended(&self, cookie: TokenHash) {
        let mut ends = self.ends.subscribe();
        loop {
            // This does not prolong it: a page that is only left open does not stay signed in for ever.
            match self.tokens.find(cookie, COOKIE, self.clock.now()).await {
                Ok(None) => return,
                Ok(Some(_)) => {}
                // Without the database nobody signs out either. It is asked again.
                Err(error) => tracing::debug!(%error, "whether a cookie has ended is not known"),
            }
            // Late or told, the cookie is looked at again.
            let _ = timeout(END_PERIOD_MAX, ends.changed()).await;
        }
    }

    /// Whose bearer token this is.
    pub async fn machine(&self, token: &str) -> Result<Option<AccountId>, DatabaseError> {
        self.find(token, MACHINE).await
    }

    /// Ends a cookie or a bearer token.
    pub async fn sign_out(&self, token: &str) -> Result<bool, DatabaseError> {
        let was_there = self.tokens.revoke(TokenHash::of(token)).await?;
        self.ends.send_replace(());
        Ok(was_there)
    }

    /// Ends whatever lets somebody in as an account.
    pub(crate) async fn sign_out_everywhere(
        &self,
        account: AccountId,
    ) -> Result<(), DatabaseError> {
        self.tokens.revoke_of(account.0).await?;
        self.ends.send_replace(());
        Ok(())
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

    async fn issue(
        &self,
        kind: &str,
        account: AccountId,
        period: Duration,
    ) -> Result<String, DatabaseError> {
        let (token, now) = (random::token(), self.clock.now());
        let row = Token {
            hash: TokenHash::of(&token),
            kind: kind.to_owned(),
            subject: account.0,
            created_at: now,
            expires_at: now + period,
            used_at: None,
        };
        self.tokens.put(&row).await?;
        Ok(token)
    }

    fn lock(&self) -> MutexGuard<'_, AccountId> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of the installation's owners, one after the other: an erased one's is never used again.
fn owner_of(installation: InstallationId, number: u64) -> AccountId {
    let word = if number == 1 { "owner".to_owned() } else { format!("owner {number}") };
    AccountId(derived(installation.0, &word))
}
