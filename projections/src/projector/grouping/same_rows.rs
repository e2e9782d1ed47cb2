//! Whatever is written, grouped or one by one, the rows are the same afterwards.

use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest},
};

use super::{Shape, Values, group};
use crate::{
    database::Database,
    error::DatabaseError,
    projection::Write,
    sql::{SqlTransaction, Value},
};

const TABLES: [&str; 2] = [
    "CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER, c INTEGER NOT NULL DEFAULT 0) STRICT",
    "CREATE TABLE u (n INTEGER NOT NULL) STRICT",
];

/// All take a key and a value.
const STATEMENTS: [&str; 9] = [
    "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO NOTHING",
    "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = excluded.b",
    "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = t.b + excluded.b",
    "INSERT OR REPLACE INTO t (b, a) VALUES ($2, $1)",
    "UPDATE t SET b = $2 WHERE a = $1",
    "UPDATE t SET c = $2 WHERE b = $1",
    "UPDATE t SET c = c * 2 + $2 WHERE a = $1",
    "DELETE FROM t WHERE a = $1 AND b <> $2",
    "INSERT INTO u (n) VALUES ($1 * 10 + $2)",
];

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let statement = (0..STATEMENTS.len()).prop_map(|n| STATEMENTS[n]);
    // Often the same ones, as events of a few streams are.
    let statement = prop_oneof![2 => statement, 1 => Just(STATEMENTS[1]), 2 => Just(STATEMENTS[4])];
    let write = (statement, 0_i64..4, 0_i64..4).prop_map(|(statement, key, value)| Write {
        statement,
        values: vec![Value::Int(key), Value::Int(value)],
    });
    vec(write, 0..24)
}

async fn rows_after(writes: Vec<(String, Vec<Value>)>) -> Result<Vec<Vec<i64>>, DatabaseError> {
    let database = Database::in_memory().await?;
    let mut transaction = database.views().begin().await?;
    for sql in TABLES {
        transaction.execute(sql, ()).await?;
    }
    for (sql, values) in writes {
        transaction.execute(&sql, values).await?;
    }
    let rows = read(&mut transaction).await?;
    drop(transaction);
    database.close().await;
    Ok(rows)
}

async fn read(transaction: &mut SqlTransaction) -> Result<Vec<Vec<i64>>, DatabaseError> {
    let mut rows = Vec::new();
    for row in transaction.fetch_all("SELECT a, b, c FROM t ORDER BY a", ()).await? {
        rows.push(vec![row.int("a")?, row.int("b")?, row.int("c")?]);
    }
    for row in transaction.fetch_all("SELECT n FROM u ORDER BY n", ()).await? {
        rows.push(vec![row.int("n")?]);
    }
    Ok(rows)
}

fn grouped(writes: Vec<Write>) -> Vec<(String, Vec<Value>)> {
    let listed = group(writes, Shape::Rows).into_iter().map(|grouped| match grouped.values {
        Values::Listed(values) => (grouped.sql, values),
        Values::Columns(_) => panic!("SQLite takes no columns"),
    });
    listed.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn grouping_changes_no_row(writes in writes()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let one_by_one = writes.iter().map(|write| (write.statement.to_owned(), write.values.clone()));
        let expected = runtime.block_on(rows_after(one_by_one.collect())).unwrap();
        let rows = runtime.block_on(rows_after(grouped(writes))).unwrap();
        assert_eq!(rows, expected);
    }
}
