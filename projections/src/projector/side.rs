//! One set of read-model tables and the projections that fill it.
//!
//! There is the live side, with all projections, and during a rebuild a second one with one.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use planted_bug::is_planted;

use crate::{
    checkpoint::{Checkpoints, Parked},
    error::DatabaseError,
    event_log::Position,
    projection::{Projection, Recorded, Writes},
    projector::{
        batch::Batch,
        grouping::{Grouped, Shape, Values, group},
    },
    sql::{SqlPool, SqlTransaction, Value},
};

/// Long enough to die in, where a bug is planted.
const PLANTED_PAUSE: Duration = Duration::from_millis(200);

/// A projection whose constants were made values, so that different ones fit in one list.
pub(super) trait ErasedProjection<E>: Send + Sync {
    fn name(&self) -> &'static str;
    fn version(&self) -> u32;
    fn tables(&self) -> &'static [&'static str];
    fn project(&self, recorded: &Recorded<E>, writes: &mut Writes);
}

impl<E, P: Projection<E>> ErasedProjection<E> for P {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn version(&self) -> u32 {
        P::VERSION
    }

    fn tables(&self) -> &'static [&'static str] {
        P::TABLES
    }

    fn project(&self, recorded: &Recorded<E>, writes: &mut Writes) {
        Projection::project(self, recorded, writes);
    }
}

pub(super) type Shared<E> = Arc<dyn ErasedProjection<E>>;

/// A projection and how far it has come.
pub(super) struct Track<E> {
    pub(super) projection: Shared<E>,
    pub(super) position: Position,
    /// The version that the rows are from.
    pub(super) version: u32,
    pub(super) parked: Option<Parked>,
}

pub(super) struct Side<E> {
    pub(super) pool: SqlPool,
    pub(super) tracks: Vec<Track<E>>,
}

/// Why a projection did not take a batch.
pub(super) enum Refusal {
    /// It, or the database for it, does not like this batch.
    Bad(String),
    /// What is stored of it is damaged. The transaction that met that is lost.
    Damaged(String),
    /// Another process moved the checkpoint: we do not hold the lease any more.
    Overtaken,
    Database(DatabaseError),
}

/// Why a batch came to nothing, for all of them.
enum Stop {
    /// What is stored of one of them is damaged.
    Damaged {
        of: usize,
        error: String,
    },
    Database(DatabaseError),
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Broken { .. } if error.is_damage() => Self::Damaged(describe(&error)),
            DatabaseError::Unavailable { .. }
            | DatabaseError::Full { .. }
            | DatabaseError::Broken { .. } => Self::Database(error),
            DatabaseError::Duplicate { .. } | DatabaseError::Failed { .. } => {
                Self::Bad(describe(&error))
            }
        }
    }
}

impl<E: Send + Sync + 'static> Side<E> {
    /// Opens a side at what its checkpoints say.
    pub(super) async fn open(
        pool: SqlPool,
        projections: &[Shared<E>],
    ) -> Result<Self, DatabaseError> {
        let checkpoints = Checkpoints::on(pool.clone());
        let mut tracks = Vec::new();
        for projection in projections {
            let create = "INSERT INTO checkpoints (name, version, position) VALUES ($1, $2, 0)
                ON CONFLICT (name) DO NOTHING";
            pool.execute(create, (projection.name(), projection.version())).await?;
            let checkpoint = checkpoints
                .get(projection.name())
                .await?
                .ok_or_else(|| DatabaseError::failed("a checkpoint went missing"))?;
            tracks.push(Track {
                projection: projection.clone(),
                position: checkpoint.position,
                version: checkpoint.version,
                parked: checkpoint.parked,
            });
        }
        Ok(Self { pool, tracks })
    }

    /// Up to where every projection that goes on has come; `None` when none goes on.
    pub(super) fn position(&self) -> Option<Position> {
        self.running().map(|track| track.position).min()
    }

    fn running(&self) -> impl Iterator<Item = &Track<E>> {
        self.tracks.iter().filter(|track| track.parked.is_none())
    }

    /// Brings every projection up to `to`, over the events after the one furthest behind.
    pub(super) async fn project(
        &mut self,
        events: &[Recorded<E>],
        to: Position,
    ) -> Result<(), DatabaseError> {
        if is_planted("checkpoint_outside_the_transaction") {
            return self.project_apart(events, to).await;
        }
        match self.project_together(events, to).await {
            Ok(()) => Ok(()),
            Err(Refusal::Database(error)) => Err(error),
            // One of them did not like it, or they have not come equally far.
            Err(Refusal::Bad(_) | Refusal::Damaged(_) | Refusal::Overtaken) => {
                self.project_apart(events, to).await
            }
        }
    }

    /// The same for a batch whose writes may be known already.
    pub(super) async fn project_batch(&mut self, batch: Batch<E>) -> Result<(), DatabaseError> {
        let Batch { after, to, events, together } = batch;
        let Some(together) = together.filter(|_| self.position() == Some(after)) else {
            return self.project(&events, to).await;
        };
        match self.write_together(together, to).await {
            Ok(()) => Ok(()),
            Err(Refusal::Database(error)) => Err(error),
            Err(Refusal::Bad(_) | Refusal::Damaged(_) | Refusal::Overtaken) => {
                self.project_apart(&events, to).await
            }
        }
    }

    /// The usual way: all projections are at the same place, and nothing is wrong.
    async fn project_together(
        &mut self,
        events: &[Recorded<E>],
        to: Position,
    ) -> Result<(), Refusal> {
        let together = Together::of(&self.projections(), events, self.shape())?;
        self.write_together(together, to).await
    }

    /// The projections that are not parked.
    pub(super) fn projections(&self) -> Vec<Shared<E>> {
        self.running().map(|track| track.projection.clone()).collect()
    }

    pub(super) fn shape(&self) -> Shape {
        Shape::of(self.pool.is_postgres())
    }

    /// One transaction moves all checkpoints in one statement and writes what all of them want.
    async fn write_together(&mut self, together: Together, to: Position) -> Result<(), Refusal> {
        let Together { names, grouped } = together;
        let Some(from) = self.position() else { return Ok(()) };
        let is_at = |track: &Track<E>| track.position == from;
        let are_theirs = self.running().map(|track| track.projection.name()).eq(names.clone());
        if !self.running().all(is_at) || !are_theirs {
            return Err(Refusal::Overtaken);
        }
        let places: Vec<String> = (0..names.len()).map(|n| format!("${}", n + 3)).collect();
        let advance = format!(
            "UPDATE checkpoints SET position = $2
             WHERE position = $1 AND parked_at IS NULL AND name IN ({})",
            places.join(", ")
        );
        let values: Vec<Value> = [from.into(), to.into()]
            .into_iter()
            .chain(names.iter().map(|name| Value::from(*name)))
            .collect();
        let mut transaction = self.pool.begin().await?;
        // First, so that it also keeps a second process out until the transaction ends.
        if transaction.execute(&advance, values).await? != names.len() as u64 {
            return Err(Refusal::Overtaken);
        }
        for grouped in grouped {
            run(&mut transaction, grouped).await?;
        }
        transaction.commit().await?;
        for track in self.tracks.iter_mut().filter(|track| track.parked.is_none()) {
            track.position = to;
        }
        Ok(())
    }

    /// One transaction with a savepoint for each projection: a projection that fails is parked before
    /// the event that it could not take, and the others go on.
    async fn project_apart(
        &mut self,
        events: &[Recorded<E>],
        to: Position,
    ) -> Result<(), DatabaseError> {
        let moved = loop {
            let mut transaction = self.pool.begin().await?;
            match self.attempt(&mut transaction, events, to).await {
                Ok(moved) => {
                    transaction.commit().await?;
                    break moved;
                }
                // Nothing else can be written in that transaction. The next one does without it.
                Err(Stop::Damaged { of, error }) => {
                    drop(transaction);
                    self.park_damaged(of, error).await?;
                }
                Err(Stop::Database(error)) => return Err(error),
            }
        };
        if is_planted("checkpoint_outside_the_transaction") {
            self.move_checkpoints(&moved).await?;
        }
        self.take(moved);
        Ok(())
    }

    async fn park_damaged(&mut self, of: usize, error: String) -> Result<(), DatabaseError> {
        let track = &mut self.tracks[of];
        let (name, position) = (track.projection.name(), track.position + 1);
        let park = format!(
            "UPDATE checkpoints SET parked_at = $2, parked_error = $3, parked_since = {}
             WHERE name = $1 AND parked_at IS NULL",
            self.pool.now()
        );
        self.pool.execute(&park, (name, position, error.as_str())).await?;
        tracing::error!(projection = name, position, error, "a damaged projection is parked");
        track.parked = Some(Parked { position, error });
        Ok(())
    }

    /// The same within a transaction of the caller's, which has to commit it or to forget this side.
    pub(super) async fn project_in(
        &mut self,
        transaction: &mut SqlTransaction,
        events: &[Recorded<E>],
        to: Position,
    ) -> Result<(), DatabaseError> {
        match self.attempt(transaction, events, to).await {
            Ok(moved) => {
                self.take(moved);
                Ok(())
            }
            Err(Stop::Damaged { error, .. }) => Err(DatabaseError::failed(error)),
            Err(Stop::Database(error)) => Err(error),
        }
    }

    /// Tells where each projection is then.
    async fn attempt(
        &self,
        transaction: &mut SqlTransaction,
        events: &[Recorded<E>],
        to: Position,
    ) -> Result<Vec<(Position, Option<Parked>)>, Stop> {
        let (shape, now) = (self.shape(), self.pool.now());
        let mut moved = Vec::with_capacity(self.tracks.len());
        for (of, track) in self.tracks.iter().enumerate() {
            if track.parked.is_some() || track.position >= to {
                moved.push((track.position, track.parked.clone()));
                continue;
            }
            let mut alone = Alone { transaction: &mut *transaction, track, shape, now };
            match alone.run(events, to).await {
                Ok(parked) => moved.push(parked),
                Err(Refusal::Damaged(error)) => return Err(Stop::Damaged { of, error }),
                Err(Refusal::Database(error)) => return Err(Stop::Database(error)),
                Err(Refusal::Overtaken) => {
                    let reason = "another process projects as well";
                    return Err(Stop::Database(DatabaseError::failed(reason)));
                }
                Err(Refusal::Bad(reason)) => {
                    return Err(Stop::Database(DatabaseError::failed(reason)));
                }
            }
        }
        Ok(moved)
    }

    fn take(&mut self, moved: Vec<(Position, Option<Parked>)>) {
        for (track, (position, parked)) in self.tracks.iter_mut().zip(moved) {
            if let (None, Some(parked)) = (&track.parked, &parked) {
                let (name, position, error) =
                    (track.projection.name(), parked.position, parked.error.as_str());
                tracing::error!(projection = name, position, error, "a projection is parked");
            }
            (track.position, track.parked) = (position, parked);
        }
    }
}

impl<E> Side<E> {
    /// Where the bug is planted that moves checkpoints after their rows.
    async fn move_checkpoints(
        &self,
        moved: &[(Position, Option<Parked>)],
    ) -> Result<(), DatabaseError> {
        tokio::time::sleep(PLANTED_PAUSE).await;
        for (track, (position, _)) in self.tracks.iter().zip(moved) {
            let advance = "UPDATE checkpoints SET position = $2 WHERE name = $1";
            self.pool.execute(advance, (track.projection.name(), *position)).await?;
        }
        Ok(())
    }
}

/// What some projections write for a batch, as statements.
pub(super) struct Together {
    names: Vec<&'static str>,
    grouped: Vec<Grouped>,
}

impl Together {
    pub(super) fn of<E>(
        projections: &[Shared<E>],
        events: &[Recorded<E>],
        shape: Shape,
    ) -> Result<Self, Refusal> {
        let mut writes = Writes::default();
        for projection in projections {
            project(projection, events, &mut writes)?;
        }
        let names = projections.iter().map(|projection| projection.name()).collect();
        Ok(Self { names, grouped: group(writes.writes, shape) })
    }
}

fn project<E>(
    projection: &Shared<E>,
    events: &[Recorded<E>],
    writes: &mut Writes,
) -> Result<(), Refusal> {
    let projected = catch_unwind(AssertUnwindSafe(|| {
        for event in events {
            projection.project(event, writes);
        }
    }));
    projected.map_err(|_| Refusal::Bad("the projection panicked".into()))
}

/// One projection in the transaction of a batch.
struct Alone<'a, E> {
    transaction: &'a mut SqlTransaction,
    track: &'a Track<E>,
    shape: Shape,
    /// The database's time, as an expression.
    now: &'static str,
}

impl<E> Alone<'_, E> {
    /// Runs all events at once, or one by one up to the bad one. Tells where the projection is then.
    async fn run(
        &mut self,
        events: &[Recorded<E>],
        to: Position,
    ) -> Result<(Position, Option<Parked>), Refusal> {
        let from = self.track.position;
        let fresh = events.iter().position(|event| event.position > from).unwrap_or(events.len());
        let events = &events[fresh..];
        match self.attempt(events, from, to).await {
            Ok(()) => return Ok((to, None)),
            Err(Refusal::Bad(reason)) if events.is_empty() => return Err(Refusal::Bad(reason)),
            Err(Refusal::Bad(_)) => {}
            Err(other) => return Err(other),
        }
        let mut position = from;
        for event in events {
            match self.attempt(std::slice::from_ref(event), position, event.position).await {
                Ok(()) => position = event.position,
                Err(Refusal::Bad(error)) => {
                    let parked = Parked { position: event.position, error };
                    self.park(&parked).await?;
                    return Ok((position, Some(parked)));
                }
                Err(other) => return Err(other),
            }
        }
        // Each event alone was fine: the batch failed for a reason that has gone.
        self.attempt(&[], position, to).await?;
        Ok((to, None))
    }

    /// Runs events within a savepoint: either all of their writes and the checkpoint, or nothing.
    async fn attempt(
        &mut self,
        events: &[Recorded<E>],
        from: Position,
        to: Position,
    ) -> Result<(), Refusal> {
        let mut writes = Writes::default();
        project(&self.track.projection, events, &mut writes)?;
        self.transaction.execute("SAVEPOINT projection", ()).await?;
        match self.write(writes, from, to).await {
            Ok(()) => {
                self.transaction.execute("RELEASE SAVEPOINT projection", ()).await?;
                Ok(())
            }
            Err(Refusal::Bad(reason)) => {
                self.transaction.execute("ROLLBACK TO SAVEPOINT projection", ()).await?;
                self.transaction.execute("RELEASE SAVEPOINT projection", ()).await?;
                Err(Refusal::Bad(reason))
            }
            Err(other) => Err(other),
        }
    }

    async fn write(&mut self, writes: Writes, from: Position, to: Position) -> Result<(), Refusal> {
        // First, so that it also keeps a second process out until the transaction ends.
        let advance = "UPDATE checkpoints SET position = $3
            WHERE name = $1 AND position = $2 AND parked_at IS NULL";
        let name = self.track.projection.name();
        let is_inside = !is_planted("checkpoint_outside_the_transaction");
        if is_inside && self.transaction.execute(advance, (name, from, to)).await? != 1 {
            return Err(Refusal::Overtaken);
        }
        for grouped in group(writes.writes, self.shape) {
            run(self.transaction, grouped).await?;
        }
        Ok(())
    }

    async fn park(&mut self, parked: &Parked) -> Result<(), Refusal> {
        let now = self.now;
        let park = format!(
            "UPDATE checkpoints SET parked_at = $2, parked_error = $3, parked_since = {now}
             WHERE name = $1"
        );
        let name = self.track.projection.name();
        self.transaction.execute(&park, (name, parked.position, parked.error.as_str())).await?;
        Ok(())
    }
}

async fn run(transaction: &mut SqlTransaction, grouped: Grouped) -> Result<(), DatabaseError> {
    match grouped.values {
        Values::Listed(values) => transaction.execute(&grouped.sql, values).await?,
        Values::Columns(columns) => transaction.execute_columns(&grouped.sql, columns).await?,
    };
    Ok(())
}

fn describe(error: &DatabaseError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
