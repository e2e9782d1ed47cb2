//! Keeps this server's file of the ledger complete while another server of the same database erases.
//!
//! Each server has a data directory of its own, and any of them may be the only one that is left when the
//! database is put back to a state from before an erasure. So each copies the entries of the table into its own
//! file, whoever holds the lease.
//!
//! Nothing is destroyed here, and no line is ever taken out of the file: an entry that is missing in the table
//! is a matter of the next start ([`Eraser::respect_ledger`]).

use std::{collections::HashSet, time::Duration};

use projections::erasure_ledger::ErasureLedger;
use uuid::Uuid;

use super::{Eraser, ErasureError};
use crate::tasks::Tasks;

/// How long an entry of another server may be missing here. Not the log but the table is looked at, for not
/// every entry is followed by an event: one that is repeated after a restore is not.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// The same after a look that failed. People may have to mend what it was.
const RETRY_PERIOD: Duration = Duration::from_secs(5);

impl Eraser {
    /// Starts to copy what other servers enter in the ledger.
    pub(crate) fn follow_ledger(&self, tasks: &Tasks) {
        // SQLite has one server, and that writes the file before the table.
        if self.log.is_shared() {
            let eraser = self.clone();
            tasks.keep("erasure ledger", move || eraser.clone().follow());
        }
    }

    async fn follow(self) {
        let mut n_seen = 0;
        loop {
            match self.look(n_seen).await {
                Ok(n_entries) => {
                    n_seen = n_entries;
                    tokio::time::sleep(LOOK_PERIOD).await;
                }
                Err(error) => {
                    tracing::warn!(
                        %error,
                        "erasures of other servers may be missing in this one's file; it is tried again"
                    );
                    tokio::time::sleep(RETRY_PERIOD).await;
                }
            }
        }
    }

    /// Copies what is new since there were `n_seen` entries; tells how many there are.
    async fn look(&self, n_seen: u64) -> Result<u64, ErasureError> {
        // Counted before they are read: one that comes in between is looked for once more.
        let n_entries = ErasureLedger::new(&self.database).count().await?;
        if n_entries != n_seen {
            self.complete_file().await?;
        }
        Ok(n_entries)
    }

    /// Writes into this server's file what the table has and the file has not, on disk when it returns. An entry
    /// that this installation did not sign is refused, and does not keep the others out.
    pub async fn complete_file(&self) -> Result<(), ErasureError> {
        // Whoever erases in this server writes the same file.
        let _one_at_a_time = self.one_at_a_time.lock().await;
        let written: HashSet<Uuid> =
            self.file.read()?.into_iter().map(|entry| entry.subject).collect();
        let recorded = ErasureLedger::new(&self.database).list().await?;
        let (mut signed, mut refused) = (Vec::new(), None);
        for entry in recorded.into_iter().filter(|entry| !written.contains(&entry.subject)) {
            match self.check(&entry) {
                Ok(()) => signed.push(entry),
                Err(error) => refused = Some(error),
            }
        }
        let subjects: Vec<Uuid> = signed.iter().map(|entry| entry.subject).collect();
        self.file.append(signed).await?;
        // Its row is destroyed; what this server opened before must go, too.
        subjects.into_iter().for_each(|subject| self.sealing.forget(subject));
        refused.map_or(Ok(()), Err)
    }
}
