//! Every event and every command, with the stream it belongs to.
//!
//! This is the one place that knows all aggregates: the log stores what [`Event::stored`] gives, and readers get
//! back what [`Event::read`] makes of it, whatever version it was stored in. Events of processes are not
//! among them: no process reacts to another's stream.
//!
//! Read next: [`registry`] for names, versions and upcasters.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    account::{Account, AccountCommand, AccountEvent},
    credential::{Credential, CredentialCommand, CredentialEvent},
    event::registry::Unreadable,
    event_sourced::{EventPayload, EventSourced},
    execution::{Execution, ExecutionCommand, ExecutionEvent},
    idea::{Idea, IdeaCommand, IdeaEvent},
    ids::{
        AccountId, CredentialId, ExecutionId, IdeaId, NodeId, ProjectId, SessionId, WorkspaceId,
    },
    node::{Node, NodeCommand, NodeEvent},
    process::ProcessEvent,
    project::{Project, ProjectCommand, ProjectEvent},
    session::{Session, SessionCommand, SessionEvent},
    workspace::{Workspace, WorkspaceCommand, WorkspaceEvent},
};

pub mod registry;

macro_rules! streams {
    ($($noun:ident($id:ident, $command:ident, $event:ident),)*) => {
        /// A fact, with the stream that recorded it.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Event {
            $($noun($id, $event),)*
        }

        /// A wish, with the stream that is to answer it.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Command {
            $($noun($id, $command),)*
        }

        impl Event {
            /// Kind and id of its stream.
            pub fn stream(&self) -> (&'static str, Uuid) {
                match self {
                    $(Self::$noun(id, _) => (<$noun as EventSourced>::TYPE, id.0),)*
                }
            }

            /// Its type name and payload, as stored.
            pub fn stored(&self) -> (String, Value) {
                match self {
                    $(Self::$noun(_, event) => event.stored(),)*
                }
            }

            /// The event of a stored row, brought to the newest version; None where it belongs to a process.
            pub fn read(
                kind: &str,
                id: Uuid,
                name: &str,
                version: &str,
                payload: &str,
            ) -> Result<Option<Self>, Unreadable> {
                $(if kind == <$noun as EventSourced>::TYPE {
                    let event = registry::read::<$event>(kind, name, version, payload)?;
                    return Ok(Some(Self::$noun($id(id), event)));
                })*
                registry::read::<ProcessEvent>(kind, name, version, payload).map(|_| None)
            }

            /// The reverse of [`Event::stored`]; None where the kind of stream is no aggregate's. For
            /// stored rows there is [`Event::read`].
            pub fn restored(
                kind: &str,
                id: Uuid,
                name: &str,
                payload: Value,
            ) -> Result<Option<Self>, serde_json::Error> {
                $(if kind == <$noun as EventSourced>::TYPE {
                    let event = $event::restored(name, payload)?;
                    return Ok(Some(Self::$noun($id(id), event)));
                })*
                Ok(None)
            }
        }

        impl Command {
            /// Kind and id of the stream that is to answer it.
            pub fn stream(&self) -> (&'static str, Uuid) {
                match self {
                    $(Self::$noun(id, _) => (<$noun as EventSourced>::TYPE, id.0),)*
                }
            }
        }

        $(
            impl From<($id, $event)> for Event {
                fn from((id, event): ($id, $event)) -> Self {
                    Self::$noun(id, event)
                }
            }

            impl From<($id, $command)> for Command {
                fn from((id, command): ($id, $command)) -> Self {
                    Self::$noun(id, command)
                }
            }
        )*
    };
}

streams! {
    Account(AccountId, AccountCommand, AccountEvent),
    Credential(CredentialId, CredentialCommand, CredentialEvent),
    Project(ProjectId, ProjectCommand, ProjectEvent),
    Idea(IdeaId, IdeaCommand, IdeaEvent),
    Execution(ExecutionId, ExecutionCommand, ExecutionEvent),
    Node(NodeId, NodeCommand, NodeEvent),
    Workspace(WorkspaceId, WorkspaceCommand, WorkspaceEvent),
    Session(SessionId, SessionCommand, SessionEvent),
}

#[cfg(test)]
mod tests;
