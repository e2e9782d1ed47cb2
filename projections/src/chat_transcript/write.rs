//! What each event does to a conversation's rows.
//!
//! Keys of items: a message's id; `call:EPOCH:CALL`, `plan:EPOCH`, `permission:REQUEST`; and for what
//! happens once, its name and epoch. Repeated reports of a tool call or a plan replace the item's content.

use domain::{
    agent_protocol::{TextKind, ToolCallStatus, TurnEnd},
    event::Event,
    execution::ExecutionEvent,
    idea::{ExecutionRequest, IdeaEvent},
    ids::{MessageId, PermissionId, ProjectId, SessionId},
    project::ProjectEvent,
    session::{RecordedSegment, SessionEvent},
    values::{ContentRef, Timestamp},
};
use uuid::Uuid;

use crate::{
    chat_transcript::{AnsweredBy, ChatTranscript, TurnEndKind},
    columns::{self, json, name},
    event_log::Position,
    projection::{Projection, Recorded, Writes},
};

const REQUESTED: &str = "
    INSERT INTO chat_sessions (session, project, coding_agent, title, preview, needs_input,
        n_open_permissions, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $4, FALSE, 0, $5, $5)
    ON CONFLICT (session) DO UPDATE SET coding_agent = excluded.coding_agent";
const OPENED: &str = "
    INSERT INTO chat_sessions (session, project, needs_input, n_open_permissions, created_at, updated_at)
    VALUES ($1, $2, FALSE, 0, $3, $3)
    ON CONFLICT (session) DO NOTHING";
const BEGUN: &str = "
    UPDATE chat_sessions SET idea = $2, execution = $3, needs_input = FALSE, updated_at = $4
    WHERE session = $1";
const ENDED: &str = "
    UPDATE chat_sessions SET execution = NULL, needs_input = FALSE, updated_at = $2
    WHERE session = $1";
const SAID: &str = "
    UPDATE chat_sessions SET title = COALESCE(title, $2), preview = $2, updated_at = $3
    WHERE session = $1";
const MOVED: &str = "UPDATE chat_sessions SET updated_at = $2 WHERE session = $1";
const NEEDS_INPUT: &str =
    "UPDATE chat_sessions SET needs_input = $2, updated_at = $3 WHERE execution = $1";
const OPEN_PERMISSIONS: &str = "
    UPDATE chat_sessions SET n_open_permissions = n_open_permissions + $2, updated_at = $3
    WHERE session = $1";

const MESSAGE: &str = "
    INSERT INTO chat_items (session, key, item, position, changed, at, message, author, kind,
        n_chunks, is_complete, is_truncated, is_queued)
    VALUES ($1, $2, 'message', $3, $3, $4, $5, $6, $7, $8, $9, FALSE, $10)
    ON CONFLICT (session, key) DO UPDATE SET n_chunks = chat_items.n_chunks + excluded.n_chunks,
        is_complete = excluded.is_complete, changed = excluded.changed";
const SEGMENT: &str = "
    INSERT INTO chat_segments (session, message, first_chunk, n_chunks, content)
    VALUES ($1, $2, $3, $4, $5)";
const TRUNCATED: &str = "
    UPDATE chat_items SET is_complete = TRUE, is_truncated = TRUE, changed = $3
    WHERE session = $1 AND key = $2";
const TAKEN: &str = "
    UPDATE chat_items SET is_queued = FALSE, changed = $3
    WHERE session = $1 AND key = $2 AND is_queued";
const NONE_QUEUED: &str =
    "UPDATE chat_items SET is_queued = FALSE, changed = $2 WHERE session = $1 AND is_queued";
const TOOL_CALL: &str = "
    INSERT INTO chat_items (session, key, item, position, changed, at, n_chunks, is_complete,
        is_truncated, is_queued, call, kind, status, content, ended_at)
    VALUES ($1, $2, 'tool_call', $3, $3, $4, 0, TRUE, FALSE, FALSE, $5, $6, $7, $8, $9)
    ON CONFLICT (session, key) DO UPDATE SET kind = excluded.kind, status = excluded.status,
        content = excluded.content, ended_at = COALESCE(chat_items.ended_at, excluded.ended_at),
        changed = excluded.changed";
const PLAN: &str = "
    INSERT INTO chat_items (session, key, item, position, changed, at, n_chunks, is_complete,
        is_truncated, is_queued, content)
    VALUES ($1, $2, 'plan', $3, $3, $4, 0, TRUE, FALSE, FALSE, $5)
    ON CONFLICT (session, key) DO UPDATE SET content = excluded.content, changed = excluded.changed";
const PERMISSION: &str = "
    INSERT INTO chat_items (session, key, item, position, changed, at, n_chunks, is_complete,
        is_truncated, is_queued, request, content, answered_by, answer)
    VALUES ($1, $2, 'permission', $3, $3, $4, 0, TRUE, FALSE, FALSE, $5, $6, $7, $8)
    ON CONFLICT (session, key) DO UPDATE SET content = excluded.content,
        answered_by = excluded.answered_by, answer = excluded.answer, changed = excluded.changed";
const ANSWERED: &str = "
    UPDATE chat_items SET answered_by = $3, answer = $4, changed = $5
    WHERE session = $1 AND key = $2";
const ERASED: &str = "UPDATE chat_items SET reason = $2 WHERE session = $1 AND reason IS NOT NULL";
const TOLD: &str = "
    INSERT INTO chat_items (session, key, item, position, changed, at, n_chunks, is_complete,
        is_truncated, is_queued, status, reason)
    VALUES ($1, $2, $3, $4, $4, $5, 0, TRUE, FALSE, FALSE, $6, $7)
    ON CONFLICT (session, key) DO NOTHING";

impl Projection<Event> for ChatTranscript {
    const NAME: &'static str = "chat_transcript";
    const TABLES: &'static [&'static str] = &["chat_sessions", "chat_items", "chat_segments"];

    fn project(&self, recorded: &Recorded<Event>, writes: &mut Writes) {
        let (position, at) = (recorded.position, recorded.metadata.at);
        match &recorded.event {
            Event::Idea(_, IdeaEvent::ExecutionRequested { project, request }) => {
                requested(*project, request, at, writes);
            }
            Event::Execution(execution, ExecutionEvent::InputAsked { .. }) => {
                writes.add(NEEDS_INPUT, (execution.0, true, at));
            }
            Event::Execution(
                execution,
                ExecutionEvent::InputAnswered { .. }
                | ExecutionEvent::CancelRequested
                | ExecutionEvent::FinishBegun { .. },
            ) => writes.add(NEEDS_INPUT, (execution.0, false, at)),
            Event::Project(_, ProjectEvent::StreamsErased { streams, .. }) => {
                streams.sessions.iter().for_each(|id| writes.add(ERASED, (id.0, columns::ERASED)));
            }
            Event::Session(session, event) => {
                let mut of_session = OfSession { session: *session, position, at, writes };
                of_session.write(event);
            }
            _ => {}
        }
    }
}

/// The session is in the list at once, before its first event.
fn requested(project: ProjectId, request: &ExecutionRequest, at: Timestamp, writes: &mut Writes) {
    let agent = name(&request.settings.coding_agent);
    let prompt = json(&request.prompt);
    writes.add(REQUESTED, (request.session.0, project.0, agent, prompt, at));
}

struct OfSession<'a> {
    session: SessionId,
    position: Position,
    at: Timestamp,
    writes: &'a mut Writes,
}

impl OfSession<'_> {
    fn write(&mut self, event: &SessionEvent) {
        let (session, at) = (self.session.0, self.at);
        match event {
            SessionEvent::Opened { project } => self.writes.add(OPENED, (session, project.0, at)),
            SessionEvent::ExecutionBegun { idea, execution } => {
                self.writes.add(BEGUN, (session, idea.0, execution.0, at));
            }
            SessionEvent::MessagePosted { message, author, content, .. } => {
                self.add_message(*message, Some(author.0), TextKind::Answer, (1, true, true));
                self.add_segment(*message, 0, 1, content);
                self.writes.add(SAID, (session, json(content), at));
            }
            SessionEvent::TurnStarted { message, .. } => {
                self.writes.add(TAKEN, (session, message.0.to_string(), self.position));
            }
            SessionEvent::SegmentRecorded(segment) => self.add_text(segment),
            SessionEvent::MessageTruncated { message } => {
                self.writes.add(TRUNCATED, (session, message.0.to_string(), self.position));
            }
            SessionEvent::Attached { epoch, agent_name, agent_version } => {
                let text = format!("{agent_name} {agent_version} is at work");
                self.tell(format!("attached:{epoch}"), "notice", None, &text);
            }
            SessionEvent::TurnEnded { epoch, message, end, .. } => {
                self.end_turn(format!("turn:{epoch}:{message}"), end);
            }
            SessionEvent::AttachmentLost { epoch, reason, .. } => {
                let lost = Some(TurnEndKind::Lost);
                self.tell(format!("lost:{epoch}"), "turn_end", lost, reason);
                self.writes.add(MOVED, (session, at));
            }
            SessionEvent::ExecutionEnded { .. } => {
                self.writes.add(NONE_QUEUED, (session, self.position));
                self.writes.add(ENDED, (session, at));
            }
            SessionEvent::AttachmentBegun { .. } | SessionEvent::UsageRecorded { .. } => {}
            SessionEvent::ToolCallRecorded { .. }
            | SessionEvent::PlanRecorded { .. }
            | SessionEvent::PermissionAsked { .. }
            | SessionEvent::PermissionAnswered { .. }
            | SessionEvent::PermissionWithdrawn { .. }
            | SessionEvent::PermissionSettled { .. } => self.write_work(event),
        }
    }

    /// What the coding agent does beside talking.
    fn write_work(&mut self, event: &SessionEvent) {
        let (session, position, at) = (self.session.0, self.position, self.at);
        match event {
            SessionEvent::ToolCallRecorded { epoch, call, kind, status, content } => {
                let key = format!("call:{epoch}:{call}");
                let is_over = matches!(status, ToolCallStatus::Completed | ToolCallStatus::Failed);
                let (status, ended_at) = (name(status), is_over.then_some(at));
                let content = json(content);
                let values = (session, key, position, at, call, kind, status, content, ended_at);
                self.writes.add(TOOL_CALL, values);
            }
            SessionEvent::PlanRecorded { epoch, content } => {
                let key = format!("plan:{epoch}");
                self.writes.add(PLAN, (session, key, position, at, json(content)));
            }
            SessionEvent::PermissionAsked { request, content, .. } => {
                self.add_permission(*request, content, None, None);
                self.writes.add(OPEN_PERMISSIONS, (session, 1, at));
            }
            SessionEvent::PermissionSettled { request, option, content, .. } => {
                let by = Some(name(&AnsweredBy::Policy));
                self.add_permission(*request, content, by, option.as_deref());
            }
            SessionEvent::PermissionAnswered { request, option, .. } => {
                self.answer(*request, AnsweredBy::Person, option.as_deref());
            }
            SessionEvent::PermissionWithdrawn { request } => {
                self.answer(*request, AnsweredBy::Nobody, None);
            }
            _ => {}
        }
    }

    fn add_text(&mut self, segment: &RecordedSegment) {
        let RecordedSegment { message, kind, first_chunk, n_chunks, content, is_last, .. } =
            segment;
        self.add_message(*message, None, *kind, (*n_chunks, *is_last, false));
        // The last segment may only say that there is no more.
        if *n_chunks > 0 {
            self.add_segment(*message, *first_chunk, *n_chunks, content);
        }
        if *first_chunk == 0 && *n_chunks > 0 && *kind == TextKind::Answer {
            self.writes.add(SAID, (self.session.0, json(content), self.at));
        }
    }

    fn add_message(
        &mut self,
        message: MessageId,
        author: Option<Uuid>,
        kind: TextKind,
        (n_chunks, is_complete, is_queued): (u32, bool, bool),
    ) {
        let values = (
            self.session.0,
            message.0.to_string(),
            self.position,
            self.at,
            message.0,
            author,
            name(&kind),
            n_chunks,
            is_complete,
            is_queued,
        );
        self.writes.add(MESSAGE, values);
    }

    fn add_segment(&mut self, message: MessageId, first: u32, n_chunks: u32, content: &ContentRef) {
        let values = (self.session.0, message.0, first, n_chunks, json(content));
        self.writes.add(SEGMENT, values);
    }

    fn add_permission(
        &mut self,
        request: PermissionId,
        content: &ContentRef,
        by: Option<String>,
        option: Option<&str>,
    ) {
        let values = (
            self.session.0,
            permission_key(request),
            self.position,
            self.at,
            request.0,
            json(content),
            by,
            option,
        );
        self.writes.add(PERMISSION, values);
    }

    fn answer(&mut self, request: PermissionId, by: AnsweredBy, option: Option<&str>) {
        let key = permission_key(request);
        self.writes.add(ANSWERED, (self.session.0, key, name(&by), option, self.position));
        self.writes.add(OPEN_PERMISSIONS, (self.session.0, -1, self.at));
    }

    fn end_turn(&mut self, key: String, end: &TurnEnd) {
        let (kind, reason) = match end {
            TurnEnd::Stopped { reason } => (TurnEndKind::Stopped, reason),
            TurnEnd::Failed { reason } => (TurnEndKind::Failed, reason),
            TurnEnd::Broken { reason } => (TurnEndKind::Broken, reason),
        };
        self.tell(key, "turn_end", Some(kind), reason);
        self.writes.add(MOVED, (self.session.0, self.at));
    }

    fn tell(&mut self, key: String, item: &str, status: Option<TurnEndKind>, reason: &str) {
        let status = status.map(|status| name(&status));
        let values = (self.session.0, key, item, self.position, self.at, status, reason);
        self.writes.add(TOLD, values);
    }
}

fn permission_key(request: PermissionId) -> String {
    format!("permission:{request}")
}
