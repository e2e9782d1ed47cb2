//! Who asks, and whether their request is their own.
//!
//! Each router has its own way of telling who calls: the browser's knows only cookies and demands
//! an exact `Origin` on every write and WebSocket, because `app`, `api` and `ws-*` are one site to a
//! browser; the machine's knows only the bearer token of this server's own command line. A handler
//! asks for a [`Caller`] and cannot tell the two apart.

use std::{
    future::{Ready, ready},
    net::IpAddr,
    str::FromStr as _,
};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest,
    body::MessageBody,
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header},
    middleware::Next,
    web::Data,
};
use domain::ids::{AccountId, CommandId, derived};
use projections::tokens::TokenHash;
use uuid::Uuid;

use crate::{problem::Problem, server::Server};

/// The header that makes a write repeatable where its body has no id.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// An account that asks, under the id of its command if it gave one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub account: AccountId,
    /// What a browser was let in by; none for the command line.
    pub cookie: Option<TokenHash>,
    key: Option<Uuid>,
}

impl Caller {
    #[must_use]
    pub fn new(account: AccountId) -> Self {
        Self { account, cookie: None, key: None }
    }

    /// The circumstances of a command: under the key of the request, or else under a new id.
    #[must_use]
    pub fn person(&self) -> actors::caller::Caller {
        self.person_with(actors::random::uuid())
    }

    /// The circumstances of one of several commands of a request; `word` tells them apart.
    #[must_use]
    pub fn person_for(&self, word: &str) -> actors::caller::Caller {
        let id = self.key.map_or_else(actors::random::uuid, |key| derived(key, word));
        actors::caller::Caller::person(self.account, CommandId(id))
    }

    /// The circumstances of a command whose body has an id that makes it repeatable.
    #[must_use]
    pub fn person_with(&self, id: Uuid) -> actors::caller::Caller {
        actors::caller::Caller::person(self.account, CommandId(self.key.unwrap_or(id)))
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Self>().copied();
        ready(caller.ok_or_else(Problem::signed_out))
    }
}

/// An id in the path. One that is malformed names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(pub Uuid);

impl FromRequest for Id {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let (noun, text) = request.match_info().iter().next().unwrap_or(("page", ""));
        ready(Uuid::from_str(text).map(Self).map_err(|_| Problem::not_found(noun)))
    }
}

/// Lets a browser in: the cookie says who it is, the origin that the page is ours.
pub async fn browser(
    server: Data<Server>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if is_write(&request) || is_upgrade(&request) {
        check_origin(&request, &server.hosts().app_origin())?;
    }
    let cookie = request.cookie(server.hosts().cookie());
    if let Some(cookie) = cookie
        && let Some(account) =
            server.system().sign_in.cookie(cookie.value()).await.map_err(Problem::from)?
    {
        let cookie = Some(TokenHash::of(cookie.value()));
        let caller = Caller { account, cookie, key: idempotency_key(&request)? };
        request.extensions_mut().insert(caller);
    }
    next.call(request).await
}

/// Lets the command line in: it reads the token from a file that only the server's owner can read.
pub async fn machine(
    server: Data<Server>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let is_near = request.peer_addr().is_some_and(|peer| is_loopback(peer.ip()));
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(token) = token.filter(|token| is_near && server.is_own_token(token)) else {
        let detail =
            "This address is for machines: send the token of server.json as a bearer token.";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "unknown_token", detail).into());
    };
    tracing::trace!(n_bytes = token.len(), "a machine's token is good");
    let key = idempotency_key(&request)?;
    let caller = Caller { account: server.newest_owner().await, cookie: None, key };
    request.extensions_mut().insert(caller);
    next.call(request).await
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn is_write(request: &ServiceRequest) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method())
}

fn is_upgrade(request: &ServiceRequest) -> bool {
    request.headers().contains_key(header::UPGRADE)
}

fn check_origin(request: &ServiceRequest, own: &str) -> Result<(), Problem> {
    let origin = request.headers().get(header::ORIGIN).and_then(|value| value.to_str().ok());
    if origin == Some(own) {
        return Ok(());
    }
    let detail = format!("Only pages of {own} may do this.");
    Err(Problem::new(StatusCode::FORBIDDEN, "wrong_origin", detail))
}

fn idempotency_key(request: &ServiceRequest) -> Result<Option<Uuid>, Problem> {
    let Some(value) = request.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().and_then(|text| Uuid::from_str(text).ok());
    key.map(Some).ok_or_else(|| Problem::malformed("The header Idempotency-Key has to be a UUID."))
}
