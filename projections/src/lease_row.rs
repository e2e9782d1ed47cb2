//! The lease: which process may run processes, timers and sweeps.
//!
//! A row, compared with the database's clock only, because a lock held by a stopped client is held
//! for ever. A clock that is set back makes it last longer; whoever sees that nobody renews it may have
//! it run out. A lease saves work and is no fence by itself: its epoch is, which every append made under
//! it names and the log checks under the head lock. Taking the lease takes that lock too, so an epoch
//! is over before the next one begins.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    database::Database,
    error::DatabaseError,
    sql::{SqlPool, SqlRow},
};

/// A lease as the database sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub holder: Uuid,
    /// Raised each time the lease changes hands or is taken again after it ran out.
    pub epoch: u64,
    /// Another moment after each renewal.
    held_until: i64,
    /// How long it still lasts; zero when it has run out.
    pub remaining: Duration,
}

impl Lease {
    /// It was neither renewed nor taken since it was looked at before.
    #[must_use]
    pub fn is_as_before(&self, before: &Self) -> bool {
        Self { remaining: before.remaining, ..*self } == *before
    }
}

/// The row of the lease. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LeaseRow {
    pool: SqlPool,
}

impl LeaseRow {
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { pool: database.log().clone() }
    }

    /// Takes the lease if it is free, has run out, or is the holder's already.
    ///
    /// `None` when somebody else holds it. A holder that still has it keeps its epoch.
    pub async fn acquire(
        &self,
        holder: Uuid,
        period: Duration,
    ) -> Result<Option<Lease>, DatabaseError> {
        let now = self.pool.now();
        let mut transaction = self.pool.begin().await?;
        transaction.execute("UPDATE log_head SET position = position WHERE id = 1", ()).await?;
        let acquire = format!(
            "INSERT INTO lease (name, holder, epoch, held_until)
             VALUES ('main', $1, 1, {now} + $2)
             ON CONFLICT (name) DO UPDATE SET
                holder = excluded.holder,
                epoch = CASE WHEN lease.holder = excluded.holder AND lease.held_until > {now}
                    THEN lease.epoch ELSE lease.epoch + 1 END,
                held_until = excluded.held_until
             WHERE lease.holder = excluded.holder OR lease.held_until <= {now}
             RETURNING holder, epoch, held_until, held_until - {now} AS remaining"
        );
        let row = transaction.fetch_optional(&acquire, (holder, micros(period))).await?;
        let lease = row.as_ref().map(lease).transpose()?;
        transaction.commit().await?;
        Ok(lease)
    }

    /// Makes the lease last longer. `None` when it ran out or is somebody else's: stop acting.
    pub async fn renew(
        &self,
        holder: Uuid,
        epoch: u64,
        period: Duration,
    ) -> Result<Option<Lease>, DatabaseError> {
        let now = self.pool.now();
        let renew = format!(
            "UPDATE lease SET held_until = {now} + $3
             WHERE name = 'main' AND holder = $1 AND epoch = $2 AND held_until > {now}
             RETURNING holder, epoch, held_until, held_until - {now} AS remaining"
        );
        let row = self.pool.execute_returning(&renew, (holder, epoch, micros(period))).await?;
        row.as_ref().map(lease).transpose()
    }

    /// Gives the lease back, so that the next one need not wait for it to run out.
    pub async fn release(&self, holder: Uuid, epoch: u64) -> Result<bool, DatabaseError> {
        let release = "UPDATE lease SET held_until = 0
            WHERE name = 'main' AND holder = $1 AND epoch = $2";
        Ok(self.pool.execute(release, (holder, epoch)).await? > 0)
    }

    /// Has a lease run out, whatever the clock says; false if it was renewed or taken since it was looked at.
    pub async fn run_out(&self, lease: &Lease) -> Result<bool, DatabaseError> {
        let run_out = "UPDATE lease SET held_until = 0
            WHERE name = 'main' AND holder = $1 AND epoch = $2 AND held_until = $3";
        let Lease { holder, epoch, held_until, .. } = *lease;
        Ok(self.pool.execute(run_out, (holder, epoch, held_until)).await? > 0)
    }

    /// Looks at the lease, whoever holds it.
    pub async fn current(&self) -> Result<Option<Lease>, DatabaseError> {
        let now = self.pool.now();
        let current = format!(
            "SELECT holder, epoch, held_until, held_until - {now} AS remaining
             FROM lease WHERE name = 'main'"
        );
        self.pool.fetch_optional(&current, ()).await?.as_ref().map(lease).transpose()
    }
}

fn micros(period: Duration) -> i64 {
    i64::try_from(period.as_micros()).unwrap_or(i64::MAX)
}

fn lease(row: &SqlRow) -> Result<Lease, DatabaseError> {
    Ok(Lease {
        holder: row.uuid("holder")?,
        epoch: row.count("epoch")?,
        held_until: row.int("held_until")?,
        remaining: Duration::from_micros(u64::try_from(row.int("remaining")?).unwrap_or_default()),
    })
}
