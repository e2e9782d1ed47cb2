//! Who is signed in, and to what.

use actix_web::{
    get,
    web::{Data, Json},
};
use domain::{account, ids::AccountId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    VERSION,
    caller::{Caller, Id},
    problem::Problem,
    sample_repository,
    server::Server,
    texts::ERASED,
};

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
    // The stream is asked: a read model may not show somebody new yet, and a page takes it as final that nobody is
    // signed in.
    let state = server.system().dispatcher.state::<account::Account>(caller.account.0).await?;
    let account::Account::Registered { name } = &*state else {
        return Err(Problem::signed_out());
    };
    Ok(Json(SignedIn {
        account: Account { id: caller.account.0, name: name.clone() },
        installation: server.installation().0,
        version: VERSION.to_owned(),
        sample_repository: sample_repository::find(&server.settings().data_dir),
    }))
}

/// An account, and how far it is erased.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountState {
    pub id: Uuid,
    pub name: String,
    /// Its erasure was asked for, and is under way.
    pub is_erasing: bool,
    pub is_erased: bool,
}

/// The caller's account.
#[utoipa::path(operation_id = "own_account", responses((status = OK, body = AccountState)))]
#[get("/account")]
pub(crate) async fn own(
    caller: Caller,
    server: Data<Server>,
) -> Result<Json<AccountState>, Problem> {
    state_of(&server, caller.account).await
}

/// One account. An erased one is known by its id only, to whoever owns the installation after it.
#[utoipa::path(operation_id = "account", responses((status = OK, body = AccountState)))]
#[get("/accounts/{account}")]
pub(crate) async fn by_id(
    caller: Caller,
    id: Id,
    server: Data<Server>,
) -> Result<Json<AccountState>, Problem> {
    if caller.account.0 != id.0 && caller.account != server.owner() {
        return Err(Problem::not_found("account"));
    }
    state_of(&server, AccountId(id.0)).await
}

/// The stream is asked, since what it says is final.
async fn state_of(server: &Server, id: AccountId) -> Result<Json<AccountState>, Problem> {
    let state = server.system().dispatcher.state::<account::Account>(id.0).await?;
    let (is_erasing, is_erased) = match &*state {
        account::Account::Unknown => return Err(Problem::not_found("account")),
        account::Account::Registered { .. } => (false, false),
        account::Account::Erasing => (true, false),
        account::Account::Erased => (false, true),
    };
    let name = match &*state {
        account::Account::Registered { name } => name.clone(),
        _ => ERASED.to_owned(),
    };
    Ok(Json(AccountState { id: id.0, name, is_erasing, is_erased }))
}
