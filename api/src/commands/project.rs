//! Linking a repository, naming it, and choosing what its executions take by default.

use actix_web::{
    HttpResponse, delete, patch, post,
    web::{Data, Json},
};
use domain::{ids::ProjectId, project::ProjectCommand};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    queries::projects::ProjectDefaults,
    server::Server,
    wire::Accepted,
};

/// A repository to be linked.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkProject {
    pub id: Uuid,
    /// Any URL that git understands, or an absolute path on the server's machine.
    pub repository: String,
    /// Absent: the last part of the repository's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What is to be changed; what is absent stays.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeProject {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Replaces all defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<ProjectDefaults>,
}

/// Links a repository. The same id with the same repository changes nothing.
#[utoipa::path(responses((status = ACCEPTED, body = Accepted)))]
#[post("/projects")]
pub(crate) async fn link(
    caller: Caller,
    body: Json<LinkProject>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let LinkProject { id, repository, name } = body.into_inner();
    let repository = repository.trim().to_owned();
    let name = name.filter(|name| !name.trim().is_empty());
    let name = name.unwrap_or_else(|| name_of(&repository));
    let person = caller.person();
    server.system().dispatcher.check_account(caller.account).await?;
    let command = ProjectCommand::Link { owner: caller.account, repository, name };
    let dispatcher = &server.system().dispatcher;
    let position = dispatcher.send(&person, (ProjectId(id), command), Vec::new()).await?;
    Ok(HttpResponse::Accepted().json(Accepted::at(position)))
}

/// Renames a project, or changes its defaults.
#[utoipa::path(operation_id = "change_project", responses((status = ACCEPTED, body = Accepted)))]
#[patch("/projects/{project}")]
pub(crate) async fn change(
    caller: Caller,
    id: Id,
    body: Json<ChangeProject>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    server.settled().await;
    let id = access::project(&server, &caller, ProjectId(id.0)).await?.id;
    let ChangeProject { name, defaults } = body.into_inner();
    let rename = name.map(|name| ProjectCommand::Rename { name });
    let change =
        defaults.map(|defaults| ProjectCommand::ChangeDefaults { defaults: defaults.into() });
    let mut accepted = None;
    for (word, command) in [("rename", rename), ("defaults", change)] {
        let Some(command) = command else { continue };
        let person = caller.person_for(word);
        let sent = server.system().dispatcher.send(&person, (id, command), Vec::new()).await?;
        accepted = Some(sent);
    }
    let position = accepted.ok_or_else(|| Problem::malformed("Say what is to be changed."))?;
    Ok(HttpResponse::Accepted().json(Accepted::at(position)))
}

/// Which project is to be erased, by its name, so that nobody erases the wrong one.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EraseProject {
    /// The project's name.
    pub confirm: String,
}

/// Destroys all texts of a project for ever: messages, prompts, tool output, diffs. What runs in it is
/// cancelled first. Answers once this is recorded; the project document says when it is done.
#[utoipa::path(operation_id = "erase_project", responses((status = ACCEPTED, body = Accepted)))]
#[delete("/projects/{project}")]
pub(crate) async fn erase(
    caller: Caller,
    id: Id,
    body: Json<EraseProject>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    server.settled().await;
    let project = access::project(&server, &caller, ProjectId(id.0)).await?;
    if !project.is_erased() && body.confirm != project.name {
        let detail = format!(
            "Erasing cannot be undone. To erase this project, confirm it with its name, {}.",
            project.name
        );
        return Err(Problem::invalid("not_confirmed", detail));
    }
    let (person, command) = (caller.person(), ProjectCommand::Erase);
    let dispatcher = &server.system().dispatcher;
    let position = dispatcher.send(&person, (project.id, command), Vec::new()).await?;
    Ok(HttpResponse::Accepted().json(Accepted::at(position)))
}

/// The last part of an address, as people call the repository.
fn name_of(repository: &str) -> String {
    let last = repository.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let name = last.strip_suffix(".git").unwrap_or(last);
    if name.is_empty() { "project".to_owned() } else { name.chars().take(100).collect() }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn a_project_is_called_like_its_repository() {
        assert_eq!(name_of("https://example.com/team/shop.git"), "shop");
        assert_eq!(name_of("git@example.com:team/shop.git"), "shop");
        assert_eq!(name_of("/srv/git/shop/"), "shop");
        assert_eq!(name_of("/"), "project");
    }
}
