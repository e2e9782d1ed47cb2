//! Who is signed in, and to what.

use actix_web::{
    get,
    web::{Data, Json},
};
use projections::account_list;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{VERSION, caller::Caller, problem::Problem, sample_repository, server::Server};

/// The caller, as the server sees them.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedIn {
    pub account: Account,
    pub installation: Uuid,
    /// Of SAM.
    pub version: String,
    /// A small repository that came with SAM, to try it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_repository: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    pub id: Uuid,
    pub name: String,
}

/// Who is signed in.
#[utoipa::path(responses((status = OK, body = SignedIn)))]
#[get("/auth/session")]
pub(crate) async fn signed_in(
    caller: Caller,
    server: Data<Server>,
) -> Result<Json<SignedIn>, Problem> {
    let row = account_list::find(server.database(), caller.account).await?;
    let name = row.ok_or_else(Problem::signed_out)?.name;
    Ok(Json(SignedIn {
        account: Account { id: caller.account.0, name },
        installation: server.installation().0,
        version: VERSION.to_owned(),
        sample_repository: sample_repository::find(&server.settings().data_dir),
    }))
}
