//! The shape of a process: it sees stimuli and answers with intents, and performs nothing itself.
//!
//! One event [`ProcessEvent::Reacted`] records a stimulus together with the intents it led to, so
//! the state of a process is the fold of its own stream, and a crash between seeing and wanting
//! cannot happen. The runner performs intents that have no outcome yet; the outcome comes back as
//! the next stimulus. An intent is named by [`IntentKey`], which is also the id of the command it
//! sends: performing it twice is harmless.
//!
//! A stimulus that changes nothing is not recorded, except an outcome, which settles its intent.

pub mod close_workspace;
pub mod erase_account;
pub mod erase_project;
pub mod open_workspace;
pub mod retire_node;
pub mod run_execution;
#[cfg(test)]
mod testing;
pub mod title_idea;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    agent_protocol::{CodingAgentKind, PermissionPolicy, RefusalKind},
    event::{Command, Event},
    event_sourced::EventPayload,
    ids::{
        AccountId, ExecutionId, IdeaId, MessageId, NodeId, PermissionId, ProjectId, SessionId,
        WorkspaceId, derived,
    },
    values::{ContentRef, ExecutionResult, NodeSpec, ProviderKind, Timestamp, WorkspaceSpec},
};

/// A place in the log.
pub type Position = u64;

/// Decides what should happen next.
pub trait Process:
    Default + Clone + fmt::Debug + PartialEq + Send + Sync + Unpin + 'static
{
    /// The kind of its streams.
    const TYPE: &'static str;

    /// The kinds of streams of which an event can concern an instance: others need not even be decoded.
    const CONCERNED_BY: &'static [&'static str];

    /// The instance that an event concerns, if any. Must follow from the event alone.
    fn route(event: &Event) -> Option<Uuid>;

    /// Answers one stimulus with what should happen next. Pure.
    fn react(&self, seen: Seen<'_>) -> Reaction;

    /// Folds one recorded reaction into the state: the stimulus, and what was wanted because of it.
    fn evolve(&mut self, seen: Seen<'_>, intents: &[Intent]);
}

/// A stimulus as a process sees it: an outcome comes with the action that it settles.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub what: What<'a>,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    Happened(&'a Event),
    /// A command of its own was answered.
    Told(&'a Command, &'a Outcome),
    /// An effect of its own is done.
    Ran(&'a Effect, &'a Outcome),
    Woken(&'a str),
}

/// What a process sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stimulus {
    /// Another stream recorded a fact.
    Happened { event: Event, position: Position, at: Timestamp },
    /// An intent of its own came to its end.
    Settled { intent: IntentKey, outcome: Outcome, at: Timestamp },
    /// The time of a [`Action::WakeAt`] has come.
    Woken { intent: IntentKey, label: String, at: Timestamp },
}

impl Stimulus {
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Happened { at, .. } | Self::Settled { at, .. } | Self::Woken { at, .. } => *at,
        }
    }
}

/// What a process answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reaction {
    pub intents: Vec<Intent>,
    /// Effects and wake-ups of earlier reactions that have no outcome are given up. Commands are
    /// not: they are short, and what follows may depend on them.
    pub abandons: bool,
}

impl<const N: usize> From<[Intent; N]> for Reaction {
    fn from(intents: [Intent; N]) -> Self {
        Self { intents: intents.into(), abandons: false }
    }
}

impl Reaction {
    pub fn none() -> Self {
        Self::default()
    }

    /// Gives up what is under way and starts over with `intents`.
    pub fn instead<const N: usize>(intents: [Intent; N]) -> Self {
        Self { intents: intents.into(), abandons: true }
    }
}

/// Names an intent within its process: the sequence of its event and its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IntentKey {
    pub sequence: u64,
    pub index: u32,
}

impl IntentKey {
    /// The id under which the intent is performed: command id and order key.
    pub fn uuid(self, process_type: &str, process: Uuid) -> Uuid {
        derived(process, &format!("{process_type}/{}/{}", self.sequence, self.index))
    }
}

/// What a process wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    pub action: Action,
    /// May run beside the intents before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_parallel: bool,
}

impl Intent {
    /// A command to an aggregate.
    pub fn tell(command: impl Into<Command>) -> Self {
        Self { action: Action::Tell(Box::new(command.into())), is_parallel: false }
    }

    /// Something done to the outside world.
    pub fn run(effect: Effect) -> Self {
        Self { action: Action::Run(effect), is_parallel: false }
    }

    /// An order to a node's agent.
    pub fn order(node: NodeId, order: OrderIntent) -> Self {
        Self::run(Effect::Order { node, order })
    }

    /// A wake-up call. `label` tells one reason for waking from another.
    pub fn wake_at(at: Timestamp, label: &str) -> Self {
        Self { action: Action::WakeAt { at, label: label.to_owned() }, is_parallel: true }
    }

    /// The same, beside those before it.
    pub fn beside(self) -> Self {
        Self { is_parallel: true, ..self }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Tell(Box<Command>),
    Run(Effect),
    WakeAt { at: Timestamp, label: String },
}

/// Something done to the outside world. Each can be repeated under its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Looks for a node of this owner that could carry one more workspace.
    FindNode { owner: AccountId, provider: ProviderKind },
    /// Waits until a node of this owner may have room, at most until `until`.
    AwaitRoom { owner: AccountId, provider: ProviderKind, until: Timestamp },
    /// Rents or starts the machine.
    StartNode { node: NodeId, spec: NodeSpec },
    /// Waits until the node's agent has called, at most until `until`.
    AwaitAgent { node: NodeId, until: Timestamp },
    /// Waits until the image of a coding agent is there, or until there is something else to say about it
    /// than what was `seen`, at most until `until`.
    AwaitImage { coding_agent: CodingAgentKind, seen: Option<String>, until: Timestamp },
    /// Gives the machine back.
    StopNode { node: NodeId, spec: NodeSpec },
    /// Has the node's agent do something and waits for its outcome.
    Order { node: NodeId, order: OrderIntent },
    /// Cancels what runs in a project, has its workspaces removed, and waits for both, at most until `until`.
    EndExecutions { project: ProjectId, until: Timestamp },
    /// Enters the project in the erasure ledger and destroys its content key and what is encrypted under it.
    DestroyTexts { project: ProjectId },
    /// Records which streams the project had.
    NameErasedStreams { project: ProjectId },
    /// Ends whatever lets somebody in as this account.
    EndSignIns { account: AccountId },
    /// Asks for the erasure of the account's projects, waits for it at most until `until`, and gives its
    /// machines back.
    EraseProjects { account: AccountId, until: Timestamp },
    /// Enters the account and its credentials in the erasure ledger, and destroys their secrets and keys.
    DestroySecrets { account: AccountId },
    /// Has a model make a title of an idea's text, at most until `until`.
    SummariseTitle { idea: IdeaId, description: ContentRef, until: Timestamp },
}

/// An order as the log may know it: ids instead of texts and secrets, which the runner adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderIntent {
    OpenWorkspace {
        workspace: WorkspaceId,
        execution: Option<ExecutionId>,
        spec: WorkspaceSpec,
    },
    StartSession {
        session: SessionId,
        workspace: WorkspaceId,
        owner: AccountId,
        epoch: u32,
        coding_agent: CodingAgentKind,
        permissions: PermissionPolicy,
    },
    Prompt {
        session: SessionId,
        epoch: u32,
        message: MessageId,
    },
    AnswerPermission {
        session: SessionId,
        request: PermissionId,
        option: String,
    },
    StopSession {
        session: SessionId,
    },
    /// To the execution's branch, or to its checkpoint ref.
    Publish {
        workspace: WorkspaceId,
        execution: ExecutionId,
        is_checkpoint: bool,
    },
    CloseWorkspace {
        workspace: WorkspaceId,
    },
    Retire,
}

/// How an intent ended. A refusal is an outcome: it is not tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A command was accepted, or had been before; or an effect is done and has nothing to tell.
    Done,
    /// A command was refused by `decide`.
    Refused {
        code: String,
        reason: String,
    },
    NodeFound {
        node: NodeId,
    },
    /// There is no node of this owner yet: this one may be requested.
    NodeMissing {
        node: NodeId,
        spec: NodeSpec,
    },
    /// Every node is full; people read the reason.
    NoRoom {
        reason: String,
    },
    /// The image is being made; people read what is going on.
    ImagePending {
        reason: String,
    },
    AgentReady {
        slots: u8,
        version: String,
    },
    WorkspaceOpened {
        base_branch: String,
        base_commit: String,
    },
    SessionStarted {
        agent_name: String,
        agent_version: String,
    },
    Published {
        result: ExecutionResult,
    },
    /// A model made a title.
    Titled {
        title: ContentRef,
    },
    /// The agent or provider said no, or the deadline passed.
    Failed {
        kind: RefusalKind,
        reason: String,
    },
}

/// What a process records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessEvent {
    Reacted {
        stimulus: Stimulus,
        intents: Vec<Intent>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        abandons: bool,
    },
}

impl EventPayload for ProcessEvent {}

/// A process with what it still wants: the fold of its stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessState<P> {
    pub process: P,
    /// Events of its stream so far.
    pub sequence: u64,
    /// The last position of the log that it has seen; lower ones are repeats.
    pub last_position: Position,
    /// Intents without an outcome, in the order in which they are to be performed.
    pub unsettled: BTreeMap<IntentKey, Intent>,
}

impl<P: Process> ProcessState<P> {
    /// Answers a stimulus with the event to record, if there is anything to record.
    pub fn decide(&self, stimulus: Stimulus) -> Option<ProcessEvent> {
        match &stimulus {
            Stimulus::Happened { position, .. } if *position <= self.last_position => return None,
            _ => {}
        }
        let seen = self.seen(&stimulus)?;
        let Reaction { intents, abandons } = self.process.react(seen);
        let is_outcome = !matches!(stimulus, Stimulus::Happened { .. });
        let mut evolved = self.process.clone();
        evolved.evolve(seen, &intents);
        let has_effect = !intents.is_empty() || abandons || evolved != self.process;
        (is_outcome || has_effect).then_some(ProcessEvent::Reacted { stimulus, intents, abandons })
    }

    /// Joins an outcome to the action it settles; None when that is settled or given up.
    fn seen<'a>(&'a self, stimulus: &'a Stimulus) -> Option<Seen<'a>> {
        let what = match stimulus {
            Stimulus::Happened { event, .. } => What::Happened(event),
            Stimulus::Woken { intent, label, .. } => {
                self.unsettled.get(intent)?;
                What::Woken(label)
            }
            Stimulus::Settled { intent, outcome, .. } => {
                match &self.unsettled.get(intent)?.action {
                    Action::Tell(command) => What::Told(command, outcome),
                    Action::Run(effect) => What::Ran(effect, outcome),
                    Action::WakeAt { label, .. } => What::Woken(label),
                }
            }
        };
        Some(Seen { what, at: stimulus.at() })
    }

    /// Folds one recorded reaction.
    pub fn evolve(&mut self, event: &ProcessEvent) {
        let ProcessEvent::Reacted { stimulus, intents, abandons } = event;
        self.sequence += 1;
        let mut process = self.process.clone();
        match self.seen(stimulus) {
            Some(seen) => process.evolve(seen, intents),
            None => unreachable!("`decide` records only outcomes of unsettled intents"),
        }
        self.process = process;
        match stimulus {
            Stimulus::Happened { position, .. } => self.last_position = *position,
            Stimulus::Settled { intent, .. } | Stimulus::Woken { intent, .. } => {
                self.unsettled.remove(intent);
            }
        }
        if *abandons {
            self.unsettled.retain(|_, intent| matches!(intent.action, Action::Tell(_)));
        }
        for (index, intent) in (0..).zip(intents) {
            let key = IntentKey { sequence: self.sequence, index };
            self.unsettled.insert(key, intent.clone());
        }
    }
}

#[cfg(test)]
mod tests;
