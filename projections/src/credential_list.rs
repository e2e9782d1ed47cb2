//! Which secrets an account has lent to SAM. The secrets themselves are in [`crate::vault`].

use domain::{
    credential::{CredentialEvent, CredentialKind},
    event::Event,
    ids::{AccountId, CredentialId},
    values::Timestamp,
};

use crate::{
    columns::name,
    database::Database,
    error::DatabaseError,
    projection::{Projection, Recorded, Writes},
    sql::SqlRow,
};

#[derive(Debug)]
pub struct CredentialList;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRow {
    pub id: CredentialId,
    pub owner: AccountId,
    pub kind: CredentialKind,
    pub last_four: String,
    pub added_at: Timestamp,
}

const STORED: &str = "
    INSERT INTO credentials (credential, owner, kind, last_four, added_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (credential) DO UPDATE SET owner = excluded.owner, kind = excluded.kind,
        last_four = excluded.last_four, added_at = excluded.added_at";

impl Projection<Event> for CredentialList {
    const NAME: &'static str = "credential_list";
    const TABLES: &'static [&'static str] = &["credentials"];

    fn project(&self, recorded: &Recorded<Event>, writes: &mut Writes) {
        let Event::Credential(credential, event) = &recorded.event else { return };
        match event {
            CredentialEvent::Stored { owner, kind, last_four } => {
                let at = recorded.metadata.at;
                writes.add(STORED, (credential.0, owner.0, name(kind), last_four, at));
            }
            CredentialEvent::Removed { .. } => {
                writes.add("DELETE FROM credentials WHERE credential = $1", (credential.0,));
            }
        }
    }
}

/// The credentials of an account.
pub async fn list(
    database: &Database,
    owner: AccountId,
) -> Result<Vec<CredentialRow>, DatabaseError> {
    let list = "SELECT credential, owner, kind, last_four, added_at FROM credentials
        WHERE owner = $1 ORDER BY kind, added_at";
    database.views().fetch_all(list, (owner.0,)).await?.iter().map(credential).collect()
}

fn credential(row: &SqlRow) -> Result<CredentialRow, DatabaseError> {
    Ok(CredentialRow {
        id: CredentialId(row.uuid("credential")?),
        owner: AccountId(row.uuid("owner")?),
        kind: row.named("kind")?,
        last_four: row.text("last_four")?,
        added_at: row.time("added_at")?,
    })
}
