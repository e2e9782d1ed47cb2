//! What the simulated coding agent does with a prompt: it reads the demo agent's directives.
//!
//! `say: TEXT` and any other line are answered in chunks; `ask: QUESTION` asks for permission and waits
//! (or not, by the policy); `env: NAME` is answered with the value of a variable of the workspace; `relay: TEXT` streams text that it never reports; `fail: REASON` ends the turn with an error; `hang` never ends it.

use domain::{
    agent_protocol::{
        LiveChunk, Order, PermissionOption, PermissionPolicy, PermissionRequest, PlanEntry, Report,
        Segment, TextKind, ToolCall, ToolCallDetail, ToolCallStatus, TurnEnd,
    },
    ids::{MessageId, PermissionId, SessionId, WorkspaceId, derived},
};

use super::machine::State;

/// An attached coding agent.
#[derive(Debug)]
pub(super) struct SimulatedSession {
    pub(super) workspace: WorkspaceId,
    pub(super) epoch: u32,
    pub(super) permissions: PermissionPolicy,
    pub(super) turn: Option<Turn>,
}

/// A prompt that is being worked on.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) message: MessageId,
    /// Lines that are still to be done, last one first.
    lines: Vec<String>,
    n_answers: u32,
    asked: Option<PermissionId>,
}

/// What one line leads to.
enum Done {
    Answered(String),
    /// Streamed, and never reported.
    Relayed(String),
    Asked(String),
    /// With a variable of the workspace.
    Told(String),
    Hung,
    Over(TurnEnd),
}

impl SimulatedSession {
    pub(super) fn begin(&mut self, message: MessageId, text: &str) {
        let mut lines: Vec<_> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.reverse();
        self.turn = Some(Turn { message, lines, n_answers: 0, asked: None });
    }
}

impl Turn {
    fn next(&mut self) -> Done {
        let Some(line) = self.lines.pop() else {
            return Done::Over(TurnEnd::Stopped { reason: "end_turn".to_owned() });
        };
        match line.split_once(": ") {
            Some(("ask", question)) => Done::Asked(question.to_owned()),
            Some(("fail", reason)) => Done::Over(TurnEnd::Failed { reason: reason.to_owned() }),
            Some(("env", name)) => Done::Told(name.to_owned()),
            Some(("say", text)) => Done::Answered(text.to_owned()),
            Some(("relay", text)) => Done::Relayed(text.to_owned()),
            None if line == "hang" => Done::Hung,
            _ => Done::Answered(line),
        }
    }
}

impl State {
    /// What follows from an order once it is settled.
    pub(super) fn go_on(&mut self, order: &Order) {
        match order {
            Order::Prompt { session, .. } => {
                self.open_turn(*session);
                self.work(*session);
            }
            Order::AnswerPermission { session, request, .. } => {
                let turn = self.sessions.get_mut(session).and_then(|live| live.turn.as_mut());
                if let Some(turn) = turn.filter(|turn| turn.asked == Some(*request)) {
                    turn.asked = None;
                    self.work(*session);
                }
            }
            Order::CancelTurn { session } => {
                self.end(*session, TurnEnd::Stopped { reason: "cancelled".to_owned() });
            }
            _ => {}
        }
    }

    fn open_turn(&mut self, session: SessionId) {
        let Some(live) = self.sessions.get(&session) else { return };
        let epoch = live.epoch;
        let entry = PlanEntry {
            content: "do what was asked".to_owned(),
            priority: "medium".to_owned(),
            status: "in_progress".to_owned(),
        };
        self.report(Report::Plan { session, epoch, entries: vec![entry] });
        for status in [ToolCallStatus::InProgress, ToolCallStatus::Completed] {
            let detail =
                ToolCallDetail { title: "write README.md".to_owned(), ..Default::default() };
            let (call, kind) = ("call-1".to_owned(), "edit".to_owned());
            self.report(Report::ToolCall(ToolCall { session, epoch, call, status, kind, detail }));
        }
    }

    /// Works until the turn ends, hangs or waits for somebody.
    fn work(&mut self, session: SessionId) {
        loop {
            let Some(live) = self.sessions.get_mut(&session) else { return };
            let (epoch, permissions) = (live.epoch, live.permissions);
            let Some(turn) = live.turn.as_mut().filter(|turn| turn.asked.is_none()) else { return };
            let message = MessageId(derived(turn.message.0, &format!("answer {}", turn.n_answers)));
            match turn.next() {
                Done::Hung => return,
                Done::Over(end) => return self.end(session, end),
                Done::Answered(text) => {
                    turn.n_answers += 1;
                    self.answer(session, epoch, message, &text);
                }
                Done::Told(name) => {
                    turn.n_answers += 1;
                    let text = self.variable(session, &name);
                    self.answer(session, epoch, message, &text);
                }
                Done::Relayed(text) => {
                    turn.n_answers += 1;
                    self.relay(session, epoch, message, &text);
                }
                Done::Asked(title) => {
                    turn.n_answers += 1;
                    let id = PermissionId(derived(message.0, "permission"));
                    turn.asked = (permissions == PermissionPolicy::Ask).then_some(id);
                    self.ask(permissions, request(session, epoch, id, title));
                }
            }
        }
    }

    /// The value of a variable as a program in the workspace sees it; empty if there is none.
    fn variable(&self, session: SessionId, name: &str) -> String {
        let workspace = self.sessions.get(&session).map(|live| live.workspace);
        let workspace = workspace.and_then(|workspace| self.workspaces.get(&workspace));
        let value = workspace.and_then(|workspace| workspace.environment.0.get(name));
        value.cloned().unwrap_or_default()
    }

    fn ask(&mut self, permissions: PermissionPolicy, request: PermissionRequest) {
        let option = match permissions {
            PermissionPolicy::Ask => return self.report(Report::PermissionAsked(request)),
            PermissionPolicy::Allow => Some("allow".to_owned()),
            PermissionPolicy::Deny => Some("reject".to_owned()),
        };
        self.report(Report::PermissionSettled { request, option });
    }

    /// Two chunks ahead of two segments.
    fn answer(&mut self, session: SessionId, epoch: u32, message: MessageId, text: &str) {
        let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
        let (first, second) = text.split_at(middle);
        let kind = TextKind::Answer;
        for (chunk, text) in (0..).zip([first, second]) {
            let text = text.to_owned();
            self.chunk(LiveChunk { session, epoch, message, kind, chunk, text: text.clone() });
            self.report(Report::Segment(Segment {
                session,
                epoch,
                message,
                kind,
                first_chunk: chunk,
                n_chunks: 1,
                text,
                is_last: chunk == 1,
            }));
        }
    }

    /// One segment, and two chunks that are in no report.
    fn relay(&mut self, session: SessionId, epoch: u32, message: MessageId, text: &str) {
        let kind = TextKind::Answer;
        for (chunk, text) in (0..).zip(["Begun. ", text, " And on"]) {
            let text = text.to_owned();
            self.chunk(LiveChunk { session, epoch, message, kind, chunk, text: text.clone() });
            if chunk == 0 {
                let (first_chunk, n_chunks, is_last) = (chunk, 1, false);
                self.report(Report::Segment(Segment {
                    session,
                    epoch,
                    message,
                    kind,
                    first_chunk,
                    n_chunks,
                    text,
                    is_last,
                }));
            }
        }
    }

    fn end(&mut self, session: SessionId, end: TurnEnd) {
        let Some(live) = self.sessions.get_mut(&session) else { return };
        let Some(turn) = live.turn.take() else { return };
        let (epoch, message) = (live.epoch, turn.message);
        self.report(Report::TurnEnded { session, epoch, message, end });
    }
}

fn request(
    session: SessionId,
    epoch: u32,
    request: PermissionId,
    title: String,
) -> PermissionRequest {
    let option = |id: &str, kind: &str| PermissionOption {
        id: id.to_owned(),
        name: id.to_owned(),
        kind: kind.to_owned(),
    };
    let options = vec![option("allow", "allow_once"), option("reject", "reject_once")];
    PermissionRequest { session, epoch, request, call: None, title, options }
}
