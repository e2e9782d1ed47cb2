//! Having a read model try again, or made again.

use actix_web::{
    HttpResponse, post,
    web::{Data, Path},
};
use projections::projection_status::Request;

use crate::{caller::Caller, problem::Problem, server::Server};

/// Has a parked read model try again at the event that stopped it.
#[utoipa::path(responses((status = ACCEPTED)))]
#[post("/projections/{projection}/retry")]
pub(crate) async fn retry(
    _caller: Caller,
    name: Path<String>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    ask(&server, &name, Request::Retry).await
}

/// Has the tables of a read model made again from the whole log, beside the old ones.
#[utoipa::path(responses((status = ACCEPTED)))]
#[post("/projections/{projection}/rebuild")]
pub(crate) async fn rebuild(
    _caller: Caller,
    name: Path<String>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    ask(&server, &name, Request::Rebuild).await
}

async fn ask(server: &Server, name: &str, request: Request) -> Result<HttpResponse, Problem> {
    if !server.system().ask_projection(name, request).await? {
        return Err(Problem::not_found("projection"));
    }
    Ok(HttpResponse::Accepted().finish())
}
