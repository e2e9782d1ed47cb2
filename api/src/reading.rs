//! Makes reads wait until they show what their reader has written.

use std::time::Duration;

use actix_web::{
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::Method,
    middleware::Next,
    web::{Data, Query},
};
use serde::Deserialize;

use crate::{problem::Problem, server::Server};

/// How long a read waits at most; then it answers with what there is.
pub const WAIT_PERIOD_MAX: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct After {
    after: Option<u64>,
}

/// Holds a read with `after=POSITION` until the read models have come there.
pub async fn after_position(
    server: Data<Server>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let is_feed = request.path().ends_with("/live");
    if request.method() == Method::GET && !is_feed && request.query_string().contains("after=") {
        let query = Query::<After>::from_query(request.query_string())
            .map_err(|_| Problem::malformed("`after` has to be a position, a whole number."))?;
        if let Some(position) = query.after {
            server.projected_up_to(position).await;
        }
    }
    next.call(request).await
}

/// Holds every read until it shows all that is recorded: for scripts, which have no positions at hand.
pub async fn settled(
    server: Data<Server>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if request.method() == Method::GET {
        server.settled().await;
    }
    next.call(request).await
}
