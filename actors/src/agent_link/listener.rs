//! The socket in the data directory on which the agents of this machine call.
//!
//! Only its owner may connect (0600); what a caller says beyond that is still bounded and checked.

use std::{
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::net::UnixListener;

use crate::{agent_link::connection::Reception, tasks::Tasks};

const ACCEPT_RETRY_PERIOD: Duration = Duration::from_millis(100);

/// Opens the socket, in place of one that a killed server left behind.
pub(crate) fn open(path: &Path) -> io::Result<UnixListener> {
    // Under another name first: nobody can connect before the permissions are right.
    let draft: PathBuf = path.with_extension("new");
    remove(&draft)?;
    let listener = UnixListener::bind(&draft)?;
    std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&draft, path)?;
    Ok(listener)
}

/// Takes calls for ever.
pub(crate) async fn run(listener: UnixListener, reception: Arc<Reception>, tasks: Tasks) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let reception = Arc::clone(&reception);
                tasks.start("agent connection", async move {
                    if let Err(error) = reception.serve(stream).await {
                        tracing::info!(%error, "the link to an agent ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a call could not be taken");
                tokio::time::sleep(ACCEPT_RETRY_PERIOD).await;
            }
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
