//! A variable is what every workspace of a project finds in its environment: a name and a value.
//!
//! The stream knows its name, whether it is secret, and where its value is. The value is content under the
//! project's key, secret or not: erasing the project destroys it, in restored backups too, which a row of the
//! vault would survive. What was replaced or removed stays as ciphertext that nothing refers to any more.
//!
//! Refused names are those that the system sets itself or that would break it: the lists below say which, and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ProjectError, ProjectEvent};
use crate::values::ContentRef;

/// The variables of a project, by their names.
pub type Variables = BTreeMap<String, Variable>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its value is never shown again.
    pub is_secret: bool,
    pub value: ContentRef,
}

/// How many variables a project may have, and how long a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableLimits {
    pub variables_max: usize,
    pub value_bytes_max: usize,
}

impl VariableLimits {
    pub(super) const UNLIMITED: Self =
        Self { variables_max: usize::MAX, value_bytes_max: usize::MAX };
}

impl Default for VariableLimits {
    /// All together fit into what Linux hands to a program: two megabytes with its arguments.
    fn default() -> Self {
        Self { variables_max: 150, value_bytes_max: 8 * 1024 }
    }
}

/// How long a name may be.
pub const NAME_BYTES_MAX: usize = 128;

/// Our own identifiers, among them what the holder finds its processes by.
pub const OWN_PREFIX: &str = "SAM_";

/// The holder runs git in the same environment to clone and to commit: `GIT_DIR` would lead it astray,
/// `GIT_AUTHOR_NAME` would replace who the commits are by.
const GIT_PREFIX: &str = "GIT_";

/// Set by engine and image for the user that the container has; programs are found by them.
const OF_THE_CONTAINER: [&str; 9] =
    ["PATH", "HOME", "HOSTNAME", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "_"];

/// How a coding agent reaches its model. SAM sets it for each session, so that the key stays on the node: a
/// key here would be replaced without a word, and another address or way would go past the node's proxy.
const OF_THE_MODEL: [&str; 8] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CUSTOM_HEADERS",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
];

/// Sets a variable, unless that is how it is.
pub(super) fn set(
    variables: &Variables,
    name: String,
    variable: Variable,
    limits: VariableLimits,
) -> Result<Vec<ProjectEvent>, ProjectError> {
    check_name(&name)?;
    check_limits(variables, &name, &variable.value, limits)?;
    if variables.get(&name) == Some(&variable) {
        return Ok(Vec::new());
    }
    let Variable { is_secret, value } = variable;
    Ok(vec![ProjectEvent::VariableSet { name, is_secret, value }])
}

/// Removes a variable if it is there.
pub(super) fn remove(variables: &Variables, name: String) -> Vec<ProjectEvent> {
    match variables.contains_key(&name) {
        true => vec![ProjectEvent::VariableRemoved { name }],
        false => Vec::new(),
    }
}

/// A name that a shell can write, and that is nobody else's.
fn check_name(name: &str) -> Result<(), ProjectError> {
    let bad = |reason: String| Err(ProjectError::BadVariableName { reason });
    let is_identifier = name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
        && name.chars().next().is_some_and(|first| !first.is_ascii_digit());
    if !is_identifier || name.len() > NAME_BYTES_MAX {
        return bad(format!(
            "a variable's name has letters, digits and _, begins with no digit, and has at most \
             {NAME_BYTES_MAX} characters"
        ));
    }
    if name.starts_with(OWN_PREFIX) {
        return bad(format!("names that begin with {OWN_PREFIX} are SAM's own: take another one"));
    }
    if name.starts_with(GIT_PREFIX) {
        return bad(format!(
            "names that begin with {GIT_PREFIX} would change how SAM clones and commits: take another one"
        ));
    }
    if OF_THE_CONTAINER.contains(&name) {
        return bad(format!("{name} is set by the container itself: take another name"));
    }
    if OF_THE_MODEL.contains(&name) {
        return bad(format!(
            "{name} is set by SAM for each session: store a model's key in the settings, or take another name"
        ));
    }
    Ok(())
}

/// Whether one more value fits.
fn check_limits(
    variables: &Variables,
    name: &str,
    value: &ContentRef,
    limits: VariableLimits,
) -> Result<(), ProjectError> {
    let VariableLimits { variables_max, value_bytes_max } = limits;
    if usize::try_from(value.length).is_ok_and(|length| length > value_bytes_max) {
        return Err(ProjectError::VariableTooLong { max: value_bytes_max });
    }
    if !variables.contains_key(name) && variables.len() >= variables_max {
        return Err(ProjectError::TooManyVariables { max: variables_max });
    }
    Ok(())
}
