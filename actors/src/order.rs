//! Turns an order as the log knows it into what the agent is told, and the answer into an outcome.
//!
//! The log has ids; texts, keys and settings are added here, at the last moment, and kept nowhere.
//!
//! Read next: `order/lookup.rs` for where the texts come from.

use std::time::Duration;

use domain::{
    agent_protocol::{
        CodingAgentKind, CodingAgentStart, Environment, ModelAccess, OpenWorkspace, Order,
        OrderOutcome, PublishTarget, Published, RefusalKind, StartSession,
    },
    credential::CredentialKind,
    ids::{ContentId, ExecutionId, WorkspaceId, derived},
    process::{OrderIntent, Outcome},
    values::{ExecutionResult, WorkspaceSpec},
    workspace::Workspace,
};
use projections::event_log::EventLog;
use uuid::Uuid;

use crate::{
    credentials::{Credentials, needed_by},
    dispatcher::{DispatchError, Dispatcher},
    effects::{Performed, failed},
    sealing::{Sealing, SealingError},
    settings::WorkspaceSettings,
    variables::Variables,
};

mod lookup;

const MINUTE: Duration = Duration::from_secs(60);

/// Why an order cannot be given.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: RefusalKind,
    pub(crate) reason: String,
}

impl From<DispatchError> for Refusal {
    fn from(error: DispatchError) -> Self {
        Self { kind: RefusalKind::Machine, reason: error.to_string() }
    }
}

impl From<SealingError> for Refusal {
    fn from(error: SealingError) -> Self {
        Self { kind: RefusalKind::Machine, reason: error.to_string() }
    }
}

/// What orders are made from. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) log: EventLog,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) sealing: Sealing,
    pub(crate) credentials: Credentials,
    pub(crate) variables: Variables,
    pub(crate) workspaces: WorkspaceSettings,
    pub(crate) anthropic_base_url: String,
}

impl Orders {
    /// How long an agent may take, counting the time that it is away.
    pub(crate) fn period_max(intent: &OrderIntent) -> Duration {
        match intent {
            // Cloning a large repository over a slow line.
            OrderIntent::OpenWorkspace { .. } => 30 * MINUTE,
            OrderIntent::StartSession { .. } => 5 * MINUTE,
            OrderIntent::Prompt { .. } | OrderIntent::AnswerPermission { .. } => 2 * MINUTE,
            OrderIntent::StopSession { .. } => MINUTE,
            // Pushing a large change over a slow line.
            OrderIntent::Publish { .. } => 15 * MINUTE,
            OrderIntent::CloseWorkspace { .. } | OrderIntent::Retire => 5 * MINUTE,
        }
    }

    /// What the agent is told.
    pub(crate) async fn order(&self, intent: &OrderIntent) -> Result<Order, Refusal> {
        Ok(match intent {
            OrderIntent::OpenWorkspace { workspace, execution, spec } => {
                Order::OpenWorkspace(self.open_workspace(*workspace, *execution, spec).await?)
            }
            OrderIntent::StartSession {
                session,
                workspace,
                owner,
                epoch,
                coding_agent,
                permissions,
            } => {
                let model = match needed_by(*coding_agent) {
                    None => None,
                    Some(needed) => {
                        let execution = self.workspace(*workspace).await?.1;
                        let lent_or_stored =
                            self.credentials.for_execution(execution, *owner, needed).await?;
                        let key = lent_or_stored.ok_or_else(no_key)?;
                        Some(ModelAccess { base_url: self.base_url(needed), key })
                    }
                };
                Order::StartSession(StartSession {
                    session: *session,
                    workspace: *workspace,
                    epoch: *epoch,
                    coding_agent: CodingAgentStart { kind: *coding_agent, model },
                    permissions: *permissions,
                })
            }
            OrderIntent::Prompt { session, epoch, message } => {
                let text = self.message(*session, *message).await?;
                Order::Prompt { session: *session, epoch: *epoch, message: *message, text }
            }
            OrderIntent::AnswerPermission { session, request, option } => Order::AnswerPermission {
                session: *session,
                request: *request,
                option: option.clone(),
            },
            OrderIntent::StopSession { session } => Order::StopSession { session: *session },
            OrderIntent::Publish { workspace, execution, is_checkpoint } => {
                let target = if *is_checkpoint {
                    PublishTarget::Checkpoint { execution: *execution }
                } else {
                    PublishTarget::Branch
                };
                let commit_message = self.commit_message(*execution).await;
                Order::Publish { workspace: *workspace, target, commit_message }
            }
            OrderIntent::CloseWorkspace { workspace } => {
                Order::CloseWorkspace { workspace: *workspace }
            }
            OrderIntent::Retire => Order::Retire,
        })
    }

    /// What the process hears of the agent's answer.
    pub(crate) async fn outcome(
        &self,
        key: Uuid,
        intent: &OrderIntent,
        outcome: OrderOutcome,
    ) -> Performed {
        let outcome = match outcome {
            OrderOutcome::Done => Outcome::Done,
            OrderOutcome::WorkspaceOpened { base_branch, base_commit, .. } => {
                Outcome::WorkspaceOpened { base_branch, base_commit }
            }
            OrderOutcome::SessionStarted { agent_name, agent_version, .. } => {
                Outcome::SessionStarted { agent_name, agent_version }
            }
            OrderOutcome::Refused { kind, reason } => failed(kind, reason),
            OrderOutcome::Published(published) => {
                return self
                    .published(key, intent, &published)
                    .await
                    .unwrap_or_else(|refusal| failed(refusal.kind, refusal.reason).into());
            }
        };
        outcome.into()
    }

    /// The lists and the diff become content, written with the outcome.
    async fn published(
        &self,
        key: Uuid,
        intent: &OrderIntent,
        published: &Published,
    ) -> Result<Performed, Refusal> {
        let OrderIntent::Publish { workspace, .. } = intent else {
            let reason = "the agent answered an order with a result".to_owned();
            return Err(Refusal { kind: RefusalKind::Machine, reason });
        };
        let spec = self.workspace(*workspace).await?.0;
        let detail = serde_json::to_string(published)
            .map_err(|error| Refusal { kind: RefusalKind::Machine, reason: error.to_string() })?;
        let id = ContentId(derived(key, "result"));
        let (detail, row) = self.sealing.seal(spec.project, id, &detail).await?;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let result = ExecutionResult {
            reference: published.reference.clone(),
            head: published.head.clone(),
            base: published.base.clone(),
            n_commits: count(published.commits.len()),
            n_files: count(published.files.len()),
            is_diff_cut: published.is_diff_cut,
            detail,
        };
        Ok(Performed { outcome: Outcome::Published { result }, contents: vec![row] })
    }

    async fn open_workspace(
        &self,
        workspace: WorkspaceId,
        execution: Option<ExecutionId>,
        spec: &WorkspaceSpec,
    ) -> Result<OpenWorkspace, Refusal> {
        let settings = &self.workspaces;
        let image = match spec.coding_agent {
            CodingAgentKind::Demo => &settings.base_image,
            CodingAgentKind::ClaudeCode => &settings.claude_image,
        };
        Ok(OpenWorkspace {
            workspace,
            project: spec.project,
            repository: spec.repository.clone(),
            base_branch: spec.base_branch.clone(),
            branch: spec.branch.clone(),
            image: image.clone(),
            environment: self.environment(workspace, execution, spec).await?,
            author_name: settings.author_name.clone(),
            author_email: settings.author_email.clone(),
            limits: settings.limits.clone(),
        })
    }

    /// The project's variables, and our own identifiers, which no variable can replace.
    async fn environment(
        &self,
        workspace: WorkspaceId,
        execution: Option<ExecutionId>,
        spec: &WorkspaceSpec,
    ) -> Result<Environment, Refusal> {
        let mut environment = self.variables.values(spec.project).await?;
        let mut set = |name: &str, value: String| {
            environment.insert(format!("SAM_{name}"), value);
        };
        set("PROJECT_ID", spec.project.to_string());
        set("NODE_ID", spec.node.to_string());
        set("WORKSPACE_ID", workspace.to_string());
        set("BRANCH", spec.branch.clone());
        set("REPOSITORY", spec.repository.clone());
        if let Some(execution) = execution {
            let requested = self.requested(execution).await?;
            set("EXECUTION_ID", execution.to_string());
            set("IDEA_ID", requested.idea.to_string());
            set("SESSION_ID", requested.session.to_string());
        }
        Ok(Environment(environment))
    }

    fn base_url(&self, needed: CredentialKind) -> String {
        match needed {
            CredentialKind::Anthropic => self.anthropic_base_url.clone(),
        }
    }

    /// A workspace's spec, and what it was made for.
    async fn workspace(
        &self,
        workspace: WorkspaceId,
    ) -> Result<(WorkspaceSpec, Option<ExecutionId>), Refusal> {
        match &*self.dispatcher.state::<Workspace>(workspace.0).await? {
            Workspace::Known { spec, execution, .. } => Ok((spec.clone(), *execution)),
            Workspace::Unknown => {
                let reason = "there is no such workspace".to_owned();
                Err(Refusal { kind: RefusalKind::Unknown, reason })
            }
        }
    }
}

fn no_key() -> Refusal {
    let reason = "Claude Code needs an Anthropic API key: add one in the settings, or run with the demo agent";
    Refusal { kind: RefusalKind::CodingAgent, reason: reason.to_owned() }
}
