//! Turns the writes of a batch into as few statements as possible, without changing what they do.
//!
//! Writes to different tables may change places, so inserts into one table come together even when
//! writes to another lie between them. Writes to one table keep their order, except where they are seen to
//! be about different rows. Of several updates in a row that set the same columns of the same rows to plain
//! values only the last is run.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use crate::{
    projection::Write,
    projector::grouping::{access::Access, given::Given, insert::Insert, key::Key, update::Update},
    sql::{Column, Value},
};

mod access;
mod given;
mod insert;
mod key;
mod update;

/// SQLite takes 32 766 values in one statement.
const VALUES_MAX: usize = 30_000;

/// Rows per statement, largest first: few enough texts that all of them stay prepared.
const CHUNKS: [usize; 8] = [256, 64, 32, 16, 8, 4, 2, 1];

/// How many statements a write may pass to come to others of its kind.
const PASSED_MAX: usize = 8;

/// One statement to be run, with the values of all its rows.
#[derive(Debug, PartialEq)]
pub(super) struct Grouped {
    pub(super) sql: String,
    pub(super) values: Values,
}

/// The values of a statement.
#[derive(Debug, PartialEq)]
pub(super) enum Values {
    /// One after the other, as the statement names them.
    Listed(Vec<Value>),
    /// A list for each column.
    Columns(Vec<Column>),
}

/// How a database takes the values of many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `VALUES (?, ?), (?, ?)`. SQLite looks for the name of each placeholder through the names of all of them,
    /// so these have none: with hundreds it would take longer than everything else.
    Rows,
    /// `UNNEST($1::BIGINT[], $2::TEXT[])`: PostgreSQL has a few values to look at instead of thousands, and
    /// one text for any number of rows.
    Columns,
}

impl Shape {
    pub(super) fn of(is_postgres: bool) -> Self {
        if is_postgres { Self::Columns } else { Self::Rows }
    }
}

/// Groups writes for a database. One statement of PostgreSQL's may not update the same row twice.
pub(super) fn group(writes: Vec<Write>, shape: Shape) -> Vec<Grouped> {
    let mut tables: HashMap<&'static str, Vec<Run>> = HashMap::new();
    let mut order: Vec<&'static str> = Vec::new();
    let mut known: HashMap<(*const u8, usize), Kind> = HashMap::new();
    for Write { statement, values } in writes {
        // A statement is a text of the program: its address tells which one, and sooner than its letters.
        let place = (statement.as_ptr(), statement.len());
        let kind = known.entry(place).or_insert_with(|| Kind::of(statement));
        let runs = tables.entry(kind.table).or_insert_with(|| {
            order.push(kind.table);
            Vec::new()
        });
        match place_for(runs, kind, &values) {
            Some(n) => runs[n].push(values),
            None => runs.push(Run { kind: kind.clone(), rows: vec![values], keys: Vec::new() }),
        }
    }
    let runs = order.iter().filter_map(|table| tables.remove(table)).flatten();
    runs.flat_map(|run| run.into_grouped(shape)).collect()
}

/// What there is to know about a statement.
#[derive(Clone, Debug)]
struct Kind {
    statement: &'static str,
    table: &'static str,
    access: Option<Rc<Access>>,
}

impl Kind {
    fn of(statement: &'static str) -> Self {
        let access = Access::of(statement).map(Rc::new);
        Self { statement, table: table_of(statement), access }
    }
}

/// The run that a write can join: of the same statement, and behind it nothing but what is about other rows.
fn place_for(runs: &mut [Run], kind: &Kind, values: &[Value]) -> Option<usize> {
    for (n, run) in runs.iter_mut().enumerate().rev().take(PASSED_MAX) {
        if run.kind.statement == kind.statement {
            return Some(n);
        }
        if !kind.access.as_ref().is_some_and(|access| run.is_about_others(access, values)) {
            return None;
        }
    }
    None
}

/// The same statement several times.
#[derive(Debug)]
struct Run {
    kind: Kind,
    rows: Vec<Vec<Value>>,
    /// The keys of its rows, by the columns that somebody asked for.
    keys: Vec<(Vec<&'static str>, HashSet<Key>)>,
}

impl Run {
    fn push(&mut self, row: Vec<Value>) {
        if let Some(access) = &self.kind.access {
            for (columns, keys) in &mut self.keys {
                keys.extend(access.key(columns, &row));
            }
        }
        self.rows.push(row);
    }

    /// Whether a write is certainly about other rows than these.
    fn is_about_others(&mut self, access: &Access, values: &[Value]) -> bool {
        let Some(own) = &self.kind.access else { return false };
        let columns = match own.told_apart_by(access) {
            Some([]) => return true,
            Some(columns) => columns,
            None => return false,
        };
        let Some(key) = access.key(columns, values) else { return false };
        if !self.keys.iter().any(|(known, _)| known == columns) {
            let keys: Option<HashSet<Key>> =
                self.rows.iter().map(|row| own.key(columns, row)).collect();
            let Some(keys) = keys else { return false };
            self.keys.push((columns.to_vec(), keys));
        }
        let is_comparable =
            own.key(columns, &self.rows[0]).is_some_and(|first| first.is_comparable(&key));
        let keys = self.keys.iter().find(|(known, _)| known == columns);
        is_comparable && keys.is_some_and(|(_, keys)| !keys.contains(&key))
    }
}

impl Run {
    fn into_grouped(self, shape: Shape) -> Vec<Grouped> {
        let Self { kind: Kind { statement, .. }, rows, .. } = self;
        if rows.len() == 1 {
            return one_by_one(statement, rows);
        }
        if let Some(insert) = Insert::parse(statement) {
            if shape == Shape::Rows {
                return chunks(rows, insert.n_values, |n| insert.sql_of_rows(n));
            }
            let parts = match insert.is_upsert() {
                false => vec![rows],
                true => match insert.keys() {
                    Some(keys) => without_repeats(rows, &keys),
                    None => return one_by_one(statement, rows),
                },
            };
            let grouped = |rows| as_columns(statement, rows, |given| insert.sql_of_columns(given));
            return parts.into_iter().flat_map(grouped).collect();
        }
        let Some(update) = Update::parse(statement) else { return one_by_one(statement, rows) };
        let rows = update.last_of_each(rows);
        match shape {
            Shape::Rows => chunks(rows, update.n_values, |n| update.sql_of_rows(n)),
            Shape::Columns => as_columns(statement, rows, |given| update.sql_of_columns(given)),
        }
    }
}

fn one_by_one(statement: &'static str, rows: Vec<Vec<Value>>) -> Vec<Grouped> {
    rows.into_iter()
        .map(|values| Grouped { sql: statement.into(), values: Values::Listed(values) })
        .collect()
}

/// One statement for all rows, if the values of each column are of one kind.
fn as_columns(
    statement: &'static str,
    rows: Vec<Vec<Value>>,
    sql: impl Fn(&Given) -> String,
) -> Vec<Grouped> {
    if rows.len() == 1 {
        return one_by_one(statement, rows);
    }
    match Given::of(&rows) {
        None => one_by_one(statement, rows),
        Some(given) => vec![Grouped { sql: sql(&given), values: Values::Columns(given.columns) }],
    }
}

/// Statements of so many rows as there are sizes for.
fn chunks(rows: Vec<Vec<Value>>, n_values: usize, sql: impl Fn(usize) -> String) -> Vec<Grouped> {
    let mut grouped = Vec::new();
    let mut rows = rows.into_iter();
    for n_rows in CHUNKS {
        if n_rows > 1 && n_rows * n_values > VALUES_MAX {
            continue;
        }
        while rows.len() >= n_rows {
            let values = Values::Listed(rows.by_ref().take(n_rows).flatten().collect());
            grouped.push(Grouped { sql: sql(n_rows), values });
        }
    }
    assert_eq!(rows.len(), 0, "the smallest chunk is one row");
    grouped
}

/// Cuts rows, in order, so that no part has the same key twice.
fn without_repeats(rows: Vec<Vec<Value>>, keys: &[usize]) -> Vec<Vec<Vec<Value>>> {
    let mut parts: Vec<Vec<Vec<Value>>> = Vec::new();
    let mut seen = HashSet::new();
    for row in rows {
        if seen.insert(Key::of(&row, keys)) && !parts.is_empty() {
            parts.last_mut().expect("there is one").push(row);
        } else {
            seen = HashSet::from([Key::of(&row, keys)]);
            parts.push(vec![row]);
        }
    }
    parts
}

/// The table that a statement writes.
fn table_of(statement: &'static str) -> &'static str {
    let mut words = statement.split_whitespace().filter(|word| {
        let skipped = ["INSERT", "INTO", "UPDATE", "DELETE", "FROM", "OR", "IGNORE", "REPLACE"];
        !skipped.contains(&word.to_ascii_uppercase().as_str())
    });
    let word = words.next().unwrap_or_default();
    word.split('(').next().unwrap_or_default()
}

#[cfg(test)]
mod same_rows;
#[cfg(test)]
mod tests;
