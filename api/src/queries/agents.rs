//! Which coding agents there are, and what each of them lacks.

use actix_web::{
    get,
    web::{Data, Json},
};
use projections::credential_list;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{caller::Caller, problem::Problem, server::Server, wire::CodingAgentKind};

/// A program that can be given an idea.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodingAgent {
    pub kind: CodingAgentKind,
    pub name: String,
    pub is_demo: bool,
    pub is_available: bool,
    /// What it lacks, for example "anthropic key".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Which coding agents there are, and what each of them lacks.
#[utoipa::path(responses((status = OK, body = [CodingAgent])))]
#[get("/agents")]
pub(crate) async fn agents(
    caller: Caller,
    server: Data<Server>,
) -> Result<Json<Vec<CodingAgent>>, Problem> {
    let credentials = credential_list::list(server.database(), caller.account).await?;
    let has_key =
        credentials.iter().any(|row| row.kind == domain::credential::CredentialKind::Anthropic);
    Ok(Json(vec![
        CodingAgent {
            kind: CodingAgentKind::ClaudeCode,
            name: "Claude Code".to_owned(),
            is_demo: false,
            is_available: has_key,
            needs: (!has_key).then(|| "anthropic key".to_owned()),
            hint: match (has_key, server.is_preparing_coding_agent()) {
                (false, _) => Some("Add your Anthropic API key in Settings.".to_owned()),
                (true, true) => Some(
                    "It is being fetched, which takes some minutes; ideas for it wait.".to_owned(),
                ),
                (true, false) => None,
            },
        },
        CodingAgent {
            kind: CodingAgentKind::Demo,
            name: "Demo agent".to_owned(),
            is_demo: true,
            is_available: true,
            needs: None,
            hint: Some(
                "It follows simple directives and needs no key; it is no real coding agent."
                    .to_owned(),
            ),
        },
    ]))
}
