//! The live feed: one WebSocket a browser, one actor a socket, as long as the browser is signed in.
//!
//! The actor takes one input at a time: a frame of the browser, a change in the log, a chunk of
//! streamed text, what a lookup beside it has found, the tick of its clock. It writes through actix-ws's bounded queue and waits for room there;
//! meanwhile its own inputs are bounded too, and a browser that falls behind is told so and closed. It
//! comes back and resumes after the last position it saw.
//!
//! Read next: `live/viewer.rs` for what each input means, `live/feed.rs` for where changes come from,
//! `live/sign_in.rs` for when it is over.

pub mod feed;
pub mod frames;
mod sign_in;
mod viewer;

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, SpawnHandle,
    StreamHandler, WrapFuture as _,
};
use actix_web::{
    HttpRequest, HttpResponse, get,
    web::{Data, Payload, Query},
};
use actix_ws::{AggregatedMessage, MessageStream};
use domain::ids::SessionId;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use utoipa::IntoParams;

use crate::{
    caller::Caller,
    live::{
        feed::Change,
        viewer::{Effect, Input, Viewer},
    },
    problem::Problem,
    server::Server,
};

/// Browsers send a few dozen bytes at a time.
const FRAME_BYTES_MAX: usize = 16 * 1024;
const PING_PERIOD: Duration = Duration::from_secs(15);

/// Where to resume.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Resume {
    /// The last position that was seen.
    after: Option<u64>,
}

/// Opens the live feed (a WebSocket; frames are `ServerFrame` and `ClientFrame`). It is closed with the code
/// 4401 once the browser's sign-in has ended.
#[utoipa::path(params(Resume), responses((status = SWITCHING_PROTOCOLS)))]
#[get("/live")]
pub(crate) async fn live(
    caller: Caller,
    request: HttpRequest,
    body: Payload,
    resume: Query<Resume>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let upgrade = |_| Problem::malformed("This address is for WebSockets.");
    let (response, session, messages) = actix_ws::handle(&request, body).map_err(upgrade)?;
    let changes = server.feed().subscribe();
    let viewer = Viewer::new(server, caller, session, resume.after);
    Socket::start_with(viewer, messages, changes);
    Ok(response)
}

/// The actor of one socket.
struct Socket {
    /// Away while an input is dealt with.
    viewer: Option<Viewer>,
    followed: HashMap<SessionId, SpawnHandle>,
}

impl Socket {
    fn start_with(viewer: Viewer, messages: MessageStream, changes: Receiver<Arc<Change>>) {
        Self::create(move |ctx| {
            ctx.add_stream(stream::once(async { Input::Opened }));
            ctx.add_stream(client_inputs(messages));
            ctx.add_stream(change_inputs(changes));
            let signed_out = viewer.signed_out();
            ctx.add_stream(stream::once(async move {
                signed_out.await;
                Input::SignedOut
            }));
            let ticks = tokio::time::interval(PING_PERIOD);
            ctx.add_stream(stream::unfold(ticks, |mut ticks| async {
                ticks.tick().await;
                Some((Input::Tick, ticks))
            }));
            Self { viewer: Some(viewer), followed: HashMap::new() }
        });
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Follow(session, following) => {
                let chunks = stream::unfold(following, |mut following| async {
                    let chunk = following.next().await?;
                    Some((Input::Chunk(chunk), following))
                });
                let lost = stream::once(async move { Input::CutOff(session) });
                let handle = ctx.add_stream(chunks.chain(lost));
                if let Some(old) = self.followed.insert(session, handle) {
                    ctx.cancel_future(old);
                }
            }
            Effect::Unfollow(session) => {
                if let Some(old) = self.followed.remove(&session) {
                    ctx.cancel_future(old);
                }
            }
            Effect::LookUp(lookup) => {
                ctx.add_stream(stream::once(lookup));
            }
            Effect::Close => ctx.stop(),
        }
    }
}

impl Actor for Socket {
    type Context = Context<Self>;
}

impl StreamHandler<Input> for Socket {
    fn handle(&mut self, input: Input, ctx: &mut Self::Context) {
        let Some(mut viewer) = self.viewer.take() else {
            unreachable!("no input is taken while another is dealt with")
        };
        let dealt_with = async move {
            let effects = viewer.handle(input).await;
            (viewer, effects)
        };
        // Nothing else is handled until this is done, so frames leave in order.
        ctx.wait(dealt_with.into_actor(self).map(|(viewer, effects), actor, ctx| {
            actor.viewer = Some(viewer);
            for effect in effects {
                actor.perform(effect, ctx);
            }
        }));
    }

    // One of several streams has ended, which does not end the actor.
    fn finished(&mut self, _: &mut Self::Context) {}
}

fn client_inputs(messages: MessageStream) -> impl Stream<Item = Input> {
    let messages = messages
        .max_frame_size(FRAME_BYTES_MAX)
        .aggregate_continuations()
        .max_continuation_size(FRAME_BYTES_MAX);
    let inputs = messages.map(|message| match message {
        Ok(AggregatedMessage::Text(text)) => Input::Text(text.to_string()),
        Ok(AggregatedMessage::Ping(bytes)) => Input::Ping(bytes),
        Ok(AggregatedMessage::Pong(_)) => Input::Pong,
        Ok(AggregatedMessage::Close(_)) | Err(_) => Input::Closed,
        Ok(AggregatedMessage::Binary(_)) => Input::Text(String::new()),
    });
    inputs.chain(stream::once(async { Input::Closed }))
}

fn change_inputs(changes: Receiver<Arc<Change>>) -> impl Stream<Item = Input> {
    stream::unfold(Some(changes), |changes| async {
        let mut changes = changes?;
        match changes.recv().await {
            Ok(change) => Some((Input::Change(change), Some(changes))),
            Err(RecvError::Lagged(_)) => Some((Input::Lagged, None)),
            Err(RecvError::Closed) => Some((Input::Closed, None)),
        }
    })
}
