//! A projection turns events into writes to its own tables, and does nothing else.
//!
//! It is pure: it reads neither tables nor clock, so running it again over the same events gives the
//! same rows. The projector groups its writes, runs them on either database, and moves the checkpoint
//! in the same transaction, which is why adding and subtracting in a statement is safe.
//!
//! Rules for statements: `$1`, `$2` …; SQL that SQLite and PostgreSQL both understand; a statement
//! writes one table and reads no other, since writes to different tables may change places; integers
//! are `BIGINT`, times are `BIGINT` microseconds, ids are `UUID` (`TEXT` in SQLite).
//!
//! Read next: [`crate::projector`].

use crate::{
    event_log::{Metadata, Position, StreamId},
    sql::{IntoValues, Value},
};

/// An event as a projection sees it.
#[derive(Clone, Debug)]
pub struct Recorded<E> {
    pub position: Position,
    pub stream: StreamId,
    pub sequence: u64,
    pub metadata: Metadata,
    pub event: E,
}

/// A fold of the log into tables.
pub trait Projection<E>: Send + Sync + 'static {
    /// The name of its checkpoint.
    const NAME: &'static str;
    /// Raised when the same events give other rows than before; the tables are then made again.
    const VERSION: u32 = 1;
    /// All tables that it writes. No other projection writes them.
    const TABLES: &'static [&'static str];

    /// Says what to write for one event.
    fn project(&self, recorded: &Recorded<E>, writes: &mut Writes);
}

/// What a projection wants written, in order.
#[derive(Debug, Default)]
pub struct Writes {
    pub(crate) writes: Vec<Write>,
}

/// One statement with its values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Write {
    pub(crate) statement: &'static str,
    pub(crate) values: Vec<Value>,
}

impl Writes {
    pub fn add(&mut self, statement: &'static str, values: impl IntoValues) {
        self.writes.push(Write { statement, values: values.into_values() });
    }

    /// What was added, for tests of a projection.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[Value])> {
        self.writes.iter().map(|write| (write.statement, write.values.as_slice()))
    }
}
