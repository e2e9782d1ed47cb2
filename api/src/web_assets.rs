//! The built UI, embedded in the binary.
//!
//! Files with a hash in their name never change and may be kept for ever; everything else is asked for
//! again. An address that names no file is a page of the UI, which finds its way by itself.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, CacheControl, CacheDirective, ETag, EntityTag, Header, IfNoneMatch},
};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::problem::Problem;

#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Built;

const PAGE: &str = "index.html";
/// Where the bundler puts files with a hash in their name.
const HASHED: &str = "assets/";
const YEAR_SECONDS: u32 = 31_536_000;

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<title>SAM</title><h1>The UI is not built</h1>\
<p>This SAM was built without its web UI. Everything works from the command line: \
<code>sam run --repo PATH_OR_URL \"the idea\"</code>.</p>\
<p>To get the UI, run <code>cargo xtask run</code>, or <code>npm ci &amp;&amp; npm run build</code> in \
<code>api/web</code>, then build again.</p></html>";

/// Serves a file of the UI, or its page.
pub async fn serve(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path = request.path().trim_start_matches('/');
    if let Some(file) = Built::get(path).filter(|_| !path.is_empty()) {
        let is_hashed = path.starts_with(HASHED);
        return Ok(answer(&request, path, file, is_hashed));
    }
    if path.starts_with(HASHED) || path.starts_with("api/") {
        return Err(Problem::not_found("page"));
    }
    match Built::get(PAGE) {
        Some(page) => Ok(answer(&request, PAGE, page, false)),
        None => Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(NOT_BUILT)),
    }
}

fn answer(request: &HttpRequest, path: &str, file: EmbeddedFile, is_hashed: bool) -> HttpResponse {
    let hash = file.metadata.sha256_hash();
    let tag: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    // Weak, because the bytes differ once they are compressed.
    let tag = EntityTag::new_weak(tag);
    let caching = if is_hashed {
        CacheControl(vec![
            CacheDirective::Public,
            CacheDirective::MaxAge(YEAR_SECONDS),
            CacheDirective::Extension("immutable".to_owned(), None),
        ])
    } else {
        CacheControl(vec![CacheDirective::NoCache])
    };
    if is_known(request, &tag) {
        return HttpResponse::NotModified()
            .insert_header(ETag(tag))
            .insert_header(caching)
            .finish();
    }
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type(path)))
        .insert_header(ETag(tag))
        .insert_header(caching)
        .body(file.data.into_owned())
}

fn is_known(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        Ok(IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Err(_) => false,
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
