//! The conversation with one coding agent: a state machine that reads lines and tells reports.
//!
//! It does no input or output and knows no time, so that the same lines give the same story however
//! they are cut and wherever the agent is killed. What it wants written waits in
//! [`SessionProgress::unwritten`] until the holder has it.
//!
//! Invariant: a prompt is on its way to the coding agent only after the record says so, and no
//! message is prompted twice.

use domain::{
    agent_protocol::{PermissionPolicy, PermissionRequest, RefusalKind, Report, TurnEnd},
    ids::{MessageId, PermissionId, SessionId, derived},
};
use serde_json::Value;

use crate::{
    acp::{self, Incoming, Update},
    session::{
        SessionConfig, SessionRefusal, Started,
        permission::{self, Verdict},
        progress::{NumberedLine, PendingPermission, Phase, SessionProgress, Turn},
        telling::Telling,
        tool_calls::{self, Merged},
    },
};

/// Lines on stdout that are no JSON-RPC, before the coding agent counts as broken.
pub(crate) const BAD_LINES_MAX: u32 = 100;

/// A session's state and what it has to tell.
pub(crate) struct Attachment {
    session: SessionId,
    epoch: u32,
    permissions: PermissionPolicy,
    directory: String,
    pub(crate) progress: SessionProgress,
    pub(crate) telling: Telling,
}

impl Attachment {
    pub(crate) fn new(config: &SessionConfig, progress: SessionProgress) -> Self {
        assert_eq!(progress.epoch, config.epoch, "progress belongs to one attachment");
        Self {
            session: config.session,
            epoch: config.epoch,
            permissions: config.permissions,
            directory: config.cwd.clone(),
            progress,
            telling: Telling::new(config.session, config.epoch),
        }
    }

    /// The holder has started the coding agent.
    pub(crate) fn started(&mut self) {
        if self.progress.phase != Phase::Starting {
            return;
        }
        let request = self.next_request();
        self.write(acp::initialize(request));
        self.progress.phase = Phase::Initializing { request };
    }

    /// One line of the coding agent's stdout, which took `n_bytes` with its end.
    pub(crate) fn line(&mut self, line: &str, n_bytes: u64) {
        self.progress.offset += n_bytes;
        if self.is_over() || line.trim().is_empty() {
            return;
        }
        match acp::parse(line) {
            None => self.bad_line(),
            Some(Incoming::Ignored) => {}
            Some(Incoming::Answer { id, result }) => self.answer(id, result),
            Some(Incoming::Request { id, method, parameters }) => {
                if method == "session/request_permission" {
                    self.permission_asked(id, &parameters);
                } else {
                    self.write(acp::unknown_method(&id, &method));
                }
            }
            Some(Incoming::Notification { method, parameters }) => {
                if method == "session/update" {
                    self.update(acp::update(parameters));
                }
            }
        }
    }

    fn bad_line(&mut self) {
        self.progress.n_bad_lines += 1;
        if self.progress.n_bad_lines > BAD_LINES_MAX {
            self.break_off("the coding agent does not speak JSON-RPC on its standard output");
        }
    }

    fn update(&mut self, update: Update) {
        if matches!(self.progress.phase, Phase::Loading { .. }) {
            return; // A replay of what was told in an earlier epoch.
        }
        match update {
            Update::Text { kind, text } => self.telling.say(&mut self.progress, kind, &text),
            Update::ToolCall(told) => self.tool_call(&told),
            Update::Plan { entries } => {
                self.telling.close_message(&mut self.progress);
                let (session, epoch) = (self.session, self.epoch);
                self.telling.report(Report::Plan { session, epoch, entries });
            }
            Update::Usage(usage) => self.telling.usage(usage),
            Update::Other => {}
        }
    }

    fn tool_call(&mut self, told: &Value) {
        let owner = (self.session, self.epoch);
        let merged = tool_calls::merge(&mut self.progress.tool_calls, owner, told);
        let Some(Merged { call, is_new, is_status_new }) = merged else { return };
        if is_new {
            self.telling.close_message(&mut self.progress);
        }
        self.telling.tool_call(call, is_new || is_status_new);
    }

    fn answer(&mut self, id: u64, result: Result<Value, String>) {
        if let Some(turn) = self.progress.turn.take_if(|turn| turn.request == id) {
            return self.turn_ended(turn, result);
        }
        match self.progress.phase {
            Phase::Initializing { request } if request == id => self.initialized(result),
            Phase::Loading { request } if request == id => match result {
                Ok(_) => self.ready(),
                Err(_) => self.open(),
            },
            Phase::Opening { request } if request == id => match result {
                Ok(result) => match result["sessionId"].as_str() {
                    Some(id) => {
                        self.progress.acp_session = Some(id.to_string());
                        self.ready();
                    }
                    None => self.break_off("the coding agent opened a session without an id"),
                },
                Err(reason) => {
                    self.break_off(&format!("the coding agent opened no session: {reason}"));
                }
            },
            _ => {}
        }
    }

    fn initialized(&mut self, result: Result<Value, String>) {
        let result = match result {
            Ok(result) => result,
            Err(reason) => return self.break_off(&format!("the coding agent refused: {reason}")),
        };
        let version = result["protocolVersion"].as_u64();
        if version != Some(acp::ACP_VERSION) {
            let said = version.map_or("none".to_string(), |version| version.to_string());
            return self.break_off(&format!(
                "the coding agent speaks version {said} of ACP, SAM speaks {}",
                acp::ACP_VERSION
            ));
        }
        let about = &result["agentInfo"];
        let name = about["title"].as_str().or(about["name"].as_str()).unwrap_or_default();
        self.progress.agent_name = name.to_string();
        self.progress.agent_version = about["version"].as_str().unwrap_or_default().to_string();
        self.progress.can_load = result["agentCapabilities"]["loadSession"] == Value::Bool(true);
        match self.progress.acp_session.clone() {
            Some(earlier) if self.progress.can_load => {
                let request = self.next_request();
                self.write(acp::load_session(request, &earlier, &self.directory));
                self.progress.phase = Phase::Loading { request };
            }
            _ => self.open(),
        }
    }

    fn open(&mut self) {
        let request = self.next_request();
        self.write(acp::new_session(request, &self.directory));
        self.progress.phase = Phase::Opening { request };
    }

    fn ready(&mut self) {
        self.progress.phase = Phase::Ready;
        self.telling.hurry();
    }

    fn turn_ended(&mut self, turn: Turn, result: Result<Value, String>) {
        if let Ok(result) = &result {
            let usage = [&result["usage"], &result["_meta"]["quota"]];
            if let Some(usage) = usage.into_iter().find(|usage| !usage.is_null()) {
                self.telling.usage(usage.clone());
            }
        }
        let end = match result {
            Ok(result) => {
                let reason = result["stopReason"].as_str().unwrap_or("end_turn").to_string();
                TurnEnd::Stopped { reason }
            }
            // Some answer a cancelled prompt with an error.
            Err(_) if turn.is_cancelled => TurnEnd::Stopped { reason: "cancelled".to_string() },
            Err(reason) => TurnEnd::Failed { reason },
        };
        self.end_turn(turn.message, end);
    }

    fn end_turn(&mut self, message: MessageId, end: TurnEnd) {
        self.telling.close_message(&mut self.progress);
        self.progress.permissions.clear();
        let (session, epoch) = (self.session, self.epoch);
        self.telling.report(Report::TurnEnded { session, epoch, message, end });
    }

    fn permission_asked(&mut self, id: Value, parameters: &Value) {
        let told = &parameters["toolCall"];
        self.tool_call(told);
        self.telling.close_message(&mut self.progress);
        let word = format!("{}/permission/{}", self.epoch, self.progress.n_permissions);
        self.progress.n_permissions += 1;
        let call = told["toolCallId"].as_str().map(str::to_string);
        let known = self.progress.tool_calls.iter();
        let title = known
            .filter(|known| Some(&known.call) == call.as_ref())
            .map(|known| known.detail.title.clone())
            .find(|title| !title.is_empty());
        let request = PermissionRequest {
            session: self.session,
            epoch: self.epoch,
            request: PermissionId(derived(self.session.0, &word)),
            call,
            title: title.unwrap_or_else(|| "Permission".to_string()),
            options: acp::options(parameters),
        };
        // After a cancel the protocol wants every request answered as cancelled.
        let is_cancelled = self.progress.turn.as_ref().is_some_and(|turn| turn.is_cancelled);
        let verdict = match is_cancelled {
            true => Verdict::Settled(None),
            false => permission::decide(self.permissions, &request.options),
        };
        match verdict {
            Verdict::Settled(option) => {
                self.write(acp::permission(&id, option.as_deref()));
                self.telling.report(Report::PermissionSettled { request, option });
            }
            Verdict::Ask => {
                let (permission, options) = (request.request, request.options.clone());
                let pending = PendingPermission { permission, request: id, options };
                self.progress.permissions.push(pending);
                self.telling.report(Report::PermissionAsked(request));
            }
        }
    }

    /// Gives the coding agent a prompt, once.
    pub(crate) fn prompt(&mut self, message: MessageId, text: &str) -> Result<(), SessionRefusal> {
        if self.progress.prompted.contains(&message) {
            return Ok(());
        }
        let session = match (&self.progress.phase, &self.progress.acp_session) {
            (Phase::Ready, Some(session)) => session.clone(),
            (Phase::Ended { reason, .. }, _) => return Err(unknown(reason)),
            _ => return Err(busy("the coding agent is not ready yet")),
        };
        if self.progress.turn.is_some() {
            return Err(busy("the coding agent works on another prompt"));
        }
        self.telling.close_message(&mut self.progress);
        let request = self.next_request();
        self.write(acp::prompt(request, &session, text));
        self.progress.turn = Some(Turn { message, request, is_cancelled: false });
        self.progress.prompted.push(message);
        Ok(())
    }

    /// A person has answered.
    pub(crate) fn answer_permission(
        &mut self,
        permission: PermissionId,
        option: &str,
    ) -> Result<(), SessionRefusal> {
        let waiting = &mut self.progress.permissions;
        let Some(place) = waiting.iter().position(|pending| pending.permission == permission)
        else {
            return Ok(()); // Answered before, or the turn is over.
        };
        if !waiting[place].options.iter().any(|offered| offered.id == option) {
            return Err(busy("the coding agent did not offer that answer"));
        }
        let pending = waiting.remove(place);
        self.write(acp::permission(&pending.request, Some(option)));
        Ok(())
    }

    /// Asks the coding agent to end its turn. True: there is one, and it was not asked before.
    pub(crate) fn cancel(&mut self) -> bool {
        let Some(session) = self.progress.acp_session.clone() else { return false };
        match &mut self.progress.turn {
            Some(turn) if !turn.is_cancelled => turn.is_cancelled = true,
            _ => return false,
        }
        self.write(acp::cancel(&session));
        for pending in std::mem::take(&mut self.progress.permissions) {
            self.write(acp::permission(&pending.request, None));
        }
        true
    }

    /// The coding agent cannot be worked with any more; it has to be killed.
    pub(crate) fn break_off(&mut self, reason: &str) {
        if let Some(turn) = self.progress.turn.take() {
            self.end_turn(turn.message, TurnEnd::Broken { reason: reason.to_string() });
        }
        self.lost(reason, None);
    }

    /// The coding agent has exited and all its output was read. `was_told`: we killed it.
    pub(crate) fn exited(&mut self, reason: &str, was_told: bool) {
        let Some(turn) = self.progress.turn.take() else {
            return if was_told { self.end(reason) } else { self.lost(reason, None) };
        };
        if was_told || turn.is_cancelled {
            let end = TurnEnd::Stopped { reason: "cancelled".to_string() };
            self.end_turn(turn.message, end);
        } else {
            self.end_turn(turn.message, TurnEnd::Broken { reason: reason.to_string() });
        }
        if was_told { self.end(reason) } else { self.lost(reason, None) }
    }

    /// The container or its holder is gone; nobody knows how far the prompt in flight came.
    pub(crate) fn vanished(&mut self, reason: &str) {
        let prompt = self.progress.turn.take().map(|turn| turn.message);
        self.lost(reason, prompt);
        if let Phase::Ended { is_interrupted, .. } = &mut self.progress.phase {
            *is_interrupted = true;
        }
    }

    fn lost(&mut self, reason: &str, prompt: Option<MessageId>) {
        // A session that never became ready is refused, not lost: its order says so.
        if self.progress.phase == Phase::Ready {
            self.telling.close_message(&mut self.progress);
            let (session, epoch, reason) = (self.session, self.epoch, reason.to_string());
            self.telling.report(Report::SessionLost { session, epoch, reason, prompt });
        }
        self.end(reason);
    }

    fn end(&mut self, reason: &str) {
        if self.is_over() {
            return;
        }
        self.telling.close_message(&mut self.progress);
        let is_refused = self.progress.phase != Phase::Ready;
        let reason = reason.to_string();
        self.progress.phase = Phase::Ended { reason, is_refused, is_interrupted: false };
        self.progress.unwritten.clear();
        self.progress.permissions.clear();
        self.telling.hurry();
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.progress.phase, Phase::Ended { .. })
    }

    /// What the start has come to; none while it is going on.
    pub(crate) fn outcome(&self) -> Option<Result<Started, SessionRefusal>> {
        match &self.progress.phase {
            Phase::Ended { reason, is_refused: true, is_interrupted } => {
                let kind = match is_interrupted {
                    true => RefusalKind::Interrupted,
                    false => RefusalKind::CodingAgent,
                };
                Some(Err(SessionRefusal { kind, reason: reason.clone() }))
            }
            // One that was ready once was started, whatever came of it.
            Phase::Ready | Phase::Ended { .. } => Some(Ok(Started {
                agent_name: self.progress.agent_name.clone(),
                agent_version: self.progress.agent_version.clone(),
                acp_session: self.progress.acp_session.clone().unwrap_or_default(),
            })),
            _ => None,
        }
    }

    fn next_request(&mut self) -> u64 {
        self.progress.n_requests += 1;
        self.progress.n_requests
    }

    fn write(&mut self, line: String) {
        self.progress.n_written += 1;
        let number = self.progress.n_written;
        self.progress.unwritten.push(NumberedLine { number, line });
        self.telling.hurry();
    }
}

fn unknown(reason: &str) -> SessionRefusal {
    let reason = format!("the session has ended: {reason}");
    SessionRefusal { kind: RefusalKind::Unknown, reason }
}

fn busy(reason: &str) -> SessionRefusal {
    SessionRefusal { kind: RefusalKind::CodingAgent, reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
