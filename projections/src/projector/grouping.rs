//! Turns the writes of a batch into as few statements as possible, without changing what they do.
//!
//! Writes to different tables may change places, so inserts into one table come together even when
//! writes to another lie between them. Writes to one table keep their order.

use std::collections::{HashMap, VecDeque};

use crate::{projection::Write, sql::Value};

/// SQLite takes 32 766 values in one statement, PostgreSQL about twice as many.
const VALUES_MAX: usize = 30_000;

/// Rows per statement, largest first: few enough texts that all of them stay prepared.
const CHUNKS: [usize; 5] = [256, 64, 16, 4, 1];

/// One statement to be run, with the values of all its rows.
#[derive(Debug, PartialEq)]
pub(super) struct Grouped {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// Groups writes. `may_repeat_upserts` is false for PostgreSQL, which refuses one statement that
/// updates the same row twice.
pub(super) fn group(writes: Vec<Write>, may_repeat_upserts: bool) -> Vec<Grouped> {
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
    runs.flat_map(|run| run.into_grouped(may_repeat_upserts)).collect()
}

/// The same statement several times in a row.
#[derive(Debug)]
struct Run {
    statement: &'static str,
    rows: Vec<Vec<Value>>,
}

impl Run {
    fn into_grouped(self, may_repeat_upserts: bool) -> Vec<Grouped> {
        let Some(insert) = Insert::parse(self.statement, may_repeat_upserts) else {
            let sql = self.statement;
            return self
                .rows
                .into_iter()
                .map(|values| Grouped { sql: sql.into(), values })
                .collect();
        };
        let mut grouped = Vec::new();
        let mut rows = self.rows.into_iter();
        for n_rows in CHUNKS {
            if n_rows > 1 && n_rows * insert.n_values > VALUES_MAX {
                continue;
            }
            while rows.len() >= n_rows {
                let values = rows.by_ref().take(n_rows).flatten().collect();
                grouped.push(Grouped { sql: insert.sql(n_rows), values });
            }
        }
        assert_eq!(rows.len(), 0, "the smallest chunk is one row");
        grouped
    }
}

/// An insert of one row that can be made one of many.
#[derive(Debug)]
struct Insert {
    head: &'static str,
    row: &'static str,
    tail: &'static str,
    n_values: usize,
}

impl Insert {
    fn parse(statement: &'static str, may_repeat_upserts: bool) -> Option<Self> {
        const VALUES: &str = "VALUES";
        let statement = statement.trim();
        let upper = statement.to_ascii_uppercase();
        if !upper.starts_with("INSERT") || upper.contains("SELECT") {
            return None;
        }
        let start = upper.find(VALUES)? + VALUES.len();
        let start = start + statement[start..].find('(')?;
        let end = start + closing_parenthesis(&statement[start..])?;
        let (row, tail) = (&statement[start..=end], &statement[end + 1..]);
        let is_upsert = upper[end + 1..].contains("UPDATE");
        if tail.contains('$') || (is_upsert && !may_repeat_upserts) {
            return None;
        }
        let n_values = numbers(row).max()?;
        Some(Self { head: &statement[..start], row, tail, n_values })
    }

    fn sql(&self, n_rows: usize) -> String {
        let rows: Vec<String> = (0..n_rows).map(|n| shift(self.row, n * self.n_values)).collect();
        format!("{}{}{}", self.head, rows.join(", "), self.tail)
    }
}

fn closing_parenthesis(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The numbers of all placeholders.
fn numbers(text: &str) -> impl Iterator<Item = usize> {
    text.split('$').skip(1).filter_map(|rest| digits(rest).parse().ok())
}

fn digits(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

/// Adds `by` to the number of each placeholder.
fn shift(text: &str, by: usize) -> String {
    let mut parts = text.split('$');
    let mut shifted = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let number = digits(part);
        let rest = &part[number.len()..];
        shifted.push('$');
        match number.parse::<usize>() {
            Ok(number) => shifted.push_str(&(number + by).to_string()),
            Err(_) => shifted.push_str(number),
        }
        shifted.push_str(rest);
    }
    shifted
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
    use super::{group, table_of};
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
        let grouped = group(writes, false);
        let sql: Vec<_> = grouped.iter().map(|grouped| grouped.sql.as_str()).collect();
        assert_eq!(sql[0], "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4), ($5, $6), ($7, $8)");
        assert_eq!(sql[1], INSERT);
        assert_eq!(sql[2..], [OTHER; 5]);
        assert_eq!(grouped[0].values.len(), 8);
    }

    #[test]
    fn writes_to_one_table_keep_their_order() {
        let update = "UPDATE t SET b = $2 WHERE a = $1";
        let writes = vec![write(INSERT, 1), write(update, 1), write(INSERT, 2)];
        let sql: Vec<_> = group(writes, true).into_iter().map(|grouped| grouped.sql).collect();
        assert_eq!(sql, [INSERT, update, INSERT]);
    }

    #[test]
    fn upserts_are_grouped_only_where_a_row_may_come_twice() {
        let writes = || (0..4).map(|n| write(UPSERT, n)).collect();
        assert_eq!(group(writes(), false).len(), 4);
        assert_eq!(group(writes(), true).len(), 1);
    }

    #[test]
    fn the_table_is_found_in_every_kind_of_write() {
        assert_eq!(table_of("INSERT INTO t(a) VALUES ($1)"), "t");
        assert_eq!(table_of("UPDATE  t SET a = 1"), "t");
        assert_eq!(table_of("\n DELETE FROM t WHERE a = $1"), "t");
    }
}
