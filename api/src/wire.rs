//! Words that several documents of the browser API share.
//!
//! They repeat the domain's on purpose: what is on the wire is a contract of its own, described by
//! `openapi.json`, and renaming a word of the domain must not change it.

use domain::{agent_protocol, credential, values};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Makes an enum of the wire that corresponds one to one to an enum of the domain.
///
/// The case is taken as a token: as a `literal`, utoipa would not see it and describe Rust's names.
macro_rules! mirrored {
    ($(#[$doc:meta])* in $case:tt $name:ident = $domain:path { $($variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
        )]
        #[serde(rename_all = $case)]
        pub enum $name {
            $($variant,)*
        }

        impl From<$domain> for $name {
            fn from(word: $domain) -> Self {
                use $domain as Domain;
                match word {
                    $(Domain::$variant => Self::$variant,)*
                }
            }
        }

        impl From<$name> for $domain {
            fn from(word: $name) -> Self {
                use $domain as Domain;
                match word {
                    $($name::$variant => Domain::$variant,)*
                }
            }
        }
    };
}
pub(crate) use mirrored;

mirrored! {
    /// A program that can be given an idea. `demo` is built in, needs no key and is labelled as a demo.
    in "kebab-case" CodingAgentKind = agent_protocol::CodingAgentKind { Demo, ClaudeCode, }
}

mirrored! {
    /// How a workspace's container is made.
    in "snake_case" Profile = values::Profile { Full, Lightweight, }
}

mirrored! {
    /// Who answers a coding agent's permission requests: `allow` allows and records them, `ask` asks a
    /// person, `deny` is for where nobody can be asked.
    in "snake_case" Permissions = agent_protocol::PermissionPolicy { Allow, Ask, Deny, }
}

mirrored! {
    /// Who rents the machine.
    in "snake_case" ProviderKind = values::ProviderKind { Local, Simulated, }
}

mirrored! {
    /// What a secret opens.
    in "kebab-case" CredentialKind = credential::CredentialKind { Anthropic, }
}

mirrored! {
    /// A step of an execution. Forward only; a step may be skipped.
    in "snake_case" StepName = values::Step {
        NodeSelection,
        NodeProvisioning,
        NodeAgentReady,
        WorkspaceCreation,
        WorkspaceReady,
        AgentSession,
        Running,
    }
}

/// A write is in the log. Reads with `after=position` see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// The place in the log after which everything that was asked for is recorded.
    pub position: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idea: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Uuid>,
}

impl Accepted {
    /// An answer that names nothing but the position.
    #[must_use]
    pub fn at(position: u64) -> Self {
        Self { position, ..Self::default() }
    }
}

/// What a person chose for an execution; what is absent is the project's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartChoices {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coding_agent: Option<CodingAgentKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Absent: the remote's default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
}
