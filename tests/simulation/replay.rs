//! What was recorded is told, folded and decided again; and what was damaged is named, and stops nobody.

use std::collections::BTreeSet;

use actors::{
    clock::Clock as _,
    faults::Faults,
    random,
    submit_idea::{Choices, NewIdea, Wish},
};
use domain::{
    aggregate::Aggregate,
    execution::{Execution, ExecutionCommand, InputChoice},
    idea::{Idea, Stage},
    ids::{ExecutionId, IdeaId},
    values::Step,
};
use projections::{
    activity_feed, chat_transcript,
    event_log::{Position, RecordedEvent, StreamId},
    execution_timeline::{self, ExecutionRow},
    read_models, replay,
    timeline::{self, EntryKind, Fact, Involved, PhaseName, PhaseState, What},
};
use serde_json::{Value, json};

use crate::{
    story::until_running,
    world::{Place, World, on_both},
};

on_both! {
    a_whole_execution_is_told_and_decided_again
    a_lost_coding_agent_is_told_as_two_attempts
    a_difference_names_event_and_field
    a_command_that_was_refused_is_decided_again
    a_log_that_was_changed_is_named_by_event_and_field
    the_state_at_each_position_is_the_fold_up_to_there
    a_machine_that_never_started_is_shown_with_its_execution
    an_execution_that_its_session_refused_is_told_to_its_end
    a_damaged_event_is_named_and_everything_else_goes_on
    a_read_side_made_again_is_the_same_and_a_changed_row_is_named
}

const STORY: &str = "say: Hello there.\nLook around";

async fn told(world: &World, description: &str) -> (IdeaId, ExecutionRow) {
    let submitted = world.submit(description).await;
    world.ended(submitted.idea).await;
    world.rest().await;
    (submitted.idea, row(world, submitted.execution.unwrap()).await)
}

/// The execution as the read models show it, once they show everything.
async fn row(world: &World, execution: ExecutionId) -> ExecutionRow {
    let system = world.system();
    let head = system.log.head().await.unwrap();
    world.until("the read models", async || *system.projected().borrow() >= head).await;
    execution_timeline::find(&system.database, execution).await.unwrap().unwrap()
}

async fn facts(world: &World, row: &ExecutionRow) -> Vec<Fact> {
    let system = world.system();
    let head = system.log.head().await.unwrap();
    timeline::collect(&system.database, &system.log, row, head).await.unwrap()
}

async fn verified(world: &World, row: &ExecutionRow) -> replay::Verification {
    let log = &world.system().log;
    let head = log.head().await.unwrap();
    replay::verify_execution(log, &Involved::of(row), head).await.unwrap()
}

async fn a_whole_execution_is_told_and_decided_again(place: Place) {
    let world = World::new(place, 3).await;
    let (_, row) = told(&world, STORY).await;
    let facts = facts(&world, &row).await;
    let timeline = timeline::fold(row.id, &facts, world.clock.now());
    let kinds: BTreeSet<_> =
        timeline.entries.iter().map(|entry| format!("{:?}", entry.kind)).collect();
    let all = ["Execution", "Git", "Idea", "Node", "Process", "Session", "Workspace"];
    assert_eq!(kinds, all.map(str::to_owned).into());
    let state_of = |name| {
        let phase = timeline.phases.iter().find(|phase| phase.name == name);
        phase.map(|phase| (phase.attempt, phase.state))
    };
    for name in
        Step::ALL.map(PhaseName::Step).into_iter().chain([PhaseName::Finishing, PhaseName::Push])
    {
        assert_eq!(state_of(name), Some((1, PhaseState::Done)), "{name:?}: {timeline:#?}");
    }
    let caused = timeline.entries.iter().filter(|entry| entry.cause.is_some());
    assert!(caused.count() > timeline.entries.len() / 2, "most know what led to them");

    let verified = verified(&world, &row).await;
    assert_eq!(verified.differences, []);
    assert!(verified.n_reactions > 15 && verified.n_commands > 10, "{verified:?}");
    assert!(verified.n_rebuilt > 5, "people and agents commanded too: {verified:?}");
    assert_eq!(verified.not_decided, [], "each event was decided again");

    let activity = activity_feed::list(&world.system().database, world.project, None, 100);
    let activity = activity.await.unwrap();
    let owner = format!("account/{}", world.system().owner());
    assert_eq!(activity.last().map(|row| row.actor.as_str()), Some(owner.as_str()));
    assert_eq!(activity[0].actor, "process/run_execution", "{activity:#?}");
}

async fn a_lost_coding_agent_is_told_as_two_attempts(place: Place) {
    let world = World::new(place, 3).await;
    let submitted = world.submit("hang").await;
    let execution = submitted.execution.unwrap();
    let state = async || world.system().dispatcher.state::<Execution>(execution.0).await.unwrap();
    world
        .until("the coding agent to be at work", async || {
            let running = Some(Step::Running);
            matches!(&*state().await, Execution::UnderWay { step, .. } if *step == running)
        })
        .await;
    for choice in [InputChoice::Continue, InputChoice::Park] {
        world.machine.lose_sessions();
        world
            .until("a question to the person", async || {
                matches!(&*state().await, Execution::UnderWay { needs_input: true, .. })
            })
            .await;
        let before = world.machine.n_carried_out();
        let command = (execution, ExecutionCommand::AnswerInput { choice });
        world.system().dispatcher.send(&world.caller(), command, Vec::new()).await.unwrap();
        world
            .until("the answer's effect", async || world.machine.n_carried_out() >= before + 2)
            .await;
    }
    assert_eq!(world.ended(submitted.idea).await, Stage::Parked);
    world.rest().await;
    let row = row(&world, execution).await;
    let timeline = timeline::fold(row.id, &facts(&world, &row).await, world.clock.now());
    let attempts = |name: PhaseName| -> Vec<_> {
        let phases = timeline.phases.iter().filter(|phase| phase.name == name);
        phases.map(|phase| phase.attempt).collect()
    };
    assert_eq!(attempts(PhaseName::Step(Step::AgentSession)), [1, 2], "{timeline:#?}");
    let lost = timeline.entries.iter().filter(|entry| entry.event == "attachment_lost");
    assert_eq!(lost.map(|entry| entry.attempt).collect::<Vec<_>>(), [1, 2]);
    let ordered = timeline.entries.iter().filter(|entry| {
        entry.kind == EntryKind::Process
            && entry.summary.contains("order to start the coding agent")
    });
    assert!(ordered.map(|entry| entry.attempt).max() >= Some(2));
    assert_eq!(verified(&world, &row).await.differences, []);
}

async fn a_command_that_was_refused_is_decided_again(place: Place) {
    let world = World::new(place, 3).await;
    let (row, refused) = refused(&world).await;
    let verified = verified(&world, &row).await;
    assert!(verified.n_without_events > 0, "{verified:?}");
    assert_eq!((&verified.differences[..], &verified.not_decided[..]), (&[][..], &[][..]));

    let mut recorded = recorded(&world, &row).await;
    let all = recorded.iter_mut().flat_map(|(_, events)| events);
    let answered = all.into_iter().find(|event| event.position == refused).unwrap();
    answered.payload = answered.payload.replace("\"code\":\"", "\"code\":\"not_");
    let differences = replay::verify(&recorded).differences;
    let found = differences.iter().find(|difference| difference.field.ends_with("refused.code"));
    let found = found.unwrap_or_else(|| panic!("{differences:#?}"));
    assert_eq!((found.position, &*found.event), (refused, "reacted"));
    assert_eq!(found.field, "stimulus.settled.outcome.refused.code");
    let codes = (found.recorded.as_str().unwrap(), found.decided.as_str().unwrap());
    assert_eq!(codes.0.strip_prefix("not_"), Some(codes.1));
}

/// An execution that was cancelled while its process wanted something, and where it heard that this was refused.
async fn refused(world: &World) -> (ExecutionRow, Position) {
    told(world, "say: one").await;
    for n in 0..100 {
        let submitted = world.submit("say: one\nhang").await;
        world.until_position(submitted.position + n, submitted.idea).await;
        world.cancel(submitted.execution.unwrap()).await;
        world.ended(submitted.idea).await;
        world.rest().await;
        let row = row(world, submitted.execution.unwrap()).await;
        for (_, events) in recorded(world, &row).await {
            let is_refusal = |event: &&RecordedEvent| {
                let payload: Value = serde_json::from_str(&event.payload).unwrap();
                payload.pointer("/stimulus/settled/outcome/refused").is_some()
            };
            if let Some(refused) = events.iter().find(is_refusal) {
                return (row, refused.position);
            }
        }
    }
    panic!("nothing was ever refused");
}

async fn a_log_that_was_changed_is_named_by_event_and_field(place: Place) {
    let world = World::new(place, 3).await;
    let (_, row) = told(&world, STORY).await;
    let (text, other) = (json!("another reason"), json!(IdeaId(random::uuid())));
    let want = "/intents/2/action/tell/execution/1/start_step/reason";
    // Of an aggregate's event, on a command of a process; on one of an agent, what the state has to say.
    for (kind, event, path, value, fields) in [
        ("execution", "step_started", "/reason", &text, vec!["hash", "reason"]),
        ("session", "turn_ended", "/execution", &other, vec!["execution", "hash"]),
        ("run_execution", "reacted", want, &text, vec!["hash", &want[1..]]),
        // Of this one only the log's own chain and whoever saw it know better.
        ("idea", "drafted", "/description/digest", &text, vec!["hash"]),
    ] {
        let recorded = recorded(&world, &row).await;
        let (_, events) = recorded.iter().find(|(stream, _)| stream.kind == kind).unwrap();
        let changed = events.iter().find(|found| found.event_type == event).unwrap();
        let mut payload: Value = serde_json::from_str(&changed.payload).unwrap();
        *payload.pointer_mut(path).unwrap_or_else(|| panic!("{path}: {changed:?}")) = value.clone();
        put(&world, changed.position, &payload.to_string()).await;
        let differences = verified(&world, &row).await.differences;
        let named: BTreeSet<_> = differences
            .iter()
            .filter(|difference| difference.position == changed.position)
            .map(|difference| (&*difference.event, difference.field.replace('.', "/")))
            .collect();
        let expected = fields.iter().map(|field| (event, (*field).to_owned()));
        assert_eq!(named, expected.collect(), "{differences:#?}");
        put(&world, changed.position, &changed.payload).await;
        assert_eq!(verified(&world, &row).await.differences, []);
    }
}

/// Writes into the log what nobody recorded.
async fn put(world: &World, position: Position, payload: &str) {
    let payload = payload.replace('\'', "''");
    let statement = format!("UPDATE events SET payload = '{payload}' WHERE position = $1");
    world.system().database.log().execute(&statement, (position,)).await.unwrap();
}

/// The recorded streams of an execution, to be changed by a test.
async fn recorded(world: &World, row: &ExecutionRow) -> Vec<(StreamId, Vec<RecordedEvent>)> {
    let log = &world.system().log;
    let head = log.head().await.unwrap();
    replay::involved_streams(log, &Involved::of(row), head).await.unwrap()
}

async fn a_difference_names_event_and_field(place: Place) {
    let world = World::new(place, 3).await;
    let (_, row) = told(&world, STORY).await;
    let recorded = recorded(&world, &row).await;
    assert_eq!(replay::verify(&recorded).differences, []);

    let changed = |kind: &str, event: &str, path: &str, value: Value| {
        let mut streams = recorded.clone();
        let (_, events) = streams.iter_mut().find(|(stream, _)| stream.kind == kind).unwrap();
        let event = events.iter_mut().find(|found| found.event_type == event).unwrap();
        let mut payload: Value = serde_json::from_str(&event.payload).unwrap();
        *payload.pointer_mut(path).unwrap() = value;
        event.payload = payload.to_string();
        let position = event.position;
        (position, replay::verify(&streams).differences)
    };
    // A process would want something else than it wanted.
    let wrong = json!("another reason");
    let path = "/intents/2/action/tell/execution/1/start_step/reason";
    let (position, differences) = changed("run_execution", "reacted", path, wrong.clone());
    let found = differences.iter().find(|difference| difference.field.starts_with("intents.2"));
    let found = found.unwrap_or_else(|| panic!("{differences:#?}"));
    assert_eq!((found.position, found.event.as_str()), (position, "reacted"));
    assert_eq!(found.field, "intents.2.action.tell.execution.1.start_step.reason");
    assert_eq!(
        (&found.recorded, &found.decided),
        (&wrong, &json!("looking for a machine with room"))
    );
    // An aggregate would record something else than it recorded; and the hash does not fit.
    let (position, differences) = changed("execution", "step_started", "/reason", wrong.clone());
    let fields: BTreeSet<_> = differences
        .iter()
        .filter(|difference| difference.position == position)
        .map(|difference| difference.field.as_str())
        .collect();
    assert_eq!(fields, ["hash", "reason"].into(), "{differences:#?}");
    // An event that was taken out.
    let mut cut = recorded.clone();
    let (_, events) = cut.iter_mut().find(|(stream, _)| stream.kind == "workspace").unwrap();
    let next = events.remove(1).position + 1;
    let differences = replay::verify(&cut).differences;
    let gap = differences.iter().find(|difference| difference.field == "sequence").unwrap();
    assert!(gap.position >= next && gap.stream.kind == "workspace", "{gap:?}");
}

async fn the_state_at_each_position_is_the_fold_up_to_there(place: Place) {
    let world = World::new(place, 3).await;
    let (idea, row) = told(&world, STORY).await;
    let system = world.system();
    let involved = Involved::of(&row);
    let facts = facts(&world, &row).await;
    let mut sequences = std::collections::BTreeMap::new();
    for fact in &facts {
        let position = fact.recorded.position;
        let states = replay::states_at(&system.log, &involved, position).await.unwrap();
        assert!(states.iter().all(|state| state.problem.is_none()), "{states:#?}");
        for state in states {
            let before = sequences.insert(state.stream.clone(), state.sequence).unwrap_or(0);
            assert!(state.sequence >= before, "it only grows");
        }
    }
    let last = facts.last().unwrap().recorded.position;
    let states = replay::states_at(&system.log, &involved, last).await.unwrap();
    let of = |kind: &str| &states.iter().find(|state| state.stream.kind == kind).unwrap().state;
    let live = system.dispatcher.state::<Idea>(idea.0).await.unwrap();
    assert_eq!(of("idea"), &json!(Aggregate::Idea(Box::new(live.as_ref().clone()))));
    let live = system.dispatcher.state::<Execution>(row.id.0).await.unwrap();
    assert_eq!(of("execution"), &json!(Aggregate::Execution(Box::new(live.as_ref().clone()))));

    let then = replay::chat_at(&system.log, row.session, last, 100).await.unwrap();
    let now = chat_transcript::page(&system.database, row.session, None, 100).await.unwrap();
    assert_eq!(then, now, "the newest position shows what the read model shows");
    let begun = facts.iter().find(|fact| fact.recorded.event_type == "message_posted").unwrap();
    let begun = begun.recorded.position;
    let first = replay::chat_at(&system.log, row.session, begun, 100).await.unwrap();
    assert_eq!(first.items.len(), 1, "the prompt was there first, alone");
    let before = replay::chat_at(&system.log, row.session, row_begins(&facts), 100).await.unwrap();
    assert!(before.items.is_empty());
}

/// The position of the request, before which nothing was.
fn row_begins(facts: &[Fact]) -> u64 {
    facts.iter().map(|fact| fact.recorded.position).min().unwrap()
}

async fn a_machine_that_never_started_is_shown_with_its_execution(place: Place) {
    // The first effect finds that there is no machine, and the second would start it.
    let world = World::with_faults(place, 3, Faults::effect_fails(2)).await;
    let (_, row) = told(&world, STORY).await;
    assert_eq!(row.node, None, "nothing was placed on it");
    let facts = facts(&world, &row).await;
    let requested = facts.iter().find(|fact| fact.recorded.stream.kind == "node");
    let requested = requested.expect("the account tells of it").recorded.position;
    let log = &world.system().log;
    let n_events = async |position: Position| {
        let states = replay::states_at(log, &Involved::of(&row), position).await.unwrap();
        let node = states.iter().find(|state| state.stream.kind == "node");
        node.map(|node| node.sequence)
    };
    assert_eq!(n_events(requested - 1).await, None);
    assert_eq!(n_events(requested).await, Some(1));
    assert!(n_events(log.head().await.unwrap()).await > Some(1), "and of its end");
}

async fn an_execution_that_its_session_refused_is_told_to_its_end(place: Place) {
    let world = World::new(place, 3).await;
    let first = world.submit("hang").await;
    until_running(&world, first.execution.unwrap()).await;
    let (execution, session, choices) = (None, first.session, Choices::default());
    let second = NewIdea {
        project: world.project,
        idea: IdeaId(random::uuid()),
        description: "say: two".to_owned(),
        wish: Wish::Execute { execution, session, choices },
    };
    let second = world.system().ideas.submit(&world.caller(), second).await.unwrap();
    assert_eq!(world.ended(second.idea).await, Stage::Parked);
    assert_eq!(world.stage(first.idea).await, Stage::Executing, "nobody disturbed it");
    world.cancel(first.execution.unwrap()).await;
    assert_eq!(world.ended(first.idea).await, Stage::Parked);
    world.rest().await;

    // Whoever follows it knows by this that nothing more comes.
    let row = row(&world, second.execution.unwrap()).await;
    let timeline = timeline::fold(row.id, &facts(&world, &row).await, world.clock.now());
    let has = |event: &str| timeline.entries.iter().any(|entry| entry.event == event);
    assert!(timeline.ended_at.is_some() && has("failed"), "{timeline:#?}");
    assert!(!has("execution_begun") && !has("execution_ended"), "{timeline:#?}");
    assert_eq!(verified(&world, &row).await.differences, []);
}

async fn a_damaged_event_is_named_and_everything_else_goes_on(place: Place) {
    let damages = [
        ("UPDATE events SET metadata = '{}' WHERE position = $1", "metadata"),
        ("UPDATE events SET payload = '{\"levitates\":1}' WHERE position = $1", "malformed"),
        ("UPDATE events SET event_type = 'levitated' WHERE position = $1", "unknown"),
        ("UPDATE events SET event_version = '99' WHERE position = $1", "newer"),
    ];
    let mut world = World::new(place, 3).await;
    for (damage, word) in damages {
        let (_, row) = told(&world, STORY).await;
        let facts_before = facts(&world, &row).await;
        let is_waiting = |fact: &&Fact| {
            fact.recorded.stream.kind == "execution" && fact.recorded.event_type == "step_started"
        };
        let position = facts_before.iter().rfind(is_waiting).unwrap().recorded.position;
        world.system().database.log().execute(damage, (position,)).await.unwrap();

        let facts = facts(&world, &row).await;
        assert_eq!(facts.len(), facts_before.len(), "nothing is missing");
        let bad = facts.iter().find(|fact| fact.recorded.position == position).unwrap();
        let What::Unreadable(reason) = &bad.what else { panic!("{word}: it was read") };
        let named = format!("position {position}");
        assert!(reason.contains(&named) && reason.contains(word), "{word}: {reason}");
        let timeline = timeline::fold(row.id, &facts, world.clock.now());
        let problems = timeline.entries.iter().filter_map(|entry| entry.problem.as_ref());
        assert_eq!(problems.collect::<Vec<_>>(), [reason]);
        assert!(timeline.ended_at.is_some(), "what came after it is told");

        let log = &world.system().log;
        let head = log.head().await.unwrap();
        let states = replay::states_at(log, &Involved::of(&row), head).await.unwrap();
        for state in &states {
            let is_bad = state.stream.kind == "execution";
            assert_eq!(state.problem.is_some(), is_bad, "{word}: {state:#?}");
        }
        let differences = verified(&world, &row).await.differences;
        assert!(differences.iter().any(|difference| difference.position == position));
        assert!(differences.iter().all(|difference| difference.stream.kind == "execution"));

        // The next start reads it again, and the next idea knows nothing of it.
        world.restart().await;
    }
    let (idea, _) = told(&world, STORY).await;
    assert_eq!(world.stage(idea).await, Stage::Done);
}

async fn a_read_side_made_again_is_the_same_and_a_changed_row_is_named(place: Place) {
    let world = World::new(place, 3).await;
    let (idea, row) = told(&world, STORY).await;
    let (database, log) = world.read_only().await;
    let check = async || read_models::projector(&database, &log).check().await.unwrap();
    let checked = check().await;
    for one in &checked {
        assert_eq!(one.differences, [], "{}", one.name);
    }
    let n_rows = |name: &str| checked.iter().find(|one| one.name == name).unwrap().n_rows;
    assert_eq!(n_rows("idea_board"), 2, "the idea and its execution");
    assert!(n_rows("event_index") > 30 && n_rows("chat_transcript") > 3);

    let views = world.system().database.views();
    let change = "UPDATE idea_board SET stage = 'ready' WHERE idea = $1";
    views.execute(change, (idea.0,)).await.unwrap();
    let take_out = "DELETE FROM execution_steps WHERE execution = $1 AND step = 'running'";
    views.execute(take_out, (row.id.0,)).await.unwrap();
    let checked = check().await;
    let of = |name: &str| &checked.iter().find(|one| one.name == name).unwrap().differences;
    let [changed] = of("idea_board").as_slice() else { panic!("{checked:#?}") };
    assert_eq!((changed.table, changed.column.as_deref()), ("idea_board", Some("stage")));
    assert_eq!(changed.key, idea.to_string());
    assert_eq!(
        (changed.live.as_deref(), changed.rebuilt.as_deref()),
        (Some("ready"), Some("done"))
    );
    let [missing] = of("execution_timeline").as_slice() else { panic!("{checked:#?}") };
    assert_eq!((missing.table, missing.live.as_deref()), ("execution_steps", None));
    assert_eq!(missing.key, format!("{}, running", row.id));
    assert!(of("event_index").is_empty(), "the others are as they were");
    let only = read_models::projector(&database, &log).only("idea_board").unwrap();
    assert_eq!(only.check().await.unwrap().len(), 1);
    log.close().await;
    database.close().await;
}
