//! The browser API, described for programs. `api/openapi.json` is what this gives, and the types of the
//! UI are made from it.

use actix_web::{App, HttpResponse, get};
use utoipa::OpenApi;
use utoipa_actix_web::AppExt as _;

use crate::{commands, health, live::frames, problem, problem::Problem, queries, routes, wire};

/// Title, version, and the documents that no handler names: frames of the live feed.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "SAM's browser API",
        description = "Writes answer 202 with a log position; reads take `after` to wait for it.",
    ),
    components(schemas(
        wire::Accepted,
        problem::Problem,
        health::Health,
        frames::ServerFrame,
        frames::ClientFrame,
        commands::account::SignInLink,
        commands::credential::StoreCredential,
        commands::project::LinkProject,
        commands::project::ChangeProject,
        commands::idea::CreateIdea,
        commands::idea::ChangeIdea,
        commands::idea::ExecuteIdea,
        commands::execution::AnswerInput,
        commands::session::PostMessage,
        commands::session::AnswerPermission,
        commands::variable::SetVariable,
        queries::account::SignedIn,
        queries::agents::CodingAgent,
        queries::credentials::Credential,
        queries::audit::AuditEntries,
        queries::audit::AuditFormat,
        queries::audit::Heads,
        queries::audit::AuditVerification,
        queries::projects::Project,
        queries::ideas::Idea,
        queries::executions::Execution,
        queries::timeline::Timeline,
        queries::replay::ExecutionAt,
        queries::replay::Verification,
        queries::activity::Activity,
        queries::sessions::Session,
        queries::items::ItemPage,
        queries::chat_search::SearchPage,
        queries::nodes::Node,
        queries::workspaces::Workspace,
        queries::variables::Variable,
        queries::projections::Projections,
    ))
)]
struct Document;

/// The document of the API that a router serves.
#[utoipa::path(responses((status = OK, body = String, content_type = "application/json")))]
#[get("/openapi.json")]
pub(crate) async fn document() -> Result<HttpResponse, Problem> {
    let text = text().map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().content_type("application/json").body(text))
}

/// The document as it is checked in: made from the very routes that are served.
pub fn text() -> Result<String, serde_json::Error> {
    let api = utoipa_actix_web::scope("/api").configure(routes::browser_api);
    let (_, served) = App::new().into_utoipa_app().service(api).split_for_parts();
    let mut whole = Document::openapi();
    whole.merge(served);
    let mut text = whole.to_pretty_json()?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checked_in_document_is_current() {
        let current = super::text().unwrap();
        assert!(
            current == include_str!("../openapi.json"),
            "api/openapi.json is out of date: cargo run --bin sam -- openapi > api/openapi.json"
        );
    }
}
