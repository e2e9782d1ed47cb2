//! What was tried more than once: the same intent wanted again, the same thing begun again.
//!
//! An intent that is performed again under its own key, after a crash, is no other attempt: the log
//! knows it once, and so does the outside world.

use std::collections::HashMap;

use domain::{
    agent_protocol::StepState, event::Event, event_sourced::canonical_json,
    execution::ExecutionEvent, node::NodeEvent, process::Action, session::SessionEvent,
    workspace::WorkspaceEvent,
};
use serde_json::Value;
use uuid::Uuid;

/// Fields that differ between two attempts at the same thing.
const CIRCUMSTANCES: [&str; 7] = ["until", "at", "now", "reason", "epoch", "label", "ending"];

#[derive(Debug, Default)]
pub(super) struct Attempts {
    n_tried: HashMap<String, u32>,
    intents: HashMap<Uuid, (Action, u32)>,
}

impl Attempts {
    /// Which attempt at the same thing an event is; 1 for what is not tried but happens.
    pub(super) fn of_event(&mut self, event: &Event) -> u32 {
        tried(event).map_or(1, |what| self.count(what))
    }

    /// Which attempt it is to want this.
    pub(super) fn want(&mut self, key: Uuid, action: &Action) -> u32 {
        let attempt = match action {
            Action::Tell(_) | Action::Run(_) => self.count(identity(action)),
            // Looking again later is no attempt at anything.
            Action::WakeAt { .. } => 1,
        };
        self.intents.insert(key, (action.clone(), attempt));
        attempt
    }

    pub(super) fn action(&self, key: Uuid) -> Option<&Action> {
        self.intents.get(&key).map(|(action, _)| action)
    }

    pub(super) fn of_intent(&self, key: Uuid) -> u32 {
        self.intents.get(&key).map_or(1, |(_, attempt)| *attempt)
    }

    fn count(&mut self, what: String) -> u32 {
        let n_tried = self.n_tried.entry(what).or_default();
        *n_tried += 1;
        *n_tried
    }
}

/// What an event is an attempt at.
fn tried(event: &Event) -> Option<String> {
    Some(match event {
        Event::Session(id, event) => match event {
            SessionEvent::AttachmentBegun { .. } => format!("attach {id}"),
            SessionEvent::Attached { .. } => format!("attached {id}"),
            SessionEvent::AttachmentLost { .. } => format!("lost {id}"),
            SessionEvent::TurnStarted { message, .. } => format!("turn {message}"),
            SessionEvent::TurnEnded { message, .. } => format!("turn ended {message}"),
            _ => return None,
        },
        Event::Workspace(
            id,
            WorkspaceEvent::BootStepRecorded { step, state: StepState::Started, .. },
        ) => format!("boot {id} {step}"),
        Event::Node(id, event) => match event {
            NodeEvent::Requested { .. } => format!("node {id}"),
            NodeEvent::WorkspacePlaced { workspace } => format!("place {workspace}"),
            _ => return None,
        },
        Event::Execution(id, event) => match event {
            ExecutionEvent::InputAsked { .. } => format!("input {id}"),
            ExecutionEvent::Waited { .. } => format!("wait {id}"),
            ExecutionEvent::Placed { .. } => format!("placed {id}"),
            ExecutionEvent::FinishBegun { .. } => format!("finish {id}"),
            _ => return None,
        },
        _ => return None,
    })
}

/// The action without its circumstances.
fn identity(action: &Action) -> String {
    let mut value = serde_json::to_value(action).unwrap_or_default();
    forget_circumstances(&mut value);
    canonical_json(&value)
}

fn forget_circumstances(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !CIRCUMSTANCES.contains(&name.as_str()));
            fields.values_mut().for_each(forget_circumstances);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_circumstances),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
