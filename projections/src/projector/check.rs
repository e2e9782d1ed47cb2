//! Makes the whole read side again beside the live one and compares them row by row, at the same position.
//!
//! The live side is only read, and may move meanwhile: the last stretch is made up, and compared, in one
//! transaction that sees it standing still. Whatever differs was not made by folding this log.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    checkpoint::{Checkpoint, Checkpoints, Parked},
    database::{Beside, Database},
    error::DatabaseError,
    event_log::{EventLog, Position},
    projection::Recorded,
    projector::{
        BATCH_EVENTS_MAX, Decode, Projector, rebuild,
        side::{Shared, Side},
    },
    sql::{SqlRow, SqlTransaction},
};

/// How many differences of a table are told; there may be more.
pub const DIFFERENCES_TOLD_MAX: usize = 100;

/// What became of the comparison of one projection.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    pub name: &'static str,
    /// Both sides show the log up to here.
    pub position: Position,
    pub n_rows: u64,
    /// Of each table the first [`DIFFERENCES_TOLD_MAX`].
    pub differences: Vec<RowDifference>,
    /// It waits before an event: it is compared up to there.
    pub parked: Option<Parked>,
}

/// A value that is not as folding the log gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowDifference {
    pub table: &'static str,
    /// The values of its primary key, with commas between them.
    pub key: String,
    /// None: the row is on one side only.
    pub column: Option<String>,
    /// As it is; none: null, or no row.
    pub live: Option<String>,
    /// As it should be.
    pub rebuilt: Option<String>,
}

impl<E: Send + Sync + 'static> Projector<E> {
    /// The names of its projections.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.projections.iter().map(|projection| projection.name()).collect()
    }

    /// Only the projection of this name; none if there is no such projection.
    #[must_use]
    pub fn only(mut self, name: &str) -> Option<Self> {
        self.projections.retain(|projection| projection.name() == name);
        (!self.projections.is_empty()).then_some(self)
    }

    /// Makes all tables again beside the live ones, compares, and removes them.
    pub async fn check(self) -> Result<Vec<Checked>, DatabaseError> {
        let beside = self.database.open_beside().await?;
        let check = Check {
            database: &self.database,
            log: &self.log,
            decode: self.decode,
            projections: &self.projections,
        };
        let checked = check.run(&beside).await;
        beside.remove().await?;
        checked
    }
}

struct Check<'a, E> {
    database: &'a Database,
    log: &'a EventLog,
    decode: Decode<E>,
    projections: &'a [Shared<E>],
}

impl<E: Send + Sync + 'static> Check<'_, E> {
    async fn run(&self, beside: &Beside) -> Result<Vec<Checked>, DatabaseError> {
        let tables = self.projections.iter().flat_map(|projection| projection.tables());
        for table in std::iter::once(&"checkpoints").chain(tables) {
            rebuild::copy_structure(self.database.views(), beside.pool(), table).await?;
        }
        let mut sides = Vec::new();
        for projection in self.projections {
            let one = std::slice::from_ref(projection);
            sides.push(Side::open(beside.pool().clone(), one).await?);
        }
        let live = Checkpoints::new(self.database).list().await?;
        self.catch_up(&mut sides, &by_name(&live)).await?;
        self.compare(beside, &mut sides).await
    }

    /// Brings each side up to where its projection was a moment ago.
    async fn catch_up(
        &self,
        sides: &mut [Side<E>],
        live: &BTreeMap<&str, &Checkpoint>,
    ) -> Result<(), DatabaseError> {
        let newest = live.values().map(|checkpoint| checkpoint.position).max().unwrap_or(0);
        let mut after = 0;
        while after < newest {
            let (events, to) = self.read(after, newest).await?;
            for side in sides.iter_mut() {
                let target = target(live, side).map_or(0, |checkpoint| checkpoint.position);
                let until = to.min(target);
                if side.tracks[0].position < until {
                    let n = events.partition_point(|event| event.position <= until);
                    side.project(&events[..n], until).await?;
                }
            }
            after = to;
        }
        Ok(())
    }

    /// Makes up the rest and compares, while the live side stands still for us.
    async fn compare(
        &self,
        beside: &Beside,
        sides: &mut [Side<E>],
    ) -> Result<Vec<Checked>, DatabaseError> {
        let mut transaction = beside.begin().await?;
        let live = beside.live_checkpoints(&mut transaction).await?;
        let live = by_name(&live);
        let mut all = Vec::new();
        for side in sides {
            let name = side.tracks[0].projection.name();
            let Some(checkpoint) = target(&live, side) else {
                return Err(DatabaseError::failed(format!(
                    "{name} has no rows of this program's version: start SAM once, it makes them"
                )));
            };
            while side.tracks[0].position < checkpoint.position && side.tracks[0].parked.is_none() {
                let (events, to) = self.read(side.tracks[0].position, checkpoint.position).await?;
                side.project_in(&mut transaction, &events, to).await?;
            }
            if let Some(Parked { position, error }) = &side.tracks[0].parked {
                let reason = format!("{name} cannot be made again: position {position}: {error}");
                return Err(DatabaseError::failed(reason));
            }
            let mut checked = Checked {
                name,
                position: checkpoint.position,
                n_rows: 0,
                differences: Vec::new(),
                parked: checkpoint.parked.clone(),
            };
            for table in side.tracks[0].projection.tables() {
                compare_table(beside, &mut transaction, table, &mut checked).await?;
            }
            all.push(checked);
        }
        Ok(all)
    }

    /// Reads and decodes one batch. What cannot be decoded is on neither side.
    async fn read(
        &self,
        after: Position,
        until: Position,
    ) -> Result<(Vec<Recorded<E>>, Position), DatabaseError> {
        let events = self.log.read_all(after, BATCH_EVENTS_MAX).await?;
        let to = events.last().map_or(until, |event| event.position.min(until));
        let mut decoded = Vec::with_capacity(events.len());
        for recorded in events.into_iter().filter(|event| event.position <= until) {
            if let Ok(Some(event)) = (self.decode)(&recorded) {
                decoded.push(Recorded {
                    position: recorded.position,
                    stream: recorded.stream,
                    sequence: recorded.sequence,
                    metadata: recorded.metadata,
                    event,
                });
            }
        }
        Ok((decoded, to))
    }
}

fn by_name(checkpoints: &[Checkpoint]) -> BTreeMap<&str, &Checkpoint> {
    checkpoints.iter().map(|checkpoint| (checkpoint.name.as_str(), checkpoint)).collect()
}

/// Where the live rows are; none where they are of another version.
fn target<'a, E>(live: &BTreeMap<&str, &'a Checkpoint>, side: &Side<E>) -> Option<&'a Checkpoint> {
    let projection: &Shared<E> = &side.tracks[0].projection;
    let checkpoint = live.get(projection.name()).copied();
    checkpoint.filter(|checkpoint| checkpoint.version == Arc::clone(projection).version())
}

async fn compare_table(
    beside: &Beside,
    transaction: &mut SqlTransaction,
    table: &'static str,
    checked: &mut Checked,
) -> Result<(), DatabaseError> {
    let columns = beside.columns(transaction, table).await?;
    let mut keys: Vec<&String> =
        columns.iter().filter(|(_, is_key)| *is_key).map(|(name, _)| name).collect();
    let has_key = !keys.is_empty();
    if !has_key {
        keys = columns.iter().map(|(name, _)| name).collect();
    }
    let others: Vec<&String> =
        columns.iter().map(|(name, _)| name).filter(|name| !keys.contains(name)).collect();
    let (live, rebuilt) = (beside.live(table), beside.rebuilt(table));
    let text = |side: &str, name: &str| format!("CAST({side}.{name} AS TEXT)");
    let same = if has_key { "=" } else { "IS NOT DISTINCT FROM" };
    let is_same: Vec<_> = keys.iter().map(|name| format!("l.{name} {same} r.{name}")).collect();
    let is_same = is_same.join(" AND ");
    let key = |side: &str| {
        let of = |name: &&String| format!("COALESCE({}, '')", text(side, name));
        keys.iter().map(of).collect::<Vec<_>>().join(" || ', ' || ")
    };

    let count = format!("SELECT COUNT(*) AS n FROM {rebuilt}");
    let counted = transaction.fetch_optional(&count, ()).await?;
    checked.n_rows += counted.map_or(Ok(0), |row| row.count("n"))?;

    for (side, own, other, is_live) in [("l", &live, &rebuilt, true), ("r", &rebuilt, &live, false)]
    {
        let opposite = if is_live { "r" } else { "l" };
        let only = format!(
            "SELECT {} AS row_key FROM {own} {side} WHERE NOT EXISTS
                (SELECT 1 FROM {other} {opposite} WHERE {is_same}) LIMIT {DIFFERENCES_TOLD_MAX}",
            key(side)
        );
        for row in transaction.fetch_all(&only, ()).await? {
            let there = Some("a row".to_owned());
            let (live, rebuilt) = if is_live { (there, None) } else { (None, there) };
            let key = row.text("row_key")?;
            checked.differences.push(RowDifference { table, key, column: None, live, rebuilt });
        }
    }
    if others.is_empty() {
        return Ok(());
    }
    let shown: Vec<_> = (0..)
        .zip(&others)
        .map(|(n, name): (usize, _)| {
            format!("{} AS l{n}, {} AS r{n}", text("l", name), text("r", name))
        })
        .collect();
    let differ: Vec<_> = others
        .iter()
        .map(|name| format!("{} IS DISTINCT FROM {}", text("l", name), text("r", name)))
        .collect();
    let changed = format!(
        "SELECT {} AS row_key, {} FROM {live} l JOIN {rebuilt} r ON {is_same} WHERE {}
         ORDER BY 1 LIMIT {DIFFERENCES_TOLD_MAX}",
        key("l"),
        shown.join(", "),
        differ.join(" OR ")
    );
    for row in transaction.fetch_all(&changed, ()).await? {
        tell(table, &others, &row, checked)?;
    }
    Ok(())
}

/// Each column in which a row differs.
fn tell(
    table: &'static str,
    columns: &[&String],
    row: &SqlRow,
    checked: &mut Checked,
) -> Result<(), DatabaseError> {
    for (n, column) in columns.iter().enumerate() {
        let (live, rebuilt) =
            (row.text_option(&format!("l{n}"))?, row.text_option(&format!("r{n}"))?);
        if live != rebuilt {
            let (key, column) = (row.text("row_key")?, Some((*column).clone()));
            checked.differences.push(RowDifference { table, key, column, live, rebuilt });
        }
    }
    Ok(())
}
