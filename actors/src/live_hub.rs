//! Brings streamed text to browsers before it is in the log.
//!
//! For each open message it keeps the chunks that no segment has recorded yet. Following a session is
//! one step: the snapshot and all that comes after it, nothing twice and nothing missing between. What
//! a browser got from the log and what it gets from here may overlap; chunk numbers tell.
//!
//! Nothing here is durable or needs to be: the same text follows in segments. A follower that does not
//! keep up is cut off, and follows again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::{
    agent_protocol::{LiveChunk, TextKind},
    ids::{MessageId, SessionId},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

/// How many chunks may wait for a slow follower before it is cut off.
pub(crate) const FOLLOWER_CHUNKS_MAX: usize = 512;
/// How much unlogged text of one message is kept; more than an agent leaves unlogged by far.
const TAIL_BYTES_MAX: usize = 1 << 20;
/// How many messages of one session may be open at once.
const OPEN_MESSAGES_MAX: usize = 64;

/// The hub of all sessions. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LiveHub {
    sessions: Arc<Mutex<HashMap<SessionId, LiveSession>>>,
}

#[derive(Debug, Default)]
struct LiveSession {
    open: HashMap<MessageId, Tail>,
    followers: Vec<mpsc::Sender<LiveChunk>>,
}

/// The unlogged end of a message.
#[derive(Debug)]
struct Tail {
    kind: TextKind,
    /// Number of the first chunk that is kept.
    first_chunk: u32,
    chunks: Vec<String>,
    n_bytes: usize,
}

/// The unlogged end of an open message, as a follower gets it first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenMessage {
    pub message: MessageId,
    pub kind: TextKind,
    /// Number of the first chunk in `text`; those before it are in the log.
    pub first_chunk: u32,
    pub n_chunks: u32,
    pub text: String,
}

/// A follower's end. Dropping it ends the following.
#[derive(Debug)]
pub struct Following {
    /// What was open when the following began.
    pub open: Vec<OpenMessage>,
    chunks: mpsc::Receiver<LiveChunk>,
    /// A change ends the following: the text may come in elsewhere from then on.
    until: Option<watch::Receiver<u64>>,
}

impl Following {
    /// Of a session whose text comes in at another replica.
    pub(crate) fn elsewhere(open: Vec<OpenMessage>, chunks: mpsc::Receiver<LiveChunk>) -> Self {
        Self { open, chunks, until: None }
    }

    /// The same, but it ends when this changes.
    pub(crate) fn until(self, until: watch::Receiver<u64>) -> Self {
        Self { until: Some(until), ..self }
    }

    /// The next chunk. None when this follower was too slow, or the text comes in elsewhere now: it
    /// has to follow again.
    pub async fn next(&mut self) -> Option<LiveChunk> {
        let Some(until) = &mut self.until else { return self.chunks.recv().await };
        tokio::select! {
            chunk = self.chunks.recv() => chunk,
            _ = until.changed() => None,
        }
    }
}

impl LiveHub {
    /// Starts to follow a session.
    #[must_use]
    pub fn follow(&self, session: SessionId) -> Following {
        let (sender, chunks) = mpsc::channel(FOLLOWER_CHUNKS_MAX);
        let mut sessions = self.lock();
        let live = sessions.entry(session).or_default();
        live.followers.retain(|follower| !follower.is_closed());
        live.followers.push(sender);
        let mut open: Vec<_> =
            live.open.iter().map(|(message, tail)| tail.snapshot(*message)).collect();
        open.sort_by_key(|message| message.message);
        Following { open, chunks, until: None }
    }

    /// What is open in a session and not in the log.
    #[must_use]
    pub fn unlogged(&self, session: SessionId) -> Vec<OpenMessage> {
        let sessions = self.lock();
        let open = sessions.get(&session).into_iter().flat_map(|live| &live.open);
        let mut open: Vec<_> = open.map(|(message, tail)| tail.snapshot(*message)).collect();
        open.sort_by_key(|message| message.message);
        open
    }

    /// Passes a chunk on. Repeated ones, and such as would leave a gap, fall away: the log has them.
    pub fn chunk(&self, chunk: LiveChunk) {
        let mut sessions = self.lock();
        let live = sessions.entry(chunk.session).or_default();
        if !live.open.contains_key(&chunk.message) && live.open.len() >= OPEN_MESSAGES_MAX {
            return;
        }
        let tail = live.open.entry(chunk.message).or_insert_with(|| Tail {
            kind: chunk.kind,
            first_chunk: chunk.chunk,
            chunks: Vec::new(),
            n_bytes: 0,
        });
        if chunk.chunk < tail.next_chunk() || tail.n_bytes + chunk.text.len() > TAIL_BYTES_MAX {
            return;
        }
        if chunk.chunk > tail.next_chunk() {
            // The link was away in between. What was missed comes through the log.
            *tail = Tail { first_chunk: chunk.chunk, chunks: Vec::new(), n_bytes: 0, ..*tail };
        }
        tail.n_bytes += chunk.text.len();
        tail.chunks.push(chunk.text.clone());
        // One that is full or gone is dropped, which its receiver sees as the end.
        live.followers.retain(|follower| follower.try_send(chunk.clone()).is_ok());
    }

    /// Forgets what a segment has brought into the log: all chunks below `next_chunk`.
    pub fn recorded(&self, session: SessionId, message: MessageId, next_chunk: u32, is_last: bool) {
        let mut sessions = self.lock();
        let Some(live) = sessions.get_mut(&session) else { return };
        if is_last {
            live.open.remove(&message);
        } else if let Some(tail) = live.open.get_mut(&message) {
            tail.forget_before(next_chunk);
        }
        Self::tidy(&mut sessions, session);
    }

    /// Forgets all open messages of a session: its coding agent ended its turn or is gone.
    pub fn close(&self, session: SessionId) {
        let mut sessions = self.lock();
        if let Some(live) = sessions.get_mut(&session) {
            live.open.clear();
        }
        Self::tidy(&mut sessions, session);
    }

    fn tidy(sessions: &mut HashMap<SessionId, LiveSession>, session: SessionId) {
        let Some(live) = sessions.get_mut(&session) else { return };
        live.followers.retain(|follower| !follower.is_closed());
        if live.open.is_empty() && live.followers.is_empty() {
            sessions.remove(&session);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, LiveSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    fn next_chunk(&self) -> u32 {
        self.first_chunk.saturating_add(self.n_chunks())
    }

    fn n_chunks(&self) -> u32 {
        u32::try_from(self.chunks.len()).unwrap_or(u32::MAX)
    }

    fn forget_before(&mut self, chunk: u32) {
        let n_known = chunk.saturating_sub(self.first_chunk).min(self.n_chunks());
        let n_known = usize::try_from(n_known).unwrap_or(usize::MAX);
        let n_bytes: usize = self.chunks.drain(..n_known).map(|text| text.len()).sum();
        self.n_bytes -= n_bytes;
        self.first_chunk = self.first_chunk.max(chunk);
    }

    fn snapshot(&self, message: MessageId) -> OpenMessage {
        OpenMessage {
            message,
            kind: self.kind,
            first_chunk: self.first_chunk,
            n_chunks: self.n_chunks(),
            text: self.chunks.concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        agent_protocol::{LiveChunk, TextKind},
        ids::{MessageId, SessionId},
    };
    use futures_util::FutureExt as _;
    use uuid::Uuid;

    use super::{FOLLOWER_CHUNKS_MAX, LiveHub};

    const SESSION: SessionId = SessionId(Uuid::from_u128(1));
    const MESSAGE: MessageId = MessageId(Uuid::from_u128(2));

    fn chunk(number: u32, text: &str) -> LiveChunk {
        LiveChunk {
            session: SESSION,
            epoch: 1,
            message: MESSAGE,
            kind: TextKind::Answer,
            chunk: number,
            text: text.to_owned(),
        }
    }

    #[tokio::test]
    async fn a_follower_gets_what_is_open_and_then_what_comes() {
        let hub = LiveHub::default();
        hub.chunk(chunk(0, "one "));
        hub.chunk(chunk(1, "two "));
        let mut following = hub.follow(SESSION);
        assert_eq!(following.open[0].text, "one two ");
        hub.chunk(chunk(1, "two "));
        hub.chunk(chunk(2, "three"));
        assert_eq!(following.next().await.unwrap().text, "three");
    }

    #[test]
    fn what_is_recorded_is_not_kept() {
        let hub = LiveHub::default();
        (0..4).for_each(|number| hub.chunk(chunk(number, "x")));
        hub.recorded(SESSION, MESSAGE, 3, false);
        let open = hub.follow(SESSION).open;
        assert_eq!((open[0].first_chunk, open[0].n_chunks), (3, 1));
        hub.recorded(SESSION, MESSAGE, 4, true);
        assert!(hub.follow(SESSION).open.is_empty());
    }

    #[test]
    fn a_segment_ahead_of_the_chunks_leaves_no_old_text() {
        let hub = LiveHub::default();
        hub.chunk(chunk(0, "x"));
        hub.recorded(SESSION, MESSAGE, 5, false);
        hub.chunk(chunk(3, "late"));
        assert_eq!(hub.follow(SESSION).open[0].n_chunks, 0);
        hub.chunk(chunk(5, "new"));
        let open = hub.follow(SESSION).open;
        assert_eq!((open[0].first_chunk, open[0].text.as_str()), (5, "new"));
    }

    #[test]
    fn a_slow_follower_is_cut_off_and_others_are_not() {
        let hub = LiveHub::default();
        let mut slow = hub.follow(SESSION);
        let mut quick = hub.follow(SESSION);
        for number in 0..=u32::try_from(FOLLOWER_CHUNKS_MAX).unwrap() {
            hub.chunk(chunk(number, "x"));
            assert!(quick.next().now_or_never().flatten().is_some());
        }
        let n_got = std::iter::from_fn(|| slow.next().now_or_never().flatten()).count();
        assert_eq!(n_got, FOLLOWER_CHUNKS_MAX);
        assert!(slow.next().now_or_never().unwrap().is_none());
    }
}
