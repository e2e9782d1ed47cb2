//! Who did something, in words.
//!
//! The log knows kinds and ids: `account/…`, `process/…`, `agent/…`. Names are looked up when they are
//! shown, so that a person who is renamed or erased is so in everything that was recorded before.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{account_list, database::Database, error::DatabaseError};

/// The names that actors have now.
#[derive(Clone, Debug, Default)]
pub struct ActorNames {
    names: HashMap<Uuid, String>,
}

impl ActorNames {
    /// Reads the names of all accounts and nodes.
    pub async fn read(database: &Database) -> Result<Self, DatabaseError> {
        let accounts = account_list::list(database).await?;
        let mut names: HashMap<_, _> =
            accounts.into_iter().map(|account| (account.id.0, account.name)).collect();
        let nodes = "SELECT node, name FROM nodes";
        for row in database.views().fetch_all(nodes, ()).await? {
            names.insert(row.uuid("node")?, row.text("name")?);
        }
        Ok(Self { names })
    }

    /// An actor as a sentence names it.
    #[must_use]
    pub fn in_words(&self, actor: &str) -> String {
        let Some((kind, name)) = actor.split_once('/') else { return actor.to_owned() };
        let known = name.parse().ok().and_then(|id: Uuid| self.names.get(&id));
        match (kind, known) {
            ("account", Some(name)) => name.clone(),
            ("account", None) => "a person who is not known any more".to_owned(),
            ("agent", Some(node)) => format!("agent on node {node}"),
            ("agent", None) => "agent on a node that is not known any more".to_owned(),
            ("process", _) => format!("process “{}”", name.replace('_', " ")),
            _ => actor.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_named_as_they_are_called_now() {
        let id = Uuid::from_u128(1);
        let names = ActorNames { names: [(id, "Ada".to_owned())].into() };
        assert_eq!(names.in_words(&format!("account/{id}")), "Ada");
        assert_eq!(names.in_words(&format!("agent/{id}")), "agent on node Ada");
        assert_eq!(names.in_words("process/run_execution"), "process “run execution”");
        assert_eq!(names.in_words("sam"), "sam");
        let gone = names.in_words(&format!("account/{}", Uuid::nil()));
        assert_eq!(gone, "a person who is not known any more");
    }
}
