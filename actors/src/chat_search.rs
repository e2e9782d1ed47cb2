//! Keeps the index of words up to date: reads the log, decrypts what was said, and hands over its words.
//!
//! It is no projection, since those cannot decrypt; but it is as disposable as one, and made again from
//! the log. It runs where the lease is held. The text of an erased project is gone, and so stays out.
//!
//! Read next: `projections/src/chat_search.rs`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use domain::{
    agent_protocol::TextKind,
    event::Event,
    event_sourced::EventSourced as _,
    ids::{AccountId, ContentId, MessageId, ProjectId, SessionId},
    session::{Session, SessionEvent},
    values::{ContentRef, Timestamp},
};
use projections::{
    chat_search::{Index, IndexedMessage, words},
    database::Database,
    error::DatabaseError,
    event_log::{EventLog, Position, RecordedEvent, StoredContent},
    read_models,
};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use crate::sealing::{Sealing, SealingError};

const EVENTS_PER_READ: usize = 512;
const RETRY_PERIOD: Duration = Duration::from_millis(500);
/// How far what is saved may be behind what was read, where nothing was said.
const SAVE_PERIOD: Duration = Duration::from_millis(500);
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
    segments: Vec<ContentRef>,
}

impl ChatSearchIndexer {
    pub(crate) fn new(database: &Database, log: &EventLog, sealing: &Sealing) -> Self {
        Self { log: log.clone(), index: Index::new(database), sealing: sealing.clone() }
    }

    /// Reads for ever; a fault is tried again.
    pub(crate) async fn run(self) {
        let mut head = self.log.watch();
        while let Err(error) = self.index.prepare().await {
            tracing::warn!(%error, "the index of words is tried again");
            tokio::time::sleep(RETRY_PERIOD).await;
        }
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
        let saved = self.index.position().await?;
        let mut reading = Reading { saved, at: saved, save_by: None };
        loop {
            head.mark_unchanged();
            if self.step(&mut reading).await? {
                continue;
            }
            let moved = match reading.save_by {
                None => head.changed().await,
                Some(save_by) => match tokio::time::timeout_at(save_by, head.changed()).await {
                    Ok(moved) => moved,
                    Err(_) => Ok(()),
                },
            };
            if moved.is_err() {
                return Ok(());
            }
        }
    }

    /// Deals with one batch; tells whether there was anything.
    async fn step(&self, reading: &mut Reading) -> Result<bool, SealingError> {
        let events = self.log.read_new(reading.at, EVENTS_PER_READ).await?;
        let mut messages = Vec::new();
        if let Some(last) = events.last() {
            for ((session, message), said) in said(&events) {
                messages.extend(self.read(session, message, said).await?);
            }
            reading.at = last.position;
            reading.save_by.get_or_insert_with(|| Instant::now() + SAVE_PERIOD);
        }
        // Most events say nothing: that they were read is worth a transaction now and then.
        let is_due = reading.save_by.is_some_and(|save_by| save_by <= Instant::now());
        if !messages.is_empty() || is_due {
            crash_point::crash_point!("chat_search.before_advance");
            let is_ours = self.index.advance(&messages, reading.saved, reading.at).await?;
            // Where another process was faster, its rows are as good.
            reading.saved = if is_ours { reading.at } else { self.index.position().await? };
            reading.at = reading.saved;
            reading.save_by = None;
        }
        Ok(!events.is_empty())
    }

    /// The whole message with its words; none where its text was erased.
    async fn read(
        &self,
        session: SessionId,
        message: MessageId,
        said: Said,
    ) -> Result<Option<(IndexedMessage, String)>, SealingError> {
        let known = self.index.find(session, message).await?;
        let mut segments = known.as_ref().map_or_else(Vec::new, |message| message.segments.clone());
        for segment in said.segments {
            if !segments.iter().any(|known| known.id == segment.id) {
                segments.push(segment);
            }
        }
        let mut n_bytes = 0;
        let indexed = segments.iter().take_while(|segment| {
            n_bytes += segment.length;
            n_bytes <= INDEXED_BYTES_MAX
        });
        let ids: Vec<Uuid> = indexed.map(|segment| segment.id.0).collect();
        let stored = self.log.contents(&ids).await?;
        let Some(project) = stored.first().map(|content| ProjectId(content.project)) else {
            return Ok(None);
        };
        let text = self.text(&ids, &stored).await?;
        if text.is_empty() {
            return Ok(None);
        }
        let position = known.as_ref().map_or(said.position, |message| message.position);
        let author = known.as_ref().map_or(said.author, |message| message.author);
        let at = known.as_ref().map_or(said.at, |message| message.at);
        let words = words(&text);
        let message = IndexedMessage { position, project, session, message, author, at, segments };
        Ok(Some((message, words)))
    }

    async fn text(&self, ids: &[Uuid], stored: &[StoredContent]) -> Result<String, SealingError> {
        let texts = self.sealing.open_contents(stored).await?;
        let pieces = ids.iter().filter_map(|id| texts.get(&ContentId(*id)));
        Ok(pieces.map(String::as_str).collect())
    }
}

/// What was said in a batch of events, message by message.
fn said(events: &[Arc<RecordedEvent>]) -> BTreeMap<(SessionId, MessageId), Said> {
    let mut messages: BTreeMap<(SessionId, MessageId), Said> = BTreeMap::new();
    for recorded in events.iter().filter(|recorded| recorded.stream.kind == Session::TYPE) {
        // What cannot be decoded is noted by the projector.
        let Ok(Some(Event::Session(session, event))) = read_models::decode(recorded) else {
            continue;
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
        let begun = Said {
            position: recorded.position,
            author,
            at: recorded.metadata.at,
            segments: Vec::new(),
        };
        messages.entry((session, message)).or_insert(begun).segments.push(content);
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
