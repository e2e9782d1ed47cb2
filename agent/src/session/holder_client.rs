//! One connection to a holder, while it lasts.

use std::{collections::HashMap, io};

use futures_util::StreamExt;
use holder::protocol::{Event, LINE_BYTES_MAX, Operation, PROTOCOL_VERSION, Request};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};
use tokio_util::codec::{FramedRead, LinesCodec};

use crate::session::{HolderConnection, SessionConfig};

/// Requests that wait for a holder which does not read; more mean that it is stuck.
const REQUEST_QUEUE_MAX: usize = 1024;

/// What a request was for, to know what its answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Start,
    Follow,
    /// The line of this number.
    Write(u64),
    Kill,
    Release,
}

/// Something from the holder, with what it answers.
#[derive(Debug)]
pub(crate) enum Told {
    Done(Purpose),
    Refused(Purpose, holder::protocol::RefusalKind, String),
    Event(Event),
}

type Lines = FramedRead<Box<dyn AsyncRead + Send + Unpin>, LinesCodec>;

/// Both directions at once: a holder that cannot get rid of its output reads no requests, so a
/// write must never keep us from reading.
pub(crate) struct HolderClient {
    lines: Lines,
    requests: mpsc::Sender<Vec<u8>>,
    asked: HashMap<u64, Purpose>,
    n_asked: u64,
    session: String,
    epoch: u32,
}

/// The writing half, to be polled beside [`HolderClient::next`].
pub(crate) struct Writing {
    queue: mpsc::Receiver<Vec<u8>>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
}

impl HolderClient {
    /// Waits for the greeting of a holder that speaks as we do.
    pub(crate) async fn greet(
        connection: HolderConnection,
        config: &SessionConfig,
    ) -> io::Result<(Self, Writing)> {
        let codec = LinesCodec::new_with_max_length(LINE_BYTES_MAX);
        let (requests, queue) = mpsc::channel(REQUEST_QUEUE_MAX);
        let mut client = Self {
            lines: FramedRead::with_capacity(connection.reader, codec, 128 * 1024),
            requests,
            asked: HashMap::new(),
            n_asked: 0,
            session: config.session.to_string(),
            epoch: config.epoch,
        };
        match client.next().await? {
            Told::Event(Event::Hello { protocol: PROTOCOL_VERSION }) => {}
            other => return Err(io::Error::other(format!("no greeting but {other:?}"))),
        }
        Ok((client, Writing { queue, writer: connection.writer }))
    }

    /// Queues a request. An error means that the connection is of no more use.
    pub(crate) fn ask(&mut self, purpose: Purpose, operation: Operation) -> io::Result<()> {
        self.n_asked += 1;
        let (id, session, epoch) = (self.n_asked, self.session.clone(), self.epoch);
        let mut line = serde_json::to_vec(&Request { id, session, epoch, operation })?;
        line.push(b'\n');
        self.asked.insert(id, purpose);
        self.requests.try_send(line).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }

    /// The next thing the holder tells. Nothing is lost when this is dropped while waiting.
    pub(crate) async fn next(&mut self) -> io::Result<Told> {
        loop {
            let line = match self.lines.next().await {
                Some(line) => line.map_err(io::Error::other)?,
                None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            };
            match serde_json::from_str(&line)? {
                Event::Done { id } => {
                    if let Some(purpose) = self.asked.remove(&id) {
                        return Ok(Told::Done(purpose));
                    }
                }
                Event::Refused { id, kind, reason } => {
                    if let Some(purpose) = self.asked.remove(&id) {
                        return Ok(Told::Refused(purpose, kind, reason));
                    }
                }
                event => return Ok(Told::Event(event)),
            }
        }
    }
}

impl Writing {
    /// Ends with an error when the connection does, and never otherwise.
    pub(crate) async fn run(&mut self) -> io::Error {
        while let Some(line) = self.queue.recv().await {
            if let Err(error) = self.writer.write_all(&line).await {
                return error;
            }
            if let Err(error) = self.writer.flush().await {
                return error;
            }
        }
        io::Error::from(io::ErrorKind::BrokenPipe)
    }
}
