//! Saying something in a conversation, and answering what a coding agent asks.

use actix_web::{
    HttpResponse, post,
    web::{Data, Json, Path},
};
use actors::{dispatcher::DispatchError, submit_idea::execution_of};
use domain::{
    ids::{MessageId, SessionId, derived},
    session::SessionCommand,
};
use projections::idea_board;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    reading::WAIT_PERIOD_MAX,
    server::Server,
    wire::Accepted,
};

/// A follow-up. During a turn it is queued; after the execution is done it starts a new idea on the
/// same branch.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostMessage {
    pub message: Uuid,
    pub text: String,
}

/// The answer to a permission request.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnswerPermission {
    /// The id of one of its options.
    pub option: String,
}

/// The refusal of a session whose work is being saved.
const ENDING: &str = "ending";

/// Says something in a conversation.
#[utoipa::path(responses((status = ACCEPTED, body = Accepted)))]
#[post("/sessions/{session}/messages")]
pub(crate) async fn post_message(
    caller: Caller,
    id: Id,
    body: Json<PostMessage>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let PostMessage { message, text } = body.into_inner();
    server.check_length(&text)?;
    let person = caller.person_with(derived(message, "post"));
    let ideas = &server.system().ideas;
    let deadline = Instant::now() + WAIT_PERIOD_MAX;
    let posted = loop {
        let mut head = server.log().watch();
        head.mark_unchanged();
        match ideas.post(&person, SessionId(id.0), MessageId(message), &text).await {
            // Between the end of the coding agent's work and that of its execution nobody takes a
            // message; each step on the way is an event.
            Err(DispatchError::Refused { code, .. }) if code == ENDING => {
                let moved = tokio::time::timeout_at(deadline, head.changed()).await;
                moved.map_err(|_| Problem::busy())?.map_err(|_| Problem::busy())?;
            }
            posted => break posted?,
        }
    };
    let started = match posted.started {
        Some(started) => Some(started),
        // A repeat gets the first answer, also when the session has taken the message meanwhile.
        None => {
            let execution = execution_of(MessageId(message));
            server.settled().await;
            let idea = idea_board::idea_of(server.database(), execution).await?;
            idea.map(|idea| (idea, execution))
        }
    };
    Ok(HttpResponse::Accepted().json(Accepted {
        position: posted.position,
        idea: started.map(|(idea, _)| idea.0),
        session: Some(id.0),
        execution: started.map(|(_, execution)| execution.0),
    }))
}

/// Answers a coding agent's request for permission.
#[utoipa::path(responses((status = ACCEPTED, body = Accepted)))]
#[post("/sessions/{session}/permissions/{request}")]
pub(crate) async fn answer_permission(
    caller: Caller,
    path: Path<(String, String)>,
    body: Json<AnswerPermission>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let (session, request) = path.into_inner();
    let session = session.parse().map_err(|_| Problem::not_found("session"))?;
    let request = request.parse().map_err(|_| Problem::not_found("permission request"))?;
    server.settled().await;
    let session = access::session(&server, &caller, session).await?.id;
    let option = body.into_inner().option;
    let command = SessionCommand::AnswerPermission { request, option, by: caller.account };
    let dispatcher = &server.system().dispatcher;
    let position = dispatcher.send(&caller.person(), (session, command), Vec::new()).await?;
    Ok(HttpResponse::Accepted().json(Accepted::at(position)))
}
