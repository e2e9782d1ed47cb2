//! Many rows as a few lists, one for each column, and what a statement calls their values.

use crate::sql::{Column, Value};

/// Rows turned to columns. A statement has them as `given (v1, v2)`.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) columns: Vec<Column>,
    /// The number of each place's column; none where all values are null.
    numbers: Vec<Option<usize>>,
}

impl Given {
    /// None where a column has values of different kinds, or no column has any.
    pub(super) fn of(rows: &[Vec<Value>]) -> Option<Self> {
        let n_values = rows.first()?.len();
        let (mut columns, mut numbers) = (Vec::new(), Vec::with_capacity(n_values));
        for place in 0..n_values {
            let values = rows.iter().map(|row| &row[place]);
            let is_null = values.clone().all(|value| *value == Value::Null);
            if !is_null {
                columns.push(Column::of(values)?);
            }
            numbers.push((!is_null).then_some(columns.len()));
        }
        (!columns.is_empty()).then_some(Self { columns, numbers })
    }

    /// What stands for the value at a place, from 1.
    pub(super) fn name(&self, place: usize) -> String {
        match self.numbers.get(place - 1) {
            Some(Some(number)) => format!("given.v{number}"),
            // It takes the type of whatever it is put into.
            _ => "NULL".to_owned(),
        }
    }

    /// The rows, for a `FROM`.
    pub(super) fn rows(&self) -> String {
        let (mut lists, mut names) = (Vec::new(), Vec::new());
        for (n, column) in (1..).zip(&self.columns) {
            lists.push(format!("${n}::{}[]", column.type_name()));
            names.push(format!("v{n}"));
        }
        format!("UNNEST({}) AS given ({})", lists.join(", "), names.join(", "))
    }
}
