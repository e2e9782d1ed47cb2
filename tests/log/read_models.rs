//! The read models: given events, then rows. The events are the stored examples of `domain/golden`.

use std::collections::BTreeMap;

use domain::{
    idea::Stage,
    ids::{AccountId, ExecutionId, IdeaId, NodeId, ProjectId, SessionId, WorkspaceId},
    values::Step,
    workspace::Phase,
};
use projections::{
    account_list, activity_feed,
    chat_transcript::{self, AnsweredBy, ItemKind, SessionState, TurnEndKind},
    credential_list,
    database::Database,
    erasure_ledger::{ErasureLedger, NO_HASH, PROJECT, SignedErasure},
    event_index,
    event_log::{Append, EventLog, FIRST_HASH, Hash, NewEvent, StreamId},
    execution_timeline::{self, ExecutionState, StepState},
    idea_board,
    node_directory::{self, NodeState},
    project_overview, read_models, variable_list, workspace_list,
};
use uuid::Uuid;

use crate::support::{Place, id, metadata, now, on_both};

on_both! {
    an_idea_that_is_being_executed_is_shown_everywhere
    an_idea_that_is_done_is_shown_everywhere
    an_idea_that_needs_input_and_is_cancelled_is_shown_everywhere
    what_a_lost_coding_agent_left_is_shown
    an_execution_is_shown_without_words_as_soon_as_the_key_of_its_project_is_destroyed
    what_a_session_records_is_its_executions_at_once
    every_cut_gives_the_same_rows
    a_rebuild_of_every_read_model_gives_the_same_rows
}

const GOLDEN: &str = include_str!("../../domain/golden/events.jsonl");

const BEGIN: &[&str] = &[
    "account registered",
    "account renamed",
    "credential stored",
    "project linked",
    "project renamed",
    "project variable_set",
    "idea drafted",
    "idea described",
    "idea marked_ready",
    "idea marked_exploring",
    "idea execution_requested",
    "execution requested",
    "session opened",
    "session execution_begun",
    "session message_posted",
    "execution step_started",
];

const WORK: &[&str] = &[
    "idea titled",
    "execution waited",
    "node requested",
    "node started",
    "node workspace_placed",
    "execution placed",
    "workspace requested",
    "workspace boot_step_recorded",
    "workspace started",
    "session attachment_begun",
    "session attached",
    "session turn_started",
    "session segment_recorded",
    "session tool_call_recorded",
    "session plan_recorded",
    "session usage_recorded",
    "session permission_asked",
];

const DONE: &[&str] = &[
    "session permission_answered",
    "session turn_ended",
    "execution finish_begun",
    "execution result_recorded",
    "execution done",
    "idea done",
    "session execution_ended",
    "workspace stop_requested",
    "workspace stopped",
    "node workspace_released",
    "node warmed",
    "node stop_requested",
    "node stopped",
    "credential removed",
    "project defaults_changed",
    "project variable_removed",
];

const LOST: &[&str] = &["session permission_withdrawn", "session attachment_lost"];
const ASKED: &[&str] = &["execution input_asked"];
const CANCELLED: &[&str] = &[
    "execution input_answered",
    "execution cancel_requested",
    "execution cancelled",
    "idea parked",
    "session execution_ended",
    "workspace failed",
    "node failed",
];

/// The same ids as in the examples.
fn of(kind: &str) -> Uuid {
    let kinds = ["account", "project", "idea", "execution", "node", "workspace", "session"];
    match kinds.iter().position(|known| *known == kind) {
        Some(place) => id((place as u128 + 1) << 64 | 1),
        None => id(11),
    }
}

fn owner() -> AccountId {
    AccountId(of("account"))
}

fn the_project() -> ProjectId {
    ProjectId(of("project"))
}

fn the_session() -> SessionId {
    SessionId(of("session"))
}

/// Writes examples into a log.
#[derive(Default)]
struct Story {
    heads: BTreeMap<StreamId, (u64, Hash)>,
    n_commands: u128,
}

impl Story {
    async fn tell(&mut self, log: &EventLog, names: &[&str]) {
        for name in names {
            let line = GOLDEN.lines().find_map(|line| {
                let (kind, event, payload): (String, String, serde_json::Value) =
                    serde_json::from_str(line).unwrap();
                (format!("{kind} {event}") == **name).then_some((kind, event, payload))
            });
            let (kind, event_type, payload) = line.expect("there is such an example");
            self.append(log, &kind, event_type, payload.to_string()).await;
        }
    }

    async fn append(&mut self, log: &EventLog, kind: &str, event_type: String, payload: String) {
        let stream = StreamId::new(kind, of(kind));
        let head = self.heads.entry(stream.clone()).or_insert((0, FIRST_HASH));
        self.n_commands += 1;
        let append = Append {
            stream,
            expected: head.0,
            previous_hash: head.1,
            project: None,
            epoch: None,
            metadata: metadata(id(self.n_commands)),
            events: vec![NewEvent { event_type, event_version: "1".into(), payload }],
            contents: Vec::new(),
        };
        let appended = log.append(append).await.unwrap();
        *head = (appended.sequence, appended.hash);
    }
}

/// Tells parts of the story and projects them.
async fn told(place: &Place, parts: &[&[&str]]) -> (Database, EventLog) {
    let (database, log) = place.open().await;
    let mut story = Story::default();
    // Streams of processes lie between the others and are no concern of any read model.
    story.append(&log, "run_execution", "reacted".into(), "null".into()).await;
    for part in parts {
        story.tell(&log, part).await;
    }
    read_models::projector(&database, &log).catch_up().await.unwrap();
    (database, log)
}

async fn an_idea_that_is_being_executed_is_shown_everywhere(place: Place) {
    let (database, _log) = told(&place, &[BEGIN, WORK]).await;
    let projects = project_overview::list(&database, owner()).await.unwrap();
    assert_eq!(projects.len(), 1);
    assert_eq!((projects[0].name.as_str(), projects[0].n_executing), ("Ada", 1));

    let ideas = idea_board::list(&database, the_project()).await.unwrap();
    assert_eq!(ideas.len(), 1);
    assert_eq!(ideas[0].stage, Stage::Executing);
    assert_eq!(ideas[0].executions, [ExecutionId(of("execution"))]);
    assert!(ideas[0].needs_input, "a permission is asked");
    assert!(ideas[0].title.is_some(), "a title was made");

    let execution = ExecutionId(of("execution"));
    let found = execution_timeline::find(&database, execution).await.unwrap().unwrap();
    assert_eq!((found.state, found.step), (ExecutionState::Running, Some(Step::NodeSelection)));
    assert_eq!(found.steps[0].state, StepState::Active);
    assert_eq!(found.steps[6].state, StepState::Pending);
    assert_eq!(found.workspace, Some(WorkspaceId(of("workspace"))));
    let events = execution_timeline::events(&database, &found).await.unwrap();
    let names: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(names, ["requested", "step_started", "waited", "placed"]);

    let session = chat_transcript::find(&database, the_session()).await.unwrap().unwrap();
    assert_eq!(session.state, SessionState::NeedsInput);
    assert!(session.title.is_some() && session.preview.is_some());

    let nodes = node_directory::list(&database, owner()).await.unwrap();
    assert_eq!(
        (nodes[0].state, nodes[0].slots, nodes[0].has_room()),
        (NodeState::Running, 3, true)
    );
    assert_eq!(nodes[0].placed[0].workspace, WorkspaceId(of("workspace")));
    assert_eq!(nodes[0].placed[0].execution, Some(execution));
    let workspaces = workspace_list::list(&database).await.unwrap();
    assert_eq!(workspaces[0].state, Phase::Running);
    let boot = workspace_list::boot_log(&database, workspaces[0].id).await.unwrap();
    assert_eq!(boot.len(), 1);

    assert_eq!(credential_list::list(&database, owner()).await.unwrap().len(), 1);
    assert_eq!(account_list::list(&database).await.unwrap()[0].name, "Ada");
    let variables = variable_list::list(&database, the_project()).await.unwrap();
    assert_eq!((variables.len(), variables[0].is_secret), (1, true));
    assert_eq!(variables[0].value, None, "where a secret is, no row says");
    assert_transcript(&database).await;
}

async fn assert_transcript(database: &Database) {
    let page = chat_transcript::page(database, the_session(), None, 100).await.unwrap();
    assert!(!page.has_more);
    let kinds: Vec<_> = page.items.iter().map(|item| kind_of(&item.what)).collect();
    assert_eq!(kinds, ["message", "notice", "message", "tool_call", "plan", "permission"]);
    let ItemKind::Message(prompt) = &page.items[0].what else { panic!("no message") };
    assert_eq!((prompt.author, prompt.is_queued), (Some(owner()), false));
    let ItemKind::Message(answer) = &page.items[2].what else { panic!("no message") };
    assert_eq!((answer.n_chunks, answer.is_complete, answer.segments.len()), (3, true, 1));

    let newest = chat_transcript::page(database, the_session(), None, 2).await.unwrap();
    assert!(newest.has_more);
    assert_eq!(newest.items, page.items[4..]);
    let before = Some(newest.items[0].position);
    let older = chat_transcript::page(database, the_session(), before, 2).await.unwrap();
    assert_eq!(older.items, page.items[2..4]);

    // The prompt is an old item that has changed when its turn started.
    let after = page.items[1].position;
    let changed =
        chat_transcript::changed_after(database, the_session(), after, 100).await.unwrap();
    assert_eq!(changed[0], page.items[0]);
    assert_eq!(changed.len(), 5);
    let item = chat_transcript::item(database, the_session(), &page.items[3].key).await.unwrap();
    assert_eq!(item.as_ref(), Some(&page.items[3]));
}

fn kind_of(what: &ItemKind) -> &'static str {
    match what {
        ItemKind::Message(_) => "message",
        ItemKind::ToolCall { .. } => "tool_call",
        ItemKind::Plan { .. } => "plan",
        ItemKind::Permission { .. } => "permission",
        ItemKind::TurnEnd { .. } => "turn_end",
        ItemKind::Notice { .. } => "notice",
    }
}

async fn an_idea_that_is_done_is_shown_everywhere(place: Place) {
    let (database, _log) = told(&place, &[BEGIN, WORK, DONE]).await;
    let project = project_overview::find(&database, the_project()).await.unwrap().unwrap();
    assert_eq!(project.n_executing, 0);
    let idea = idea_board::find(&database, IdeaId(of("idea"))).await.unwrap().unwrap();
    assert_eq!((idea.stage, idea.needs_input), (Stage::Done, false));
    let execution = ExecutionId(of("execution"));
    let found = execution_timeline::find(&database, execution).await.unwrap().unwrap();
    assert_eq!(found.state, ExecutionState::Done);
    assert!(found.result.is_some() && found.ended_at.is_some());
    assert_eq!(found.steps[0].state, StepState::Done);
    assert_eq!(found.steps[6].state, StepState::Skipped);
    assert!(execution_timeline::list_under_way(&database).await.unwrap().is_empty());

    let sessions = chat_transcript::list(&database, the_project()).await.unwrap();
    assert_eq!((sessions[0].state, sessions[0].execution), (SessionState::Idle, None));
    let page = chat_transcript::page(&database, the_session(), None, 100).await.unwrap();
    let answers: Vec<_> = page
        .items
        .iter()
        .filter_map(|item| match &item.what {
            ItemKind::Permission { answer, .. } => answer.as_ref(),
            _ => None,
        })
        .collect();
    assert_eq!((answers.len(), answers[0].by), (1, AnsweredBy::Person));
    let node = node_directory::find(&database, NodeId(of("node"))).await.unwrap().unwrap();
    assert_eq!((node.state, node.placed.len()), (NodeState::Stopped, 0));
    assert_eq!(workspace_list::list(&database).await.unwrap()[0].state, Phase::Stopped);
    assert!(credential_list::list(&database, owner()).await.unwrap().is_empty());
    assert!(variable_list::list(&database, the_project()).await.unwrap().is_empty());

    let feed = activity_feed::list(&database, the_project(), None, 3).await.unwrap();
    let names: Vec<_> = feed.iter().map(|row| row.event.as_str()).collect();
    assert_eq!(names, ["done", "result_recorded", "permission_asked"]);
    let involved = event_index::of_execution(&database, execution).await.unwrap();
    let kinds: std::collections::BTreeSet<_> =
        involved.iter().map(|row| row.stream.kind.as_str()).collect();
    assert!(kinds.is_superset(&["execution", "idea", "node", "session", "workspace"].into()));
    assert!(involved.windows(2).all(|pair| pair[0].position < pair[1].position));
}

/// Also while nothing has come after it yet that names the execution.
async fn what_a_session_records_is_its_executions_at_once(place: Place) {
    let [before @ .., _asked] = WORK else { panic!("there is work") };
    let (database, log) = told(&place, &[BEGIN, before]).await;
    let execution = ExecutionId(of("execution"));
    let involved = event_index::of_execution(&database, execution).await.unwrap();
    let newest: Vec<_> = involved.iter().rev().take(2).map(|row| row.event.as_str()).collect();
    assert_eq!(newest, ["plan_recorded", "tool_call_recorded"]);
    log.close().await;

    let place = if place.is_postgres() { Place::postgres() } else { Place::sqlite() };
    let (database, _log) =
        told(&place, &[BEGIN, WORK, DONE, &["session tool_call_recorded"]]).await;
    let involved = event_index::of_execution(&database, execution).await.unwrap();
    let last = involved.iter().rfind(|row| row.stream.kind == "session").unwrap();
    assert_eq!(last.event, "execution_ended", "what comes later is not its own");
}

async fn an_idea_that_needs_input_and_is_cancelled_is_shown_everywhere(place: Place) {
    let (database, log) = told(&place, &[BEGIN, ASKED]).await;
    let idea = IdeaId(of("idea"));
    assert!(idea_board::find(&database, idea).await.unwrap().unwrap().needs_input);
    let session = chat_transcript::find(&database, the_session()).await.unwrap().unwrap();
    assert_eq!(session.state, SessionState::NeedsInput);
    let execution = ExecutionId(of("execution"));
    let found = execution_timeline::find(&database, execution).await.unwrap().unwrap();
    assert_eq!(found.state, ExecutionState::NeedsInput);
    assert!(found.input_until.is_some());
    log.close().await;

    let place = if place.is_postgres() { Place::postgres() } else { Place::sqlite() };
    let (database, _log) = told(&place, &[BEGIN, WORK, ASKED, CANCELLED]).await;
    let found = execution_timeline::find(&database, execution).await.unwrap().unwrap();
    assert_eq!(found.state, ExecutionState::Cancelled);
    assert!(found.is_cancel_requested && found.checkpoint.is_some());
    let idea = idea_board::find(&database, idea).await.unwrap().unwrap();
    assert_eq!((idea.stage, idea.parked_reason.as_deref()), (Stage::Parked, Some("cancelled")));
    let node = node_directory::find(&database, NodeId(of("node"))).await.unwrap().unwrap();
    assert_eq!((node.state, node.reason.as_deref()), (NodeState::Error, Some("because")));
    let workspaces = workspace_list::list(&database).await.unwrap();
    assert_eq!(workspaces[0].reason.as_deref(), Some("because"));
}

async fn what_a_lost_coding_agent_left_is_shown(place: Place) {
    let (database, _log) = told(&place, &[BEGIN, WORK, LOST]).await;
    let page = chat_transcript::page(&database, the_session(), None, 100).await.unwrap();
    let last = &page.items.last().unwrap().what;
    assert!(matches!(last, ItemKind::TurnEnd { end: TurnEndKind::Lost, .. }), "{last:?}");
    let withdrawn = page.items.iter().any(|item| {
        matches!(&item.what, ItemKind::Permission { answer: Some(answer), .. }
            if answer.by == AnsweredBy::Nobody)
    });
    assert!(withdrawn);
    let session = chat_transcript::find(&database, the_session()).await.unwrap().unwrap();
    assert_eq!(session.state, SessionState::Working, "no permission is open any more");
}

/// The tables have not been told of it yet. They forget the same words then.
async fn an_execution_is_shown_without_words_as_soon_as_the_key_of_its_project_is_destroyed(
    place: Place,
) {
    let (database, log) = place.open().await;
    let mut story = Story::default();
    for part in [BEGIN, WORK, ASKED, CANCELLED] {
        story.tell(&log, part).await;
    }
    let is_told = async || {
        read_models::projector(&database, &log).catch_up().await.unwrap();
        let execution = ExecutionId(of("execution"));
        let found = execution_timeline::find(&database, execution).await.unwrap().unwrap();
        let events = execution_timeline::events(&database, &found).await.unwrap();
        (found, events)
    };
    let words = ["sam/greet-visitors", "because", "refs/sam/checkpoints", "/srv/git/shop"];
    let told = is_told().await;
    assert!(words.iter().all(|word| format!("{told:?}").contains(word)), "{told:#?}");
    let entry = SignedErasure {
        installation: id(1),
        number: 1,
        kind: PROJECT.to_owned(),
        subject: the_project().0,
        position: log.head().await.unwrap(),
        previous: NO_HASH,
        at: now(),
        signature: [0; 64],
    };
    ErasureLedger::new(&database).destroy_key(&entry).await.unwrap();
    let erased = is_told().await;
    assert!(erased.0.is_erased() && erased.1.iter().all(|entry| entry.summary == "erased"));
    assert!(!words.iter().any(|word| format!("{erased:?}").contains(word)), "{erased:#?}");
    story.tell(&log, &["project streams_erased"]).await;
    database.log().execute("DELETE FROM erasures", ()).await.unwrap();
    assert_eq!(is_told().await, erased, "and nobody has to ask the ledger");
}

/// Everything that the queries show.
async fn shown(database: &Database) -> String {
    let execution = ExecutionId(of("execution"));
    let found = execution_timeline::find(database, execution).await.unwrap().unwrap();
    let workspaces = workspace_list::list(database).await.unwrap();
    let mut boot_logs = Vec::new();
    for workspace in &workspaces {
        boot_logs.push(workspace_list::boot_log(database, workspace.id).await.unwrap());
    }
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{workspaces:?}\n{boot_logs:?}\n{:?}\n{:?}\n{:?}",
        account_list::list(database).await.unwrap(),
        project_overview::list(database, owner()).await.unwrap(),
        idea_board::list(database, the_project()).await.unwrap(),
        found,
        execution_timeline::events(database, &found).await.unwrap(),
        chat_transcript::list(database, the_project()).await.unwrap(),
        chat_transcript::page(database, the_session(), None, 1_000).await.unwrap(),
        node_directory::list(database, owner()).await.unwrap(),
        credential_list::list(database, owner()).await.unwrap(),
        activity_feed::list(database, the_project(), None, 1_000).await.unwrap(),
        event_index::of_execution(database, execution).await.unwrap(),
    )
}

async fn every_cut_gives_the_same_rows(place: Place) {
    let (database, _log) = told(&place, &[BEGIN, WORK, DONE]).await;
    let at_once = shown(&database).await;
    let place = if place.is_postgres() { Place::postgres() } else { Place::sqlite() };
    let (database, log) = place.open().await;
    let mut story = Story::default();
    story.append(&log, "run_execution", "reacted".into(), "null".into()).await;
    for name in BEGIN.iter().chain(WORK).chain(DONE) {
        story.tell(&log, &[name]).await;
        read_models::projector(&database, &log).catch_up().await.unwrap();
        // Again, with nothing new: nothing changes.
        read_models::projector(&database, &log).catch_up().await.unwrap();
    }
    assert_eq!(shown(&database).await, at_once);
}

async fn a_rebuild_of_every_read_model_gives_the_same_rows(place: Place) {
    let (database, log) = told(&place, &[BEGIN, WORK, DONE]).await;
    let before = shown(&database).await;
    let projector = read_models::projector(&database, &log).start();
    let checkpoints = projections::checkpoint::Checkpoints::new(&database).list().await.unwrap();
    assert!(checkpoints.len() >= 10, "{checkpoints:?}");
    for checkpoint in checkpoints {
        assert_eq!(checkpoint.parked, None, "{}", checkpoint.name);
        projector.rebuild(&checkpoint.name).await.unwrap();
    }
    projector.close().await;
    assert_eq!(shown(&database).await, before);
}
