//! What people asked of projections: found in a table, since they may have asked another process.

use tokio::time::Instant;

use crate::{
    checkpoint::Checkpoints,
    error::DatabaseError,
    projection_status::{Request, Requests},
    projector::{RETRY_PERIOD, Rebuild, Worker, describe},
};

impl<E: Send + Sync + 'static> Worker<E> {
    /// Takes up what was asked since the last look. One rebuild runs at a time.
    pub(super) async fn look_what_is_asked(&mut self) -> Result<(), DatabaseError> {
        if self.asked_at.is_some_and(|at| at.elapsed() < RETRY_PERIOD) {
            return Ok(());
        }
        self.asked_at = Some(Instant::now());
        let requests = Requests::new(&self.projector.database);
        for (name, request) in requests.list().await? {
            let known = self.projector.projections.iter().find(|known| known.name() == name);
            match (request, known.cloned()) {
                (_, None) => requests.done(&name).await?,
                (Request::Retry, Some(_)) => {
                    let checkpoints = Checkpoints::new(&self.projector.database);
                    if checkpoints.unpark(&name).await? {
                        tracing::info!(projection = name, "a parked projection tries again");
                        // Read again, and made again where its rows are of another version.
                        self.live = None;
                    }
                    requests.done(&name).await?;
                }
                (Request::Rebuild, Some(_)) if self.rebuild.is_some() => {}
                (Request::Rebuild, Some(projection)) => {
                    tracing::info!(projection = name, "a read model is made again, as asked");
                    match Rebuild::start(&self.projector.database, projection).await {
                        Ok(rebuild) => self.rebuild = Some((rebuild, None)),
                        Err(error) if error.is_temporary() => return Err(error),
                        Err(error) => {
                            let error = describe(&error);
                            tracing::error!(projection = name, error, "a rebuild failed");
                            requests.done(&name).await?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// A rebuild has ended, well or not: nobody is to start it once more.
    pub(super) async fn rebuild_has_ended(&self, name: &str) -> Result<(), DatabaseError> {
        Requests::new(&self.projector.database).done(name).await
    }
}
