//! Signing in and out, and erasing an account.

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time::Duration},
    delete,
    http::StatusCode,
    post,
    web::{Data, Json},
};
use domain::account::{Account, AccountCommand};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    caller::Caller,
    problem::Problem,
    server::{BROWSER_PERIOD, Server},
    wire::Accepted,
};

/// What the fragment of a sign-in link holds.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignInLink {
    /// Good for one use.
    pub token: String,
}

/// Signs a browser in with the link that the server printed.
#[utoipa::path(responses((status = NO_CONTENT), (status = UNAUTHORIZED, body = Problem)))]
#[post("/auth/link")]
pub(crate) async fn use_link(
    link: Json<SignInLink>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let Some(signed_in) = server.system().sign_in.sign_in(&link.token).await? else {
        let detail = "This link was used already, or it is not one of this SAM's. Restart SAM, or run \
            `sam sign-in`, to get a new one.";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "link_used_or_unknown", detail));
    };
    let seconds = i64::try_from(BROWSER_PERIOD.as_secs()).unwrap_or(i64::MAX);
    let cookie = cookie(&server, signed_in.token).max_age(Duration::seconds(seconds)).finish();
    Ok(HttpResponse::NoContent().cookie(cookie).finish())
}

/// Signs this browser out.
#[utoipa::path(responses((status = NO_CONTENT)))]
#[post("/auth/sign-out")]
pub(crate) async fn sign_out(
    request: HttpRequest,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    if let Some(cookie) = request.cookie(server.hosts().cookie()) {
        server.system().sign_in.sign_out(cookie.value()).await?;
    }
    Ok(HttpResponse::NoContent().cookie(no_cookie(&server)).finish())
}

/// Which account is to be erased, by its name, so that nobody does it by mistake.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EraseAccount {
    /// The account's name.
    pub confirm: String,
}

/// Erases the caller's account for ever: all texts of all its projects, and its keys. What runs is cancelled
/// first, and every browser is signed out. Answers once this is recorded; the account document says when it
/// is done. Whoever signs in next, with a new link, is somebody else.
#[utoipa::path(operation_id = "erase_account", responses((status = ACCEPTED, body = Accepted)))]
#[delete("/account")]
pub(crate) async fn erase(
    caller: Caller,
    body: Json<EraseAccount>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let dispatcher = &server.system().dispatcher;
    // The stream is asked, not a read model: of this there is no second try.
    let account = dispatcher.state::<Account>(caller.account.0).await?;
    if let Account::Registered { name } = &*account
        && body.confirm != *name
    {
        let detail = format!(
            "Erasing cannot be undone. To erase this account, confirm it with its name, {name}."
        );
        return Err(Problem::invalid("not_confirmed", detail));
    }
    let (person, command) = (caller.person(), AccountCommand::RequestErasure);
    let position = dispatcher.send(&person, (caller.account, command), Vec::new()).await?;
    Ok(HttpResponse::Accepted().cookie(no_cookie(&server)).json(Accepted::at(position)))
}

/// In place of a cookie that is good for nothing any more.
fn no_cookie(server: &Server) -> Cookie<'static> {
    cookie(server, String::new()).max_age(Duration::ZERO).finish()
}

fn cookie(server: &Server, token: String) -> actix_web::cookie::CookieBuilder<'static> {
    Cookie::build(server.hosts().cookie(), token)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Strict)
        .secure(server.hosts().is_https)
}

/// Makes a new sign-in link; earlier ones are no longer good. For the command line only.
#[post("/sign-in-links")]
pub(crate) async fn new_link(
    _caller: Caller,
    server: Data<Server>,
) -> Result<Json<String>, Problem> {
    let token = server.system().sign_in.new_link().await?;
    Ok(Json(format!("{}/sign-in#{token}", server.hosts().app_origin())))
}
