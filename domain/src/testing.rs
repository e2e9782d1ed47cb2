//! Given events, when a command, then events: the words in which the domain's tests are written.
//!
//! Each test runs twice: on our own `decide` and `evolve`, and through cqrs-es's test framework, so
//! that both ways of using an aggregate agree.

use std::fmt::Debug;

use cqrs_es::{Aggregate, DomainEvent, test::TestFramework};
use uuid::Uuid;

use crate::{
    agent_protocol::{CodingAgentKind, PermissionPolicy},
    event_sourced::{EventPayload, EventSourced},
    idea::ExecutionRequest,
    ids::{
        AccountId, ContentId, ExecutionId, IdeaId, MessageId, NodeId, PermissionId, ProjectId,
        SessionId, WorkspaceId,
    },
    values::{
        ContentRef, ExecutionResult, ExecutionSettings, NodeSpec, Periods, Profile, ProviderKind,
        Timestamp, WorkspaceSpec,
    },
};

/// What happened before the test.
pub(crate) struct Given<A: EventSourced> {
    history: Vec<A::Event>,
}

/// What the command led to.
pub(crate) struct When<A: EventSourced> {
    history: Vec<A::Event>,
    command: A::Command,
    decided: Result<Vec<A::Event>, A::Error>,
}

pub(crate) fn given<A: EventSourced>(history: impl IntoIterator<Item = A::Event>) -> Given<A> {
    Given { history: history.into_iter().collect() }
}

pub(crate) fn given_nothing<A: EventSourced>() -> Given<A> {
    given([])
}

impl<A: EventSourced> Given<A> {
    pub(crate) fn when(self, command: A::Command) -> When<A> {
        let decided = folded::<A>(&self.history).decide(command.clone());
        When { history: self.history, command, decided }
    }
}

/// The state after these events.
pub(crate) fn folded<A: EventSourced>(history: &[A::Event]) -> A {
    let mut state = A::default();
    for event in history {
        state.evolve(event.clone());
    }
    state
}

impl<A> When<A>
where
    A: EventSourced
        + Aggregate<
            Command = <A as EventSourced>::Command,
            Event = <A as EventSourced>::Event,
            Error = <A as EventSourced>::Error,
            Services = (),
        >,
    <A as EventSourced>::Event: DomainEvent,
{
    #[track_caller]
    pub(crate) fn then(self, expected: impl IntoIterator<Item = <A as EventSourced>::Event>) {
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(self.decided.as_ref(), Ok(&expected));
        let mut after = folded::<A>(&self.history);
        check_command_of(&after, &expected);
        for event in expected.clone() {
            EventSourced::evolve(&mut after, event); // What was decided can be folded.
        }
        let framework = TestFramework::<A>::with(()).given(self.history);
        framework.when(self.command).then_expect_events(expected);
    }

    /// A repeated command changes nothing.
    #[track_caller]
    pub(crate) fn then_nothing(self) {
        self.then([]);
    }

    #[track_caller]
    pub(crate) fn then_rejected(self, expected: <A as EventSourced>::Error)
    where
        <A as EventSourced>::Error: Debug,
    {
        assert_eq!(self.decided, Err(expected.clone()));
        let framework = TestFramework::<A>::with(()).given(self.history);
        framework.when(self.command).then_expect_error(expected);
    }
}

pub(crate) fn timestamp(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn noon() -> Timestamp {
    timestamp("2026-01-01T12:00:00Z")
}

macro_rules! numbered {
    ($($name:ident $type:ident $offset:literal)*) => {$(
        pub(crate) fn $name(n: u128) -> $type {
            $type(Uuid::from_u128($offset << 64 | n))
        }
    )*};
}

numbered! {
    account AccountId 1
    project ProjectId 2
    idea IdeaId 3
    execution ExecutionId 4
    node NodeId 5
    workspace WorkspaceId 6
    session SessionId 7
    message MessageId 8
    permission PermissionId 9
}

pub(crate) fn content(n: u128) -> ContentRef {
    ContentRef { id: ContentId(Uuid::from_u128(10 << 64 | n)), length: 5, digest: format!("{n:x}") }
}

/// One that is too long to be a title.
pub(crate) fn long_content(n: u128) -> ContentRef {
    ContentRef { length: 300, ..content(n) }
}

pub(crate) fn settings() -> ExecutionSettings {
    ExecutionSettings {
        owner: account(1),
        repository: "/srv/git/shop".into(),
        base_branch: None,
        branch: "sam/greet-visitors-abc123".into(),
        coding_agent: CodingAgentKind::Demo,
        profile: Profile::Lightweight,
        provider: ProviderKind::Simulated,
        permissions: PermissionPolicy::Allow,
        periods: Periods::default(),
    }
}

/// The request for execution `n`, in session 1.
pub(crate) fn request(n: u128) -> Box<ExecutionRequest> {
    Box::new(ExecutionRequest {
        execution: execution(n),
        session: session(1),
        message: message(n),
        prompt: content(n),
        settings: settings(),
    })
}

pub(crate) fn workspace_spec() -> Box<WorkspaceSpec> {
    Box::new(WorkspaceSpec {
        project: project(1),
        node: node(1),
        repository: "/srv/git/shop".into(),
        base_branch: None,
        branch: "sam/greet-visitors-abc123".into(),
        profile: Profile::Lightweight,
        coding_agent: CodingAgentKind::Demo,
        node_warm_ms: 1_800_000,
    })
}

pub(crate) fn node_spec() -> NodeSpec {
    NodeSpec { owner: account(1), provider: ProviderKind::Simulated, name: "local".into() }
}

pub(crate) fn result() -> ExecutionResult {
    ExecutionResult {
        reference: Some("sam/greet-visitors-abc123".into()),
        head: "b".repeat(40),
        base: "a".repeat(40),
        n_commits: 1,
        n_files: 2,
        is_diff_cut: false,
        detail: content(99),
    }
}

/// What a command led to tells a command that leads to the same.
#[track_caller]
fn check_command_of<A: EventSourced>(state: &A, events: &[A::Event]) {
    if events.is_empty() {
        return;
    }
    let command = state.command_of(events);
    let command = command.unwrap_or_else(|| panic!("no command leads to {events:?}"));
    assert_eq!(state.decide(command.clone()).as_deref(), Ok(events), "{command:?}");
}

/// Runs any sequence of commands: what was recorded folds to the live state, survives its stored form, tells
/// a command that leads to it again, and a command that is repeated at once changes nothing (where
/// `is_repeatable` says it should not).
pub(crate) fn check_sequence<A: EventSourced>(
    commands: Vec<A::Command>,
    is_repeatable: impl Fn(&A::Command) -> bool,
) {
    let mut state = A::default();
    let mut history = Vec::new();
    for command in commands {
        let Ok(events) = state.decide(command.clone()) else { continue };
        check_command_of(&state, &events);
        for event in events {
            state.evolve(event.clone());
            let (name, payload) = event.stored();
            history.push(A::Event::restored(&name, payload).unwrap());
        }
        if is_repeatable(&command) {
            let again = state.decide(command.clone()).unwrap_or_default();
            assert!(again.is_empty(), "{command:?} again gave {again:?}");
        }
    }
    assert_eq!(state, folded::<A>(&history));
}
