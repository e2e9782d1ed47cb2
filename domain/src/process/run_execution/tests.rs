use super::{RunExecution, workspace_of};
use crate::{
    agent_protocol::{CodingAgentKind, RefusalKind, TurnEnd},
    event::{Command, Event},
    execution::{ExecutionCommand, ExecutionEvent, InputChoice},
    idea::IdeaEvent,
    process::{
        Action, Effect, Intent, OrderIntent, Outcome,
        testing::{Given, given_process},
    },
    session::SessionEvent,
    testing::{
        content, execution, idea, message, node, node_spec, permission, project, request, result,
        session, workspace_spec,
    },
    workspace::WorkspaceEvent,
};

fn submitted() -> Event {
    let event = IdeaEvent::ExecutionRequested { project: project(1), request: request(1) };
    (idea(1), event).into()
}

fn of_execution(event: ExecutionEvent) -> Event {
    (execution(1), event).into()
}

fn of_session(event: SessionEvent) -> Event {
    (session(1), event).into()
}

fn attachment(epoch: u32) -> Event {
    of_session(SessionEvent::AttachmentBegun {
        execution: execution(1),
        workspace: workspace_of(execution(1)),
        epoch,
        message: Some(message(1)),
    })
}

fn turn_ended(end: TurnEnd, next: Option<u128>) -> Event {
    of_session(SessionEvent::TurnEnded {
        execution: execution(1),
        epoch: 1,
        message: message(1),
        end,
        next: next.map(message),
    })
}

fn end_turn() -> TurnEnd {
    TurnEnd::Stopped { reason: "end_turn".into() }
}

fn lost(epoch: u32, prompt: Option<u128>) -> Event {
    let (reason, prompt) = ("gone".to_owned(), prompt.map(message));
    of_session(SessionEvent::AttachmentLost { execution: execution(1), epoch, reason, prompt })
}

fn started() -> Event {
    let event = WorkspaceEvent::Started {
        execution: Some(execution(1)),
        base_branch: "main".into(),
        base_commit: "a".repeat(40),
    };
    (workspace_of(execution(1)), event).into()
}

/// In words, so that a test says what matters and nothing else.
fn words(intents: &[Intent]) -> Vec<String> {
    intents.iter().map(|intent| word(&intent.action)).collect()
}

fn word(action: &Action) -> String {
    match action {
        Action::WakeAt { label, .. } => format!("wake {label}"),
        Action::Run(Effect::Order { order, .. }) => match order {
            OrderIntent::Publish { is_checkpoint, .. } => {
                if *is_checkpoint {
                    "save".into()
                } else {
                    "publish".into()
                }
            }
            order => first_word(order),
        },
        Action::Run(effect) => first_word(effect),
        Action::Tell(command) => match command.as_ref() {
            Command::Execution(_, ExecutionCommand::StartStep { step, .. }) => format!("{step:?}"),
            Command::Execution(_, command) => format!("execution {}", first_word(command)),
            Command::Idea(_, command) => format!("idea {}", first_word(command)),
            Command::Node(_, command) => format!("node {}", first_word(command)),
            Command::Session(_, command) => format!("session {}", first_word(command)),
            Command::Workspace(_, command) => format!("workspace {}", first_word(command)),
            other => format!("{other:?}"),
        },
    }
}

/// The name of the variant.
fn first_word(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

trait ThenWords: Sized {
    fn then_words(self, expected: &[&str]) -> Self;
}

impl ThenWords for Given<RunExecution> {
    #[track_caller]
    fn then_words(self, expected: &[&str]) -> Self {
        assert_eq!(words(self.intents()), expected);
        self
    }
}

fn submitted_idea() -> Given<RunExecution> {
    given_process::<RunExecution>().happened(submitted())
}

fn looking() -> Given<RunExecution> {
    submitted_idea().told()
}

fn placed() -> Given<RunExecution> {
    looking().settled(Outcome::NodeFound { node: node(1) }).told()
}

/// Placed, with a coding agent that has an image of its own.
fn placed_with_claude_code() -> Given<RunExecution> {
    let mut request = request(1);
    request.settings.coding_agent = CodingAgentKind::ClaudeCode;
    let event = IdeaEvent::ExecutionRequested { project: project(1), request };
    let submitted = given_process::<RunExecution>().happened((idea(1), event).into());
    submitted.told().settled(Outcome::NodeFound { node: node(1) }).settled(Outcome::Done)
}

fn open() -> Given<RunExecution> {
    placed().happened(started()).told()
}

fn attached() -> Given<RunExecution> {
    open().happened(attachment(1))
}

fn at_work() -> Given<RunExecution> {
    let (agent_name, agent_version) = ("demo".into(), "1".into());
    attached()
        .settled(Outcome::SessionStarted { agent_name, agent_version })
        .told()
        .settled(Outcome::Done)
        .told()
}

fn finishing() -> Given<RunExecution> {
    at_work().happened(turn_ended(end_turn(), None)).told()
}

#[test]
fn a_submitted_idea_looks_for_a_node() {
    submitted_idea().then_words(&[
        "execution Request",
        "session Begin",
        "NodeSelection",
        "FindNode",
    ]);
}

#[test]
fn a_node_with_room_gets_the_workspace() {
    looking().settled(Outcome::NodeFound { node: node(1) }).then_words(&["node PlaceWorkspace"]);
    looking().settled(Outcome::NodeFound { node: node(1) }).settled(Outcome::Done).then_words(&[
        "execution RecordPlacement",
        "WorkspaceCreation",
        "workspace Request",
    ]);
}

#[test]
fn a_missing_node_is_started_and_waited_for() {
    let missing = || looking().settled(Outcome::NodeMissing { node: node(1), spec: node_spec() });
    missing().then_words(&["NodeProvisioning", "node Request", "StartNode"]);
    missing().told().settled(Outcome::Done).then_words(&["NodeAgentReady", "AwaitAgent"]);
    missing()
        .told()
        .settled(Outcome::Done)
        .told()
        .settled(Outcome::AgentReady { slots: 2, version: "1".into() })
        .then_words(&["node RecordStart", "node PlaceWorkspace"]);
}

#[test]
fn a_node_that_does_not_start_is_stopped_and_the_idea_parked() {
    looking()
        .settled(Outcome::NodeMissing { node: node(1), spec: node_spec() })
        .told()
        .failed("no engine")
        .then_words(&["node Stop", "execution Fail"])
        .told()
        .then_words(&[]);
}

#[test]
fn a_node_that_is_being_stopped_is_waited_for() {
    looking()
        .settled(Outcome::NodeMissing { node: node(1), spec: node_spec() })
        .settled(Outcome::Done)
        .settled(refused("the node is not running"))
        .then_words(&["execution RecordWaiting", "AwaitRoom"]);
}

#[test]
fn it_waits_for_room_and_looks_again() {
    let full = || looking().settled(Outcome::NoRoom { reason: "full".into() });
    full().then_words(&["execution RecordWaiting", "AwaitRoom"]);
    full().told().settled(Outcome::Done).then_words(&["FindNode"]);
    full().told().failed("no room in time").then_words(&["execution Fail"]);
    looking()
        .settled(Outcome::NodeFound { node: node(1) })
        .settled(refused("full"))
        .then_words(&["execution RecordWaiting", "AwaitRoom"]);
}

#[test]
fn an_image_of_its_own_comes_before_the_container() {
    let pending = || Outcome::ImagePending { reason: "it is fetched".into() };
    let looking = || placed_with_claude_code();
    looking().then_words(&["execution RecordPlacement", "WorkspaceCreation", "AwaitImage"]);
    let waiting = || looking().told().settled(pending());
    waiting().then_words(&["execution RecordWaiting", "AwaitImage"]);
    waiting().told().settled(Outcome::Done).then_words(&["workspace Request"]);
    let failed = waiting().told().failed("no network").then_words(&["execution Fail"]);
    let closed = ["idea RecordParked", "session EndExecution", "node ReleaseWorkspace"];
    failed.settled(Outcome::Done).then_words(&closed);
}

fn refused(reason: &str) -> Outcome {
    Outcome::Refused { code: "refused".into(), reason: reason.to_owned() }
}

#[test]
fn a_session_that_is_busy_parks_the_idea() {
    submitted_idea()
        .settled(Outcome::Done)
        .settled(refused("an execution is under way"))
        .then_words(&["execution Fail"]);
}

#[test]
fn an_open_workspace_gets_a_coding_agent() {
    placed().happened(started()).then_words(&[
        "WorkspaceReady",
        "AgentSession",
        "session BeginAttachment",
    ]);
    open().happened(attachment(1)).then_words(&["StartSession"]);
}

#[test]
fn a_workspace_that_fails_parks_the_idea_and_is_removed() {
    let failed = WorkspaceEvent::Failed { execution: Some(execution(1)), reason: "no disk".into() };
    placed()
        .happened((workspace_of(execution(1)), failed).into())
        .then_words(&["execution Fail"])
        .settled(Outcome::Done)
        .then_words(&["idea RecordParked", "session EndExecution", "workspace Stop"]);
}

#[test]
fn a_workspace_that_a_person_stops_ends_the_execution() {
    let stopped = || {
        let (spec, reason) = (workspace_spec(), "told to".into());
        let event = WorkspaceEvent::StopRequested { execution: Some(execution(1)), spec, reason };
        Event::from((workspace_of(execution(1)), event))
    };
    placed().happened(stopped()).then_words(&["execution Fail"]);
    at_work().happened(stopped()).then_words(&["execution Finish", "StopSession", "save"]);
}

#[test]
fn a_ready_coding_agent_gets_the_prompt() {
    let (agent_name, agent_version) = ("demo".into(), "1".into());
    attached().settled(Outcome::SessionStarted { agent_name, agent_version }).then_words(&[
        "session RecordAttached",
        "session StartTurn",
        "Prompt",
    ]);
    at_work().then_words(&[]);
}

#[test]
fn a_coding_agent_that_does_not_start_parks_the_idea_with_its_work_saved() {
    attached().failed("no binary").then_words(&["execution Finish", "StopSession", "save"]);
}

#[test]
fn a_follow_up_is_prompted_when_the_turn_ends() {
    at_work()
        .happened(turn_ended(end_turn(), Some(2)))
        .then_words(&["session StartTurn", "Prompt"]);
}

#[test]
fn the_end_of_the_turn_publishes_and_ends() {
    at_work()
        .happened(turn_ended(end_turn(), None))
        .then_words(&["execution Finish", "publish"])
        .told()
        .settled(Outcome::Published { result: result() })
        .then_words(&["execution RecordResult", "execution Complete"])
        .settled(Outcome::Done)
        .settled(Outcome::Done)
        .then_words(&["idea RecordDone", "session EndExecution", "workspace Stop"]);
}

#[test]
fn a_turn_that_fails_saves_the_work() {
    let failed = TurnEnd::Failed { reason: "out of credit".into() };
    at_work().happened(turn_ended(failed, None)).then_words(&[
        "execution Finish",
        "StopSession",
        "save",
    ]);
    at_work().woken().then_words(&["execution Finish", "StopSession", "save"]);
}

#[test]
fn a_push_that_is_rejected_saves_the_work_instead() {
    finishing()
        .failed("rejected")
        .then_words(&["execution Finish", "StopSession", "save"])
        .told()
        .settled(Outcome::Done)
        .settled(Outcome::Published { result: result() })
        .then_words(&["execution RecordResult", "execution Fail"]);
}

#[test]
fn a_workspace_whose_work_cannot_be_saved_is_kept() {
    finishing()
        .failed("rejected")
        .told()
        .settled(Outcome::Done)
        .failed("no space")
        .then_words(&["execution Fail"])
        .settled(Outcome::Done)
        .then_words(&["idea RecordParked", "session EndExecution"]);
}

#[test]
fn a_workspace_that_is_gone_holds_no_work() {
    let gone = Outcome::Failed { kind: RefusalKind::Unknown, reason: "no such".into() };
    finishing().settled(gone).then_words(&["execution Fail"]).settled(Outcome::Done).then_words(&[
        "idea RecordParked",
        "session EndExecution",
        "workspace Stop",
    ]);
}

#[test]
fn a_lost_coding_agent_needs_input() {
    at_work().happened(lost(1, Some(1))).then_words(&["execution AskInput", "wake input"]);
    let asked = || at_work().happened(lost(1, Some(1))).told();
    let answered = |choice| of_execution(ExecutionEvent::InputAnswered { choice });
    asked().happened(answered(InputChoice::Continue)).then_words(&["session BeginAttachment"]);
    let saves = ["execution Finish", "StopSession", "save"];
    asked().happened(answered(InputChoice::Park)).then_words(&saves);
    asked().woken().then_words(&saves);
}

#[test]
fn a_coding_agent_that_was_lost_between_prompts_is_started_again() {
    at_work().happened(lost(1, None)).then_words(&["session BeginAttachment"]);
}

#[test]
fn what_an_older_attachment_reports_asks_for_nothing() {
    at_work().happened(attachment(2)).happened(lost(1, Some(1))).then_words(&[]);
}

#[test]
fn a_permission_is_waited_for_and_passed_on() {
    let asked = || {
        let (options, content) = (["yes".to_owned()].into(), content(1));
        let (execution, epoch, request) = (execution(1), 1, permission(1));
        of_session(SessionEvent::PermissionAsked { execution, epoch, request, options, content })
    };
    let answered = of_session(SessionEvent::PermissionAnswered {
        execution: execution(1),
        request: permission(1),
        option: Some("yes".into()),
        by: crate::testing::account(1),
    });
    let label = format!("wake permission {}", permission(1));
    at_work().happened(asked()).then_words(&[label.as_str()]);
    at_work().happened(asked()).happened(answered).then_words(&["AnswerPermission"]);
}

#[test]
fn a_cancel_before_there_is_work_ends_at_once() {
    let cancel = || of_execution(ExecutionEvent::CancelRequested);
    looking()
        .happened(cancel())
        .then_words(&["execution RecordCancelled"])
        .settled(Outcome::Done)
        .then_words(&["idea RecordParked", "session EndExecution"]);
    looking()
        .settled(Outcome::NodeFound { node: node(1) })
        .happened(cancel())
        .told()
        .then_unsettled([]);
    open().happened(cancel()).then_words(&["execution RecordCancelled"]);
}

#[test]
fn a_cancel_saves_the_work_that_there_is() {
    let cancel = || of_execution(ExecutionEvent::CancelRequested);
    at_work().happened(cancel()).then_words(&["execution Finish", "StopSession", "save"]);
    finishing().happened(cancel()).then_words(&["execution Finish", "StopSession", "save"]);
}

#[test]
fn a_cancel_that_is_quicker_than_the_end_wins() {
    finishing()
        .settled(Outcome::Published { result: result() })
        .settled(Outcome::Done)
        .happened(of_execution(ExecutionEvent::CancelRequested))
        .then_words(&[])
        .settled(refused("this execution is being cancelled"))
        .then_words(&["execution RecordCancelled"])
        .settled(Outcome::Done)
        .then_words(&["idea RecordParked", "session EndExecution", "workspace Stop"]);
}
