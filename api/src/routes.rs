//! What is served where, told by the host and then by the path.
//!
//! | host | serves | lets in |
//! |---|---|---|
//! | `app.{domain}` | the UI, and the browser API under `/api` | cookies |
//! | `api.{domain}` | the same documents under `/api`, for machines | bearer tokens |
//! | `localhost`, `127.0.0.1`, `{domain}` | a redirect to the app | everybody |
//! | any host | `/health`, `/metrics` | everybody |
//!
//! Everything else is 404. A router exists once per kind of principal, so a route of one can never sit
//! behind the check of another.

use actix_web::{
    HttpRequest, HttpResponse, guard,
    http::header,
    middleware::{Compress, from_fn},
    web::{self, Data, JsonConfig, PathConfig, QueryConfig},
};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    caller,
    commands::{
        account, credential, execution, idea, node, project, projection, session, variable,
    },
    health,
    host::{self, Part},
    live, metrics, openapi,
    problem::Problem,
    queries, reading,
    server::Server,
    web_assets,
};

/// Room for JSON around the longest text, escapes included.
const BODY_OVERHEAD: usize = 6;
const BODY_SLACK_BYTES: usize = 16 * 1024;

/// Mounts everything.
pub fn configure(config: &mut web::ServiceConfig, server: &Data<Server>) {
    let hosts = server.hosts().clone();
    let settings = server.settings();
    let text_bytes_max = settings.message_bytes_max.max(settings.variable_bytes_max);
    let body_bytes_max = text_bytes_max * BODY_OVERHEAD + BODY_SLACK_BYTES;
    config
        .app_data(server.clone())
        .app_data(JsonConfig::default().limit(body_bytes_max).error_handler(json_problem))
        .app_data(QueryConfig::default().error_handler(|error, _| {
            Problem::malformed(format!("The address cannot be understood: {error}.")).into()
        }))
        .app_data(PathConfig::default().error_handler(|_, _| Problem::not_found("page").into()))
        .service(health::health)
        .service(metrics::metrics);
    let app = web::scope("").guard(guard::fn_guard(host::is(Part::App, hosts.clone()))).service(
        web::scope("/api")
            .wrap(from_fn(reading::after_position))
            .wrap(from_fn(caller::browser))
            .configure(|config| browser_api(&mut ServiceConfig::new(config)))
            .default_service(web::to(unknown)),
    );
    let app = if server.has_ui() {
        app.default_service(web::get().to(web_assets::serve))
    } else {
        app.default_service(web::to(unknown))
    };
    let machine = web::scope("")
        .guard(guard::fn_guard(host::is(Part::Machine, hosts.clone())))
        .service(
            web::scope("/api")
                .wrap(from_fn(reading::settled))
                .wrap(from_fn(reading::after_position))
                .wrap(from_fn(caller::machine))
                .configure(|config| machine_api(&mut ServiceConfig::new(config)))
                .default_service(web::to(unknown)),
        )
        .default_service(web::to(unknown));
    let bare = web::scope("")
        .guard(guard::fn_guard(host::is(Part::Bare, hosts)))
        .default_service(web::to(to_app));
    config.service(app).service(machine).service(bare).default_service(web::to(unknown));
}

/// Compression of answers.
#[must_use]
pub fn compression() -> Compress {
    Compress::default()
}

/// What a browser may ask for.
pub fn browser_api(config: &mut ServiceConfig<'_>) {
    config
        .service(account::use_link)
        .service(account::sign_out)
        .service(queries::account::signed_in)
        .service(openapi::document);
    shared_api(config);
}

/// What the command line may ask for.
fn machine_api(config: &mut ServiceConfig<'_>) {
    config
        .map(|config| config.service(queries::log::log).service(account::new_link))
        .service(execution::lend_model_key);
    shared_api(config);
}

fn shared_api(config: &mut ServiceConfig<'_>) {
    config
        .service(account::erase)
        .service(queries::account::own)
        .service(queries::account::by_id)
        .service(queries::agents::agents)
        .service(queries::credentials::credentials)
        .service(credential::store)
        .service(credential::remove)
        .service(queries::projects::projects)
        .service(queries::projects::project)
        .service(queries::activity::activity)
        .service(project::link)
        .service(project::change)
        .service(project::erase)
        .service(queries::variables::variables)
        .service(variable::set)
        .service(variable::remove)
        .service(queries::ideas::ideas)
        .service(queries::ideas::idea)
        .service(idea::create)
        .service(idea::change)
        .service(idea::execute)
        .service(queries::executions::execution)
        .service(queries::executions::diff)
        .service(queries::timeline::timeline)
        .service(queries::replay::execution_at)
        .service(queries::replay::verification)
        .service(execution::cancel)
        .service(execution::answer_input)
        .service(queries::sessions::sessions)
        .service(queries::sessions::session)
        .service(queries::items::items)
        .service(queries::chat_search::search)
        .service(session::post_message)
        .service(session::answer_permission)
        .service(queries::nodes::nodes)
        .service(queries::nodes::node)
        .service(node::stop)
        .service(queries::workspaces::workspaces)
        .service(queries::workspaces::workspace)
        .service(queries::projections::overview)
        .service(projection::retry)
        .service(projection::rebuild)
        .service(queries::audit::audit)
        .service(queries::audit::audit_export)
        .service(queries::audit::audit_heads)
        .service(queries::audit::audit_verify)
        .service(live::live);
}

async fn unknown() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found("page"))
}

async fn to_app(request: HttpRequest, server: Data<Server>) -> Result<HttpResponse, Problem> {
    if !server.has_ui() {
        return Err(Problem::not_found("page"));
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let location = format!("{}{path}", server.hosts().app_origin());
    Ok(HttpResponse::TemporaryRedirect().insert_header((header::LOCATION, location)).finish())
}

fn json_problem(
    error: actix_web::error::JsonPayloadError,
    request: &HttpRequest,
) -> actix_web::Error {
    use actix_web::error::JsonPayloadError as Error;
    let settings = request.app_data::<Data<Server>>().map(|server| server.settings());
    match error {
        Error::OverflowKnownLength { .. } | Error::Overflow { .. } => {
            let is_variable = request.match_pattern().is_some_and(|it| it.contains("/variables/"));
            if is_variable {
                let limit = settings.map_or(0, |settings| settings.variable_bytes_max);
                Problem::too_large("A variable's value", "VARIABLE_BYTES_MAX", limit)
            } else {
                let limit = settings.map_or(0, |settings| settings.message_bytes_max);
                Problem::too_large("A message", "MESSAGE_BYTES_MAX", limit)
            }
        }
        Error::ContentType => {
            Problem::malformed("Send JSON, with the header Content-Type: application/json.")
        }
        error => Problem::malformed(format!("The body cannot be understood: {error}.")),
    }
    .into()
}
