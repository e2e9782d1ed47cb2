//! Whether the server answers, for people and for load balancers.

use actix_web::{
    get,
    web::{Data, Json},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{VERSION, server::Server};

/// The server is up.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `ok`.
    pub status: String,
    pub version: String,
    /// How far the read models have come.
    pub position: u64,
}

/// Whether the server answers.
#[utoipa::path(responses((status = OK, body = Health)))]
#[get("/health")]
pub(crate) async fn health(server: Data<Server>) -> Json<Health> {
    Json(Health {
        status: "ok".to_owned(),
        version: VERSION.to_owned(),
        position: server.projected_position(),
    })
}
