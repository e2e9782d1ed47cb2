//! Erases an account: ends what it is signed in by, has its projects erased, destroys its secrets.
//!
//! Each credential gets an entry in the ledger, and the account's own comes last, so that whoever finds it
//! knows that there is nothing more to come. Secret, cookies and links go in the transaction of the entry, and
//! the vault stores nothing for what is in the ledger: a restored backup is respected in the same way.
//!
//! Read next: `domain/src/process/erase_account.rs` for who asks for which step.

use std::collections::BTreeSet;

use crash_point::crash_point;
use domain::{
    credential::{CredentialCommand, CredentialKind},
    ids::AccountId,
    node::NodeCommand,
    process::Outcome,
    project::{Project, ProjectCommand},
};
use projections::{
    credential_list,
    erasure_ledger::{ACCOUNT, CREDENTIAL},
    node_directory, project_overview,
};
use uuid::Uuid;

use super::{Erasure, ErasureError, LOOK_PERIOD, in_time, outcome};
use crate::credentials::credential_of;

const PROCESS: &str = "process/erase_account";
/// What tells of an account's projects, machines and credentials.
const READ_MODELS: [&str; 3] = ["project_overview", "node_directory", "credential_list"];

impl Erasure {
    /// From now on nobody comes in as this account.
    pub(crate) async fn end_sign_ins(&self, account: AccountId) -> Outcome {
        let ended = self.sign_in.sign_out_everywhere(account).await;
        crash_point!("account_erasure.after_sign_out");
        outcome(ended.map_err(ErasureError::from))
    }

    /// Has every project of an account erased, and waits until there is none or it is late.
    pub(crate) async fn erase_projects(
        &self,
        key: Uuid,
        account: AccountId,
        is_late: impl Future<Output = ()>,
    ) -> Outcome {
        let erased = async {
            self.shown(&READ_MODELS).await?;
            while !self.is_empty(key, account).await? {
                tokio::time::sleep(LOOK_PERIOD).await;
            }
            self.give_machines_back(key, account).await
        };
        in_time(erased, is_late, "projects of the account were not erased in time").await
    }

    /// Asks for the erasure of whatever is not erased; tells whether there was nothing.
    async fn is_empty(&self, key: Uuid, account: AccountId) -> Result<bool, ErasureError> {
        let mut is_empty = true;
        for row in project_overview::list(&self.eraser.database, account).await? {
            // The read model may be a little behind.
            let project = self.dispatcher.state::<Project>(row.id.0).await?;
            if let Project::Erased { .. } = &*project {
                continue;
            }
            is_empty = false;
            if let Project::Linked { .. } = &*project {
                self.tell(PROCESS, key, row.id.0, (row.id, ProjectCommand::Erase)).await?;
                crash_point!("account_erasure.after_asked");
            }
        }
        Ok(is_empty)
    }

    /// Whoever comes next could neither see nor stop a machine that somebody else has rented.
    async fn give_machines_back(&self, key: Uuid, account: AccountId) -> Result<(), ErasureError> {
        for node in node_directory::list(&self.eraser.database, account).await? {
            let reason = "the account is being erased".to_owned();
            self.tell(PROCESS, key, node.id.0, (node.id, NodeCommand::Stop { reason })).await?;
        }
        Ok(())
    }

    /// Enters the account and its credentials in the ledger, and destroys what they open.
    pub(crate) async fn destroy_secrets(&self, key: Uuid, account: AccountId) -> Outcome {
        let destroyed = async {
            self.shown(&READ_MODELS).await?;
            let stored = credential_list::list(&self.eraser.database, account).await?;
            // Each kind, whether it is there or not: none may be stored any more.
            let kinds = CredentialKind::ALL.map(|kind| credential_of(account, kind));
            let all: BTreeSet<_> = stored.iter().map(|row| row.id).chain(kinds).collect();
            for credential in all {
                self.eraser.erase(CREDENTIAL, credential.0).await?;
                let remove = CredentialCommand::Remove { owner: account };
                self.tell(PROCESS, key, credential.0, (credential, remove)).await?;
                crash_point!("account_erasure.after_removed");
            }
            self.eraser.erase(ACCOUNT, account.0).await
        };
        outcome(destroyed.await)
    }
}
