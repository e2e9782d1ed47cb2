//! The outside world of the process tests: one machine, its agent, and people, all by script.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use uuid::Uuid;

use crate::{
    agent_protocol::{RefusalKind, TextKind, ToolCallStatus, TurnEnd},
    event::{Command, Event},
    execution::{ExecutionCommand, ExecutionEvent, InputChoice},
    ids::{AccountId, ContentId, MessageId, PermissionId, SessionId, WorkspaceId, derived},
    node::Node,
    process::{Action, Effect, OrderIntent, Outcome},
    session::{RecordedSegment, SessionCommand, SessionEvent},
    testing::{account, content, message, node, node_spec, result},
    values::{ContentRef, Timestamp},
};

/// How a coding agent spends one turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Turn {
    Ends,
    /// Asks for a permission first and waits for it.
    Asks,
    Fails,
    /// Goes away; what became of the prompt is unknown.
    IsLost,
    /// Never ends.
    Hangs,
}

/// What people do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct People {
    /// To an execution that needs input.
    pub(super) choice: Option<InputChoice>,
    pub(super) permits: bool,
    /// Posts a follow-up in the first turn.
    pub(super) follows_up: bool,
}

/// Whether there is a model that makes titles.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Titles {
    #[default]
    Made,
    Off,
}

pub(super) struct Outside {
    pub(super) turns: VecDeque<Turn>,
    pub(super) people: People,
    pub(super) titles: Titles,
    pub(super) is_up: bool,
    pub(super) containers: BTreeSet<WorkspaceId>,
    /// Workspaces whose work could not be saved, by plan.
    pub(super) unsaved: BTreeSet<WorkspaceId>,
    sessions: BTreeMap<SessionId, (WorkspaceId, u32)>,
    /// What the agent carried out, by key: it does nothing twice.
    carried_out: HashMap<Uuid, Outcome>,
    /// What the agent and people are about to say.
    pub(super) said: VecDeque<Command>,
    n_said: u128,
    /// The prompt of a turn that waits for a permission.
    waiting: Option<MessageId>,
}

impl Outside {
    pub(super) fn new(turns: &[Turn], people: People) -> Self {
        Self {
            turns: turns.iter().copied().collect(),
            people,
            titles: Titles::default(),
            is_up: false,
            containers: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            sessions: BTreeMap::new(),
            carried_out: HashMap::new(),
            said: VecDeque::new(),
            n_said: 0,
            waiting: None,
        }
    }

    /// Performs an effect; none as long as there is nothing to tell.
    pub(super) fn perform(
        &mut self,
        key: Uuid,
        effect: &Effect,
        machine: &Node,
        now: Timestamp,
    ) -> Option<Outcome> {
        Some(match effect {
            Effect::FindNode { .. } => match machine {
                Node::Running { slots, placed, .. } if placed.len() < usize::from(*slots) => {
                    Outcome::NodeFound { node: node(1) }
                }
                Node::Running { .. } => Outcome::NoRoom { reason: "the node is full".into() },
                Node::Stopping { .. } => Outcome::NoRoom { reason: "the node stops".into() },
                Node::Unknown | Node::Requested { .. } | Node::Gone => {
                    Outcome::NodeMissing { node: node(1), spec: node_spec() }
                }
            },
            Effect::AwaitRoom { until, .. } => {
                let has_room = match machine {
                    Node::Running { slots, placed, .. } => placed.len() < usize::from(*slots),
                    Node::Stopping { .. } => false,
                    Node::Unknown | Node::Requested { .. } | Node::Gone => true,
                };
                if !has_room && now < *until {
                    return None;
                }
                if has_room { Outcome::Done } else { failed("no room in time") }
            }
            Effect::StartNode { .. } => {
                self.is_up = true;
                Outcome::Done
            }
            Effect::AwaitAgent { until, .. } => {
                if !self.is_up && now < *until {
                    return None;
                }
                let (slots, version) = (2, "1".to_owned());
                if self.is_up {
                    Outcome::AgentReady { slots, version }
                } else {
                    failed("the agent did not call in time")
                }
            }
            Effect::AwaitImage { seen: None, .. } => {
                Outcome::ImagePending { reason: "it is fetched".into() }
            }
            Effect::AwaitImage { seen: Some(_), .. } => Outcome::Done,
            Effect::StopNode { .. } => {
                let left: Vec<_> = self.containers.difference(&self.unsaved).collect();
                assert!(left.is_empty(), "the machine goes with containers on it: {left:?}");
                self.is_up = false;
                self.containers.clear();
                self.sessions.clear();
                Outcome::Done
            }
            Effect::Order { order, .. } => self.order(key, order),
            Effect::SummariseTitle { description, .. } => match self.titles {
                Titles::Made => Outcome::Titled {
                    title: ContentRef { id: title_of(description.id), ..content(73) },
                },
                Titles::Off => Outcome::Done,
            },
            Effect::EndExecutions { .. }
            | Effect::DestroyTexts { .. }
            | Effect::NameErasedStreams { .. }
            | Effect::EndSignIns { .. }
            | Effect::EraseProjects { .. }
            | Effect::DestroySecrets { .. } => unreachable!("nobody erases anything here"),
        })
    }

    fn order(&mut self, key: Uuid, order: &OrderIntent) -> Outcome {
        if let Some(outcome) = self.carried_out.get(&key) {
            return outcome.clone();
        }
        let outcome = self.carry_out(order);
        self.carried_out.insert(key, outcome.clone());
        outcome
    }

    fn carry_out(&mut self, order: &OrderIntent) -> Outcome {
        let unknown = |what: &str| Outcome::Failed {
            kind: RefusalKind::Unknown,
            reason: format!("there is no such {what}"),
        };
        match order {
            OrderIntent::OpenWorkspace { workspace, .. } => {
                if !self.is_up {
                    return unknown("node");
                }
                self.containers.insert(*workspace);
                let (base_branch, base_commit) = ("main".into(), "a".repeat(40));
                Outcome::WorkspaceOpened { base_branch, base_commit }
            }
            OrderIntent::StartSession { session, workspace, epoch, .. } => {
                if !self.containers.contains(workspace) {
                    return unknown("workspace");
                }
                self.sessions.insert(*session, (*workspace, *epoch));
                let (agent_name, agent_version) = ("demo".into(), "1".into());
                Outcome::SessionStarted { agent_name, agent_version }
            }
            OrderIntent::Prompt { session, epoch, message } => {
                if self.sessions.get(session).is_none_or(|(_, current)| current != epoch) {
                    return unknown("session");
                }
                self.take_turn(*session, *epoch, *message);
                Outcome::Done
            }
            OrderIntent::AnswerPermission { session, .. } => {
                let Some((_, epoch)) = self.sessions.get(session) else {
                    return unknown("session");
                };
                let (session, epoch) = (*session, *epoch);
                if let Some(prompt) = self.waiting.take() {
                    self.end_turn(session, epoch, prompt);
                }
                Outcome::Done
            }
            OrderIntent::StopSession { session } => {
                self.sessions.remove(session);
                Outcome::Done
            }
            OrderIntent::Publish { workspace, is_checkpoint, .. } => {
                if !self.containers.contains(workspace) {
                    return unknown("workspace");
                }
                let mut result = result();
                if *is_checkpoint {
                    result.reference = Some("refs/sam/checkpoints/1".into());
                }
                Outcome::Published { result }
            }
            OrderIntent::CloseWorkspace { workspace } => {
                self.containers.remove(workspace);
                self.sessions.retain(|_, (of, _)| of != workspace);
                Outcome::Done
            }
            OrderIntent::Retire => Outcome::Done,
        }
    }

    fn take_turn(&mut self, session: SessionId, epoch: u32, prompt: MessageId) {
        let answer = MessageId(derived(prompt.0, &format!("answer {epoch}")));
        let turn = self.turns.pop_front().unwrap_or(Turn::Ends);
        let segment = |first_chunk, is_last| {
            SessionCommand::RecordSegment(RecordedSegment {
                epoch,
                message: answer,
                kind: TextKind::Answer,
                first_chunk,
                n_chunks: 2,
                content: content(70),
                is_last,
            })
        };
        self.say((session, segment(0, false)).into());
        let call = SessionCommand::RecordToolCall {
            epoch,
            call: "1".into(),
            kind: "edit".into(),
            status: ToolCallStatus::Completed,
            content: content(71),
        };
        self.say((session, call).into());
        match turn {
            Turn::Ends => {
                self.say((session, segment(2, true)).into());
                self.end_turn(session, epoch, prompt);
            }
            Turn::Fails => {
                let end = TurnEnd::Failed { reason: "out of credit".into() };
                let ended = SessionCommand::RecordTurnEnd { epoch, message: prompt, end };
                self.say((session, ended).into());
            }
            Turn::Asks => {
                let asked = SessionCommand::RecordPermissionAsked {
                    epoch,
                    request: PermissionId(derived(prompt.0, &format!("permission {epoch}"))),
                    options: ["yes".to_owned(), "no".to_owned()].into(),
                    content: content(72),
                };
                self.say((session, asked).into());
                self.waiting = Some(prompt);
            }
            Turn::IsLost => {
                self.sessions.remove(&session);
                let lost = SessionCommand::RecordLoss {
                    epoch,
                    reason: "the holder died".into(),
                    prompt: Some(prompt),
                };
                self.say((session, lost).into());
            }
            Turn::Hangs => {}
        }
    }

    fn end_turn(&mut self, session: SessionId, epoch: u32, prompt: MessageId) {
        let end = TurnEnd::Stopped { reason: "end_turn".into() };
        self.say((session, SessionCommand::RecordTurnEnd { epoch, message: prompt, end }).into());
    }

    /// Lets people react to what they see.
    pub(super) fn watch(&mut self, event: &Event) {
        match event {
            Event::Execution(execution, ExecutionEvent::InputAsked { .. }) => {
                if let Some(choice) = self.people.choice {
                    self.say((*execution, ExecutionCommand::AnswerInput { choice }).into());
                }
            }
            Event::Session(session, SessionEvent::PermissionAsked { request, .. })
                if self.people.permits =>
            {
                let (request, option, by) = (*request, "yes".to_owned(), author());
                let answer = SessionCommand::AnswerPermission { request, option, by };
                self.say((*session, answer).into());
            }
            Event::Session(session, SessionEvent::TurnStarted { .. }) if self.people.follows_up => {
                self.people.follows_up = false;
                let (message, author, content) = (message(50), author(), content(50));
                self.say((*session, SessionCommand::Post { message, author, content }).into());
            }
            _ => {}
        }
    }

    /// A checkpoint that fails leaves work in its workspace, which is kept then.
    pub(super) fn note_unsaved(&mut self, action: &Action) {
        let Action::Run(Effect::Order { order, .. }) = action else { return };
        if let OrderIntent::Publish { workspace, is_checkpoint: true, .. } = order {
            self.unsaved.insert(*workspace);
        }
    }

    fn say(&mut self, command: Command) {
        self.said.push_back(command);
    }

    /// The id under which the next thing said is recorded.
    pub(super) fn next_command_id(&mut self) -> Uuid {
        self.n_said += 1;
        Uuid::from_u128(77 << 64 | self.n_said)
    }
}

/// What the model makes of a text.
pub(super) fn title_of(description: ContentId) -> ContentId {
    ContentId(derived(description.0, "title"))
}

fn failed(reason: &str) -> Outcome {
    Outcome::Failed { kind: RefusalKind::Machine, reason: reason.to_owned() }
}

fn author() -> AccountId {
    account(1)
}
