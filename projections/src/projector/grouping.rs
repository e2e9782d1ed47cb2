//! Turns the writes of a batch into as few statements as possible, without changing what they do.
//!
//! Writes to different tables may change places, so inserts into one table come together even when
//! writes to another lie between them. Writes to one table keep their order. Of several updates in a row
//! that set the same columns of the same rows to plain values only the last is run.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::{
    projection::Write,
    projector::grouping::{insert::Insert, update::Update},
    sql::Value,
};

mod insert;
mod update;

/// SQLite takes 32 766 values in one statement, PostgreSQL about twice as many.
const VALUES_MAX: usize = 30_000;

/// Rows per statement, largest first: few enough texts that all of them stay prepared.
const CHUNKS: [usize; 8] = [256, 64, 32, 16, 8, 4, 2, 1];

/// One statement to be run, with the values of all its rows.
#[derive(Debug, PartialEq)]
pub(super) struct Grouped {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// How the values of many rows are told apart in a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// `$1, $2`, as PostgreSQL wants it.
    Numbered,
    /// `?, ?`. SQLite looks for the name of each placeholder through the names of all of them, which takes
    /// longer than everything else where there are hundreds.
    Nameless,
}

impl Places {
    pub(super) fn of(is_postgres: bool) -> Self {
        if is_postgres { Self::Numbered } else { Self::Nameless }
    }
}

/// Groups writes for a database. One statement of PostgreSQL's may not update the same row twice.
pub(super) fn group(writes: Vec<Write>, places: Places) -> Vec<Grouped> {
    let mut tables: HashMap<&'static str, VecDeque<Run>> = HashMap::new();
    let mut order: Vec<&'static str> = Vec::new();
    for write in writes {
        let table = table_of(write.statement);
        let runs = tables.entry(table).or_insert_with(|| {
            order.push(table);
            VecDeque::new()
        });
        match runs.back_mut() {
            Some(run) if run.statement == write.statement => run.rows.push(write.values),
            _ => runs.push_back(Run { statement: write.statement, rows: vec![write.values] }),
        }
    }
    let runs = order.iter().filter_map(|table| tables.remove(table)).flatten();
    runs.flat_map(|run| run.into_grouped(places)).collect()
}

/// The same statement several times in a row.
#[derive(Debug)]
struct Run {
    statement: &'static str,
    rows: Vec<Vec<Value>>,
}

impl Run {
    fn into_grouped(self, places: Places) -> Vec<Grouped> {
        let Self { statement, rows } = self;
        if let Some(insert) = Insert::parse(statement) {
            let sql = |n| insert.sql(n, places);
            if places == Places::Nameless || !insert.is_upsert() {
                return chunks(rows, insert.n_values, sql);
            }
            let Some(keys) = insert.keys() else { return one_by_one(statement, rows) };
            return without_repeats(rows, &keys)
                .into_iter()
                .flat_map(|rows| chunks(rows, insert.n_values, sql))
                .collect();
        }
        let Some(update) = Update::parse(statement) else { return one_by_one(statement, rows) };
        let rows = update.last_of_each(rows);
        // A null has no type of its own, which a list of values needs.
        if rows.iter().flatten().any(|value| *value == Value::Null) {
            return one_by_one(statement, rows);
        }
        chunks(rows, update.n_values, |n| update.sql(n, places))
    }
}

fn one_by_one(statement: &'static str, rows: Vec<Vec<Value>>) -> Vec<Grouped> {
    rows.into_iter().map(|values| Grouped { sql: statement.into(), values }).collect()
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
            let values = rows.by_ref().take(n_rows).flatten().collect();
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
        if seen.insert(key_of(&row, keys)) && !parts.is_empty() {
            parts.last_mut().expect("there is one").push(row);
        } else {
            seen = HashSet::from([key_of(&row, keys)]);
            parts.push(vec![row]);
        }
    }
    parts
}

/// The values at these places as something that can be compared: equal texts are equal values.
fn key_of(row: &[Value], places: &[usize]) -> String {
    let values: Vec<&Value> = places.iter().map(|place| &row[*place]).collect();
    format!("{values:?}")
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
mod tests {
    use super::{
        Places::{Nameless, Numbered},
        group, table_of,
    };
    use crate::{projection::Write, sql::Value};

    const INSERT: &str = "INSERT INTO t (a, b) VALUES ($1, $2)";
    const OTHER: &str = "UPDATE u SET n = n + 1 WHERE id = $1";
    const UPSERT: &str =
        "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = excluded.b";

    fn write(statement: &'static str, n: i64) -> Write {
        let values = match statement {
            OTHER => vec![Value::Int(n)],
            _ => vec![Value::Int(n), Value::Int(-n)],
        };
        Write { statement, values }
    }

    #[test]
    fn inserts_of_one_table_come_together_across_writes_to_another() {
        let writes = (0..5).flat_map(|n| [write(INSERT, n), write(OTHER, n)]).collect();
        let grouped = group(writes, Numbered);
        let sql: Vec<_> = grouped.iter().map(|grouped| grouped.sql.as_str()).collect();
        assert_eq!(sql[0], "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4), ($5, $6), ($7, $8)");
        assert_eq!(sql[1], INSERT);
        assert_eq!(sql[2..], [OTHER; 5]);
        assert_eq!(grouped[0].values.len(), 8);
    }

    #[test]
    fn values_have_no_names_where_these_would_be_looked_for() {
        let writes = |statement| (0..2).map(|n| write(statement, n)).collect();
        let sql = |statement| group(writes(statement), Nameless).remove(0).sql;
        assert_eq!(sql(INSERT), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)");
        let out_of_order = sql("INSERT INTO t (a, b) VALUES ($2, $1)");
        assert_eq!(out_of_order, "INSERT INTO t (a, b) VALUES ($2, $1), ($4, $3)");
    }

    #[test]
    fn writes_to_one_table_keep_their_order() {
        let update = "UPDATE t SET b = $2 WHERE a = $1";
        let writes = vec![write(INSERT, 1), write(update, 1), write(INSERT, 2)];
        let sql: Vec<_> = group(writes, Nameless).into_iter().map(|grouped| grouped.sql).collect();
        let insert = "INSERT INTO t (a, b) VALUES (?, ?)";
        assert_eq!(sql, [insert, update, insert]);
    }

    #[test]
    fn no_upsert_of_many_rows_has_one_twice_where_that_is_refused() {
        let writes = || [0, 1, 2, 3, 2, 1, 2].map(|n| write(UPSERT, n)).into();
        let n_values: Vec<usize> =
            group(writes(), Numbered).iter().map(|grouped| grouped.values.len()).collect();
        assert_eq!(n_values, [8, 4, 2], "0 to 3, then 2 and 1, then 2");
        assert_eq!(group(writes(), Nameless).len(), 3, "4, 2 and 1 rows");
        let without_key = "INSERT INTO t (a, b) VALUES (lower($1), $2) ON CONFLICT (a) \
            DO UPDATE SET b = excluded.b";
        let writes = (0..4).map(|n| write(without_key, n)).collect();
        assert_eq!(group(writes, Numbered).len(), 4, "nobody knows which rows are the same");
    }

    #[test]
    fn of_plain_updates_of_one_row_the_last_counts() {
        let update = "UPDATE t SET b = $2, c = FALSE WHERE a = $1";
        let writes = [1, 2, 1].map(|n| write(update, n)).into();
        let grouped = group(writes, Nameless);
        assert_eq!(grouped.len(), 1);
        assert_eq!(
            grouped[0].sql,
            "WITH given (v1, v2) AS (VALUES (?, ?), (?, ?)) UPDATE t \
             SET b = given.v2, c = FALSE FROM given WHERE t.a = given.v1"
        );
        let [_, _, Value::Int(2), Value::Int(-2)] = grouped[0].values[..] else {
            panic!("the row of 2 comes after the last of 1: {grouped:?}")
        };
    }

    #[test]
    fn updates_that_build_on_what_was_are_all_run() {
        for update in [
            "UPDATE t SET b = b + $2 WHERE a = $1",
            "UPDATE t SET b = COALESCE(b, $2) WHERE a = $1",
            "UPDATE t SET a = $2 WHERE a = $1",
            "UPDATE t SET b = $2 WHERE a = $1 AND is_open",
            "UPDATE t SET b = $2 WHERE a = $1 OR b = $1",
            "UPDATE t SET b = $2 WHERE a IN ($1)",
        ] {
            let grouped = group([1, 1].map(|n| write(update, n)).into(), Nameless);
            assert_eq!(grouped.len(), 2, "{update}");
            assert!(grouped.iter().all(|grouped| grouped.sql == update));
        }
    }

    #[test]
    fn an_update_with_a_null_stays_as_it_is() {
        let update = "UPDATE t SET b = $2 WHERE a = $1";
        let null = |n| Write { statement: update, values: vec![Value::Int(n), Value::Null] };
        let grouped = group(vec![null(1), null(2)], Nameless);
        assert!(grouped.len() == 2 && grouped.iter().all(|grouped| grouped.sql == update));
    }

    #[test]
    fn the_table_is_found_in_every_kind_of_write() {
        assert_eq!(table_of("INSERT INTO t(a) VALUES ($1)"), "t");
        assert_eq!(table_of("UPDATE  t SET a = 1"), "t");
        assert_eq!(table_of("\n DELETE FROM t WHERE a = $1"), "t");
    }
}
