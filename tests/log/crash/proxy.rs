//! What stands between the log and PostgreSQL, and cuts connections at their COMMIT.
//!
//! It reads along what the client says, and knows by that which tables a connection is for.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

use super::control_plane::NAME;

/// Where a connection is cut, seen from a COMMIT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cut {
    /// The server never hears it.
    Before,
    /// The server hears it; the answer is lost.
    After,
}

/// How many connections are still to be cut: of those to the log, and of those to the read models.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    of_log: watch::Sender<usize>,
    of_views: watch::Sender<usize>,
}

impl Cuts {
    pub(super) fn begin(&self, n_of_log: usize, n_of_views: usize) {
        self.of_log.send_replace(n_of_log);
        self.of_views.send_replace(n_of_views);
    }

    pub(super) fn are_made(&self) -> bool {
        *self.of_log.borrow() == 0 && *self.of_views.borrow() == 0
    }

    pub(super) async fn all_made(&self) {
        for n_left in [&self.of_log, &self.of_views] {
            n_left.subscribe().wait_for(|n_left| *n_left == 0).await.unwrap();
        }
    }

    /// Whether one more is to be cut, which is then taken off.
    fn take(&self, commits: &Commits) -> bool {
        let n_left = if commits.are_of_views { &self.of_views } else { &self.of_log };
        n_left.send_if_modified(|n_left| {
            let less = n_left.checked_sub(1);
            *n_left = less.unwrap_or_default();
            less.is_some()
        })
    }
}

/// Tells what on a connection ends a transaction that wrote: a COMMIT, or outside of a transaction the
/// statement that is one by itself.
#[derive(Debug, Default)]
struct Commits {
    are_of_views: bool,
    is_begun: bool,
}

impl Commits {
    fn are_in(&mut self, bytes: &[u8]) -> bool {
        let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        // Said once, when the connection is opened.
        self.are_of_views |= has(b"search_path=sam_views");
        if has(b"BEGIN; SELECT position") {
            self.is_begun = true;
        }
        if has(b"COMMIT\0") || has(b"ROLLBACK\0") {
            self.is_begun = false;
            return has(b"COMMIT\0");
        }
        // How payloads of these tests' events begin, handed to the log in one statement.
        let is_append = || has(b"{\"n\":") || has(format!("{{\"name\":\"{NAME}").as_bytes());
        !self.are_of_views && !self.is_begun && is_append()
    }
}

/// Passes bytes on, for ever.
pub(super) async fn run(listener: TcpListener, socket: String, cut: Cut, cuts: &Cuts) {
    let mut connections = futures_util::stream::FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.unwrap();
                let server = UnixStream::connect(&socket).await.unwrap();
                connections.push(pass(client, server, cut, cuts));
            }
            Some(()) = futures_util::StreamExt::next(&mut connections) => {}
        }
    }
}

async fn pass(mut client: TcpStream, mut server: UnixStream, cut: Cut, cuts: &Cuts) {
    let (mut from_client, mut from_server) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let (mut commits, mut is_cut) = (Commits::default(), false);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(n @ 1..) = read else { return };
                let bytes = &from_client[..n];
                if !is_cut && commits.are_in(bytes) && cuts.take(&commits) {
                    if cut == Cut::Before {
                        return;
                    }
                    is_cut = true;
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(n @ 1..) = read else { return };
                // Where it is cut the server has carried it out by now, and the answer goes nowhere.
                if is_cut || client.write_all(&from_server[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}
