//! Cancelling an execution, and deciding for one that cannot go on by itself.

use actix_web::{
    HttpResponse, post, put,
    web::{Data, Json},
};
use domain::{execution::ExecutionCommand, ids::ExecutionId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access,
    caller::{Caller, Id},
    commands::credential::StoreCredential,
    problem::Problem,
    server::Server,
    wire::{Accepted, mirrored},
};

/// What a person says to an execution that needs input.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnswerInput {
    pub choice: InputChoice,
}

mirrored! {
    /// `continue` asks the prompt whose outcome is unknown again; `park` gives up and keeps the work.
    in "snake_case" InputChoice = domain::execution::InputChoice { Continue, Park, }
}

/// Cancels an execution. What it did so far is kept under a checkpoint ref.
#[utoipa::path(responses((status = ACCEPTED, body = Accepted)))]
#[post("/executions/{execution}/cancel")]
pub(crate) async fn cancel(
    caller: Caller,
    id: Id,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    server.settled().await;
    let id = access::execution(&server, &caller, ExecutionId(id.0)).await?.id;
    let position = server.system().ideas.cancel(&caller.person(), id).await?;
    Ok(HttpResponse::Accepted().json(Accepted::at(position)))
}

/// Decides for an execution that cannot go on by itself.
#[utoipa::path(responses((status = ACCEPTED, body = Accepted)))]
#[post("/executions/{execution}/input")]
pub(crate) async fn answer_input(
    caller: Caller,
    id: Id,
    body: Json<AnswerInput>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    server.settled().await;
    let id = access::execution(&server, &caller, ExecutionId(id.0)).await?.id;
    let command = (id, ExecutionCommand::AnswerInput { choice: body.choice.into() });
    let position = server.system().dispatcher.send(&caller.person(), command, Vec::new()).await?;
    Ok(HttpResponse::Accepted().json(Accepted::at(position)))
}

/// Lends a model key to one execution; it is kept in memory only and never stored.
#[utoipa::path(responses((status = NO_CONTENT)))]
#[put("/executions/{execution}/model-key")]
pub(crate) async fn lend_model_key(
    _caller: Caller,
    id: Id,
    body: Json<StoreCredential>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    server.system().lend_model_key(ExecutionId(id.0), &body.secret);
    Ok(HttpResponse::NoContent().finish())
}
