//! One sentence for people about what a process saw and wants.

use domain::{
    event::Command,
    process::{Action, Effect, OrderIntent, Outcome, ProcessEvent, Stimulus},
};
use serde::Serialize;

use crate::summary::summary;

/// What a process saw, and what it wants because of it. `settled` is the action it hears the outcome of.
#[must_use]
pub fn of_reaction(reaction: &ProcessEvent, settled: Option<&Action>) -> String {
    let ProcessEvent::Reacted { stimulus, intents, .. } = reaction;
    let seen = match stimulus {
        Stimulus::Happened { event, .. } => format!("saw “{}”", summary(event)),
        Stimulus::Settled { outcome, .. } => {
            let what = settled.map_or_else(|| "an intent".to_owned(), of_action);
            format!("{what}: {}", of_outcome(outcome))
        }
        Stimulus::Woken { label, .. } => format!("woke up for “{label}”"),
    };
    if intents.is_empty() {
        return seen;
    }
    let wanted: Vec<_> = intents.iter().map(|intent| of_action(&intent.action)).collect();
    format!("{seen}; next: {}", wanted.join(", "))
}

/// What a process wants, in a few words.
#[must_use]
pub fn of_action(action: &Action) -> String {
    match action {
        Action::Tell(command) => format!("tell the {} to {}", command.stream().0, wish(command)),
        Action::Run(effect) => of_effect(effect).to_owned(),
        Action::WakeAt { label, .. } => format!("wake up for “{label}”"),
    }
}

fn of_effect(effect: &Effect) -> &'static str {
    match effect {
        Effect::FindNode { .. } => "look for a node",
        Effect::AwaitRoom { .. } => "wait for room",
        Effect::StartNode { .. } => "start the node",
        Effect::AwaitAgent { .. } => "wait for the node's agent",
        Effect::AwaitImage { .. } => "wait for the coding agent's image",
        Effect::StopNode { .. } => "stop the node",
        Effect::Order { order, .. } => match order {
            OrderIntent::OpenWorkspace { .. } => "order to open the workspace",
            OrderIntent::StartSession { .. } => "order to start the coding agent",
            OrderIntent::Prompt { .. } => "order to prompt the coding agent",
            OrderIntent::AnswerPermission { .. } => "order to answer the permission request",
            OrderIntent::StopSession { .. } => "order to stop the coding agent",
            OrderIntent::Publish { is_checkpoint: true, .. } => "order to save unpushed work",
            OrderIntent::Publish { .. } => "order to push",
            OrderIntent::CloseWorkspace { .. } => "order to remove the workspace",
            OrderIntent::Retire => "order to retire the node",
        },
        Effect::EndExecutions { .. } => "end what runs in the project",
        Effect::DestroyTexts { .. } => "destroy the project's texts",
        Effect::NameErasedStreams { .. } => "name the erased streams",
        Effect::EndSignIns { .. } => "sign the account out",
        Effect::EraseProjects { .. } => "have the account's projects erased",
        Effect::DestroySecrets { .. } => "destroy the account's secrets",
        Effect::SummariseTitle { .. } => "have a title made of the text",
    }
}

fn of_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done".into(),
        Outcome::Refused { reason, .. } => format!("refused, {reason}"),
        Outcome::NodeFound { .. } => "found one".into(),
        Outcome::NodeMissing { .. } => "there is none yet".into(),
        Outcome::NoRoom { reason } => format!("no room, {reason}"),
        Outcome::ImagePending { reason } => format!("not yet, {reason}"),
        Outcome::AgentReady { slots, version } => format!("agent {version} with {slots} slots"),
        Outcome::WorkspaceOpened { base_branch, .. } => format!("opened, based on {base_branch}"),
        Outcome::SessionStarted { agent_name, agent_version } => {
            format!("{agent_name} {agent_version}")
        }
        Outcome::Published { result } => match &result.reference {
            Some(reference) => format!("{} commits on {reference}", result.n_commits),
            None => "nothing was changed".into(),
        },
        Outcome::Titled { .. } => "made".into(),
        Outcome::Failed { reason, .. } => format!("failed, {reason}"),
    }
}

/// The name of a command as words.
fn wish(command: &Command) -> String {
    match command {
        Command::Account(_, command) => words(command),
        Command::Credential(_, command) => words(command),
        Command::Project(_, command) => words(command),
        Command::Idea(_, command) => words(command),
        Command::Execution(_, command) => words(command),
        Command::Node(_, command) => words(command),
        Command::Workspace(_, command) => words(command),
        Command::Session(_, command) => words(command),
    }
}

fn words(command: &impl Serialize) -> String {
    let name = match serde_json::to_value(command) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    name.replace('_', " ")
}
