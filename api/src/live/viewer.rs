//! What one browser sees of the live feed, and what it has seen already.
//!
//! What has to be looked up in the read models is looked up beside: streamed text goes on meanwhile, and
//! changes wait in their order. Nothing is sent any more once nobody is signed in, whatever is under way.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix_web::web::{Bytes, Data};
use actix_ws::{CloseCode, CloseReason};
use actors::live_hub::Following;
use domain::{
    agent_protocol::LiveChunk,
    ids::{MessageId, SessionId},
};
use futures_util::future::BoxFuture;
use projections::{
    chat_transcript::{self, ItemKind},
    event_log::Position,
};

use crate::{
    access,
    caller::Caller,
    live::{
        feed::{Change, Relations},
        frames::{ChangedItem, Chunk, ClientFrame, Hello, OpenMessage, OpenMessages, ServerFrame},
        sign_in::{self, SIGNED_OUT, SignedOut},
    },
    problem::Problem,
    queries::items::{self, Item},
    server::Server,
};

/// What the actor takes.
pub(super) enum Input {
    Opened,
    Text(String),
    Ping(Bytes),
    Pong,
    Change(Arc<Change>),
    Chunk(LiveChunk),
    /// The hub cut this browser off from a session: it was too slow.
    CutOff(SessionId),
    /// What a lookup has found; none where the read models are away.
    Found(SessionId, Option<Vec<chat_transcript::Item>>),
    /// Items as the browser gets them, with the position of each one's change.
    Rendered(SessionId, Option<Vec<(Position, Item)>>),
    /// Too many changes were missed.
    Lagged,
    Tick,
    SignedOut,
    Closed,
}

/// What the actor is to do.
pub(super) enum Effect {
    Follow(SessionId, Following),
    Unfollow(SessionId),
    /// To be done beside, with its outcome as the next input.
    LookUp(BoxFuture<'static, Input>),
    Close,
}

/// The browser has gone away, or never answers.
struct Gone;

/// How many sessions one browser may follow.
const FOLLOWED_MAX: usize = 32;
/// How far back changes are announced one by one; who was away for longer is told to read everything again.
const RESUMED_EVENTS_MAX: u64 = 10_000;
const EVENTS_PER_READ: usize = 1000;
/// How many of the newest items are looked through for unfinished ones.
const NEWEST_ITEMS: usize = 30;
const CHANGED_ITEMS_MAX: usize = 200;
/// A browser that did not answer so many pings is gone.
const UNANSWERED_PINGS_MAX: u8 = 3;

/// How long a browser that is slow has for the last frame.
const CLOSE_PERIOD_MAX: Duration = Duration::from_secs(5);

/// How many changes may wait for a lookup.
const CHANGES_WAITING_MAX: usize = 4096;

pub(super) struct Viewer {
    server: Data<Server>,
    caller: Caller,
    socket: actix_ws::Session,
    signed_out: SignedOut,
    resume_after: Option<Position>,
    position: Position,
    followed: HashMap<SessionId, Followed>,
    /// The change whose items are being looked up, and those after it.
    looked_up: Option<Arc<Change>>,
    waiting: VecDeque<Arc<Change>>,
    n_unanswered: u8,
}

/// What is known about a followed session.
#[derive(Default)]
struct Followed {
    /// It is in the read models. A session may be followed a moment before it is.
    is_known: bool,
    /// Item changes up to here were sent.
    seen: Position,
    /// Open messages with the number of the chunk that comes next.
    next_chunk: HashMap<MessageId, u32>,
}

impl Followed {
    /// Whether a change of this session has to be looked up. What was streamed already has not.
    fn has_news(&self, change: &Change) -> bool {
        change.streamed.is_none_or(|streamed| {
            self.next_chunk.get(&streamed.message).is_none_or(|next| *next < streamed.next_chunk)
        })
    }

    /// Drops of what has changed what was sent already, and remembers the rest as seen.
    fn keep_news(&mut self, found: &mut Vec<chat_transcript::Item>) {
        found.retain(|item| item.changed > self.seen);
        self.seen = found.iter().map(|item| item.changed).max().unwrap_or(self.seen);
        found.retain(|item| match &item.what {
            // What was streamed chunk by chunk is not sent again until the message is complete.
            ItemKind::Message(message) if !message.is_complete && !message.is_truncated => {
                let streamed = self.next_chunk.get(&message.message).copied();
                streamed.is_none_or(|next| message.n_chunks > next)
            }
            _ => true,
        });
    }

    /// Remembers how far messages have come that are sent as items.
    fn note(&mut self, rows: &[chat_transcript::Item]) {
        for row in rows {
            let ItemKind::Message(message) = &row.what else { continue };
            if message.is_complete {
                self.next_chunk.remove(&message.message);
            } else {
                let next = self.next_chunk.entry(message.message).or_default();
                *next = message.n_chunks.max(*next);
            }
        }
    }
}

impl Viewer {
    pub(super) fn new(
        server: Data<Server>,
        caller: Caller,
        socket: actix_ws::Session,
        resume_after: Option<Position>,
    ) -> Self {
        Self {
            signed_out: sign_in::signed_out(&server, &caller),
            server,
            caller,
            socket,
            resume_after,
            position: 0,
            followed: HashMap::new(),
            looked_up: None,
            waiting: VecDeque::new(),
            n_unanswered: 0,
        }
    }

    /// Resolves once nobody is signed in here any more.
    pub(super) fn signed_out(&self) -> SignedOut {
        self.signed_out.clone()
    }

    /// Deals with one input to its end, or until nobody is signed in any more: what waits for a slow browser then
    /// is not sent either.
    pub(super) async fn handle(&mut self, input: Input) -> Vec<Effect> {
        let signed_out = self.signed_out();
        let reason = tokio::select! {
            biased;
            () = signed_out => {
                Some(CloseReason::from((CloseCode::from(SIGNED_OUT), "signed out")))
            }
            dealt_with = self.deal_with(input) => match dealt_with {
                Ok(effects) => return effects,
                Err(Gone) => None,
            },
        };
        // Who does not read what was sent before does not get this either, and is cut off.
        let closing = self.socket.clone().close(reason);
        let _ = tokio::time::timeout(CLOSE_PERIOD_MAX, closing).await;
        vec![Effect::Close]
    }

    async fn deal_with(&mut self, input: Input) -> Result<Vec<Effect>, Gone> {
        match input {
            Input::Opened => self.welcome().await?,
            Input::Text(text) => {
                self.n_unanswered = 0;
                return self.obey(&text).await;
            }
            Input::Ping(bytes) => self.socket.pong(&bytes).await.map_err(|_| Gone)?,
            Input::Pong => self.n_unanswered = 0,
            Input::Change(change) if self.looked_up.is_some() => {
                if self.waiting.len() >= CHANGES_WAITING_MAX {
                    return self.lag().await;
                }
                self.waiting.push_back(change);
            }
            Input::Change(change) => return self.show(change).await,
            Input::Found(session, found) => return self.found(session, found.ok_or(Gone)?).await,
            Input::Rendered(session, rendered) => {
                for (position, item) in rendered.ok_or(Gone)? {
                    let frame = ChangedItem { session: session.0, position, item };
                    self.send(&ServerFrame::Item(frame)).await?;
                }
                return self.go_on().await;
            }
            Input::Chunk(chunk) => self.pass_on(chunk).await?,
            Input::CutOff(session) => return self.follow(session).await,
            Input::Lagged => return self.lag().await,
            Input::Tick => {
                self.n_unanswered += 1;
                if self.n_unanswered > UNANSWERED_PINGS_MAX {
                    return Err(Gone);
                }
                self.socket.ping(b"").await.map_err(|_| Gone)?;
            }
            // Being signed out was seen before this was dealt with; here it is only what wakes the actor.
            Input::SignedOut | Input::Closed => return Err(Gone),
        }
        Ok(Vec::new())
    }

    async fn welcome(&mut self) -> Result<(), Gone> {
        let position = self.server.projected_position();
        self.position = position;
        let after =
            self.resume_after.filter(|after| position.saturating_sub(*after) <= RESUMED_EVENTS_MAX);
        let hello = Hello { position, is_resumed: after.is_some() };
        self.send(&ServerFrame::Hello(hello)).await?;
        let (mut after, mut relations) = (after.unwrap_or(position), Relations::default());
        while after < position {
            // What cannot be read now is read when the browser comes back.
            let missed = self.server.log().read_all(after, EVENTS_PER_READ).await;
            let missed = missed.map_err(|_| Gone)?;
            after = missed.last().map_or(position, |event| event.position);
            for event in missed.iter().filter(|event| event.position <= position) {
                if let Some(changed) = relations.change(event).announced {
                    self.send(&ServerFrame::Changed(changed)).await?;
                }
            }
        }
        Ok(())
    }

    async fn obey(&mut self, text: &str) -> Result<Vec<Effect>, Gone> {
        match serde_json::from_str(text) {
            Ok(ClientFrame::Follow(followed)) => self.follow(SessionId(followed.session)).await,
            Ok(ClientFrame::Unfollow(followed)) => {
                let session = SessionId(followed.session);
                self.followed.remove(&session);
                Ok(vec![Effect::Unfollow(session)])
            }
            // A frame that nobody understands comes from no page of ours.
            Err(_) => Err(Gone),
        }
    }

    async fn follow(&mut self, session: SessionId) -> Result<Vec<Effect>, Gone> {
        if !self.followed.contains_key(&session) && self.followed.len() >= FOLLOWED_MAX {
            return Err(Gone);
        }
        // First the hub, then the read models: what leaves the one is in the other by then.
        let following = self.server.system().follow(session).await;
        self.server.settled().await;
        if self.followed.get(&session).is_some_and(|followed| followed.is_known) {
            // Followed again: what ended while nobody followed is told first.
            self.send_changed(session).await?;
        } else {
            let seen = self.server.projected_position();
            let is_known = access::session(&self.server, &self.caller, session).await.is_ok();
            let followed = Followed { is_known, seen, ..Followed::default() };
            self.followed.insert(session, followed);
            if !is_known {
                return Ok(Vec::new());
            }
        }
        self.send_unfinished(session).await?;
        let open: Vec<_> = following.open.iter().map(OpenMessage::from).collect();
        if let Some(followed) = self.followed.get_mut(&session) {
            for message in &open {
                let next = followed.next_chunk.entry(MessageId(message.message)).or_default();
                if message.first_chunk <= *next {
                    *next = message.n_chunks.max(*next);
                }
            }
        }
        let frame = OpenMessages { session: session.0, messages: open };
        self.send(&ServerFrame::Open(frame)).await?;
        Ok(vec![Effect::Follow(session, following)])
    }

    async fn send_unfinished(&mut self, session: SessionId) -> Result<(), Gone> {
        let database = self.server.database();
        let page = chat_transcript::page(database, session, None, NEWEST_ITEMS).await;
        let page = page.unwrap_or_default();
        let unfinished = page.items.into_iter().filter(|item| match &item.what {
            ItemKind::Message(message) => !message.is_complete,
            ItemKind::ToolCall { ended_at, .. } => ended_at.is_none(),
            ItemKind::Permission { answer, .. } => answer.is_none(),
            _ => false,
        });
        self.send_items(session, unfinished.collect()).await
    }

    async fn lag(&mut self) -> Result<Vec<Effect>, Gone> {
        self.send(&ServerFrame::Lagging).await?;
        Err(Gone)
    }

    async fn show(&mut self, change: Arc<Change>) -> Result<Vec<Effect>, Gone> {
        if change.position <= self.position {
            return Ok(Vec::new());
        }
        self.position = change.position;
        let mut effects = Vec::new();
        if let Some(session) = change.session.map(SessionId) {
            match self.followed.get(&session) {
                Some(followed) if followed.is_known && followed.has_news(&change) => {
                    let lookup = self.look_up(session, followed.seen);
                    self.looked_up = Some(change);
                    return Ok(vec![Effect::LookUp(lookup)]);
                }
                Some(followed) if followed.is_known => {}
                Some(_) => effects = self.follow(session).await?,
                None => {}
            }
        }
        self.announce(&change).await?;
        Ok(effects)
    }

    async fn announce(&mut self, change: &Change) -> Result<(), Gone> {
        match &change.announced {
            Some(changed) => self.send(&ServerFrame::Changed(changed.clone())).await,
            None => Ok(()),
        }
    }

    fn look_up(&self, session: SessionId, seen: Position) -> BoxFuture<'static, Input> {
        let server = self.server.clone();
        Box::pin(async move {
            let database = server.database();
            let found =
                chat_transcript::changed_after(database, session, seen, CHANGED_ITEMS_MAX).await;
            Input::Found(session, found.ok())
        })
    }

    /// Has what was found rendered, or goes on if nothing of it is news by now.
    async fn found(
        &mut self,
        session: SessionId,
        mut found: Vec<chat_transcript::Item>,
    ) -> Result<Vec<Effect>, Gone> {
        let Some(followed) = self.followed.get_mut(&session) else { return self.go_on().await };
        followed.keep_news(&mut found);
        if found.is_empty() {
            return self.go_on().await;
        }
        followed.note(&found);
        let server = self.server.clone();
        let rendering = async move {
            let changes: Vec<Position> = found.iter().map(|item| item.changed).collect();
            let rendered = items::render(&server.system().sealing, found).await;
            let rendered = rendered.map(|items| changes.into_iter().zip(items).collect());
            Input::Rendered(session, rendered.ok())
        };
        Ok(vec![Effect::LookUp(Box::pin(rendering))])
    }

    /// After a lookup: announces its change, and shows those that waited.
    async fn go_on(&mut self) -> Result<Vec<Effect>, Gone> {
        if let Some(change) = self.looked_up.take() {
            self.announce(&change).await?;
        }
        let mut effects = Vec::new();
        while self.looked_up.is_none()
            && let Some(change) = self.waiting.pop_front()
        {
            effects.extend(self.show(change).await?);
        }
        Ok(effects)
    }

    /// Sends what a session has that was not sent yet, and waits for it.
    async fn send_changed(&mut self, session: SessionId) -> Result<(), Gone> {
        let Some(followed) = self.followed.get_mut(&session) else { return Ok(()) };
        let (database, seen) = (self.server.database(), followed.seen);
        let changed =
            chat_transcript::changed_after(database, session, seen, CHANGED_ITEMS_MAX).await;
        let mut changed = changed.map_err(|_| Gone)?;
        followed.keep_news(&mut changed);
        self.send_items(session, changed).await
    }

    async fn send_items(
        &mut self,
        session: SessionId,
        rows: Vec<chat_transcript::Item>,
    ) -> Result<(), Gone> {
        if rows.is_empty() {
            return Ok(());
        }
        if let Some(followed) = self.followed.get_mut(&session) {
            followed.note(&rows);
        }
        let changes: Vec<Position> = rows.iter().map(|row| row.changed).collect();
        let rendered =
            items::render(self.server.sealing(), rows).await.map_err(|_: Problem| Gone)?;
        for (item, position) in rendered.into_iter().zip(changes) {
            let frame = ChangedItem { session: session.0, position, item };
            self.send(&ServerFrame::Item(frame)).await?;
        }
        Ok(())
    }

    async fn pass_on(&mut self, chunk: LiveChunk) -> Result<(), Gone> {
        let Some(followed) = self.followed.get_mut(&chunk.session) else { return Ok(()) };
        let next = followed.next_chunk.entry(chunk.message).or_default();
        if chunk.chunk == *next {
            *next += 1;
        }
        self.send(&ServerFrame::Chunk(Chunk {
            session: chunk.session.0,
            message: chunk.message.0,
            kind: chunk.kind.into(),
            chunk: chunk.chunk,
            text: chunk.text,
        }))
        .await
    }

    async fn send(&mut self, frame: &ServerFrame) -> Result<(), Gone> {
        let text = serde_json::to_string(frame).map_err(|_| Gone)?;
        self.socket.text(text).await.map_err(|_| Gone)
    }
}

impl From<&actors::live_hub::OpenMessage> for OpenMessage {
    fn from(open: &actors::live_hub::OpenMessage) -> Self {
        Self {
            message: open.message.0,
            kind: open.kind.into(),
            first_chunk: open.first_chunk,
            n_chunks: open.first_chunk.saturating_add(open.n_chunks),
            text: open.text.clone(),
        }
    }
}
