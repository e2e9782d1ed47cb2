//! An update of the rows with one key that can be made one for many keys.

use std::collections::HashSet;

use crate::{
    projector::grouping::{given::Given, key::Key},
    sql::Value,
};

/// An update that sets columns to plain values where other columns have plain values.
#[derive(Debug)]
pub(super) struct Update {
    table: &'static str,
    /// Columns and what they are set to.
    sets: Vec<(&'static str, To)>,
    /// Columns and the places of the values they are compared with.
    keys: Vec<(&'static str, usize)>,
    statement: &'static str,
    pub(super) n_values: usize,
}

#[derive(Clone, Copy, Debug)]
enum To {
    /// The value at this place.
    Value(usize),
    Word(&'static str),
}

impl Update {
    pub(super) fn parse(statement: &'static str) -> Option<Self> {
        let (before, keys) = statement.split_once("WHERE")?;
        let (table, sets) = before.split_once("SET")?;
        let ["UPDATE", table] = table.split_whitespace().collect::<Vec<_>>()[..] else {
            return None;
        };
        let sets: Vec<_> = sets.split(',').map(set).collect::<Option<_>>()?;
        let keys: Vec<_> = keys.split(" AND ").map(key).collect::<Option<_>>()?;
        // What moves a row to another key is no plain assignment.
        if keys.iter().any(|(key, _)| sets.iter().any(|(column, _)| column == key)) {
            return None;
        }
        let of_sets = sets.iter().filter_map(|(_, to)| match to {
            To::Value(place) => Some(*place),
            To::Word(_) => None,
        });
        let last = of_sets.chain(keys.iter().map(|(_, place)| *place)).max()?;
        Some(Self { table, sets, keys, statement, n_values: last + 1 })
    }

    /// The columns that say which row is changed, and the places of their values.
    pub(super) fn keys(&self) -> &[(&'static str, usize)] {
        &self.keys
    }

    /// Leaves out updates that a later one makes as if they had never been. The order of the others
    /// does not matter: they are about different rows.
    pub(super) fn last_of_each(&self, mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
        let places: Vec<usize> = self.keys.iter().map(|(_, place)| *place).collect();
        let mut seen = HashSet::new();
        rows.reverse();
        rows.retain(|row| seen.insert(Key::of(row, &places)));
        rows
    }

    pub(super) fn sql_of_rows(&self, n_rows: usize) -> String {
        if n_rows == 1 {
            return self.statement.to_string();
        }
        let names: Vec<String> = (1..=self.n_values).map(|n| format!("v{n}")).collect();
        let row = format!("({})", vec!["?"; self.n_values].join(", "));
        let rows = vec![row; n_rows].join(", ");
        let update = self.sql_from("given", |place| format!("given.v{place}"));
        format!("WITH given ({}) AS (VALUES {rows}) {update}", names.join(", "))
    }

    pub(super) fn sql_of_columns(&self, given: &Given) -> String {
        self.sql_from(&given.rows(), |place| given.name(place))
    }

    /// The statement over rows from elsewhere, whose values at a place, from 1, have these names.
    fn sql_from(&self, rows: &str, name: impl Fn(usize) -> String) -> String {
        let set = |(column, to): &(&str, To)| match to {
            To::Value(place) => format!("{column} = {}", name(place + 1)),
            To::Word(word) => format!("{column} = {word}"),
        };
        let key = |(column, place): &(&str, usize)| {
            format!("{}.{column} = {}", self.table, name(place + 1))
        };
        let sets: Vec<String> = self.sets.iter().map(set).collect();
        let keys: Vec<String> = self.keys.iter().map(key).collect();
        format!(
            "UPDATE {} SET {} FROM {rows} WHERE {}",
            self.table,
            sets.join(", "),
            keys.join(" AND ")
        )
    }
}

fn set(text: &'static str) -> Option<(&'static str, To)> {
    let (column, to) = equation(text)?;
    let to = match to {
        "TRUE" | "FALSE" | "NULL" => To::Word(to),
        _ => To::Value(place(to)?),
    };
    Some((column, to))
}

fn key(text: &'static str) -> Option<(&'static str, usize)> {
    let (column, to) = equation(text)?;
    Some((column, place(to)?))
}

fn equation(text: &'static str) -> Option<(&'static str, &'static str)> {
    let (column, to) = text.split_once('=')?;
    let (column, to) = (column.trim(), to.trim());
    let is_name = column.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    (is_name && !column.is_empty()).then_some((column, to))
}

/// The place of the value that a placeholder stands for.
fn place(text: &str) -> Option<usize> {
    text.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}
