//! The list of all read models, for the projector.
//!
//! Adding one means: a file with its projection and its queries, its tables in both `migrations`
//! folders, and a line here.

use domain::{
    event::{Event, registry},
    process::ProcessEvent,
};

use crate::{
    account_list::AccountList,
    activity_feed::ActivityFeed,
    audit_trail::AuditTrail,
    chat_transcript::ChatTranscript,
    credential_list::CredentialList,
    database::Database,
    event_index::EventIndex,
    event_log::{EventLog, RecordedEvent},
    execution_timeline::ExecutionTimeline,
    idea_board::IdeaBoard,
    node_directory::NodeDirectory,
    project_overview::ProjectOverview,
    projector::Projector,
    variable_list::VariableList,
    workspace_list::WorkspaceList,
};

/// A projector of every read model.
#[must_use]
pub fn projector(database: &Database, log: &EventLog) -> Projector<Event> {
    Projector::new(database, log, decode)
        .with(AccountList)
        .with(ProjectOverview)
        .with(IdeaBoard)
        .with(ExecutionTimeline)
        .with(ChatTranscript)
        .with(NodeDirectory)
        .with(WorkspaceList)
        .with(CredentialList)
        .with(VariableList)
        .with(ActivityFeed)
        .with(EventIndex)
        .with(AuditTrail)
}

/// The event of a log entry, brought to its newest version; none where it belongs to a process. The
/// error names position, event and version.
pub fn decode(recorded: &RecordedEvent) -> Result<Option<Event>, String> {
    let RecordedEvent { stream, event_type, event_version, payload, .. } = recorded;
    undamaged(recorded)?;
    Event::read(&stream.kind, stream.id, event_type, event_version, payload)
        .map_err(|error| unreadable(recorded, &error))
}

/// Tells whether this program cannot read it and the one that recorded it can.
#[must_use]
pub fn is_of_newer_program(recorded: &RecordedEvent) -> bool {
    let RecordedEvent { stream, event_type, event_version, payload, .. } = recorded;
    recorded.damage.is_none()
        && Event::read(&stream.kind, stream.id, event_type, event_version, payload)
            .is_err_and(|error| !matches!(error, registry::Unreadable::Malformed { .. }))
}

/// The event of a process, brought to its newest version.
pub fn decode_process(recorded: &RecordedEvent) -> Result<ProcessEvent, String> {
    let RecordedEvent { stream, event_type, event_version, payload, .. } = recorded;
    undamaged(recorded)?;
    registry::read(&stream.kind, event_type, event_version, payload)
        .map_err(|error| unreadable(recorded, &error))
}

fn undamaged(recorded: &RecordedEvent) -> Result<(), String> {
    recorded.damage.as_ref().map_or(Ok(()), |damage| Err(unreadable(recorded, damage)))
}

fn unreadable(recorded: &RecordedEvent, reason: &dyn std::fmt::Display) -> String {
    format!("position {}: {reason}", recorded.position)
}
