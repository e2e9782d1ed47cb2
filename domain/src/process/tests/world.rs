//! All aggregates and processes together in memory, over one log.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Debug,
};

use uuid::Uuid;

use crate::{
    event::{Command, Event},
    event_sourced::{EventSourced, refusal_code},
    execution::Execution,
    idea::{Idea, Stage},
    ids::WorkspaceId,
    node::Node,
    process::{
        Action, Intent, IntentKey, Outcome, Process, ProcessEvent, ProcessState, Stimulus,
        close_workspace::CloseWorkspace,
        open_workspace::OpenWorkspace,
        retire_node::RetireNode,
        run_execution::RunExecution,
        tests::outside::{Outside, title_of},
        title_idea::TitleIdea,
    },
    session::Session,
    testing::{node, noon},
    values::Timestamp,
    workspace::{Phase, Workspace},
};

/// The log, the aggregates folded from it, and the outside.
pub(super) struct World {
    pub(super) now: Timestamp,
    /// Positions count from 1.
    pub(super) log: Vec<(Event, Timestamp)>,
    pub(super) outside: Outside,
    /// Commands that recorded something: a repeat gets the first answer.
    recorded: HashSet<(Uuid, Uuid)>,
    pub(super) ideas: BTreeMap<Uuid, Idea>,
    pub(super) executions: BTreeMap<Uuid, Execution>,
    pub(super) nodes: BTreeMap<Uuid, Node>,
    pub(super) workspaces: BTreeMap<Uuid, Workspace>,
    pub(super) sessions: BTreeMap<Uuid, Session>,
}

impl World {
    pub(super) fn new(outside: Outside) -> Self {
        Self {
            now: noon(),
            log: Vec::new(),
            outside,
            recorded: HashSet::new(),
            ideas: BTreeMap::new(),
            executions: BTreeMap::new(),
            nodes: BTreeMap::new(),
            workspaces: BTreeMap::new(),
            sessions: BTreeMap::new(),
        }
    }

    /// What the dispatcher does: decides, records, answers; a repeat gets the first answer.
    pub(super) fn send(&mut self, id: Uuid, command: Command) -> Outcome {
        let key = (command.stream().1, id);
        if self.recorded.contains(&key) {
            return Outcome::Done;
        }
        let decided = match command {
            Command::Idea(id, command) => events(&mut self.ideas, id.0, command)
                .map(|events| events.into_iter().map(|event| Event::Idea(id, event)).collect()),
            Command::Execution(id, command) => {
                events(&mut self.executions, id.0, command).map(|events| {
                    events.into_iter().map(|event| Event::Execution(id, event)).collect()
                })
            }
            Command::Node(id, command) => events(&mut self.nodes, id.0, command)
                .map(|events| events.into_iter().map(|event| Event::Node(id, event)).collect()),
            Command::Workspace(id, command) => {
                events(&mut self.workspaces, id.0, command).map(|events| {
                    events.into_iter().map(|event| Event::Workspace(id, event)).collect()
                })
            }
            Command::Session(id, command) => events(&mut self.sessions, id.0, command)
                .map(|events| events.into_iter().map(|event| Event::Session(id, event)).collect()),
            other => unreachable!("no process tells {other:?}"),
        };
        let events: Vec<Event> = match decided {
            Ok(events) => events,
            Err(refused) => return *refused,
        };
        for event in events {
            self.recorded.insert(key);
            self.outside.watch(&event);
            self.log.push((event, self.now));
        }
        Outcome::Done
    }

    /// Performs an action; none as long as there is nothing to tell.
    pub(super) fn perform(&mut self, key: Uuid, action: &Action) -> Option<Outcome> {
        match action {
            Action::Tell(command) => Some(self.send(key, command.as_ref().clone())),
            Action::Run(effect) => {
                let machine = self.nodes.entry(node(1).0).or_default();
                self.outside.perform(key, effect, machine, self.now)
            }
            Action::WakeAt { .. } => None,
        }
    }

    /// Everything has ended, and nothing is left over but what is kept on purpose.
    pub(super) fn assert_at_rest(&self) {
        let kept = self.kept();
        for idea in self.ideas.values() {
            let Idea::Known { stage, description, title, .. } = idea else { continue };
            assert!(matches!(stage, Stage::Done | Stage::Parked), "an idea is {stage:?}");
            let made = title_of(*description);
            assert!(title.is_none_or(|title| title == made), "a title of another text");
        }
        for execution in self.executions.values() {
            assert!(
                matches!(execution, Execution::Ended | Execution::Unknown),
                "an execution is {execution:?}"
            );
        }
        for session in self.sessions.values() {
            assert_eq!(session.execution(), None, "the session goes on");
        }
        for (id, workspace) in &self.workspaces {
            let Workspace::Known { phase, .. } = workspace else { continue };
            let is_kept = kept.contains(&WorkspaceId(*id));
            assert!(*phase == Phase::Stopped || is_kept, "a workspace is {phase:?}");
        }
        let left: Vec<_> = self.outside.containers.iter().filter(|id| !kept.contains(id)).collect();
        assert!(left.is_empty(), "containers are left: {left:?}");
        if kept.is_empty() {
            for node in self.nodes.values() {
                assert!(matches!(node, Node::Unknown | Node::Gone), "a node is {node:?}");
            }
            assert!(!self.outside.is_up, "the machine is still there");
        }
    }

    /// Workspaces that hold work which could not be saved.
    fn kept(&self) -> Vec<WorkspaceId> {
        self.outside.unsaved.iter().copied().collect()
    }
}

/// Runs one command on one aggregate.
fn events<A: EventSourced>(
    states: &mut BTreeMap<Uuid, A>,
    id: Uuid,
    command: A::Command,
) -> Result<Vec<A::Event>, Box<Outcome>> {
    let state = states.entry(id).or_default();
    let events = state.decide(command).map_err(|error| {
        let (code, reason) = (refusal_code(&error), error.to_string());
        Box::new(Outcome::Refused { code, reason })
    })?;
    for event in &events {
        state.evolve(event.clone());
    }
    Ok(events)
}

/// All instances of one process, and how far it has read.
pub(super) struct Instances<P> {
    states: BTreeMap<Uuid, ProcessState<P>>,
    history: Vec<(Uuid, ProcessEvent)>,
    read: usize,
}

impl<P> Default for Instances<P> {
    fn default() -> Self {
        Self { states: BTreeMap::new(), history: Vec::new(), read: 0 }
    }
}

/// An intent that could be performed now.
#[derive(Clone, Debug)]
pub(super) struct Runnable {
    pub(super) instance: Uuid,
    pub(super) key: IntentKey,
    /// The id under which it is performed.
    pub(super) id: Uuid,
    pub(super) intent: Intent,
}

/// One kind of process, whichever it is.
pub(super) trait Reader {
    fn is_behind(&self, world: &World) -> bool;
    fn read_one(&mut self, world: &World);
    fn runnable(&self) -> Vec<Runnable>;
    /// The next time it wants to be woken.
    fn next_wake(&self) -> Option<(Timestamp, Runnable)>;
    fn settle(&mut self, done: &Runnable, outcome: Outcome, at: Timestamp);
    fn wake(&mut self, due: &Runnable, at: Timestamp);
    /// What was recorded folds to what is there.
    fn assert_replays(&self);
}

impl<P: Process> Instances<P> {
    fn see(&mut self, instance: Uuid, stimulus: Stimulus) {
        let state = self.states.entry(instance).or_default();
        let Some(event) = state.decide(stimulus.clone()) else { return };
        state.evolve(&event);
        let again = state.decide(stimulus);
        assert_eq!(again, None, "the same stimulus again asks for nothing");
        self.history.push((instance, event));
    }
}

impl<P: Process> Reader for Instances<P> {
    fn is_behind(&self, world: &World) -> bool {
        self.read < world.log.len()
    }

    fn read_one(&mut self, world: &World) {
        let (event, at) = &world.log[self.read];
        self.read += 1;
        if let Some(instance) = P::route(event) {
            let position = u64::try_from(self.read).unwrap();
            self.see(instance, Stimulus::Happened { event: event.clone(), position, at: *at });
        }
    }

    fn runnable(&self) -> Vec<Runnable> {
        let mut runnable = Vec::new();
        for (instance, state) in &self.states {
            let mut is_blocked = false;
            for (key, intent) in &state.unsettled {
                let is_wake = matches!(intent.action, Action::WakeAt { .. });
                if !is_wake && (intent.is_parallel || !is_blocked) {
                    runnable.push(to_runnable::<P>(*instance, *key, intent));
                }
                is_blocked |= !is_wake && !intent.is_parallel;
            }
        }
        runnable
    }

    fn next_wake(&self) -> Option<(Timestamp, Runnable)> {
        let all = self.states.iter().flat_map(|(instance, state)| {
            state.unsettled.iter().filter_map(|(key, intent)| match intent.action {
                Action::WakeAt { at, .. } => Some((at, to_runnable::<P>(*instance, *key, intent))),
                _ => None,
            })
        });
        all.min_by_key(|(at, _)| *at)
    }

    fn settle(&mut self, done: &Runnable, outcome: Outcome, at: Timestamp) {
        self.see(done.instance, Stimulus::Settled { intent: done.key, outcome, at });
    }

    fn wake(&mut self, due: &Runnable, at: Timestamp) {
        let Action::WakeAt { label, .. } = &due.intent.action else { return };
        let label = label.clone();
        self.see(due.instance, Stimulus::Woken { intent: due.key, label, at });
    }

    fn assert_replays(&self) {
        let mut states: BTreeMap<Uuid, ProcessState<P>> = BTreeMap::new();
        for (instance, event) in &self.history {
            let stored = serde_json::to_string(event).unwrap();
            let event: ProcessEvent = serde_json::from_str(&stored).unwrap();
            states.entry(*instance).or_default().evolve(&event);
        }
        for (instance, state) in &self.states {
            let replayed = states.remove(instance).unwrap_or_default();
            assert_eq!(*state, replayed, "{} {instance}", P::TYPE);
        }
    }
}

fn to_runnable<P: Process>(instance: Uuid, key: IntentKey, intent: &Intent) -> Runnable {
    Runnable { instance, key, id: key.uuid(P::TYPE, instance), intent: intent.clone() }
}

/// Every kind of process.
pub(super) fn readers() -> Vec<Box<dyn Reader>> {
    vec![
        Box::new(Instances::<RunExecution>::default()),
        Box::new(Instances::<OpenWorkspace>::default()),
        Box::new(Instances::<CloseWorkspace>::default()),
        Box::new(Instances::<RetireNode>::default()),
        Box::new(Instances::<TitleIdea>::default()),
    ]
}
