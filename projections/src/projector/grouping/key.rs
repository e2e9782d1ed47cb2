//! Values that say which row is meant, as something that can be looked up.

use std::mem::discriminant;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::sql::Value;

/// Equal keys are of the same row.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(Vec<Part>);

#[derive(Debug, PartialEq, Eq, Hash)]
enum Part {
    Null,
    Int(i64),
    /// The bits of a number: it has to be the same, and not only as large.
    Real(u64),
    Text(String),
    Bytes(Vec<u8>),
    Bool(bool),
    Uuid(Uuid),
    Time(DateTime<Utc>),
}

impl Key {
    /// The values at these places of a row.
    pub(super) fn of(row: &[Value], places: &[usize]) -> Self {
        let part = |place: &usize| match &row[*place] {
            Value::Null => Part::Null,
            Value::Int(int) => Part::Int(*int),
            Value::Real(real) => Part::Real(real.to_bits()),
            Value::Text(text) => Part::Text(text.clone()),
            Value::Bytes(bytes) => Part::Bytes(bytes.clone()),
            Value::Bool(bool) => Part::Bool(*bool),
            Value::Uuid(uuid) => Part::Uuid(*uuid),
            Value::Time(time) => Part::Time(*time),
        };
        Self(places.iter().map(part).collect())
    }

    /// Whether different values of theirs are different to a database too: those of one kind are.
    pub(super) fn is_comparable(&self, other: &Self) -> bool {
        let is_same = |(own, other): (&Part, &Part)| {
            *own != Part::Null && discriminant(own) == discriminant(other)
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(is_same)
    }
}
