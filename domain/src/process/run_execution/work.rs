//! From the request to a coding agent at work: what each stimulus leads to, and what is remembered of it.

use crate::{
    agent_protocol::{CodingAgentKind, RefusalKind, TurnEnd},
    event::{Command, Event},
    execution::{Ending, ExecutionCommand, ExecutionEvent, InputChoice},
    idea::ExecutionRequest,
    ids::{MessageId, NodeId},
    node::NodeCommand,
    process::{
        Action, Effect, Intent, OrderIntent, Outcome, Reaction, What,
        run_execution::{ATTACHMENTS_MAX, Going, IMAGE_MS_MAX, Phase},
    },
    session::{SessionCommand, SessionEvent},
    values::{Step, Timestamp, WorkspaceSpec, after},
    workspace::{WorkspaceCommand, WorkspaceEvent},
};

impl Going {
    pub(super) fn begin(&self) -> Reaction {
        let ExecutionRequest { session, message, prompt, settings, .. } = &self.request;
        let requested = ExecutionCommand::Request {
            idea: self.idea,
            project: self.project,
            session: *session,
            settings: Box::new(settings.clone()),
        };
        let begun = SessionCommand::Begin {
            project: self.project,
            idea: self.idea,
            execution: self.execution(),
            message: *message,
            author: settings.owner,
            content: prompt.clone(),
        };
        [
            self.tell(requested),
            Intent::tell((*session, begun)),
            self.step(Step::NodeSelection, "looking for a machine with room"),
            self.find_node(),
        ]
        .into()
    }

    pub(super) fn on_event(&self, event: &Event, at: Timestamp) -> Reaction {
        match event {
            Event::Execution(_, ExecutionEvent::CancelRequested) => self.cancel(),
            _ if self.ending.is_some() => Reaction::none(),
            Event::Execution(_, ExecutionEvent::InputAnswered { choice })
                if self.phase == Phase::NeedsInput =>
            {
                match choice {
                    InputChoice::Continue => Reaction::instead([self.attach()]),
                    InputChoice::Park => {
                        self.save(Ending::Fail { reason: "put aside by a person".to_owned() })
                    }
                }
            }
            Event::Workspace(_, WorkspaceEvent::Started { .. }) if self.phase == Phase::Opening => {
                [
                    self.step(Step::WorkspaceReady, "the repository is checked out"),
                    self.step(Step::AgentSession, "starting the coding agent"),
                    self.attach(),
                ]
                .into()
            }
            Event::Workspace(_, WorkspaceEvent::Failed { reason, .. })
                if self.phase == Phase::Opening =>
            {
                self.give_up(reason)
            }
            Event::Workspace(_, WorkspaceEvent::StopRequested { reason, .. }) => {
                self.give_up(&format!("its workspace was stopped: {reason}"))
            }
            Event::Session(_, event) => self.on_session(event, at),
            _ => Reaction::none(),
        }
    }

    fn on_session(&self, event: &SessionEvent, at: Timestamp) -> Reaction {
        match event {
            SessionEvent::AttachmentBegun { epoch, .. } => {
                [self.order(OrderIntent::StartSession {
                    session: self.request.session,
                    workspace: self.workspace(),
                    owner: self.request.settings.owner,
                    epoch: *epoch,
                    coding_agent: self.request.settings.coding_agent,
                    permissions: self.request.settings.permissions,
                })]
                .into()
            }
            SessionEvent::TurnEnded { epoch, .. } | SessionEvent::AttachmentLost { epoch, .. }
                if *epoch != self.epoch =>
            {
                Reaction::none()
            }
            SessionEvent::TurnEnded { next: Some(next), .. } => {
                Reaction::instead(self.prompt(self.epoch, *next))
            }
            SessionEvent::TurnEnded { end, .. } => self.save(ending_of(end)),
            SessionEvent::AttachmentLost { reason, .. }
                if self.n_attachments >= ATTACHMENTS_MAX =>
            {
                self.save(Ending::Fail { reason: reason.clone() })
            }
            // No prompt was under way, so nothing is in doubt: attach again.
            SessionEvent::AttachmentLost { prompt: None, .. } => Reaction::instead([self.attach()]),
            SessionEvent::AttachmentLost { reason, .. } => {
                let until = after(at, self.request.settings.periods.input_ms_max);
                let reason = format!(
                    "{reason}. It is not known how far the coding agent came: continue, or put the idea aside"
                );
                Reaction::instead([
                    self.tell(ExecutionCommand::AskInput { reason, until }),
                    Intent::wake_at(until, "input"),
                ])
            }
            SessionEvent::PermissionAsked { request, .. } => {
                let until = after(at, self.request.settings.periods.input_ms_max);
                [Intent::wake_at(until, &format!("permission {request}"))].into()
            }
            SessionEvent::PermissionAnswered { request, option: Some(option), .. } => [self
                .order(OrderIntent::AnswerPermission {
                    session: self.request.session,
                    request: *request,
                    option: option.clone(),
                })
                .beside()]
            .into(),
            _ => Reaction::none(),
        }
    }

    pub(super) fn on_answer(
        &self,
        command: &Command,
        outcome: &Outcome,
        at: Timestamp,
    ) -> Reaction {
        if self.ending.is_some() {
            return match command {
                Command::Execution(
                    _,
                    command @ (ExecutionCommand::Complete
                    | ExecutionCommand::Fail { .. }
                    | ExecutionCommand::RecordCancelled { .. }),
                ) => self.on_ended(command, outcome, at),
                _ => Reaction::none(),
            };
        }
        match (command, outcome) {
            (Command::Node(node, NodeCommand::PlaceWorkspace { .. }), Outcome::Done) => {
                self.on_placed(*node, at)
            }
            // It was full or gone after all: the directory may be a little behind.
            (
                Command::Node(_, NodeCommand::PlaceWorkspace { .. }),
                Outcome::Refused { reason, .. },
            ) => self.wait_for_room(reason),
            // It is being stopped: starting it is out of the question until it is gone.
            (Command::Node(_, NodeCommand::Request { .. }), Outcome::Refused { reason, .. }) => {
                Reaction { abandons: true, ..self.wait_for_room(reason) }
            }
            (
                Command::Session(_, SessionCommand::Begin { .. }),
                Outcome::Refused { reason, .. },
            )
            | (
                Command::Session(_, SessionCommand::BeginAttachment { .. }),
                Outcome::Refused { reason, .. },
            ) => self.give_up(reason),
            _ => Reaction::none(),
        }
    }

    /// A slot is taken. Where the coding agent has an image of its own, that comes before the container.
    fn on_placed(&self, node: NodeId, at: Timestamp) -> Reaction {
        let workspace = self.workspace();
        let placed = self.tell(ExecutionCommand::RecordPlacement { node, workspace });
        let coding_agent = self.request.settings.coding_agent;
        if coding_agent == CodingAgentKind::Demo {
            let step = self.step(Step::WorkspaceCreation, "making the container");
            return [placed, step, self.request_workspace(node)].into();
        }
        let until = after(at, IMAGE_MS_MAX);
        let image = Effect::AwaitImage { coding_agent, seen: None, until };
        let step = self.step(Step::WorkspaceCreation, "making the container from its image");
        [placed, step, Intent::run(image)].into()
    }

    fn request_workspace(&self, node: NodeId) -> Intent {
        let settings = &self.request.settings;
        let spec = WorkspaceSpec {
            project: self.project,
            node,
            repository: settings.repository.clone(),
            base_branch: settings.base_branch.clone(),
            branch: settings.branch.clone(),
            profile: settings.profile,
            coding_agent: settings.coding_agent,
            node_warm_ms: settings.periods.node_warm_ms,
        };
        let execution = Some(self.execution());
        let requested = WorkspaceCommand::Request { execution, spec: Box::new(spec) };
        Intent::tell((self.workspace(), requested))
    }

    fn on_image(
        &self,
        coding_agent: CodingAgentKind,
        until: Timestamp,
        outcome: &Outcome,
    ) -> Reaction {
        match (outcome, self.node) {
            (Outcome::Done, Some(node)) => [self.request_workspace(node)].into(),
            (Outcome::ImagePending { reason }, _) => {
                let seen = Some(reason.clone());
                [
                    self.tell(ExecutionCommand::RecordWaiting { reason: reason.clone() }),
                    Intent::run(Effect::AwaitImage { coding_agent, seen, until }),
                ]
                .into()
            }
            (Outcome::Failed { reason, .. }, _) => self.give_up(reason),
            _ => Reaction::none(),
        }
    }

    pub(super) fn on_effect(&self, effect: &Effect, outcome: &Outcome, at: Timestamp) -> Reaction {
        match (effect, outcome) {
            (Effect::FindNode { .. }, Outcome::NodeFound { node }) => [self.place(*node)].into(),
            (Effect::FindNode { .. }, Outcome::NodeMissing { node, spec }) => [
                self.step(Step::NodeProvisioning, "starting this machine as a node"),
                Intent::tell((*node, NodeCommand::Request { spec: spec.clone() })),
                Intent::run(Effect::StartNode { node: *node, spec: spec.clone() }),
            ]
            .into(),
            (Effect::FindNode { .. }, Outcome::NoRoom { reason }) => self.wait_for_room(reason),
            (Effect::AwaitRoom { .. }, Outcome::Done) => [self.find_node()].into(),
            (Effect::AwaitImage { coding_agent, until, .. }, outcome) => {
                self.on_image(*coding_agent, *until, outcome)
            }
            (Effect::StartNode { node, .. }, Outcome::Done) => {
                let until = after(at, self.request.settings.periods.agent_ready_ms_max);
                [
                    self.step(Step::NodeAgentReady, "waiting for the node's agent to call"),
                    Intent::run(Effect::AwaitAgent { node: *node, until }),
                ]
                .into()
            }
            (Effect::AwaitAgent { node, .. }, Outcome::AgentReady { slots, version }) => {
                let version = version.clone();
                let started = NodeCommand::RecordStart { slots: *slots, version };
                [Intent::tell((*node, started)), self.place(*node)].into()
            }
            (
                Effect::StartNode { node, .. } | Effect::AwaitAgent { node, .. },
                Outcome::Failed { reason, .. },
            ) => {
                // Its machine may exist all the same. Refused where it works for somebody else.
                let stopped = NodeCommand::Stop { reason: reason.clone() };
                let mut reaction = self.give_up(reason);
                reaction.intents.insert(0, Intent::tell((*node, stopped)));
                reaction
            }
            (
                Effect::FindNode { .. } | Effect::AwaitRoom { .. },
                Outcome::Failed { reason, .. },
            ) => self.give_up(reason),
            (Effect::Order { order, .. }, outcome) => self.on_order(order, outcome, at),
            _ => Reaction::none(),
        }
    }

    fn on_order(&self, order: &OrderIntent, outcome: &Outcome, at: Timestamp) -> Reaction {
        let settings = &self.request.settings;
        match (order, outcome) {
            // Another attachment has begun meanwhile; its own order follows.
            (OrderIntent::StartSession { epoch, .. } | OrderIntent::Prompt { epoch, .. }, _)
                if *epoch != self.epoch =>
            {
                Reaction::none()
            }
            (
                OrderIntent::StartSession { epoch, session, .. },
                Outcome::SessionStarted { agent_name, agent_version },
            ) => {
                let (agent_name, agent_version) = (agent_name.clone(), agent_version.clone());
                let epoch = *epoch;
                let Some(message) = self.message else {
                    return self
                        .save(Ending::Fail { reason: "there is no prompt left".to_owned() });
                };
                let attached = SessionCommand::RecordAttached { epoch, agent_name, agent_version };
                let [started, prompt] = self.prompt(epoch, message);
                [Intent::tell((*session, attached)), started, prompt].into()
            }
            (OrderIntent::Prompt { .. }, Outcome::Done) => [
                self.step(Step::Running, "the coding agent is at work"),
                Intent::wake_at(after(at, settings.periods.turn_ms_max), "turn"),
            ]
            .into(),
            // The container died before the coding agent could be asked: begin again.
            (
                OrderIntent::StartSession { .. },
                Outcome::Failed { kind: RefusalKind::Interrupted, .. },
            ) if self.n_attachments < ATTACHMENTS_MAX => [self.attach()].into(),
            // Whether the prompt arrived is told by the loss that the agent reports.
            (
                OrderIntent::Prompt { .. },
                Outcome::Failed { kind: RefusalKind::Interrupted, .. },
            ) => [Intent::wake_at(after(at, settings.periods.turn_ms_max), "turn")].into(),
            (
                OrderIntent::StartSession { .. } | OrderIntent::Prompt { .. },
                Outcome::Failed { reason, .. },
            ) => self.save(Ending::Fail { reason: reason.clone() }),
            (OrderIntent::Publish { is_checkpoint, .. }, outcome) => {
                self.on_published(*is_checkpoint, outcome)
            }
            _ => Reaction::none(),
        }
    }

    pub(super) fn on_woken(&self, label: &str) -> Reaction {
        if self.ending.is_some() {
            return Reaction::none();
        }
        let is_asked = |label: &str| {
            let request = label.strip_prefix("permission ").and_then(|id| id.parse().ok());
            request.is_some_and(|request| self.asked.contains(&request))
        };
        match label {
            "input" if self.phase == Phase::NeedsInput => {
                self.save(Ending::Fail { reason: "nobody answered in time".to_owned() })
            }
            "turn" if self.phase == Phase::Attached => self.save(Ending::Fail {
                reason: "the coding agent did not end its turn in time".to_owned(),
            }),
            label if is_asked(label) => {
                self.save(Ending::Fail { reason: "nobody gave the permission in time".to_owned() })
            }
            _ => Reaction::none(),
        }
    }

    /// Remembers what was seen.
    pub(super) fn remember(&mut self, what: What<'_>) {
        match what {
            What::Happened(Event::Workspace(_, WorkspaceEvent::Started { .. })) => {
                self.phase = self.phase.max(Phase::Open);
            }
            What::Happened(Event::Session(_, event)) if self.ending.is_none() => {
                self.remember_session(event);
            }
            What::Ran(
                Effect::Order { order: OrderIntent::Publish { is_checkpoint: true, .. }, .. },
                Outcome::Failed { kind, .. },
            ) => self.keeps_workspace = *kind != RefusalKind::Unknown,
            _ => {}
        }
    }

    fn remember_session(&mut self, event: &SessionEvent) {
        match event {
            SessionEvent::AttachmentBegun { epoch, message, .. } => {
                self.epoch = *epoch;
                self.n_attachments += 1;
                self.message = *message;
                self.phase = Phase::Attached;
                self.asked.clear();
            }
            SessionEvent::TurnEnded { next, .. } => self.message = *next,
            SessionEvent::PermissionAsked { request, .. } => self.asked.push(*request),
            SessionEvent::PermissionAnswered { request, .. } => {
                self.asked.retain(|asked| asked != request);
            }
            _ => {}
        }
    }

    /// Remembers what was wanted. From here on it may exist, whether its outcome is known or not.
    pub(super) fn remember_wanted(&mut self, intent: &Intent) {
        let Action::Tell(command) = &intent.action else { return };
        match command.as_ref() {
            Command::Node(node, NodeCommand::PlaceWorkspace { .. }) => {
                self.node = Some(*node);
                self.phase = self.phase.max(Phase::Placed);
            }
            Command::Workspace(_, WorkspaceCommand::Request { .. }) => {
                self.phase = self.phase.max(Phase::Opening);
            }
            Command::Execution(_, ExecutionCommand::AskInput { .. }) => {
                self.phase = Phase::NeedsInput;
            }
            Command::Execution(_, ExecutionCommand::Finish { ending }) => {
                self.ending = Some(ending.clone());
                self.phase = Phase::Finishing;
            }
            Command::Execution(_, ExecutionCommand::Complete) => self.end_with(Ending::Complete),
            Command::Execution(_, ExecutionCommand::Fail { reason, .. }) => {
                self.end_with(Ending::Fail { reason: reason.clone() });
            }
            Command::Execution(_, ExecutionCommand::RecordCancelled { .. }) => {
                self.end_with(Ending::Cancel);
            }
            Command::Session(_, SessionCommand::EndExecution { .. }) => self.is_over = true,
            _ => {}
        }
    }

    fn end_with(&mut self, ending: Ending) {
        self.ending = Some(ending);
        self.is_ending = true;
    }

    pub(super) fn tell(&self, command: ExecutionCommand) -> Intent {
        Intent::tell((self.execution(), command))
    }

    pub(super) fn order(&self, order: OrderIntent) -> Intent {
        match self.node {
            Some(node) => Intent::order(node, order),
            None => unreachable!("nothing is ordered before a node is chosen"),
        }
    }

    fn step(&self, step: Step, reason: &str) -> Intent {
        self.tell(ExecutionCommand::StartStep { step, reason: reason.to_owned() })
    }

    fn find_node(&self) -> Intent {
        let settings = &self.request.settings;
        Intent::run(Effect::FindNode { owner: settings.owner, provider: settings.provider })
    }

    fn place(&self, node: NodeId) -> Intent {
        Intent::tell((node, NodeCommand::PlaceWorkspace { workspace: self.workspace() }))
    }

    fn wait_for_room(&self, reason: &str) -> Reaction {
        let settings = &self.request.settings;
        let wait = Effect::AwaitRoom {
            owner: settings.owner,
            provider: settings.provider,
            until: after(self.since, settings.periods.room_ms_max),
        };
        [
            self.tell(ExecutionCommand::RecordWaiting { reason: reason.to_owned() }),
            Intent::run(wait),
        ]
        .into()
    }

    fn attach(&self) -> Intent {
        let (execution, workspace) = (self.execution(), self.workspace());
        let begun = SessionCommand::BeginAttachment { execution, workspace };
        Intent::tell((self.request.session, begun))
    }

    /// The turn is recorded first: its end may be reported before the order's outcome is.
    fn prompt(&self, epoch: u32, message: MessageId) -> [Intent; 2] {
        let session = self.request.session;
        [
            Intent::tell((session, SessionCommand::StartTurn { epoch, message })),
            self.order(OrderIntent::Prompt { session, epoch, message }),
        ]
    }
}

fn ending_of(end: &TurnEnd) -> Ending {
    let reason = match end {
        TurnEnd::Stopped { reason } if reason == "end_turn" => return Ending::Complete,
        TurnEnd::Stopped { reason } => format!("the coding agent stopped: {reason}"),
        TurnEnd::Failed { reason } => format!("the coding agent failed: {reason}"),
        TurnEnd::Broken { reason } => format!("the coding agent broke down: {reason}"),
    };
    Ending::Fail { reason }
}
