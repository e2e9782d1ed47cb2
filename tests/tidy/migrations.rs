//! Both databases have the same history.

use std::collections::BTreeSet;

use crate::sources::{SOURCES, Violations};

const DATABASES: [&str; 2] = ["migrations/postgres/", "migrations/sqlite/"];

#[test]
fn every_migration_exists_for_both_databases() {
    let [postgres, sqlite] = DATABASES.map(names_under);
    assert!(!postgres.is_empty(), "migrations/postgres: empty; this rule sees nothing");
    let mut violations =
        Violations::new("write the same migration, under the same name, for the other database");
    for name in postgres.difference(&sqlite) {
        violations.add(&format!("migrations/postgres/{name}"), 1, "no counterpart for SQLite");
    }
    for name in sqlite.difference(&postgres) {
        violations.add(&format!("migrations/sqlite/{name}"), 1, "no counterpart for PostgreSQL");
    }
    violations.assert_none();
}

fn names_under(folder: &str) -> BTreeSet<&'static str> {
    SOURCES.iter().filter_map(|source| source.path.strip_prefix(folder)).collect()
}

#[test]
fn migrations_are_numbered_without_gaps() {
    let mut violations = Violations::new("number the migrations of a folder 0001, 0002, …");
    let mut expected = (String::new(), 1);
    for source in SOURCES.iter().filter(|source| source.path.starts_with("migrations/")) {
        let Some((folder, name)) = source.path.rsplit_once('/') else { continue };
        if !name.ends_with(".sql") {
            continue;
        }
        if expected.0 != folder {
            expected = (folder.to_owned(), 1);
        }
        if !name.starts_with(&format!("{:04}_", expected.1)) {
            violations.add(&source.path, 1, &format!("number {:04} was expected", expected.1));
        }
        expected.1 += 1;
    }
    violations.assert_none();
}
