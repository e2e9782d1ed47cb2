//! A project links one Git repository to its sessions, ideas and activity.
//!
//! Its stream holds the link, the defaults for new executions, and the variables of its workspaces. It
//! does not know its ideas or sessions: they name their project, and read models count them. Whether the
//! repository can be reached is not decided here: the node that clones it finds out, and says so.
//!
//! Erasing a project destroys its texts for ever; what stays is that there was one, and which streams it
//! had. The process `process/erase_project.rs` does it and says so.
//!
//! Lifecycle: `Unknown` → `Linked` → `Erasing` → `Erased`.

use serde::{Deserialize, Serialize};

use crate::{
    agent_protocol::{CodingAgentKind, PermissionPolicy},
    event_sourced,
    ids::{AccountId, ExecutionId, IdeaId, SessionId, WorkspaceId},
    project::variable::{Variable, VariableLimits, Variables},
    values::{ContentRef, Profile, ProviderKind},
};

pub mod variable;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Project {
    #[default]
    Unknown,
    Linked {
        owner: AccountId,
        repository: String,
        name: String,
        defaults: ProjectDefaults,
        variables: Variables,
    },
    /// Asked for; its executions are being ended and its texts destroyed. Nothing new begins.
    Erasing {
        owner: AccountId,
        /// How many parts of the list of its streams are recorded.
        n_parts: u32,
    },
    Erased {
        owner: AccountId,
    },
}

/// Streams of an erased project: what their payloads say is to be shown no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedStreams {
    pub ideas: Vec<IdeaId>,
    pub executions: Vec<ExecutionId>,
    pub sessions: Vec<SessionId>,
    pub workspaces: Vec<WorkspaceId>,
}

/// How many ids one part of the list of an erased project's streams may have.
pub const ERASED_STREAMS_MAX: usize = 1_000;

/// What an execution takes where nobody says otherwise; None is the platform's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProjectDefaults {
    pub coding_agent: Option<CodingAgentKind>,
    pub profile: Option<Profile>,
    pub permissions: Option<PermissionPolicy>,
    pub provider: Option<ProviderKind>,
    pub vm_size: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectCommand {
    Link {
        owner: AccountId,
        repository: String,
        name: String,
    },
    Rename {
        name: String,
    },
    ChangeDefaults {
        defaults: ProjectDefaults,
    },
    /// For workspaces that are opened from now on; in place of the one of that name if there is one.
    SetVariable {
        name: String,
        is_secret: bool,
        value: ContentRef,
        limits: VariableLimits,
    },
    RemoveVariable {
        name: String,
    },
    /// Destroys all texts of the project, for ever.
    Erase,
    /// Parts are numbered from 1 on.
    RecordErasedStreams {
        part: u32,
        streams: Box<ErasedStreams>,
    },
    RecordErased,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectEvent {
    Linked {
        owner: AccountId,
        repository: String,
        name: String,
    },
    Renamed {
        name: String,
    },
    DefaultsChanged {
        defaults: ProjectDefaults,
    },
    VariableSet {
        name: String,
        is_secret: bool,
        value: ContentRef,
    },
    VariableRemoved {
        name: String,
    },
    ErasureRequested,
    /// From here on the project's texts are unreadable. One part of the list of its streams.
    StreamsErased {
        part: u32,
        streams: Box<ErasedStreams>,
    },
    Erased,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ProjectError {
    #[error("there is no such project")]
    NotFound,
    #[error("a project's name has 1 to {max} characters")]
    BadName { max: usize },
    #[error("{reason}")]
    BadRepository { reason: String },
    #[error("{reason}")]
    BadVariableName { reason: String },
    #[error("a variable's value has at most {max} bytes: put longer texts into the repository")]
    VariableTooLong { max: usize },
    #[error("a project has at most {max} variables: remove one that is not needed any more")]
    TooManyVariables { max: usize },
    #[error("this project is linked to another repository already")]
    LinkedElsewhere,
    #[error("this project was erased: link the repository as a new project")]
    Erased,
    #[error("nobody asked for this project to be erased")]
    NotErasing,
    #[error("an earlier part of the erased streams is missing")]
    PartMissing,
}

const NAME_CHARS_MAX: usize = 100;
const REPOSITORY_CHARS_MAX: usize = 2_000;

impl Project {
    /// Answers a command with the events it causes.
    pub fn decide(&self, command: ProjectCommand) -> Result<Vec<ProjectEvent>, ProjectError> {
        match (self, command) {
            (Self::Unknown, ProjectCommand::Link { owner, repository, name }) => {
                check_repository(&repository)?;
                check_name(&name)?;
                Ok(vec![ProjectEvent::Linked { owner, repository, name }])
            }
            (Self::Unknown, _) => Err(ProjectError::NotFound),
            (Self::Linked { repository: linked, .. }, ProjectCommand::Link { repository, .. }) => {
                if *linked == repository {
                    return Ok(Vec::new());
                }
                Err(ProjectError::LinkedElsewhere)
            }
            (Self::Linked { name: old, .. }, ProjectCommand::Rename { name }) => {
                check_name(&name)?;
                if *old == name {
                    return Ok(Vec::new());
                }
                Ok(vec![ProjectEvent::Renamed { name }])
            }
            (Self::Linked { defaults: old, .. }, ProjectCommand::ChangeDefaults { defaults }) => {
                if *old == defaults {
                    return Ok(Vec::new());
                }
                Ok(vec![ProjectEvent::DefaultsChanged { defaults }])
            }
            (
                Self::Linked { variables, .. },
                ProjectCommand::SetVariable { name, is_secret, value, limits },
            ) => variable::set(variables, name, Variable { is_secret, value }, limits),
            (Self::Linked { variables, .. }, ProjectCommand::RemoveVariable { name }) => {
                Ok(variable::remove(variables, name))
            }
            (Self::Linked { .. }, ProjectCommand::Erase) => {
                Ok(vec![ProjectEvent::ErasureRequested])
            }
            (
                Self::Linked { .. },
                ProjectCommand::RecordErasedStreams { .. } | ProjectCommand::RecordErased,
            ) => Err(ProjectError::NotErasing),
            (
                Self::Erasing { .. } | Self::Erased { .. },
                ProjectCommand::Link { .. }
                | ProjectCommand::Rename { .. }
                | ProjectCommand::ChangeDefaults { .. }
                | ProjectCommand::SetVariable { .. }
                | ProjectCommand::RemoveVariable { .. },
            ) => Err(ProjectError::Erased),
            (
                Self::Erasing { n_parts, .. },
                ProjectCommand::RecordErasedStreams { part, streams },
            ) => match part {
                part if part <= *n_parts => Ok(Vec::new()),
                part if part == n_parts + 1 => {
                    Ok(vec![ProjectEvent::StreamsErased { part, streams }])
                }
                _ => Err(ProjectError::PartMissing),
            },
            (Self::Erasing { .. }, ProjectCommand::RecordErased) => Ok(vec![ProjectEvent::Erased]),
            (Self::Erasing { .. }, ProjectCommand::Erase)
            | (
                Self::Erased { .. },
                ProjectCommand::Erase
                | ProjectCommand::RecordErasedStreams { .. }
                | ProjectCommand::RecordErased,
            ) => Ok(Vec::new()),
        }
    }

    /// A command that leads to these events from this state.
    pub fn command_of(&self, events: &[ProjectEvent]) -> Option<ProjectCommand> {
        let [event] = events else { return None };
        Some(match event.clone() {
            ProjectEvent::Linked { owner, repository, name } => {
                ProjectCommand::Link { owner, repository, name }
            }
            ProjectEvent::Renamed { name } => ProjectCommand::Rename { name },
            ProjectEvent::DefaultsChanged { defaults } => {
                ProjectCommand::ChangeDefaults { defaults }
            }
            // Which limits there were is not recorded; it was within them.
            ProjectEvent::VariableSet { name, is_secret, value } => {
                let limits = VariableLimits::UNLIMITED;
                ProjectCommand::SetVariable { name, is_secret, value, limits }
            }
            ProjectEvent::VariableRemoved { name } => ProjectCommand::RemoveVariable { name },
            ProjectEvent::ErasureRequested => ProjectCommand::Erase,
            ProjectEvent::StreamsErased { part, streams } => {
                ProjectCommand::RecordErasedStreams { part, streams }
            }
            ProjectEvent::Erased => ProjectCommand::RecordErased,
        })
    }

    /// Folds one recorded event into the state.
    pub fn evolve(&mut self, event: ProjectEvent) {
        match (&mut *self, event) {
            (_, ProjectEvent::Linked { owner, repository, name }) => {
                let (defaults, variables) = (ProjectDefaults::default(), Variables::new());
                *self = Self::Linked { owner, repository, name, defaults, variables };
            }
            (Self::Linked { name: old, .. }, ProjectEvent::Renamed { name }) => *old = name,
            (Self::Linked { defaults: old, .. }, ProjectEvent::DefaultsChanged { defaults }) => {
                *old = defaults;
            }
            (
                Self::Linked { variables, .. },
                ProjectEvent::VariableSet { name, is_secret, value },
            ) => {
                variables.insert(name, Variable { is_secret, value });
            }
            (Self::Linked { variables, .. }, ProjectEvent::VariableRemoved { name }) => {
                let removed = variables.remove(&name);
                assert!(removed.is_some(), "`decide` removes only what is there");
            }
            (Self::Linked { owner, .. }, ProjectEvent::ErasureRequested) => {
                *self = Self::Erasing { owner: *owner, n_parts: 0 };
            }
            (Self::Erasing { n_parts, .. }, ProjectEvent::StreamsErased { part, .. }) => {
                assert!(part == *n_parts + 1, "parts are recorded in their order");
                *n_parts = part;
            }
            (Self::Erasing { owner, .. }, ProjectEvent::Erased) => {
                *self = Self::Erased { owner: *owner };
            }
            (
                Self::Unknown,
                ProjectEvent::Renamed { .. }
                | ProjectEvent::DefaultsChanged { .. }
                | ProjectEvent::VariableSet { .. }
                | ProjectEvent::VariableRemoved { .. }
                | ProjectEvent::ErasureRequested,
            )
            | (
                Self::Unknown | Self::Linked { .. },
                ProjectEvent::StreamsErased { .. } | ProjectEvent::Erased,
            )
            | (Self::Erasing { .. } | Self::Erased { .. }, _) => {
                unreachable!("`decide` guards the order of a project's events")
            }
        }
    }
}

fn check_name(name: &str) -> Result<(), ProjectError> {
    if name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX {
        return Err(ProjectError::BadName { max: NAME_CHARS_MAX });
    }
    Ok(())
}

/// A URL that git understands, or an absolute path. Addresses that make git run a program
/// (`ext::…`), look like an option, or carry a password are refused: an address is stored in the log.
fn check_repository(repository: &str) -> Result<(), ProjectError> {
    let bad = |reason: &str| Err(ProjectError::BadRepository { reason: reason.to_owned() });
    if repository.trim().is_empty() {
        return bad("enter the repository's address, or the path of one on this machine");
    }
    if repository.chars().count() > REPOSITORY_CHARS_MAX || repository.contains(char::is_control) {
        return bad(
            "this is not an address of a repository: it is too long or has control characters",
        );
    }
    if repository.starts_with('/') {
        return Ok(());
    }
    if repository.starts_with('-') || repository.contains("::") {
        return bad(
            "use an address that starts with https://, ssh://, git://, file:// or git@, or an absolute path",
        );
    }
    let Some((scheme, rest)) = repository.split_once("://") else {
        // The short form of ssh: user@host:path.
        return match repository.split_once(':') {
            Some((host, path)) if host.contains('@') && !path.is_empty() => Ok(()),
            _ => bad(
                "use an address such as https://example.com/team/project.git, or an absolute path",
            ),
        };
    };
    if !["https", "http", "ssh", "git", "file"].contains(&scheme) {
        return bad("use an address that starts with https://, http://, ssh://, git:// or file://");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let has_password = authority.split_once('@').is_some_and(|(user, _)| user.contains(':'));
    if has_password {
        return bad(
            "leave the password out of the address: the machine's own git settings and keys are used",
        );
    }
    Ok(())
}

event_sourced!(Project, "project", ProjectCommand, ProjectEvent, ProjectError);

#[cfg(test)]
mod tests;
