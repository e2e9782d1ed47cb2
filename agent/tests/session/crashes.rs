//! The agent is killed before and after every record; the story stays the same.

use agent::session::SessionHandle;
use domain::agent_protocol::Report;

use crate::world::{Crash, PATIENCE, World, essence, message, soon};

const PROMPTS: [&str; 2] = [
    "plan: one; two\nsay: A first sentence that is said in several pieces.\nwrite a.txt: a\n\
     ask: May I?\nsay: The last words.",
    "run: cat a.txt\nsay: More.",
];

/// As the control plane orders it: everything is repeated after a restart.
async fn drive(world: &World, session: &SessionHandle) {
    session.started().await.unwrap();
    for (number, prompt) in (1..).zip(PROMPTS) {
        // A crash drops the question; then it is asked again of the next life.
        if session.prompt(message(number), prompt.to_string()).await.is_err() {
            return std::future::pending().await;
        }
        world.journal.turn_end(message(number)).await;
    }
    session.stop().await.unwrap();
}

/// Tells the story with at most one crash; none if it ended before the crash.
async fn tell(crash: Option<Crash>) -> Option<(Vec<Report>, u32)> {
    let mut world = World::new();
    *world.journal.crash.lock().unwrap() = crash;
    let session = world.open();
    let journal = world.journal.clone();
    let has_crashed = tokio::select! {
        () = journal.crashing() => true,
        () = soon(drive(&world, &session)) => false,
    };
    if has_crashed {
        world.crash().await;
        let session = world.open();
        let driven = tokio::time::timeout(PATIENCE, drive(&world, &session)).await;
        assert!(driven.is_ok(), "stuck after {crash:?}: {:#?}", world.journal);
    }
    let stdin = world.stdin();
    assert_eq!(stdin.matches("session/prompt").count(), PROMPTS.len(), "after {crash:?}");
    assert_eq!(stdin.matches("\"outcome\"").count(), 2, "one answer, which has the word twice");
    (has_crashed || crash.is_none())
        .then(|| (essence(&world.journal.reports()), world.journal.n_records()))
}

/// Demo sessions are numbered on each machine, and paths name the machine: neither is the story.
fn without_place(story: &[Report]) -> String {
    let json = serde_json::to_string_pretty(story).unwrap();
    let words = json.split("sam-session-test-");
    let words = words.map(|word| match word.split_once('/') {
        Some((place, rest)) if place.len() < 20 => rest,
        _ => word,
    });
    words.collect()
}

#[tokio::test]
async fn a_crash_at_any_record_changes_nothing() {
    let (expected, n_records) = tell(None).await.unwrap();
    let expected = without_place(&expected);
    assert!(n_records > 10, "there is something to crash at");
    let mut n_crashes = 0;
    for number in 1..=n_records {
        for crash in [Crash::Before(number), Crash::After(number)] {
            let Some((story, _)) = tell(Some(crash)).await else { continue };
            n_crashes += 1;
            assert_eq!(without_place(&story), expected, "after {crash:?}");
        }
    }
    assert!(n_crashes > 20, "only {n_crashes} crashes");
}
