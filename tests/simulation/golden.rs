//! Makes a golden log: a log in which every event of this version happened, for all later versions to read.
//!
//! `SAM_GOLDEN=0.1 cargo nextest run --workspace --test simulation golden` plays the stories and writes
//! `tests/golden/0.1/events.ndjson`, which is never changed from then on. `tests/log/golden.rs` folds them all.

use std::{collections::BTreeSet, fmt::Write as _, path::Path, time::Duration};

use domain::{
    account::{Account, AccountCommand},
    agent_protocol::{PermissionPolicy, TextKind},
    credential::{CredentialCommand, CredentialKind},
    event::{Command, registry},
    execution::{Execution, ExecutionCommand, InputChoice},
    idea::{Idea, IdeaCommand, Stage},
    ids::{
        ContentId, CredentialId, ExecutionId, IdeaId, MessageId, NodeId, PermissionId, SessionId,
        WorkspaceId,
    },
    node::NodeCommand,
    project::{Project, ProjectCommand, ProjectDefaults, variable::VariableLimits},
    session::{RecordedSegment, SessionCommand},
    values::{NodeSpec, ProviderKind},
};
use projections::event_log::RecordedEvent;
use serde_json::{Value, json};

use actors::{
    model::simulated::Reply,
    provider::simulated::Refuse,
    random,
    submit_idea::{NewIdea, Wish},
    variables::NewVariable,
};

use crate::world::{Place, World};

/// Names the folder that is to be written.
const SWITCH: &str = "SAM_GOLDEN";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_golden_log_has_every_event_of_this_version() {
    let world = play().await;
    let mut events = Vec::new();
    let log = &world.system().log;
    while let page @ [_, ..] = &log.read_all(events.len() as u64, 500).await.unwrap()[..] {
        events.extend_from_slice(page);
    }
    let happened: BTreeSet<_> = events
        .iter()
        .map(|it| (&*it.stream.kind, &*it.event_type, it.event_version.parse().unwrap()))
        .collect();
    let known: BTreeSet<(&str, &str, u32)> = registry::CURRENT.events().collect();
    let missing: Vec<_> = known.difference(&happened).collect();
    assert!(missing.is_empty(), "have these events happen in this story: {missing:?}");
    if let Ok(version) = std::env::var(SWITCH) {
        write(&version, &events);
    }
}

fn write(version: &str, events: &[RecordedEvent]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(version);
    let file = folder.join("events.ndjson");
    assert!(!file.exists(), "a golden log is never changed: {}", file.display());
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let mut text = String::new();
    for event in events {
        let line = json!({
            "position": event.position,
            "kind": event.stream.kind,
            "stream": event.stream.id,
            "sequence": event.sequence,
            "event": event.event_type,
            "version": event.event_version,
            "payload": value(&event.payload),
            "metadata": value(&event.metadata_text),
            "hash": random::hex(&event.hash),
        });
        writeln!(text, "{}", domain::event_sourced::canonical_json(&line)).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(file, text).unwrap();
}

async fn play() -> World {
    let mut world = World::new(Place::sqlite(), 1).await;
    ideas_without_an_execution(&world).await;
    an_idea_with_a_title(&world).await;
    executions(&world).await;
    world.clock.advance(Duration::from_secs(31 * 60));
    world.until("the machine to be given back", async || !world.machine.is_rented()).await;
    settings_of_people(&world).await;
    what_no_story_comes_by(&world).await;
    world.rest().await;
    // Last, since nothing can be said in an erased project; its streams are read for ever all the same.
    send(&world, (world.project, ProjectCommand::Erase)).await;
    world
        .until("the erasure", async || {
            world.clock.advance(Duration::from_secs(20));
            let project = world.system().dispatcher.state::<Project>(world.project.0).await;
            matches!(&*project.unwrap(), Project::Erased { .. })
        })
        .await;
    world.rest().await;
    let owner = world.system().owner();
    send(&world, (owner, AccountCommand::RequestErasure)).await;
    world
        .until("the erasure of the account", async || {
            world.clock.advance(Duration::from_secs(20));
            let account = world.system().dispatcher.state::<Account>(owner.0).await;
            *account.unwrap() == Account::Erased
        })
        .await;
    world.rest().await;
    // What comes at the end of everything is in the log before it is read.
    world.restart().await;
    world
}

async fn send(world: &World, command: impl Into<Command>) {
    let (caller, command) = (world.caller(), command.into());
    world.system().dispatcher.send(&caller, command, Vec::new()).await.unwrap();
}

async fn ideas_without_an_execution(world: &World) {
    let idea = IdeaId(random::uuid());
    let new = NewIdea {
        project: world.project,
        idea,
        description: "think about it".to_owned(),
        wish: Wish::Explore,
    };
    let ideas = &world.system().ideas;
    ideas.submit(&world.caller(), new).await.unwrap();
    ideas.describe(&world.caller(), idea, "think about it again").await.unwrap();
    for command in [IdeaCommand::MarkReady, IdeaCommand::MarkExploring, IdeaCommand::Park] {
        send(world, (idea, command)).await;
    }
}

async fn an_idea_with_a_title(world: &World) {
    let (credentials, kind) = (&world.system().credentials, CredentialKind::Anthropic);
    credentials.put(&world.caller(), kind, "sk-ant-of-the-story").await.unwrap();
    world.model.script([Reply::Say("Think about pelicans".to_owned())]);
    let idea = IdeaId(random::uuid());
    let description = "think about the pelicans. ".repeat(12);
    let new = NewIdea { project: world.project, idea, description, wish: Wish::Explore };
    world.system().ideas.submit(&world.caller(), new).await.unwrap();
    world
        .until("a title", async || {
            let idea = world.system().dispatcher.state::<Idea>(idea.0).await;
            matches!(&*idea.unwrap(), Idea::Known { title: Some(_), .. })
        })
        .await;
    // With a key the ideas of the next chapters would be for another coding agent.
    credentials.remove(&world.caller(), kind).await.unwrap();
}

async fn executions(world: &World) {
    let done = world.submit("say: Hello there.\nask: may I?").await;
    assert_eq!(world.ended(done.idea).await, Stage::Done);
    world.rest().await;
    let asking = world.submit_asking("ask: may I?\nhang", Some(PermissionPolicy::Ask)).await;
    let session = asking.session.unwrap();
    let request = crate::story::asked(world, session).await;
    crate::story::answer(world, session, request, "allow").await.unwrap();
    let waiting = world.submit("say: when there is room").await;
    world
        .until("the next idea to wait for room", async || {
            matches!(
                execution(world, waiting.execution.unwrap()).await,
                Execution::UnderWay { waiting: Some(_), .. }
            )
        })
        .await;
    let lost = asking.execution.unwrap();
    crate::story::until_running(world, lost).await;
    for choice in [InputChoice::Continue, InputChoice::Park] {
        world.machine.lose_sessions();
        world
            .until("a question to the person", async || {
                matches!(
                    execution(world, lost).await,
                    Execution::UnderWay { needs_input: true, .. }
                )
            })
            .await;
        let before = world.machine.n_carried_out();
        send(world, (lost, ExecutionCommand::AnswerInput { choice })).await;
        // Start and prompt: from then on it waits again.
        world
            .until("the answer's effect", async || world.machine.n_carried_out() >= before + 2)
            .await;
    }
    assert_eq!(world.ended(asking.idea).await, Stage::Parked);
    assert_eq!(world.ended(waiting.idea).await, Stage::Done);
    world.rest().await;
    let cancelled = world.submit("hang").await;
    crate::story::until_running(world, cancelled.execution.unwrap()).await;
    world.cancel(cancelled.execution.unwrap()).await;
    assert_eq!(world.ended(cancelled.idea).await, Stage::Parked);
    world.machine.refuse(Refuse::OpenWorkspace, 1);
    let nowhere = world.submit("say: nobody hears it").await;
    assert_eq!(world.ended(nowhere.idea).await, Stage::Parked);
    let failed = world.submit("fail: no mood").await;
    assert_eq!(world.ended(failed.idea).await, Stage::Parked);
    world.rest().await;
}

async fn execution(world: &World, id: ExecutionId) -> Execution {
    Execution::clone(&*world.system().dispatcher.state::<Execution>(id.0).await.unwrap())
}

async fn settings_of_people(world: &World) {
    let owner = world.system().owner();
    send(world, (owner, AccountCommand::Rename { name: "Ada L.".to_owned() })).await;
    send(world, (world.project, ProjectCommand::Rename { name: "shop".to_owned() })).await;
    let vm_size = Some("small".to_owned());
    let defaults = ProjectDefaults { vm_size, ..ProjectDefaults::default() };
    send(world, (world.project, ProjectCommand::ChangeDefaults { defaults })).await;
    let (variables, name) = (&world.system().variables, "DATABASE_URL".to_owned());
    let value = "postgres://of-the-story".to_owned();
    let new = NewVariable { name: name.clone(), value, is_secret: true };
    let limits = VariableLimits::default();
    variables.set(&world.caller(), world.project, new, limits).await.unwrap();
    variables.remove(&world.caller(), world.project, name).await.unwrap();
    let (credential, kind) = (CredentialId(random::uuid()), CredentialKind::Anthropic);
    let last_four = "wxyz".to_owned();
    send(world, (credential, CredentialCommand::Store { owner, kind, last_four })).await;
    send(world, (credential, CredentialCommand::Remove { owner })).await;
}

/// Said to streams of their own, for what the simulated machine never does.
async fn what_no_story_comes_by(world: &World) {
    let owner = world.system().owner();
    let spec = NodeSpec { owner, provider: ProviderKind::Simulated, name: "broken".to_owned() };
    let node = NodeId(random::uuid());
    send(world, (node, NodeCommand::Request { spec })).await;
    send(world, (node, NodeCommand::RecordFailure { reason: "no such machine".to_owned() })).await;
    let session = SessionId(random::uuid());
    let (execution, idea) = (ExecutionId(random::uuid()), IdeaId(random::uuid()));
    let (message, answer) = (MessageId(random::uuid()), MessageId(random::uuid()));
    let epoch = 1;
    let text = async |text: &str| {
        let id = ContentId(random::uuid());
        world.system().sealing.seal(world.project, id, text).await.unwrap()
    };
    let say = async |command: SessionCommand, rows| {
        let (caller, command) = (world.caller(), (session, command));
        world.system().dispatcher.send(&caller, command, rows).await.unwrap();
    };
    let (content, row) = text("say: something").await;
    let (project, author) = (world.project, owner);
    say(SessionCommand::Begin { project, idea, execution, message, author, content }, vec![row])
        .await;
    let workspace = WorkspaceId(random::uuid());
    say(SessionCommand::BeginAttachment { execution, workspace }, Vec::new()).await;
    let (agent_name, agent_version) = ("demo".to_owned(), "1".to_owned());
    say(SessionCommand::RecordAttached { epoch, agent_name, agent_version }, Vec::new()).await;
    let (content, row) = text("something, but not all of").await;
    let segment = RecordedSegment {
        epoch,
        message: answer,
        kind: TextKind::Thought,
        first_chunk: 0,
        n_chunks: 2,
        content,
        is_last: false,
    };
    say(SessionCommand::RecordSegment(segment), vec![row]).await;
    let (content, row) = text("{}").await;
    say(SessionCommand::RecordUsage { epoch, content }, vec![row]).await;
    let (content, row) = text("{}").await;
    let (request, options) = (PermissionId(random::uuid()), ["yes".to_owned()].into());
    say(SessionCommand::RecordPermissionAsked { epoch, request, options, content }, vec![row])
        .await;
    say(SessionCommand::EndExecution { execution }, Vec::new()).await;
}
