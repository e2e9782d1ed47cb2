//! What becomes of the writes of a batch, in the shapes of both databases.

use super::{
    Grouped,
    Shape::{Columns, Rows},
    Values, group, table_of,
};
use crate::{
    projection::Write,
    sql::{Column, Value},
};

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

fn n_listed(grouped: &[Grouped]) -> Vec<usize> {
    let n_values = |grouped: &Grouped| match &grouped.values {
        Values::Listed(values) => values.len(),
        Values::Columns(_) => panic!("columns: {grouped:?}"),
    };
    grouped.iter().map(n_values).collect()
}

/// How many rows each statement of columns has; 1 for one that lists its values.
fn n_rows(grouped: &[Grouped]) -> Vec<usize> {
    let n_rows = |grouped: &Grouped| match &grouped.values {
        Values::Listed(_) => 1,
        Values::Columns(columns) => match &columns[0] {
            Column::Int(values) => values.len(),
            other => panic!("{other:?}"),
        },
    };
    grouped.iter().map(n_rows).collect()
}

#[test]
fn inserts_of_one_table_come_together_across_writes_to_another() {
    let writes = || (0..5).flat_map(|n| [write(INSERT, n), write(OTHER, n)]).collect();
    let grouped = group(writes(), Columns);
    let sql: Vec<_> = grouped.iter().map(|grouped| grouped.sql.as_str()).collect();
    assert_eq!(
        sql[0],
        "INSERT INTO t (a, b) SELECT given.v1, given.v2 \
         FROM UNNEST($1::BIGINT[], $2::BIGINT[]) AS given (v1, v2)"
    );
    assert_eq!(sql[1..], [OTHER; 5]);
    assert_eq!(n_rows(&grouped[..1]), [5]);
    let grouped = group(writes(), Rows);
    assert_eq!(grouped[0].sql, "INSERT INTO t (a, b) VALUES (?, ?), (?, ?), (?, ?), (?, ?)");
    assert_eq!(n_listed(&grouped), [8, 2, 1, 1, 1, 1, 1]);
}

#[test]
fn values_have_no_names_where_these_would_be_looked_for() {
    let writes = |statement| (0..2).map(|n| write(statement, n)).collect();
    let sql = |statement| group(writes(statement), Rows).remove(0).sql;
    assert_eq!(sql(INSERT), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)");
    let out_of_order = sql("INSERT INTO t (a, b) VALUES ($2, $1)");
    assert_eq!(out_of_order, "INSERT INTO t (a, b) VALUES ($2, $1), ($4, $3)");
}

#[test]
fn what_stands_around_the_values_of_a_row_stays() {
    let insert = "INSERT INTO t (a, b, c) VALUES ($1, lower($2), FALSE) ON CONFLICT (a) DO NOTHING";
    let text = |n: i64| vec![Value::Int(n), Value::from("Ü")];
    let writes = (0..2).map(|n| Write { statement: insert, values: text(n) }).collect();
    assert_eq!(
        group(writes, Columns)[0].sql,
        "INSERT INTO t (a, b, c) SELECT given.v1, lower(given.v2), FALSE \
         FROM UNNEST($1::BIGINT[], $2::TEXT[]) AS given (v1, v2) ON CONFLICT (a) DO NOTHING"
    );
}

const UPDATE: &str = "UPDATE t SET b = $2 WHERE a = $1";

/// The statements that remain, one row each, and the keys they are about.
fn remaining(writes: Vec<Write>) -> Vec<(String, usize)> {
    let grouped = group(writes, Columns).into_iter();
    grouped.map(|grouped| (grouped.sql.clone(), n_rows(&[grouped])[0])).collect()
}

#[test]
fn writes_to_one_row_keep_their_order() {
    for [first, second] in [[INSERT, UPDATE], [UPSERT, UPDATE], [UPDATE, UPSERT]] {
        let writes = vec![write(first, 1), write(second, 1), write(first, 1)];
        let expected = [first, second, first].map(|sql| (sql.to_owned(), 1));
        assert_eq!(remaining(writes), expected, "{first}; {second}");
    }
}

#[test]
fn writes_to_different_rows_come_together() {
    for [first, second] in [[INSERT, UPDATE], [UPSERT, UPDATE], [UPDATE, UPSERT]] {
        let writes = (1..=3).flat_map(|n| [write(first, n), write(second, n)]).collect();
        let rows: Vec<usize> = remaining(writes).into_iter().map(|(_, n_rows)| n_rows).collect();
        assert_eq!(rows, [3, 3], "{first}; {second}");
    }
}

#[test]
fn what_may_be_about_any_row_is_passed_by_nothing() {
    for other in [
        "DELETE FROM t WHERE b = $2 AND a <> $1",
        "UPDATE t SET b = b + $2 WHERE a = $1",
        "UPDATE t SET a = $1 WHERE b = $2",
        "INSERT OR REPLACE INTO t (a, b) VALUES ($1, $2)",
        "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (b) DO UPDATE SET a = excluded.a",
        "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    ] {
        let writes = vec![write(UPDATE, 1), write(other, 2), write(UPDATE, 3)];
        let expected = [UPDATE, other, UPDATE].map(|sql| (sql.to_owned(), 1));
        assert_eq!(remaining(writes), expected);
    }
}

#[test]
fn values_of_different_kinds_are_not_told_apart() {
    let other = Write { statement: UPDATE, values: vec![Value::from("2"), Value::Int(0)] };
    let nothing = Write { statement: UPDATE, values: vec![Value::Null, Value::Int(0)] };
    for update in [other, nothing] {
        let sql: Vec<_> = [write(INSERT, 1), update, write(INSERT, 3)].to_vec();
        assert_eq!(remaining(sql).len(), 3);
    }
}

#[test]
fn no_upsert_of_many_rows_has_one_twice_where_that_is_refused() {
    let writes = || [0, 1, 2, 3, 2, 1, 2].map(|n| write(UPSERT, n)).into();
    assert_eq!(n_rows(&group(writes(), Columns)), [4, 2, 1], "0 to 3, then 2 and 1, then 2");
    assert_eq!(n_listed(&group(writes(), Rows)), [8, 4, 2], "4, 2 and 1 rows");
    let without_key = "INSERT INTO t (a, b) VALUES (lower($1), $2) ON CONFLICT (a) \
        DO UPDATE SET b = excluded.b";
    let writes = (0..4).map(|n| write(without_key, n)).collect();
    assert_eq!(group(writes, Columns).len(), 4, "nobody knows which rows are the same");
}

#[test]
fn of_plain_updates_of_one_row_the_last_counts() {
    let update = "UPDATE t SET b = $2, c = FALSE WHERE a = $1";
    let writes = || [1, 2, 1].map(|n| write(update, n)).into();
    let [rows] = &group(writes(), Rows)[..] else { panic!("one statement") };
    assert_eq!(
        rows.sql,
        "WITH given (v1, v2) AS (VALUES (?, ?), (?, ?)) UPDATE t \
         SET b = given.v2, c = FALSE FROM given WHERE t.a = given.v1"
    );
    let Values::Listed(values) = &rows.values else { panic!("{rows:?}") };
    assert_eq!(values[2..], [Value::Int(2), Value::Int(-2)], "after the last one of 1");
    let [columns] = &group(writes(), Columns)[..] else { panic!("one statement") };
    assert_eq!(
        columns.sql,
        "UPDATE t SET b = given.v2, c = FALSE \
         FROM UNNEST($1::BIGINT[], $2::BIGINT[]) AS given (v1, v2) WHERE t.a = given.v1"
    );
    let column = |values: [i64; 2]| Column::Int(values.map(Some).into());
    assert_eq!(columns.values, Values::Columns(vec![column([1, 2]), column([-1, -2])]));
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
        let grouped = group([1, 1].map(|n| write(update, n)).into(), Rows);
        assert_eq!(grouped.len(), 2, "{update}");
        assert!(grouped.iter().all(|grouped| grouped.sql == update));
    }
}

#[test]
fn a_null_goes_with_the_others_of_its_column() {
    let update = "UPDATE t SET b = $2, c = $3 WHERE a = $1";
    let values = |n, b| vec![Value::Int(n), b, Value::Null];
    let writes = || {
        [values(1, Value::Null), values(2, Value::from("b"))]
            .map(|values| Write { statement: update, values })
            .into()
    };
    assert_eq!(n_listed(&group(writes(), Rows)), [6]);
    let [columns] = &group(writes(), Columns)[..] else { panic!("one statement") };
    assert_eq!(
        columns.sql,
        "UPDATE t SET b = given.v2, c = NULL \
         FROM UNNEST($1::BIGINT[], $2::TEXT[]) AS given (v1, v2) WHERE t.a = given.v1"
    );
    let texts = Column::Text(vec![Some("b".to_owned()), None]);
    let Values::Columns(of_both) = &columns.values else { panic!("{columns:?}") };
    assert!(
        of_both.contains(&texts) || of_both.contains(&Column::Text(vec![None, Some("b".into())]))
    );
}

#[test]
fn what_no_column_holds_is_run_one_by_one() {
    let values = [vec![Value::Int(1), Value::from("b")], vec![Value::Int(2), Value::Int(2)]];
    let writes = values.map(|values| Write { statement: INSERT, values }).into();
    let grouped = group(writes, Columns);
    assert_eq!(n_listed(&grouped), [2, 2]);
    assert!(grouped.iter().all(|grouped| grouped.sql == INSERT));
}

#[test]
fn the_table_is_found_in_every_kind_of_write() {
    assert_eq!(table_of("INSERT INTO t(a) VALUES ($1)"), "t");
    assert_eq!(table_of("UPDATE  t SET a = 1"), "t");
    assert_eq!(table_of("\n DELETE FROM t WHERE a = $1"), "t");
}
