//! Lending a secret to SAM, and taking it back.

use actix_web::{
    HttpResponse, delete, put,
    web::{Data, Json, Path},
};
use domain::credential::CredentialKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{caller::Caller, problem::Problem, server::Server, wire::Accepted};

/// A secret to be encrypted and kept.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreCredential {
    /// Never readable again.
    pub secret: String,
}

/// Stores a secret, in place of the one of its kind if there is one.
#[utoipa::path(responses((status = ACCEPTED, body = Accepted)))]
#[put("/credentials/{kind}")]
pub(crate) async fn store(
    caller: Caller,
    kind: Path<String>,
    body: Json<StoreCredential>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let kind = kind_of(&kind)?;
    let credentials = &server.system().credentials;
    let position = credentials.put(&caller.person(), kind, &body.secret).await?;
    match kind {
        CredentialKind::Anthropic => server.prepare_coding_agent(),
    }
    Ok(HttpResponse::Accepted().json(Accepted::at(position)))
}

/// Removes a secret for good.
#[utoipa::path(responses((status = ACCEPTED, body = Accepted)))]
#[delete("/credentials/{kind}")]
pub(crate) async fn remove(
    caller: Caller,
    kind: Path<String>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let kind = kind_of(&kind)?;
    let position = server.system().credentials.remove(&caller.person(), kind).await?;
    Ok(HttpResponse::Accepted().json(Accepted::at(position)))
}

fn kind_of(name: &str) -> Result<CredentialKind, Problem> {
    let kind = CredentialKind::ALL.into_iter().find(|kind| kind.name() == name);
    kind.ok_or_else(|| Problem::not_found("kind of credential"))
}
