//! The Agent Client Protocol as far as a client without files and terminals needs it.
//!
//! JSON-RPC 2.0, one message a line. Reading is tolerant: coding agents differ, send what no
//! specification has, and leave out what it has. Writing is strict. Neither `fs` nor `terminal` is
//! offered to coding agents: they have the container's own.
//!
//! Read next: `session/attachment.rs` for the conversation.

use domain::agent_protocol::{PermissionOption, PlanEntry, TextKind};
use serde_json::{Value, json};

/// The version of ACP we speak.
pub(crate) const ACP_VERSION: u64 = 1;

/// JSON-RPC's code for a request that we do not know.
const METHOD_NOT_FOUND: i32 = -32601;

/// Longest reason that a coding agent may give.
const REASON_CHARACTERS_MAX: usize = 2000;

/// One line from the coding agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Incoming {
    /// The answer to our request of this id.
    Answer {
        id: u64,
        result: Result<Value, String>,
    },
    /// It asks something, under an id of its own.
    Request {
        id: Value,
        method: String,
        parameters: Value,
    },
    Notification {
        method: String,
        parameters: Value,
    },
    /// JSON-RPC that means nothing to us.
    Ignored,
}

/// Reads one line; none if it is no JSON-RPC message at all.
pub(crate) fn parse(line: &str) -> Option<Incoming> {
    let Ok(Value::Object(mut message)) = serde_json::from_str(line) else { return None };
    let id = message.remove("id").filter(|id| !id.is_null());
    let parameters = message.remove("params").unwrap_or(Value::Null);
    if let Some(Value::String(method)) = message.remove("method") {
        return Some(match id {
            Some(id) => Incoming::Request { id, method, parameters },
            None => Incoming::Notification { method, parameters },
        });
    }
    let error = message.remove("error").map(|error| reason(&error));
    let result = match (error, message.remove("result")) {
        (Some(reason), _) => Err(reason),
        (None, Some(result)) => Ok(result),
        (None, None) => return Some(Incoming::Ignored),
    };
    let Some(id) = id.as_ref().and_then(Value::as_u64) else { return Some(Incoming::Ignored) };
    Some(Incoming::Answer { id, result })
}

/// What a JSON-RPC error says to people: its message, and the details where there are any.
fn reason(error: &Value) -> String {
    let message = error["message"].as_str().unwrap_or("an error without a message");
    let details = match &error["data"] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        data => data["details"].as_str().map(str::to_string),
    };
    let reason = match details {
        Some(details) if !message.contains(&details) => format!("{message}: {details}"),
        _ => message.to_string(),
    };
    reason.chars().take(REASON_CHARACTERS_MAX).collect()
}

fn request(id: u64, method: &str, parameters: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters }).to_string()
}

pub(crate) fn initialize(id: u64) -> String {
    let parameters = json!({
        "protocolVersion": ACP_VERSION,
        "clientCapabilities": {
            "fs": { "readTextFile": false, "writeTextFile": false },
            "terminal": false,
        },
        "clientInfo": { "name": "sam", "title": "SAM", "version": env!("CARGO_PKG_VERSION") },
    });
    request(id, "initialize", parameters)
}

pub(crate) fn new_session(id: u64, directory: &str) -> String {
    request(id, "session/new", json!({ "cwd": directory, "mcpServers": [] }))
}

pub(crate) fn load_session(id: u64, session: &str, directory: &str) -> String {
    let parameters = json!({ "sessionId": session, "cwd": directory, "mcpServers": [] });
    request(id, "session/load", parameters)
}

pub(crate) fn prompt(id: u64, session: &str, text: &str) -> String {
    let parameters = json!({ "sessionId": session, "prompt": [{ "type": "text", "text": text }] });
    request(id, "session/prompt", parameters)
}

pub(crate) fn cancel(session: &str) -> String {
    let parameters = json!({ "sessionId": session });
    json!({ "jsonrpc": "2.0", "method": "session/cancel", "params": parameters }).to_string()
}

/// The answer to a permission request; none is what a cancelled turn answers.
pub(crate) fn permission(id: &Value, option: Option<&str>) -> String {
    let outcome = match option {
        Some(option) => json!({ "outcome": "selected", "optionId": option }),
        None => json!({ "outcome": "cancelled" }),
    };
    json!({ "jsonrpc": "2.0", "id": id, "result": { "outcome": outcome } }).to_string()
}

pub(crate) fn unknown_method(id: &Value, method: &str) -> String {
    let error = json!({ "code": METHOD_NOT_FOUND, "message": format!("SAM offers no {method}") });
    json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string()
}

/// What `session/update` tells, as far as we tell it on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Update {
    Text {
        kind: TextKind,
        text: String,
    },
    /// A new call or a change of one: agents leave out the first.
    ToolCall(Value),
    Plan {
        entries: Vec<PlanEntry>,
    },
    Usage(Value),
    Other,
}

/// Reads the parameters of `session/update`.
pub(crate) fn update(mut parameters: Value) -> Update {
    let mut update = parameters["update"].take();
    let kind = update["sessionUpdate"].take();
    match kind.as_str() {
        Some("agent_message_chunk") => {
            Update::Text { kind: TextKind::Answer, text: text(&update["content"]) }
        }
        Some("agent_thought_chunk") => {
            Update::Text { kind: TextKind::Thought, text: text(&update["content"]) }
        }
        Some("tool_call" | "tool_call_update") => Update::ToolCall(update),
        Some("plan") => Update::Plan { entries: plan(&update["entries"]) },
        Some("usage_update") => {
            if let Value::Object(fields) = &mut update {
                fields.remove("sessionUpdate");
            }
            Update::Usage(update)
        }
        _ => Update::Other,
    }
}

fn text(content: &Value) -> String {
    match content["type"].as_str() {
        Some("text") => content["text"].as_str().unwrap_or_default().to_string(),
        Some("resource_link") => content["uri"].as_str().unwrap_or_default().to_string(),
        Some(other) => format!("[{other}]"),
        None => String::new(),
    }
}

fn plan(entries: &Value) -> Vec<PlanEntry> {
    let entries = entries.as_array().map(Vec::as_slice).unwrap_or_default();
    let word = |entry: &Value, name: &str, missing: &str| {
        entry[name].as_str().unwrap_or(missing).to_string()
    };
    entries
        .iter()
        .map(|entry| PlanEntry {
            content: word(entry, "content", ""),
            priority: word(entry, "priority", "medium"),
            status: word(entry, "status", "pending"),
        })
        .collect()
}

/// The options of a permission request.
pub(crate) fn options(parameters: &Value) -> Vec<PermissionOption> {
    let options = parameters["options"].as_array().map(Vec::as_slice).unwrap_or_default();
    options
        .iter()
        .filter_map(|option| {
            Some(PermissionOption {
                id: option["optionId"].as_str()?.to_string(),
                name: option["name"].as_str().unwrap_or_default().to_string(),
                kind: option["kind"].as_str().unwrap_or_default().to_string(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Incoming, Update, parse, update};

    #[test]
    fn what_is_no_json_rpc_is_told_apart_from_what_is_unknown() {
        assert_eq!(parse("Debugger attached."), None);
        assert_eq!(parse("[1, 2]"), None);
        assert_eq!(parse("{}"), Some(Incoming::Ignored));
        assert_eq!(parse(r#"{"id":"ours?","result":1}"#), Some(Incoming::Ignored));
        assert_eq!(update(json!({ "update": { "sessionUpdate": "news" } })), Update::Other);
        assert_eq!(update(json!(null)), Update::Other);
    }

    #[test]
    fn an_error_says_its_message_and_its_details() {
        let line = r#"{"id":3,"error":{"code":-32603,"message":"Internal error",
            "data":{"details":"no credit left"}}}"#;
        let result = Err("Internal error: no credit left".to_string());
        assert_eq!(parse(line), Some(Incoming::Answer { id: 3, result }));
    }
}
