use std::collections::BTreeSet;

use uuid::Uuid;

use super::Event;
use crate::{
    account::AccountEvent,
    agent_protocol::{StepState, TextKind, ToolCallStatus, TurnEnd},
    credential::{CredentialEvent, CredentialKind},
    event_sourced::{EventPayload, canonical_json},
    execution::{Ending, ExecutionEvent, InputChoice},
    idea::IdeaEvent,
    ids::{CredentialId, PermissionId},
    node::NodeEvent,
    process::{Effect, Intent, IntentKey, Outcome, ProcessEvent, Stimulus},
    project::{ErasedStreams, ProjectDefaults, ProjectEvent},
    session::{RecordedSegment, SessionEvent},
    testing::{
        account, content, execution, idea, message, node, node_spec, noon, permission, project,
        request, result, session, settings, workspace, workspace_spec,
    },
    values::{ProviderKind, Step},
    workspace::WorkspaceEvent,
};

const GOLDEN: &str = include_str!("../../golden/events.jsonl");
const NAMES: &str = include_str!("../../event_names.txt");

/// The stored form of every event is a contract: a changed line here is a log that cannot be read.
#[test]
fn events_are_stored_as_ever() {
    let mut now = String::new();
    for event in samples() {
        let (name, payload) = event.stored();
        let line = [event.stream().0.into(), name.into(), payload];
        now += &(canonical_json(&serde_json::Value::from(line.to_vec())) + "\n");
    }
    let (name, payload) = reacted().stored();
    let line = ["run_execution".into(), name.into(), payload];
    now += &(canonical_json(&serde_json::Value::from(line.to_vec())) + "\n");
    assert!(now == GOLDEN, "add new lines to domain/golden/events.jsonl; never change one:\n{now}");
}

#[test]
fn stored_events_can_be_read() {
    let samples = samples();
    for (line, sample) in GOLDEN.lines().zip(&samples) {
        let (kind, name, payload): (String, String, serde_json::Value) =
            serde_json::from_str(line).unwrap();
        let (_, id) = sample.stream();
        let restored = Event::restored(&kind, id, &name, payload).unwrap();
        assert_eq!(restored.as_ref(), Some(sample), "{line}");
    }
    assert_eq!(GOLDEN.lines().count(), samples.len() + 1);
}

#[test]
fn every_event_has_a_stored_example() {
    let shown: BTreeSet<String> = GOLDEN
        .lines()
        .map(|line| {
            let (kind, name, _): (String, String, serde_json::Value) =
                serde_json::from_str(line).unwrap();
            format!("{kind} {name}")
        })
        .collect();
    let processes =
        "open_workspace close_workspace retire_node erase_project erase_account title_idea";
    let listed: BTreeSet<String> = NAMES
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter(|line| !processes.split(' ').any(|process| line.starts_with(process)))
        .map(str::to_owned)
        .collect();
    assert_eq!(shown, listed);
}

#[test]
fn what_belongs_to_no_aggregate_is_none() {
    let restored =
        Event::restored("run_execution", Uuid::nil(), "reacted", serde_json::Value::Null);
    assert!(matches!(restored, Ok(None)));
}

fn reacted() -> ProcessEvent {
    let intent = IntentKey { sequence: 1, index: 0 };
    ProcessEvent::Reacted {
        stimulus: Stimulus::Settled {
            intent,
            outcome: Outcome::NodeFound { node: node(1) },
            at: noon(),
        },
        intents: vec![
            Intent::run(Effect::FindNode { owner: account(1), provider: ProviderKind::Local }),
            Intent::wake_at(noon(), "turn"),
        ],
        abandons: true,
    }
}

fn samples() -> Vec<Event> {
    let name = || "Ada".to_owned();
    let mut samples = vec![
        (account(1), AccountEvent::Registered { name: name() }).into(),
        (account(1), AccountEvent::Renamed { name: name() }).into(),
        (account(1), AccountEvent::ErasureRequested).into(),
        (account(1), AccountEvent::Erased).into(),
    ];
    let credential = CredentialId(Uuid::from_u128(11));
    let (owner, kind, last_four) = (account(1), CredentialKind::Anthropic, "wxyz".to_owned());
    samples.push((credential, CredentialEvent::Stored { owner, kind, last_four }).into());
    samples.push((credential, CredentialEvent::Removed { owner, kind }).into());
    let repository = "/srv/git/shop".to_owned();
    let defaults = ProjectDefaults::default();
    samples.push((project(1), ProjectEvent::Linked { owner, repository, name: name() }).into());
    samples.push((project(1), ProjectEvent::Renamed { name: name() }).into());
    samples.push((project(1), ProjectEvent::DefaultsChanged { defaults }).into());
    samples.extend(of_variables().map(|event| (project(1), event).into()));
    samples.extend(of_erasure().map(|event| (project(1), event).into()));
    samples.extend(of_idea().map(|event| (idea(1), event).into()));
    samples.extend(of_execution().map(|event| (execution(1), event).into()));
    samples.extend(of_node().map(|event| (node(1), event).into()));
    samples.extend(of_workspace().map(|event| (workspace(1), event).into()));
    samples.extend(of_session().into_iter().map(|event| (session(1), event).into()));
    samples
}

fn of_variables() -> [ProjectEvent; 2] {
    let name = || "DATABASE_URL".to_owned();
    [
        ProjectEvent::VariableSet { name: name(), is_secret: true, value: content(1) },
        ProjectEvent::VariableRemoved { name: name() },
    ]
}

fn of_erasure() -> [ProjectEvent; 3] {
    let streams = ErasedStreams {
        ideas: vec![idea(1)],
        executions: vec![execution(1)],
        sessions: vec![session(1)],
        workspaces: vec![workspace(1)],
    };
    let streams_erased = ProjectEvent::StreamsErased { part: 1, streams: Box::new(streams) };
    [ProjectEvent::ErasureRequested, streams_erased, ProjectEvent::Erased]
}

fn of_idea() -> [IdeaEvent; 8] {
    [
        IdeaEvent::Drafted { project: project(1), description: content(1) },
        IdeaEvent::Described { description: content(1) },
        IdeaEvent::MarkedExploring,
        IdeaEvent::MarkedReady,
        IdeaEvent::ExecutionRequested { project: project(1), request: request(1) },
        IdeaEvent::Done { execution: execution(1) },
        IdeaEvent::Parked { execution: Some(execution(1)), reason: "cancelled".into() },
        IdeaEvent::Titled { title: content(1) },
    ]
}

fn of_execution() -> [ExecutionEvent; 12] {
    let reason = || "because".to_owned();
    let settings = Box::new(settings());
    [
        ExecutionEvent::Requested {
            idea: idea(1),
            project: project(1),
            session: session(1),
            settings,
        },
        ExecutionEvent::StepStarted { step: Step::NodeSelection, reason: reason() },
        ExecutionEvent::Waited { reason: reason() },
        ExecutionEvent::Placed { node: node(1), workspace: workspace(1) },
        ExecutionEvent::CancelRequested,
        ExecutionEvent::InputAsked { reason: reason(), until: noon() },
        ExecutionEvent::InputAnswered { choice: InputChoice::Continue },
        ExecutionEvent::FinishBegun { ending: Ending::Fail { reason: reason() } },
        ExecutionEvent::ResultRecorded { result: Box::new(result()) },
        ExecutionEvent::Done,
        ExecutionEvent::Failed { reason: reason(), checkpoint: None },
        ExecutionEvent::Cancelled { checkpoint: Some("refs/sam/checkpoints/1".into()) },
    ]
}

fn of_node() -> [NodeEvent; 8] {
    let reason = || "because".to_owned();
    [
        NodeEvent::Requested { spec: node_spec() },
        NodeEvent::Started { slots: 3, version: "1".into() },
        NodeEvent::WorkspacePlaced { workspace: workspace(1) },
        NodeEvent::WorkspaceReleased { workspace: workspace(1) },
        NodeEvent::Warmed { until: noon() },
        NodeEvent::StopRequested { spec: node_spec(), reason: reason() },
        NodeEvent::Stopped,
        NodeEvent::Failed { reason: reason() },
    ]
}

fn of_workspace() -> [WorkspaceEvent; 6] {
    let (execution, spec) = (Some(execution(1)), workspace_spec());
    let reason = || "because".to_owned();
    let (base_branch, base_commit) = ("main".to_owned(), "a".repeat(40));
    let (step, detail) = ("clone".to_owned(), "main".to_owned());
    [
        WorkspaceEvent::Requested { execution, spec: spec.clone() },
        WorkspaceEvent::BootStepRecorded { step, state: StepState::Completed, detail },
        WorkspaceEvent::Started { execution, base_branch, base_commit },
        WorkspaceEvent::Failed { execution, reason: reason() },
        WorkspaceEvent::StopRequested { execution, spec, reason: reason() },
        WorkspaceEvent::Stopped,
    ]
}

fn of_session() -> Vec<SessionEvent> {
    let (execution, epoch, request) = (execution(1), 1, permission(1));
    let content = content(1);
    let mut events = vec![
        SessionEvent::Opened { project: project(1) },
        SessionEvent::ExecutionBegun { idea: idea(1), execution },
        SessionEvent::MessagePosted {
            execution,
            message: message(1),
            author: account(1),
            content: content.clone(),
        },
        SessionEvent::AttachmentBegun {
            execution,
            workspace: workspace(1),
            epoch,
            message: Some(message(1)),
        },
        SessionEvent::Attached { epoch, agent_name: "demo".into(), agent_version: "1".into() },
        SessionEvent::TurnStarted { epoch, message: message(1) },
        SessionEvent::SegmentRecorded(RecordedSegment {
            epoch,
            message: message(2),
            kind: TextKind::Answer,
            first_chunk: 0,
            n_chunks: 3,
            content: content.clone(),
            is_last: true,
        }),
        SessionEvent::MessageTruncated { message: message(2) },
        SessionEvent::ToolCallRecorded {
            epoch,
            call: "1".into(),
            kind: "edit".into(),
            status: ToolCallStatus::InProgress,
            content: content.clone(),
        },
        SessionEvent::PlanRecorded { epoch, content: content.clone() },
        SessionEvent::UsageRecorded { epoch, content },
    ];
    events.extend(of_permissions(request));
    events.push(SessionEvent::TurnEnded {
        execution,
        epoch,
        message: message(1),
        end: TurnEnd::Stopped { reason: "end_turn".into() },
        next: None,
    });
    let (reason, prompt) = ("gone".to_owned(), Some(message(1)));
    events.push(SessionEvent::AttachmentLost { execution, epoch, reason, prompt });
    events.push(SessionEvent::ExecutionEnded { execution });
    events
}

fn of_permissions(request: PermissionId) -> [SessionEvent; 4] {
    let (execution, epoch, option) = (execution(1), 1, Some("yes".to_owned()));
    let options = ["yes".to_owned(), "no".to_owned()].into();
    [
        SessionEvent::PermissionAsked { execution, epoch, request, options, content: content(1) },
        SessionEvent::PermissionAnswered {
            execution,
            request,
            option: option.clone(),
            by: account(1),
        },
        SessionEvent::PermissionWithdrawn { request },
        SessionEvent::PermissionSettled { epoch, request, option, content: content(1) },
    ]
}
