//! Signing in and out.

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time::Duration},
    http::StatusCode,
    post,
    web::{Data, Json},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    caller::Caller,
    problem::Problem,
    server::{BROWSER_PERIOD, Server},
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
    let gone = cookie(&server, String::new()).max_age(Duration::ZERO).finish();
    Ok(HttpResponse::NoContent().cookie(gone).finish())
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
