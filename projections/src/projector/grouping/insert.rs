//! An insert of one row that can be made one of many.

use crate::projector::grouping::given::Given;

const VALUES: &str = "VALUES";

/// Its parts: what comes before `VALUES`, the row, and what comes after it.
#[derive(Debug)]
pub(super) struct Insert {
    head: &'static str,
    row: &'static str,
    tail: &'static str,
    pub(super) n_values: usize,
    /// Whether the row's placeholders are 1, 2, 3 … as they stand there.
    is_in_order: bool,
}

impl Insert {
    pub(super) fn parse(statement: &'static str) -> Option<Self> {
        let statement = statement.trim();
        let upper = statement.to_ascii_uppercase();
        if !upper.starts_with("INSERT") || upper.contains("SELECT") {
            return None;
        }
        let values = upper.find(VALUES)?;
        let start = values + statement[values..].find('(')?;
        let end = start + closing_parenthesis(&statement[start..])?;
        let (row, tail) = (&statement[start..=end], &statement[end + 1..]);
        if tail.contains('$') {
            return None;
        }
        let n_values = numbers(row).max()?;
        let is_in_order = numbers(row).eq(1..=n_values);
        Some(Self { head: &statement[..values], row, tail, n_values, is_in_order })
    }

    /// Tells whether it may change a row that is there.
    pub(super) fn is_upsert(&self) -> bool {
        self.tail.to_ascii_uppercase().contains("UPDATE")
    }

    /// The places of the values that say which row an upsert is about, if they can be told.
    pub(super) fn keys(&self) -> Option<Vec<usize>> {
        let places = self.places();
        let place = |key: &str| Some(places.iter().find(|(column, _)| *column == key)?.1);
        self.conflict_columns()?.into_iter().map(place).collect()
    }

    /// Whether it does nothing but insert, apart from its tail.
    pub(super) fn is_plain(&self) -> bool {
        !self.head.to_ascii_uppercase().contains(" OR ")
    }

    /// What it does besides inserting, as SQL.
    pub(super) fn tail(&self) -> &'static str {
        self.tail
    }

    /// The columns by which it finds a row that is there already, if it looks for one and says by which.
    pub(super) fn conflict_columns(&self) -> Option<Vec<&'static str>> {
        list(self.tail)
    }

    /// The columns that get a value as it is given, and the place of that.
    pub(super) fn places(&self) -> Vec<(&'static str, usize)> {
        let (Some(columns), Some(items)) = (list(self.head), list(self.row)) else {
            return Vec::new();
        };
        let place = |item: &str| item.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1);
        columns
            .into_iter()
            .zip(items)
            .filter_map(|(column, item)| Some((column, place(item)?)))
            .collect()
    }

    pub(super) fn sql_of_rows(&self, n_rows: usize) -> String {
        let rows: Vec<String> = match self.is_in_order {
            true => vec![nameless(self.row); n_rows],
            false => (0..n_rows).map(|n| shift(self.row, n * self.n_values)).collect(),
        };
        format!("{}{VALUES} {}{}", self.head, rows.join(", "), self.tail)
    }

    pub(super) fn sql_of_columns(&self, given: &Given) -> String {
        let row = replaced(self.row, |number| given.name(number));
        let row = &row[1..row.len() - 1];
        format!("{}SELECT {row} FROM {}{}", self.head, given.rows(), self.tail)
    }
}

/// What the first parentheses hold, where it is a plain list.
fn list(text: &'static str) -> Option<Vec<&'static str>> {
    let start = text.find('(')?;
    let end = start + closing_parenthesis(&text[start..])?;
    let inner = &text[start + 1..end];
    (!inner.contains('(')).then(|| inner.split(',').map(str::trim).collect())
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

/// Takes the number away from each placeholder.
fn nameless(text: &str) -> String {
    replaced(text, |_| "?".to_owned())
}

/// Adds `by` to the number of each placeholder.
fn shift(text: &str, by: usize) -> String {
    replaced(text, |number| format!("${}", number + by))
}

/// Puts something else where the placeholders are.
fn replaced(text: &str, with: impl Fn(usize) -> String) -> String {
    let mut parts = text.split('$');
    let mut replaced = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let number = digits(part);
        match number.parse() {
            Ok(number) => replaced.push_str(&with(number)),
            Err(_) => replaced.push('$'),
        }
        replaced.push_str(&part[number.len()..]);
    }
    replaced
}
