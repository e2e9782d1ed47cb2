//! Keeps the index of words up to date: reads the log, decrypts what was said, and hands over its words.
//!
//! It is no projection, since those cannot decrypt; but it is as disposable as one, and made again from
//! the log. It runs where the lease is held. The text of an erased project is gone, and so stays out.
//!
//! What cannot be read, however often it is tried, is passed over and noted: all else is found. Each start
//! looks whether some of that can be read by now, and then makes the index again.
//!
//! Read next: `projections/src/chat_search.rs`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use domain::{
    agent_protocol::TextKind,
    event::Event,
    event_sourced::EventSourced as _,
    ids::{AccountId, ContentId, MessageId, ProjectId, SessionId},
    session::{Session, SessionEvent},
    values::{ContentRef, Timestamp},
};
use projections::{
    chat_search::{Index, IndexedMessage, PassedOver, words},
    database::Database,
    error::DatabaseError,
    event_log::{EventLog, Position, RecordedEvent, StoredContent},
    read_models,
};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use crate::sealing::{Sealing, SealingError};

const EVENTS_PER_READ: usize = 512;
const PASSED_OVER_PER_READ: usize = 100;
const RETRY_PERIOD: Duration = Duration::from_millis(500);
/// How far what is saved may be behind what was read, where nothing was said.
const SAVE_PERIOD: Duration = Duration::from_millis(500);
/// Somebody may have emptied the index, or taken something out, while nothing was recorded.
const LOOK_PERIOD: Duration = Duration::from_secs(2);
/// Of a longer message the beginning is indexed. An index entry of PostgreSQL holds 1 MiB.
const INDEXED_BYTES_MAX: u32 = 256 * 1024;

/// Reads the log for the index.
pub(crate) struct ChatSearchIndexer {
    pub(crate) log: EventLog,
    pub(crate) index: Index,
    pub(crate) sealing: Sealing,
}

/// How far it has read.
struct Reading {
    saved: Position,
    at: Position,
    /// When what was read since is to be saved.
    save_by: Option<Instant>,
}

/// What a batch of events says of one message.
struct Said {
    position: Position,
    author: Option<AccountId>,
    at: Timestamp,
    /// Each with the position of its event.
    segments: Vec<(Position, ContentRef)>,
}

impl ChatSearchIndexer {
    pub(crate) fn new(database: &Database, log: &EventLog, sealing: &Sealing) -> Self {
        Self { log: log.clone(), index: Index::new(database), sealing: sealing.clone() }
    }

    /// Reads for ever; a fault is tried again.
    pub(crate) async fn run(self) {
        let mut head = self.log.watch();
        loop {
            if let Err(error) = self.follow(&mut head).await {
                tracing::warn!(%error, "indexing what was said is tried again");
                tokio::time::sleep(RETRY_PERIOD).await;
                continue;
            }
            // The log is closed: nothing will come any more.
            return;
        }
    }

    /// Reads on from what is saved, until the log is closed.
    async fn follow(&self, head: &mut watch::Receiver<Position>) -> Result<(), SealingError> {
        if self.can_read_more().await? {
            tracing::info!("what was said is indexed again, since more of it can be read now");
            self.index.clear().await?;
        }
        let saved = self.index.prepare().await?;
        let mut reading = Reading { saved, at: saved, save_by: None };
        loop {
            head.mark_unchanged();
            if self.step(&mut reading).await? {
                continue;
            }
            let look_by = reading.save_by.unwrap_or_else(|| Instant::now() + LOOK_PERIOD);
            match tokio::time::timeout_at(look_by, head.changed()).await {
                Ok(Err(_)) => return Ok(()),
                Err(_) if reading.save_by.is_none() => {
                    let saved = self.index.prepare().await?;
                    if saved != reading.saved {
                        reading = Reading { saved, at: saved, save_by: None };
                    }
                }
                Ok(Ok(())) | Err(_) => {}
            }
        }
    }

    /// Deals with one batch; tells whether there was anything.
    async fn step(&self, reading: &mut Reading) -> Result<bool, SealingError> {
        let events = self.log.read_new(reading.at, EVENTS_PER_READ).await?;
        let (mut messages, mut passed_over) = (Vec::new(), Vec::new());
        if let Some(last) = events.last() {
            for (id, said) in said(&events, &mut passed_over) {
                messages.extend(self.read(id, said, &mut passed_over).await?);
            }
            reading.at = last.position;
            reading.save_by.get_or_insert_with(|| Instant::now() + SAVE_PERIOD);
        }
        // Most events say nothing: that they were read is worth a transaction now and then.
        let is_due = reading.save_by.is_some_and(|save_by| save_by <= Instant::now());
        if !messages.is_empty() || !passed_over.is_empty() || is_due {
            crash_point::crash_point!("chat_search.before_advance");
            let (from, to) = (reading.saved, reading.at);
            let is_ours = self.index.advance(&messages, &passed_over, from, to).await?;
            if is_ours {
                // Once it is noted, and so only once.
                passed_over.iter().for_each(warn);
            }
            // Where another process was faster, its rows are as good; behind a purge it is read again.
            reading.saved = if is_ours { to } else { self.index.prepare().await? };
            reading.at = reading.saved;
            reading.save_by = None;
            return Ok(!is_ours || !events.is_empty());
        }
        Ok(!events.is_empty())
    }

    /// The whole message with its words; none where nothing of it can be read. What cannot is passed over.
    async fn read(
        &self,
        (session, message): (SessionId, MessageId),
        said: Said,
        passed_over: &mut Vec<PassedOver>,
    ) -> Result<Option<(IndexedMessage, String)>, SealingError> {
        let known = self.index.find(session, message).await?;
        let position = known.as_ref().map_or(said.position, |message| message.position);
        let author = known.as_ref().map_or(said.author, |message| message.author);
        let at = known.as_ref().map_or(said.at, |message| message.at);
        let before = known.iter().flat_map(|message| &message.segments);
        let mut all: Vec<_> = before.map(|segment| (position, segment.clone())).collect();
        for (event, segment) in said.segments {
            if !all.iter().any(|(_, known)| known.id == segment.id) {
                all.push((event, segment));
            }
        }
        let mut n_bytes = 0;
        let read = all.iter().take_while(|(_, segment)| {
            n_bytes += segment.length;
            n_bytes <= INDEXED_BYTES_MAX
        });
        let ids: Vec<Uuid> = read.map(|(_, segment)| segment.id.0).collect();
        let stored = self.stored(&ids).await?;
        let project = stored.first().map(|content| ProjectId(content.project));
        let project = known.as_ref().map(|message| message.project).or(project);
        let mut texts = self.readable(&stored).await?;
        let (mut text, mut segments) = (String::new(), Vec::with_capacity(all.len()));
        for (n, (event, segment)) in all.into_iter().enumerate() {
            match texts.remove(&segment.id) {
                Some(piece) => text.extend(piece),
                None if n < ids.len() => {
                    let (position, content) = (event, Some(segment));
                    passed_over.push(PassedOver { position, project, session, at, content });
                    continue;
                }
                None => {}
            }
            segments.push(segment);
        }
        // One that is known and cannot be read any more loses its words.
        let is_indexed = known.is_some() || !text.is_empty();
        let Some(project) = project.filter(|_| is_indexed) else { return Ok(None) };
        let words = words(&text);
        let message = IndexedMessage { position, project, session, message, author, at, segments };
        Ok(Some((message, words)))
    }

    /// The rows of texts: one by one where they cannot be read together, for then one of them is none.
    async fn stored(&self, ids: &[Uuid]) -> Result<Vec<StoredContent>, DatabaseError> {
        match self.log.contents(ids).await {
            Err(DatabaseError::Failed { .. }) => {}
            answer => return answer,
        }
        let mut stored = Vec::with_capacity(ids.len());
        for id in ids {
            match self.log.contents(&[*id]).await {
                Ok(found) => stored.extend(found),
                Err(DatabaseError::Failed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(stored)
    }

    /// Those that can be read, and none in the place of one that was erased. What is missing in the answer
    /// cannot be read, however often it is tried.
    async fn readable(
        &self,
        stored: &[StoredContent],
    ) -> Result<HashMap<ContentId, Option<String>>, SealingError> {
        let mut texts = HashMap::with_capacity(stored.len());
        for content in stored {
            match self.sealing.open_content(content).await {
                // Only a tombstone says that it was erased: a key may also be lost.
                Ok(text) if text.is_some() || content.ciphertext.is_empty() => {
                    texts.insert(ContentId(content.id), text);
                }
                Ok(_)
                | Err(
                    SealingError::Unreadable { .. }
                    | SealingError::Database(DatabaseError::Failed { .. }),
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(texts)
    }

    /// Tells whether something that was passed over can be read by now: by this program, or since somebody
    /// has mended it.
    async fn can_read_more(&self) -> Result<bool, SealingError> {
        let mut after = 0;
        loop {
            let passed_over = self.index.passed_over(after, PASSED_OVER_PER_READ).await?;
            let Some(last) = passed_over.last() else { return Ok(false) };
            after = last.position;
            let (mut ids, mut undecoded) = (Vec::new(), Vec::new());
            for PassedOver { position, content, .. } in &passed_over {
                match content {
                    Some(content) => ids.push(content.id.0),
                    None => undecoded.push(*position),
                }
            }
            let events = self.log.read_positions(&undecoded).await?;
            let stored = self.stored(&ids).await?;
            if events.iter().any(|event| read_models::decode(event).is_ok())
                || !self.readable(&stored).await?.is_empty()
            {
                return Ok(true);
            }
        }
    }
}

/// Says where it is, and never what it says.
fn warn(passed_over: &PassedOver) {
    let PassedOver { position, session, content, .. } = passed_over;
    let content = content.as_ref().map(|content| content.id.to_string());
    tracing::warn!(position, %session, content, "this cannot be read, and no search finds it");
}

/// What was said in a batch of events, message by message. What cannot be decoded is passed over.
fn said(
    events: &[Arc<RecordedEvent>],
    passed_over: &mut Vec<PassedOver>,
) -> BTreeMap<(SessionId, MessageId), Said> {
    let mut messages: BTreeMap<(SessionId, MessageId), Said> = BTreeMap::new();
    for recorded in events.iter().filter(|recorded| recorded.stream.kind == Session::TYPE) {
        let (position, at) = (recorded.position, recorded.metadata.at);
        let (session, event) = match read_models::decode(recorded) {
            Ok(Some(Event::Session(session, event))) => (session, event),
            Ok(_) => continue,
            // The projector says why.
            Err(_) => {
                let session = SessionId(recorded.stream.id);
                let (project, content) = (None, None);
                passed_over.push(PassedOver { position, project, session, at, content });
                continue;
            }
        };
        let (message, author, content) = match event {
            SessionEvent::MessagePosted { message, author, content, .. } => {
                (message, Some(author), content)
            }
            SessionEvent::SegmentRecorded(segment)
                if segment.kind == TextKind::Answer && segment.n_chunks > 0 =>
            {
                (segment.message, None, segment.content)
            }
            _ => continue,
        };
        let begun = Said { position, author, at, segments: Vec::new() };
        messages.entry((session, message)).or_insert(begun).segments.push((position, content));
    }
    messages
}

impl std::fmt::Debug for ChatSearchIndexer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ChatSearchIndexer")
    }
}

/// Takes all that was said in a project out of the index.
pub async fn purge(database: &Database, project: ProjectId) -> Result<(), DatabaseError> {
    Index::new(database).purge(project).await
}
