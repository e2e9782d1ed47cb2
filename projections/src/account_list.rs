//! The people of an installation, by their ids.

use domain::{account::AccountEvent, event::Event, ids::AccountId, values::Timestamp};

use crate::{
    columns::ERASED,
    database::Database,
    error::DatabaseError,
    projection::{Projection, Recorded, Writes},
    sql::SqlRow,
};

#[derive(Debug)]
pub struct AccountList;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    pub id: AccountId,
    pub name: String,
    pub registered_at: Timestamp,
}

const RENAMED: &str = "UPDATE accounts SET name = $2 WHERE account = $1";

impl Projection<Event> for AccountList {
    const NAME: &'static str = "account_list";
    const TABLES: &'static [&'static str] = &["accounts"];

    fn project(&self, recorded: &Recorded<Event>, writes: &mut Writes) {
        let Event::Account(account, event) = &recorded.event else { return };
        match event {
            AccountEvent::Registered { name } => writes.add(
                "INSERT INTO accounts (account, name, registered_at) VALUES ($1, $2, $3)",
                (account.0, name, recorded.metadata.at),
            ),
            AccountEvent::Renamed { name } => {
                writes.add(RENAMED, (account.0, name));
            }
            AccountEvent::ErasureRequested => {}
            AccountEvent::Erased => writes.add(RENAMED, (account.0, ERASED)),
        }
    }
}

/// All accounts, oldest first.
pub async fn list(database: &Database) -> Result<Vec<AccountRow>, DatabaseError> {
    let list = "SELECT account, name, registered_at FROM accounts ORDER BY registered_at, account";
    database.views().fetch_all(list, ()).await?.iter().map(account).collect()
}

fn account(row: &SqlRow) -> Result<AccountRow, DatabaseError> {
    Ok(AccountRow {
        id: AccountId(row.uuid("account")?),
        name: row.text("name")?,
        registered_at: row.time("registered_at")?,
    })
}
