//! A project links one Git repository to its sessions, ideas and activity.
//!
//! Its stream holds the link and the defaults for new executions. It does not know its ideas or
//! sessions: they name their project, and read models count them. Whether the repository can be
//! reached is not decided here: the node that clones it finds out, and says so.
//!
//! Lifecycle: `Unknown` → `Linked`.

use serde::{Deserialize, Serialize};

use crate::{
    agent_protocol::{CodingAgentKind, PermissionPolicy},
    event_sourced,
    ids::AccountId,
    values::{Profile, ProviderKind},
};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Project {
    #[default]
    Unknown,
    Linked {
        owner: AccountId,
        repository: String,
        name: String,
        defaults: ProjectDefaults,
    },
}

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
    Link { owner: AccountId, repository: String, name: String },
    Rename { name: String },
    ChangeDefaults { defaults: ProjectDefaults },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectEvent {
    Linked { owner: AccountId, repository: String, name: String },
    Renamed { name: String },
    DefaultsChanged { defaults: ProjectDefaults },
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
    #[error("this project is linked to another repository already")]
    LinkedElsewhere,
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
        }
    }

    /// Folds one recorded event into the state.
    pub fn evolve(&mut self, event: ProjectEvent) {
        match (&mut *self, event) {
            (_, ProjectEvent::Linked { owner, repository, name }) => {
                let defaults = ProjectDefaults::default();
                *self = Self::Linked { owner, repository, name, defaults };
            }
            (Self::Linked { name: old, .. }, ProjectEvent::Renamed { name }) => *old = name,
            (Self::Linked { defaults: old, .. }, ProjectEvent::DefaultsChanged { defaults }) => {
                *old = defaults;
            }
            (Self::Unknown, event) => unreachable!("only a linked project records {event:?}"),
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
