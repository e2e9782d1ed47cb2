//! Identifiers of everything that has a stream or a row of its own.
//!
//! All are UUIDs in a type of their own, so that an idea is never mistaken for its execution. The
//! domain makes none up: they arrive inside commands, or are derived from another id and a word
//! with [`derived`], which gives the same id on every replay.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

ids! {
    /// A person who owns projects, nodes and credentials.
    AccountId,
    /// One set-up of SAM: everything at a provider is labelled with it.
    InstallationId,
    /// A linked repository with its sessions and ideas.
    ProjectId,
    /// What a person wants.
    IdeaId,
    /// One attempt at an idea.
    ExecutionId,
    /// A machine that carries workspaces.
    NodeId,
    /// A container on a node.
    WorkspaceId,
    /// One conversation.
    SessionId,
    /// A secret in the vault.
    CredentialId,
    /// One message of a session, from a person or a coding agent.
    MessageId,
    /// A coding agent's request for permission.
    PermissionId,
    /// A row of encrypted text beside the log.
    ContentId,
    /// A command, so that repeating it gives the first answer.
    CommandId,
    /// The journal of one agent; with a number it names a report.
    JournalId,
}

/// An id that follows from `parent` and `word`: the same on every replay, without randomness.
pub fn derived(parent: Uuid, word: &str) -> Uuid {
    Uuid::new_v5(&parent, word.as_bytes())
}
