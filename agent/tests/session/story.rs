//! What a person sees of a session that goes well.

use domain::agent_protocol::{PermissionPolicy, RefusalKind, Report, ToolCallStatus, TurnEnd};

use crate::world::{World, message, soon, text};

fn stopped(reason: &str) -> TurnEnd {
    TurnEnd::Stopped { reason: reason.to_string() }
}

#[tokio::test]
async fn every_directive_is_carried_out_and_told() {
    let mut world = World::new();
    let session = world.open();
    let started = soon(session.started()).await.unwrap();
    assert_eq!(started.agent_name, "SAM demo agent");
    let prompt = "plan: look; write\nwrite a/b.txt: hello\nrun: cat a/b.txt\nask: May I?\n\
                  say: That is it.\nsleep: 0.01\nstream: 5 1000\nwrite ../x: no";
    soon(session.prompt(message(1), prompt.to_string())).await.unwrap();
    assert_eq!(world.journal.turn_end(message(1)).await, stopped("end_turn"));
    assert_eq!(world.file("a/b.txt"), "hello\n");

    let reports = world.journal.reports();
    assert!(text(&reports).starts_with("That is it.\n\n0 "));
    let mut calls = Vec::new();
    for report in &reports {
        if let Report::ToolCall(call) = report
            && call.status != ToolCallStatus::InProgress
        {
            calls.push((call.kind.as_str(), call.status, call.detail.title.as_str()));
        }
    }
    let expected = vec![
        ("edit", ToolCallStatus::Completed, "Write a/b.txt"),
        ("execute", ToolCallStatus::Completed, "cat a/b.txt"),
        ("other", ToolCallStatus::Completed, "May I?"),
        ("edit", ToolCallStatus::Failed, "Write ../x"),
    ];
    assert_eq!(calls, expected);
    let settled = reports.iter().find_map(|report| match report {
        Report::PermissionSettled { option, .. } => option.clone(),
        _ => None,
    });
    assert_eq!(settled.as_deref(), Some("yes"));
    let plan = reports.iter().rev().find_map(|report| match report {
        Report::Plan { entries, .. } => Some(entries.clone()),
        _ => None,
    });
    assert!(plan.unwrap().iter().all(|entry| entry.status == "completed"));

    soon(session.prompt(message(2), "fail: no luck".to_string())).await.unwrap();
    let failed = TurnEnd::Failed { reason: "no luck".to_string() };
    assert_eq!(world.journal.turn_end(message(2)).await, failed);
    soon(session.prompt(message(3), "Make it better".to_string())).await.unwrap();
    assert_eq!(world.journal.turn_end(message(3)).await, stopped("end_turn"));
    assert!(world.file("SAM-DEMO.md").contains("> Make it better"));
    soon(session.stop()).await.unwrap();
    let is_lost = |report: &Report| matches!(report, Report::SessionLost { .. });
    assert!(!world.journal.reports().iter().any(is_lost), "it was told to stop");
}

#[tokio::test]
async fn chunks_run_ahead_of_the_segments_and_say_the_same() {
    let mut world = World::new();
    let session = world.open();
    soon(session.started()).await.unwrap();
    soon(session.prompt(message(1), "stream: 400 0".to_string())).await.unwrap();
    world.journal.turn_end(message(1)).await;
    let chunks = world.chunks.0.lock().unwrap().clone();
    let live: String = chunks.iter().map(|chunk| chunk.text.as_str()).collect();
    assert_eq!(live, text(&world.journal.reports()));
    let numbers: Vec<u32> = chunks.iter().map(|chunk| chunk.chunk).collect();
    assert_eq!(numbers, (0..400).collect::<Vec<u32>>());
    for report in world.journal.reports() {
        if let Report::Segment(segment) = report {
            assert!(segment.text.len() <= 4096);
        }
    }
}

#[tokio::test]
async fn a_person_answers_when_the_policy_is_to_ask() {
    let mut world = World::new();
    world.config.permissions = PermissionPolicy::Ask;
    let session = world.open();
    soon(session.started()).await.unwrap();
    soon(session.prompt(message(1), "ask: May I?".to_string())).await.unwrap();
    let asked = soon(world.journal.find(|report| match report {
        Report::PermissionAsked(request) => Some(request.clone()),
        _ => None,
    }))
    .await;
    assert_eq!(asked.title, "May I?");
    // The approval survives a restart.
    world.crash().await;
    let session = world.open();
    let refused = soon(session.answer_permission(asked.request, "maybe".to_string())).await;
    assert_eq!(refused.unwrap_err().kind, RefusalKind::CodingAgent);
    for _ in 0..2 {
        soon(session.answer_permission(asked.request, "no".to_string())).await.unwrap();
    }
    assert_eq!(world.journal.turn_end(message(1)).await, stopped("end_turn"));
    let is_refused = |report: &Report| matches!(report, Report::ToolCall(call) if call.status == ToolCallStatus::Failed);
    assert!(world.journal.reports().iter().any(is_refused));
}

#[tokio::test]
async fn nobody_to_ask_means_no() {
    let mut world = World::new();
    world.config.permissions = PermissionPolicy::Deny;
    let session = world.open();
    soon(session.started()).await.unwrap();
    soon(session.prompt(message(1), "ask: May I?".to_string())).await.unwrap();
    world.journal.turn_end(message(1)).await;
    let settled = world.journal.find(|report| match report {
        Report::PermissionSettled { option, .. } => option.clone(),
        _ => None,
    });
    assert_eq!(soon(settled).await, "no");
}

#[tokio::test]
async fn a_cancel_ends_the_turn_and_the_session_goes_on() {
    let mut world = World::new();
    world.config.permissions = PermissionPolicy::Ask;
    let session = world.open();
    soon(session.started()).await.unwrap();
    for (number, prompt) in [(1, "sleep: 1000"), (2, "ask: May I?"), (3, "run: sleep 1000")] {
        soon(session.prompt(message(number), prompt.to_string())).await.unwrap();
        soon(session.cancel()).await.unwrap();
        soon(session.cancel()).await.unwrap();
        assert_eq!(world.journal.turn_end(message(number)).await, stopped("cancelled"));
    }
    let is_lost = |report: &Report| matches!(report, Report::SessionLost { .. });
    assert!(!world.journal.reports().iter().any(is_lost));
}

#[tokio::test]
async fn a_later_attachment_takes_up_the_conversation_without_telling_it_again() {
    let mut world = World::new();
    let session = world.open();
    let first = soon(session.started()).await.unwrap();
    soon(session.prompt(message(1), "say: Remember this.".to_string())).await.unwrap();
    world.journal.turn_end(message(1)).await;
    soon(session.stop()).await.unwrap();
    world.crash().await;
    let n_reports = world.journal.reports().len();
    world.config.epoch = 2;
    let session = world.open();
    let second = soon(session.started()).await.unwrap();
    assert_eq!(first.acp_session, second.acp_session);
    assert!(world.stdin().contains("session/load"));
    assert_eq!(world.journal.reports().len(), n_reports, "the replay is known already");
}
