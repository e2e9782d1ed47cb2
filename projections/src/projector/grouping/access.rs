//! Which rows a statement is about, as far as that can be seen from it.

use crate::{
    projector::grouping::{insert::Insert, key::Key, update::Update},
    sql::Value,
};

/// How a statement finds the rows that it writes.
#[derive(Debug)]
pub(super) struct Access {
    /// The columns whose values say which rows are changed; none of them for a plain insert, which changes none.
    found_by: Vec<&'static str>,
    /// The columns of these rows whose values are known, and the places of them.
    places: Vec<(&'static str, usize)>,
}

impl Access {
    /// None where it cannot be told.
    pub(super) fn of(statement: &'static str) -> Option<Self> {
        if let Some(update) = Update::parse(statement) {
            let places = update.keys().to_vec();
            return Some(Self {
                found_by: places.iter().map(|(column, _)| *column).collect(),
                places,
            });
        }
        let insert = Insert::parse(statement)?;
        let found_by = match insert.tail().trim() {
            // `INSERT OR REPLACE` finds rows, and does not say by what.
            "" if !insert.is_plain() => return None,
            "" => Vec::new(),
            _ => insert.conflict_columns()?,
        };
        Some(Self { found_by, places: insert.places() })
    }

    /// The columns in which rows of both have to differ to be certainly others: none of them where they are others
    /// in any case. None where there is no telling.
    pub(super) fn told_apart_by<'a>(&'a self, other: &'a Self) -> Option<&'a [&'static str]> {
        match (&self.found_by[..], &other.found_by[..]) {
            // What is not found by a value is found by none.
            ([], columns) | (columns, []) => Some(columns),
            (own, others) => (own == others).then_some(own),
        }
    }

    /// The values of these columns, if they are known.
    pub(super) fn key(&self, columns: &[&str], values: &[Value]) -> Option<Key> {
        let place = |column: &&str| Some(self.places.iter().find(|(known, _)| known == column)?.1);
        let places: Vec<usize> = columns.iter().map(place).collect::<Option<_>>()?;
        places.iter().all(|place| *place < values.len()).then(|| Key::of(values, &places))
    }
}
