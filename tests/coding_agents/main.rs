//! The published coding agents with a scripted model on loopback: against our session code, and in
//! a whole SAM.
//!
//! `cargo xtask test` fetches them. `SAM_CLAUDE_AGENT_ACP` names the adapter's executable, its Node
//! must be first in the path, and `sam-claude:1` is the image that has both.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../agent/tests/session/world.rs"]
#[expect(dead_code, reason = "written for more tests than these")]
mod world;

mod whole_story;

use agent::coding_agent::{ModelProxy, launch};
use domain::agent_protocol::{CodingAgentKind, PermissionPolicy, Report, ToolCallStatus, TurnEnd};
use tests::scripted_model::ScriptedModel;

use crate::world::{World, message, soon, text};

/// A world in which the session runs the published adapter.
async fn claude() -> (World, ScriptedModel) {
    let adapter = std::env::var("SAM_CLAUDE_AGENT_ACP").expect("the path of the adapter");
    let mut world = World::new();
    let steps = ScriptedModel::hello(&world.config.cwd);
    let model = ScriptedModel::start("127.0.0.1", steps).await.unwrap();
    let base_url = format!("http://{}", model.address);
    let proxy = ModelProxy { base_url, token: "a-token".to_string() };
    let start = launch(CodingAgentKind::ClaudeCode, Some(&proxy));
    world.config.kind = CodingAgentKind::ClaudeCode;
    world.config.argv = vec![adapter];
    world.config.env = start.env;
    let home = std::path::Path::new(&world.config.cwd).parent().unwrap().join("home");
    std::fs::create_dir_all(&home).unwrap();
    world.config.env.insert("HOME".to_string(), home.to_str().unwrap().to_string());
    // It refuses some modes to root outside a sandbox.
    world.config.env.insert("IS_SANDBOX".to_string(), "1".to_string());
    (world, model)
}

#[tokio::test]
async fn claude_code_edits_a_file_and_runs_a_command() {
    let (mut world, model) = claude().await;
    let session = world.open();
    let started = soon(session.started()).await.unwrap();
    assert!(!started.agent_version.is_empty(), "{started:?}");
    soon(session.prompt(message(1), "Write hello.txt and copy it.".to_string())).await.unwrap();
    let end = world.journal.turn_end(message(1)).await;
    assert_eq!(end, TurnEnd::Stopped { reason: "end_turn".to_string() }, "{:#?}", world.journal);
    assert_eq!((world.file("hello.txt"), world.file("copy.txt")), (s("hello\n"), s("hello\n")));
    let reports = world.journal.reports();
    assert!(text(&reports).contains("I wrote hello.txt and copied it."));
    let completed = |wanted: &str| {
        reports.iter().any(|report| {
            matches!(report, Report::ToolCall(call)
                if call.kind == wanted && call.status == ToolCallStatus::Completed)
        })
    };
    assert!(completed("edit") && completed("execute"), "{reports:#?}");
    let is_settled =
        |report: &Report| matches!(report, Report::PermissionSettled { option: Some(_), .. });
    assert!(reports.iter().any(is_settled), "permissions are recorded");
    let posts = model.seen().into_iter().filter(|seen| seen.line.starts_with("POST"));
    assert!(posts.into_iter().all(|seen| seen.key.as_deref() == Some("a-token")));
    soon(session.stop()).await.unwrap();
}

#[tokio::test]
async fn claude_code_goes_on_while_the_agent_restarts() {
    let (mut world, _model) = claude().await;
    world.config.permissions = PermissionPolicy::Ask;
    let mut session = world.open();
    soon(session.started()).await.unwrap();
    soon(session.prompt(message(1), "Write hello.txt and copy it.".to_string())).await.unwrap();
    let mut answered = Vec::new();
    while !world.journal.reports().iter().any(|report| matches!(report, Report::TurnEnded { .. })) {
        let asked = world.journal.find(|report| match report {
            Report::PermissionAsked(request) if !answered.contains(&request.request) => {
                Some(Some(request.clone()))
            }
            Report::TurnEnded { .. } => Some(None),
            _ => None,
        });
        let Some(request) = soon(asked).await else { break };
        answered.push(request.request);
        world.crash().await;
        session = world.open();
        let allow = request.options.iter().find(|option| option.kind == "allow_once").unwrap();
        soon(session.answer_permission(request.request, allow.id.clone())).await.unwrap();
    }
    assert!(!answered.is_empty());
    assert_eq!(world.file("copy.txt"), "hello\n");
    assert_eq!(world.stdin().matches("session/prompt").count(), 1);
}

fn s(text: &str) -> String {
    text.to_string()
}
