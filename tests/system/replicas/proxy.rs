//! What stands before the replicas: each connection goes to the next one that takes it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Result;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::net::{TcpListener, TcpStream};

/// Where connections may go. Clones share the list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backends {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    turn: Arc<AtomicUsize>,
}

impl Backends {
    pub(crate) fn set(&self, addresses: &[SocketAddr]) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses.to_vec();
    }

    /// All of them, the next one in turn first.
    fn in_turn(&self) -> Vec<SocketAddr> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !addresses.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len();
            addresses.rotate_left(turn);
        }
        addresses
    }
}

/// Passes connections on, for ever.
pub(crate) async fn run(listener: TcpListener, backends: Backends) -> Result<()> {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => connections.push(pass(accepted?.0, backends.clone())),
            Some(()) = connections.next() => {}
        }
    }
}

async fn pass(mut client: TcpStream, backends: Backends) {
    for address in backends.in_turn() {
        if let Ok(mut server) = TcpStream::connect(address).await {
            // An end in the middle is what the test is about.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}
