//! Coding agents that go wrong, and machines that do.

use domain::agent_protocol::{RefusalKind, Report, TurnEnd};

use crate::world::{World, message, soon};

fn script(world: &mut World, script: &str) {
    world.config.argv = ["sh", "-c", script].map(str::to_string).to_vec();
}

async fn refused_start(world: &mut World) -> String {
    let session = world.open();
    let refusal = soon(session.started()).await.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::CodingAgent);
    // The same again after a restart.
    world.crash().await;
    let session = world.open();
    assert_eq!(soon(session.started()).await.unwrap_err(), refusal);
    assert!(world.journal.reports().is_empty(), "the refused order says it all");
    refusal.reason
}

async fn lost(world: &World) -> (String, bool) {
    soon(world.journal.find(|report| match report {
        Report::SessionLost { reason, prompt, .. } => Some((reason.clone(), prompt.is_some())),
        _ => None,
    }))
    .await
}

#[tokio::test]
async fn a_coding_agent_that_exits_at_once_is_refused_with_its_last_words() {
    let mut world = World::new();
    script(&mut world, "echo oops >&2; exit 3");
    let reason = refused_start(&mut world).await;
    assert_eq!(reason, "the coding agent exited with code 3: oops");
}

#[tokio::test]
async fn a_coding_agent_that_is_missing_is_refused_by_name() {
    let mut world = World::new();
    world.config.argv = vec!["no-such-agent".to_string()];
    let reason = refused_start(&mut world).await;
    assert!(reason.contains("no-such-agent: No such file"), "{reason}");
}

#[tokio::test]
async fn a_coding_agent_that_speaks_no_json_is_refused() {
    let mut world = World::new();
    script(&mut world, "yes nonsense");
    let reason = refused_start(&mut world).await;
    assert!(reason.contains("does not speak JSON-RPC"), "{reason}");
}

#[tokio::test]
async fn a_line_without_an_end_is_refused() {
    let mut world = World::new();
    script(&mut world, "head -c 9000000 /dev/zero | tr '\\0' x; sleep 1000");
    let reason = refused_start(&mut world).await;
    assert!(reason.contains("8 MiB"), "{reason}");
}

#[tokio::test]
async fn a_coding_agent_that_refuses_a_session_is_refused() {
    let mut world = World::new();
    script(
        &mut world,
        "read x; echo '{\"id\":1,\"result\":{\"protocolVersion\":1}}'; read x; \
         echo Warning: noise; echo '{\"id\":2,\"error\":{\"code\":-32000,\"message\":\"Log in\"}}'; \
         read x",
    );
    let reason = refused_start(&mut world).await;
    assert_eq!(reason, "the coding agent opened no session: Log in");
}

#[tokio::test]
async fn an_exit_in_the_middle_of_a_turn_breaks_it() {
    let mut world = World::new();
    let session = world.open();
    soon(session.started()).await.unwrap();
    let prompt = "say: Nearly there.\nrun: kill -9 $PPID".to_string();
    soon(session.prompt(message(1), prompt.clone())).await.unwrap();
    let end = world.journal.turn_end(message(1)).await;
    let reason = "the coding agent was ended by signal 9".to_string();
    assert_eq!(end, TurnEnd::Broken { reason: reason.clone() });
    assert_eq!(lost(&world).await, (reason, false));
    let refused = soon(session.prompt(message(2), "say: Hello?".to_string())).await;
    assert_eq!(refused.unwrap_err().kind, RefusalKind::Unknown);
    soon(session.prompt(message(1), prompt)).await.unwrap();
    soon(session.stop()).await.unwrap();
}

#[tokio::test]
async fn a_coding_agent_that_is_deaf_to_a_cancel_is_killed() {
    let mut world = World::new();
    let session = world.open();
    soon(session.started()).await.unwrap();
    soon(session.prompt(message(1), "hang".to_string())).await.unwrap();
    let asked = tokio::time::Instant::now();
    soon(session.cancel()).await.unwrap();
    // A second is promised; a busy machine needs longer for the journal. It is killed after five.
    assert!(asked.elapsed() < std::time::Duration::from_secs(4), "the cancel is acknowledged");
    // The deadline survives a restart.
    world.crash().await;
    let _session = world.open();
    let end = world.journal.turn_end(message(1)).await;
    assert_eq!(end, TurnEnd::Stopped { reason: "cancelled".to_string() });
    assert_eq!(lost(&world).await, ("the coding agent was killed".to_string(), false));
}

#[tokio::test]
async fn a_container_that_goes_down_leaves_the_outcome_of_the_prompt_unknown() {
    let mut world = World::new();
    let session = world.open();
    soon(session.started()).await.unwrap();
    soon(session.prompt(message(1), "hang".to_string())).await.unwrap();
    world.take_down().await;
    assert_eq!(lost(&world).await, ("the container is gone".to_string(), true));
}

#[tokio::test]
async fn two_prompts_at_once_are_one_too_many() {
    let mut world = World::new();
    let session = world.open();
    soon(session.started()).await.unwrap();
    soon(session.prompt(message(1), "hang".to_string())).await.unwrap();
    let refused = soon(session.prompt(message(2), "say: Me too.".to_string())).await;
    assert_eq!(refused.unwrap_err().kind, RefusalKind::CodingAgent);
    soon(session.stop()).await.unwrap();
    let end = world.journal.turn_end(message(1)).await;
    assert_eq!(end, TurnEnd::Stopped { reason: "cancelled".to_string() });
}
