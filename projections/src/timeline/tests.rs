//! The fold, given events at times of the story and nothing else.

use chrono::TimeDelta;
use domain::{
    agent_protocol::{CodingAgentKind, PermissionPolicy, RefusalKind, StepState, ToolCallStatus},
    execution::Ending,
    idea::ExecutionRequest,
    ids::{AccountId, ContentId, IdeaId, MessageId, NodeId, ProjectId, SessionId, WorkspaceId},
    process::{Effect, Intent, OrderIntent, Outcome},
    values::{
        ContentRef, ExecutionResult, ExecutionSettings, Periods, Profile, ProviderKind, Step,
    },
    workspace::WorkspaceEvent,
};

use super::*;
use crate::event_log::{FIRST_HASH, Metadata, RecordedEvent, StreamId};

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn execution() -> ExecutionId {
    ExecutionId(id(4))
}

fn workspace() -> WorkspaceId {
    WorkspaceId(id(6))
}

fn session(event: SessionEvent) -> Event {
    Event::Session(SessionId(id(7)), event)
}

fn message() -> MessageId {
    MessageId(id(8))
}

fn content() -> ContentRef {
    ContentRef { id: ContentId(id(10)), length: 5, digest: "1".to_owned() }
}

fn settings() -> ExecutionSettings {
    ExecutionSettings {
        owner: AccountId(id(1)),
        provider: ProviderKind::Simulated,
        coding_agent: CodingAgentKind::Demo,
        profile: Profile::Lightweight,
        repository: "/srv/git/shop".to_owned(),
        base_branch: None,
        branch: "sam/greet".to_owned(),
        permissions: PermissionPolicy::Allow,
        periods: Periods::default(),
    }
}

fn requested() -> Event {
    let request = ExecutionRequest {
        execution: execution(),
        session: SessionId(id(7)),
        message: message(),
        prompt: content(),
        settings: settings(),
    };
    let event =
        IdeaEvent::ExecutionRequested { project: ProjectId(id(2)), request: Box::new(request) };
    Event::Idea(IdeaId(id(3)), event)
}

/// A log in which each event is at a time of its own, in milliseconds after the story's beginning.
#[derive(Default)]
struct Story {
    facts: Vec<Fact>,
    n_reactions: u64,
}

impl Story {
    fn add(&mut self, ms: i64, stream: StreamId, name: String, cause: Option<Cause>, what: What) {
        let position = self.facts.len() as u64 + 1;
        let metadata = Metadata {
            actor: "test".to_owned(),
            command: id(1000 + u128::from(position)),
            causation: cause,
            correlation: id(99),
            at: Timestamp::default() + TimeDelta::milliseconds(ms),
        };
        let recorded = RecordedEvent {
            position,
            sequence: position,
            stream,
            event_type: name,
            event_version: "1".to_owned(),
            payload: String::new(),
            metadata_text: String::new(),
            metadata,
            hash: FIRST_HASH,
            damage: None,
        };
        self.facts.push(Fact { recorded, what });
    }

    fn happened(mut self, ms: i64, event: impl Into<Event>) -> Self {
        let event = event.into();
        let (kind, stream) = event.stream();
        let name = event.stored().0;
        self.add(ms, StreamId::new(kind, stream), name, None, What::Event(event));
        self
    }

    /// The process of the execution reacts; its own sequence counts its reactions only.
    fn reacted(mut self, ms: i64, stimulus: Stimulus, intents: Vec<Intent>) -> Self {
        let cause = match &stimulus {
            Stimulus::Happened { position, .. } => Cause::Event(*position),
            Stimulus::Settled { intent, .. } | Stimulus::Woken { intent, .. } => {
                Cause::Command(intent.uuid("run_execution", execution().0))
            }
        };
        let stream = StreamId::new("run_execution", execution().0);
        let event = ProcessEvent::Reacted { stimulus, intents, abandons: false };
        self.add(ms, stream, "reacted".to_owned(), Some(cause), What::Reacted(event));
        self.n_reactions += 1;
        if let Some(fact) = self.facts.last_mut() {
            fact.recorded.sequence = self.n_reactions;
        }
        self
    }

    fn step(self, ms: i64, step: Step) -> Self {
        let event = ExecutionEvent::StepStarted { step, reason: format!("{step:?}") };
        self.happened(ms, (execution(), event))
    }

    fn folded(&self, until_ms: i64) -> Timeline {
        let until = Timestamp::default() + TimeDelta::milliseconds(until_ms);
        fold(execution(), &self.facts, until)
    }
}

fn settled(sequence: u64, index: u32, outcome: Outcome) -> Stimulus {
    Stimulus::Settled { intent: IntentKey { sequence, index }, outcome, at: Timestamp::default() }
}

fn find_node() -> Intent {
    Intent::run(Effect::FindNode { owner: AccountId(id(1)), provider: ProviderKind::Simulated })
}

fn publish() -> Intent {
    let order = OrderIntent::Publish {
        workspace: workspace(),
        execution: execution(),
        is_checkpoint: false,
    };
    Intent::order(NodeId(id(5)), order)
}

fn result() -> ExecutionResult {
    ExecutionResult {
        reference: Some("sam/greet".to_owned()),
        head: "b".repeat(40),
        base: "a".repeat(40),
        n_commits: 2,
        n_files: 1,
        is_diff_cut: false,
        detail: content(),
    }
}

/// Name, attempt, state and length of each phase.
fn strip(timeline: &Timeline) -> Vec<(PhaseName, u32, PhaseState, u64)> {
    let phases = timeline.phases.iter();
    phases.map(|phase| (phase.name, phase.attempt, phase.state, phase.elapsed_ms)).collect()
}

fn attached(story: Story, ms: i64, epoch: u32) -> Story {
    let begun = SessionEvent::AttachmentBegun {
        execution: execution(),
        workspace: workspace(),
        epoch,
        message: Some(message()),
    };
    story
        .happened(ms, session(begun))
        .happened(ms + 30, session(SessionEvent::TurnStarted { epoch, message: message() }))
}

#[test]
fn phases_follow_each_other_and_the_push_lies_in_finishing() {
    let published = Outcome::Published { result: result() };
    let story = Story::default()
        .happened(0, requested())
        .step(100, Step::NodeSelection)
        .step(250, Step::WorkspaceCreation)
        .step(1_000, Step::WorkspaceReady)
        .step(1_000, Step::AgentSession)
        .step(1_500, Step::Running);
    let story = story
        .reacted(9_000, settled(1, 0, Outcome::Done), vec![publish()])
        .happened(9_010, (execution(), ExecutionEvent::FinishBegun { ending: Ending::Complete }))
        .reacted(9_700, settled(1, 0, published), Vec::new())
        .happened(
            9_710,
            (execution(), ExecutionEvent::ResultRecorded { result: Box::new(result()) }),
        )
        .happened(9_800, (execution(), ExecutionEvent::Done));
    let timeline = story.folded(60_000);
    use PhaseName::{Finishing, Push};
    use PhaseState::{Done, Skipped};
    let step = PhaseName::Step;
    assert_eq!(
        strip(&timeline),
        [
            (step(Step::NodeSelection), 1, Done, 150),
            (step(Step::NodeProvisioning), 1, Skipped, 0),
            (step(Step::NodeAgentReady), 1, Skipped, 0),
            (step(Step::WorkspaceCreation), 1, Done, 750),
            (step(Step::WorkspaceReady), 1, Done, 0),
            (step(Step::AgentSession), 1, Done, 500),
            (step(Step::Running), 1, Done, 7_510),
            (Finishing, 1, Done, 790),
            (Push, 1, Done, 690),
        ]
    );
    assert_eq!(timeline.phases[0].last_position, Some(3), "the next step ends it");
    let pushed = &timeline.entries[9];
    assert_eq!((pushed.kind, pushed.phase), (EntryKind::Git, Some(Finishing)));
    assert_eq!((pushed.since_ms, pushed.took_ms), (9_710, Some(700)));
    assert_eq!(timeline.ended_at.map(|at| at.timestamp_millis()), Some(9_800));
    let done = timeline.entries.last().unwrap();
    assert_eq!(done.phase, Some(Finishing), "what ends a phase belongs to it");
}

#[test]
fn a_phase_that_goes_on_is_measured_up_to_now() {
    let story = Story::default().happened(0, requested()).step(100, Step::NodeSelection);
    let timeline = story.folded(5_100);
    assert_eq!(timeline.ended_at, None);
    let selecting = (PhaseName::Step(Step::NodeSelection), 1, PhaseState::Active, 5_000);
    assert_eq!(strip(&timeline), [selecting]);
}

#[test]
fn a_coding_agent_that_is_lost_starts_and_runs_again() {
    let lost = SessionEvent::AttachmentLost {
        execution: execution(),
        epoch: 1,
        reason: "gone".to_owned(),
        prompt: Some(message()),
    };
    let story = Story::default().happened(0, requested()).step(10, Step::AgentSession);
    let story = attached(story, 20, 1).step(40, Step::Running).happened(500, session(lost));
    let timeline = attached(story, 700, 2).folded(1_000);
    let (starting, running) = (PhaseName::Step(Step::AgentSession), PhaseName::Step(Step::Running));
    let gone_through: Vec<_> = strip(&timeline)
        .into_iter()
        .filter(|(.., state, _)| *state != PhaseState::Skipped)
        .collect();
    assert_eq!(
        gone_through,
        [
            (starting, 1, PhaseState::Done, 30),
            (running, 1, PhaseState::Failed, 460),
            (starting, 2, PhaseState::Done, 30),
            (running, 2, PhaseState::Active, 270),
        ]
    );
    let failed = timeline.phases.iter().find(|phase| phase.state == PhaseState::Failed).unwrap();
    assert_eq!(failed.reason.as_deref(), Some("gone"));
    let attempts = |event: &str| -> Vec<u32> {
        let entries = timeline.entries.iter().filter(|entry| entry.event == event);
        entries.map(|entry| entry.attempt).collect()
    };
    assert_eq!(attempts("attachment_begun"), [1, 2]);
    assert_eq!(attempts("turn_started"), [1, 2], "the same message was asked again");
    let lost = timeline.entries.iter().find(|entry| entry.event == "attachment_lost").unwrap();
    assert_eq!((lost.took_ms, lost.phase), (Some(450), Some(running)));
}

#[test]
fn what_a_process_wants_again_is_another_attempt_and_knows_its_cause() {
    let event = requested();
    let saw = Stimulus::Happened { event: event.clone(), position: 1, at: Timestamp::default() };
    let full = Outcome::NoRoom { reason: "full".to_owned() };
    let wait = |ms: i64| {
        let until = Timestamp::default() + TimeDelta::milliseconds(ms);
        let owner = AccountId(id(1));
        Intent::run(Effect::AwaitRoom { owner, provider: ProviderKind::Simulated, until })
    };
    let story = Story::default()
        .happened(0, event)
        .reacted(5, saw, vec![find_node()])
        .reacted(25, settled(1, 0, full.clone()), vec![wait(100)])
        .reacted(4_025, settled(2, 0, Outcome::Done), vec![find_node()])
        .reacted(4_030, settled(3, 0, full), vec![wait(200)]);
    let timeline = story.folded(5_000);
    let seen: Vec<_> =
        timeline.entries.iter().map(|entry| (entry.attempt, entry.took_ms, entry.cause)).collect();
    let because = |position| Some(Cause::Event(position));
    assert_eq!(
        seen,
        [
            (1, None, None),
            (1, None, because(1)),
            (1, Some(20), because(2)),
            (2, Some(4_000), because(3)),
            (2, Some(5), because(4)),
        ]
    );
    assert_eq!(timeline.entries[2].summary, "look for a node: no room, full; next: wait for room");
    assert!(timeline.entries.iter().skip(1).all(|entry| entry.kind == EntryKind::Process));
}

#[test]
fn a_push_that_fails_fails_and_is_tried_again() {
    let failed = Outcome::Failed { kind: RefusalKind::Machine, reason: "no network".to_owned() };
    let complete = ExecutionEvent::FinishBegun { ending: Ending::Complete };
    let ending = Ending::Fail { reason: "no network".to_owned() };
    let story = Story::default()
        .happened(0, requested())
        .step(10, Step::Running)
        .reacted(100, settled(9, 0, Outcome::Done), vec![publish()])
        .happened(110, (execution(), complete))
        .reacted(150, settled(1, 0, failed.clone()), vec![publish()])
        .happened(160, (execution(), ExecutionEvent::FinishBegun { ending }))
        .reacted(190, settled(2, 0, failed), Vec::new());
    let reason = "no network".to_owned();
    let ended = ExecutionEvent::Failed { reason, checkpoint: None };
    let timeline = story.happened(200, (execution(), ended)).folded(300);
    let finishing: Vec<_> = strip(&timeline)
        .into_iter()
        .filter(|(name, ..)| matches!(name, PhaseName::Finishing | PhaseName::Push))
        .collect();
    assert_eq!(
        finishing,
        [
            (PhaseName::Finishing, 1, PhaseState::Failed, 50),
            (PhaseName::Push, 1, PhaseState::Failed, 40),
            (PhaseName::Finishing, 2, PhaseState::Failed, 40),
            (PhaseName::Push, 2, PhaseState::Failed, 30),
        ]
    );
    assert_eq!(timeline.entries[4].attempt, 2, "the same order again");
}

#[test]
fn durations_are_those_of_what_an_event_ends() {
    let call = |status| {
        session(SessionEvent::ToolCallRecorded {
            epoch: 1,
            call: "c1".to_owned(),
            kind: "edit".to_owned(),
            status,
            content: content(),
        })
    };
    let boot = |state| {
        let (step, detail) = ("clone".to_owned(), String::new());
        Event::Workspace(workspace(), WorkspaceEvent::BootStepRecorded { step, state, detail })
    };
    let story = Story::default()
        .happened(0, requested())
        .happened(10, boot(StepState::Started))
        .happened(60, boot(StepState::Failed))
        .happened(70, boot(StepState::Started))
        .happened(100, boot(StepState::Completed))
        .happened(200, call(ToolCallStatus::Pending))
        .happened(220, call(ToolCallStatus::InProgress))
        .happened(300, call(ToolCallStatus::Completed));
    let timeline = story.folded(400);
    let took: Vec<_> = timeline.entries.iter().map(|entry| entry.took_ms).collect();
    assert_eq!(took, [None, None, Some(50), None, Some(30), None, None, Some(100)]);
    let attempts: Vec<_> = timeline.entries.iter().map(|entry| entry.attempt).collect();
    assert_eq!(attempts, [1, 1, 1, 2, 1, 1, 1, 1], "the boot step was tried twice");
}

#[test]
fn an_event_that_cannot_be_read_is_shown_with_its_reason_and_the_rest_goes_on() {
    let mut story = Story::default().happened(0, requested());
    let stream = StreamId::new("execution", execution().0);
    let what = What::Unreadable("unknown variant `levitated`".to_owned());
    story.add(50, stream, "levitated".to_owned(), None, what);
    let timeline = story.step(100, Step::NodeSelection).folded(200);
    let entry = &timeline.entries[1];
    assert_eq!((entry.kind, entry.position), (EntryKind::Execution, 2));
    assert_eq!(entry.problem.as_deref(), Some("unknown variant `levitated`"));
    assert_eq!(timeline.entries[2].problem, None);
    assert_eq!(timeline.phases.len(), 1);
}
