//! Writing ideas down and having them carried out.

use actix_web::{
    HttpResponse, patch, post,
    web::{Data, Json},
};
use actors::submit_idea::{Choices, NewIdea, Submitted, Wish};
use domain::{
    idea::IdeaCommand,
    ids::{ExecutionId, IdeaId, ProjectId, derived},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    server::Server,
    wire::{Accepted, StartChoices},
};

/// A new idea.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateIdea {
    /// The same id again is the same idea, and gives the same answer.
    pub idea: Uuid,
    pub description: String,
    pub stage: FirstStage,
    /// Where it is executed at once: the id of the execution. Absent: it follows from the idea's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Uuid>,
    #[serde(flatten)]
    pub choices: StartChoices,
}

/// Where an idea begins: `executing` creates and executes it in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirstStage {
    Exploring,
    Ready,
    Executing,
}

/// What is to be changed; what is absent stays.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeIdea {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<NextStage>,
}

/// Where a person may move an idea; the other stages are reached by work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NextStage {
    Exploring,
    Ready,
    Parked,
}

/// A draft to be carried out, or a parked idea once more.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecuteIdea {
    pub execution: Uuid,
    #[serde(flatten)]
    pub choices: StartChoices,
}

/// Writes an idea down, or submits it: then it is created and executed in one step.
#[utoipa::path(responses((status = ACCEPTED, body = Accepted)))]
#[post("/projects/{project}/ideas")]
pub(crate) async fn create(
    caller: Caller,
    project: Id,
    body: Json<CreateIdea>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    let CreateIdea { idea, description, stage, execution, choices } = body.into_inner();
    server.check_length(&description)?;
    let wish = match stage {
        FirstStage::Exploring => Wish::Explore,
        FirstStage::Ready => Wish::Ready,
        FirstStage::Executing => Wish::Execute {
            execution: execution.map(ExecutionId),
            session: None,
            choices: choices.into(),
        },
    };
    let new = NewIdea { project: ProjectId(project.0), idea: IdeaId(idea), description, wish };
    let person = caller.person_with(derived(idea, "create"));
    let submitted = server.system().ideas.submit(&person, new).await?;
    Ok(HttpResponse::Accepted().json(Accepted::from(submitted)))
}

/// Rewrites an idea, or moves it on the board.
#[utoipa::path(operation_id = "change_idea", responses((status = ACCEPTED, body = Accepted)))]
#[patch("/ideas/{idea}")]
pub(crate) async fn change(
    caller: Caller,
    id: Id,
    body: Json<ChangeIdea>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    server.settled().await;
    let id = access::idea(&server, &caller, IdeaId(id.0)).await?.id;
    let ChangeIdea { description, stage } = body.into_inner();
    let mut accepted = None;
    if let Some(description) = description {
        server.check_length(&description)?;
        let person = caller.person_for("describe");
        accepted = Some(server.system().ideas.describe(&person, id, &description).await?);
    }
    if let Some(stage) = stage {
        let command = match stage {
            NextStage::Exploring => IdeaCommand::MarkExploring,
            NextStage::Ready => IdeaCommand::MarkReady,
            NextStage::Parked => IdeaCommand::Park,
        };
        let person = caller.person_for("stage");
        accepted = Some(server.system().dispatcher.send(&person, (id, command), Vec::new()).await?);
    }
    let position = accepted.ok_or_else(|| Problem::malformed("Say what is to be changed."))?;
    let accepted = Accepted { idea: Some(id.0), ..Accepted::at(position) };
    Ok(HttpResponse::Accepted().json(accepted))
}

/// Executes a draft, or a parked idea once more.
#[utoipa::path(responses((status = ACCEPTED, body = Accepted)))]
#[post("/ideas/{idea}/executions")]
pub(crate) async fn execute(
    caller: Caller,
    id: Id,
    body: Json<ExecuteIdea>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    server.settled().await;
    let id = access::idea(&server, &caller, IdeaId(id.0)).await?.id;
    let ExecuteIdea { execution, choices } = body.into_inner();
    let person = caller.person_with(derived(execution, "execute"));
    let ideas = &server.system().ideas;
    let submitted = ideas.execute(&person, id, ExecutionId(execution), &choices.into()).await?;
    Ok(HttpResponse::Accepted().json(Accepted::from(submitted)))
}

impl From<StartChoices> for Choices {
    fn from(choices: StartChoices) -> Self {
        Self {
            coding_agent: choices.coding_agent.map(Into::into),
            profile: choices.profile.map(Into::into),
            base_branch: choices.base_branch.filter(|branch| !branch.trim().is_empty()),
            permissions: choices.permissions.map(Into::into),
            provider: None,
        }
    }
}

impl From<Submitted> for Accepted {
    fn from(submitted: Submitted) -> Self {
        Self {
            position: submitted.position,
            idea: Some(submitted.idea.0),
            session: submitted.session.map(|id| id.0),
            execution: submitted.execution.map(|id| id.0),
        }
    }
}
