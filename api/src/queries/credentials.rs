//! Which secrets are kept. The secrets themselves are never read back.

use actix_web::{
    get,
    web::{Data, Json},
};
use chrono::{DateTime, Utc};
use projections::credential_list::{self, CredentialRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{caller::Caller, problem::Problem, server::Server, wire::CredentialKind};

/// A secret that was lent to SAM, without the secret.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    pub kind: CredentialKind,
    pub added_at: DateTime<Utc>,
    /// Enough to recognise it by.
    pub last_four: String,
}

/// Which secrets are kept.
#[utoipa::path(responses((status = OK, body = [Credential])))]
#[get("/credentials")]
pub(crate) async fn credentials(
    caller: Caller,
    server: Data<Server>,
) -> Result<Json<Vec<Credential>>, Problem> {
    let rows = credential_list::list(server.database(), caller.account).await?;
    let document = |row: CredentialRow| Credential {
        kind: row.kind.into(),
        added_at: row.added_at,
        last_four: row.last_four,
    };
    Ok(Json(rows.into_iter().map(document).collect()))
}
