//! The way from a coding agent to its model, on which the key is put in.
//!
//! A coding agent in a container gets the proxy's address and a token of its session; the key stays
//! here. The token is in the path, so that every client works that allows a base URL. Requests and
//! answers are streamed, redirects are not followed (they could carry the key elsewhere), and
//! nothing of either is logged.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::header::HeaderName, web};
use bytes::Bytes;
use domain::{agent_protocol::ModelAccess, ids::SessionId};
use futures_util::StreamExt as _;
use tokio::sync::{Mutex, mpsc};

use crate::{engine::Engine, journal::Journal, secrets::SessionSecrets, tasks};

/// Longest request to a model: a long context with images.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How many pieces of a request wait for a slow model.
const PIECES_WAITING_MAX: usize = 16;
const CONNECT_PERIOD_MAX: Duration = Duration::from_secs(20);
/// The journal's name for the port: running coding agents have it in their environment.
const PORT_SETTING: &str = "model_proxy_port";

/// Headers that belong to one connection, and those that the proxy sets itself.
const OWN_HEADERS: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "x-api-key",
    "authorization",
];

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
#[error("the model proxy cannot listen where containers reach it: {reason}")]
pub struct ProxyError {
    reason: String,
}

type Keys = Arc<RwLock<HashMap<String, (SessionId, ModelAccess)>>>;

/// The proxy; it listens from the first session on that needs it.
pub struct ModelProxy {
    engine: Arc<dyn Engine>,
    journal: Journal,
    keys: Keys,
    address: Mutex<Option<SocketAddr>>,
}

impl ModelProxy {
    pub fn new(engine: Arc<dyn Engine>, journal: Journal) -> Self {
        Self { engine, journal, keys: Keys::default(), address: Mutex::new(None) }
    }

    /// Lets a session through, and says under which address.
    pub async fn admit(
        &self,
        session: SessionId,
        secrets: &SessionSecrets,
    ) -> Result<String, ProxyError> {
        let address = self.listen().await?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, (holder, _)| *holder != session);
        keys.insert(secrets.token.clone(), (session, secrets.model.clone()));
        Ok(format!("http://{address}/m/{}", secrets.token))
    }

    /// Lets a session through no longer.
    pub fn dismiss(&self, session: SessionId) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, (holder, _)| *holder != session);
    }

    async fn listen(&self) -> Result<SocketAddr, ProxyError> {
        let mut address = self.address.lock().await;
        if let Some(address) = *address {
            return Ok(address);
        }
        let host = self.engine.host_address().await.map_err(cannot_listen)?;
        let port = self.journal.setting(PORT_SETTING).await.map_err(cannot_listen)?;
        let port = port.and_then(|port| port.parse().ok()).unwrap_or(0);
        let bound = serve(host, port, Arc::clone(&self.keys)).map_err(cannot_listen)?;
        self.journal
            .set_setting(PORT_SETTING, &bound.port().to_string())
            .await
            .map_err(cannot_listen)?;
        *address = Some(bound);
        Ok(bound)
    }
}

fn cannot_listen(error: impl std::fmt::Display) -> ProxyError {
    ProxyError { reason: error.to_string() }
}

/// Listens on the port of the last time if it is free, else on any.
fn serve(host: IpAddr, port: u16, keys: Keys) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((host, port)).or_else(|_| TcpListener::bind((host, 0)))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_PERIOD_MAX)
        .build()
        .map_err(std::io::Error::other)?;
    let (keys, client) = (web::Data::from(keys), web::Data::new(client));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(keys.clone())
            .app_data(client.clone())
            .route("/m/{token}/{path:.*}", web::to(forward))
    })
    .workers(1)
    .disable_signals()
    .listen(listener)?
    .run();
    tasks::spawn("model proxy", server);
    Ok(address)
}

async fn forward(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    body: web::Payload,
    keys: web::Data<RwLock<HashMap<String, (SessionId, ModelAccess)>>>,
    client: web::Data<reqwest::Client>,
) -> HttpResponse {
    let (token, path) = path.into_inner();
    let known = {
        let keys = keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(&token).map(|(_, model)| model.clone())
    };
    let Some(model) = known else {
        return plain(HttpResponse::Unauthorized(), "this session is not known here");
    };
    let length = request.headers().get("content-length").and_then(|value| value.to_str().ok());
    let length: Option<usize> = length.and_then(|value| value.parse().ok());
    if length.is_some_and(|length| length > REQUEST_BYTES_MAX) {
        return plain(HttpResponse::PayloadTooLarge(), "the request is longer than 64 MiB");
    }
    let Some(upstream) = upstream(&request, &path, &model, &client) else {
        return plain(HttpResponse::BadGateway(), "the model's address cannot be used");
    };
    let has_body = length.is_some_and(|length| length > 0)
        || request.headers().contains_key("transfer-encoding");
    let upstream = if has_body { upstream.body(streamed(body)) } else { upstream };
    match upstream.send().await {
        Ok(answer) => answered(answer),
        Err(error) => {
            tracing::warn!(error = %error.without_url(), "the model does not answer");
            plain(HttpResponse::BadGateway(), "the model does not answer")
        }
    }
}

/// The same request with the key put in.
fn upstream(
    request: &HttpRequest,
    path: &str,
    model: &ModelAccess,
    client: &reqwest::Client,
) -> Option<reqwest::RequestBuilder> {
    let base = model.base_url.trim_end_matches('/');
    let query = request.query_string();
    let mark = if query.is_empty() { "" } else { "?" };
    let url: reqwest::Url = format!("{base}/{path}{mark}{query}").parse().ok()?;
    let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes()).ok()?;
    let mut upstream = client.request(method, url);
    for (name, value) in request.headers() {
        if !OWN_HEADERS.contains(&name.as_str()) {
            upstream = upstream.header(name.as_str(), value.as_bytes());
        }
    }
    // Clients show their token in one header or the other; the model expects its key in the same.
    let is_bearer = request.headers().contains_key("authorization");
    if is_bearer {
        upstream = upstream.bearer_auth(&model.key);
    }
    if !is_bearer || request.headers().contains_key("x-api-key") {
        upstream = upstream.header("x-api-key", &model.key);
    }
    Some(upstream)
}

/// Hands the body on piece by piece: actix's stream stays on its thread, reqwest wants one that may move.
fn streamed(mut body: web::Payload) -> reqwest::Body {
    let (pieces, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(PIECES_WAITING_MAX);
    actix_web::rt::spawn(async move {
        let mut n_bytes = 0;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(std::io::Error::other);
            n_bytes += piece.as_ref().map_or(0, Bytes::len);
            let piece = match piece {
                Ok(_) if n_bytes > REQUEST_BYTES_MAX => Err(std::io::Error::other("too long")),
                piece => piece,
            };
            let is_over = piece.is_err();
            if pieces.send(piece).await.is_err() || is_over {
                return;
            }
        }
    });
    reqwest::Body::wrap_stream(futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    }))
}

fn answered(answer: reqwest::Response) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(answer.status().as_u16())
        .unwrap_or(actix_web::http::StatusCode::BAD_GATEWAY);
    let mut response = HttpResponse::build(status);
    for (name, value) in answer.headers() {
        let is_own = OWN_HEADERS.contains(&name.as_str()) || name == "content-length";
        if let (false, Ok(name)) = (is_own, name.as_str().parse::<HeaderName>()) {
            response.append_header((name, value.as_bytes()));
        }
    }
    response.streaming(answer.bytes_stream())
}

fn plain(mut response: actix_web::HttpResponseBuilder, reason: &str) -> HttpResponse {
    response.json(serde_json::json!({ "error": { "type": "sam_proxy", "message": reason } }))
}
