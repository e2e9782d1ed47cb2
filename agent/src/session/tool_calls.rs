//! Tool calls as coding agents tell them: in pieces, merged by id, with bounds on everything.

use domain::{
    agent_protocol::{ToolCall, ToolCallDetail, ToolCallStatus},
    ids::SessionId,
};
use serde_json::{Value, json};

/// Most tool calls that are remembered for merging; the oldest that has ended is forgotten first.
const REMEMBERED_MAX: usize = 8;
/// Most content of one call, as JSON.
const CONTENT_BYTES_MAX: usize = 256 * 1024;
/// Most input or output of one call, as JSON.
const VALUE_BYTES_MAX: usize = 64 * 1024;
const TITLE_CHARACTERS_MAX: usize = 500;
const LOCATIONS_MAX: usize = 100;

/// A call after a change.
pub(crate) struct Merged {
    pub(crate) call: ToolCall,
    pub(crate) is_new: bool,
    pub(crate) is_status_new: bool,
}

/// Merges what is told about a call into what is known; none if it does not say which call.
pub(crate) fn merge(
    known: &mut Vec<ToolCall>,
    (session, epoch): (SessionId, u32),
    told: &Value,
) -> Option<Merged> {
    let id = told["toolCallId"].as_str()?;
    let place = known.iter().position(|call| call.call == id);
    let is_new = place.is_none();
    let place = place.unwrap_or_else(|| {
        forget(known);
        known.push(ToolCall {
            session,
            epoch,
            call: id.to_string(),
            status: ToolCallStatus::Pending,
            kind: "other".to_string(),
            detail: ToolCallDetail::default(),
        });
        known.len() - 1
    });
    let call = &mut known[place];
    let before = call.status;
    change(call, told);
    Some(Merged { is_new, is_status_new: call.status != before, call: call.clone() })
}

fn change(call: &mut ToolCall, told: &Value) {
    if let Some(status) = told["status"].as_str() {
        call.status = match status {
            "in_progress" => ToolCallStatus::InProgress,
            "completed" => ToolCallStatus::Completed,
            "failed" => ToolCallStatus::Failed,
            _ => ToolCallStatus::Pending,
        };
    }
    if let Some(kind) = told["kind"].as_str() {
        call.kind = kind.to_string();
    }
    let detail = &mut call.detail;
    if let Some(title) = told["title"].as_str() {
        detail.title = title.chars().take(TITLE_CHARACTERS_MAX).collect();
    }
    if let Some(locations) = told["locations"].as_array() {
        detail.locations = locations.iter().take(LOCATIONS_MAX).filter_map(location).collect();
    }
    if let Some(content) = told["content"].as_array() {
        detail.content = bounded_content(content);
    }
    if !told["rawInput"].is_null() {
        detail.input = Some(bounded(&told["rawInput"]));
    }
    if !told["rawOutput"].is_null() {
        detail.output = Some(bounded(&told["rawOutput"]));
    }
}

fn location(location: &Value) -> Option<String> {
    let path = location["path"].as_str()?;
    Some(match location["line"].as_u64() {
        Some(line) => format!("{path}:{line}"),
        None => path.to_string(),
    })
}

fn bounded_content(content: &[Value]) -> Vec<Value> {
    let mut room = CONTENT_BYTES_MAX;
    let mut kept = Vec::new();
    for block in content {
        let n_bytes = block.to_string().len();
        if n_bytes > room {
            let text = format!("[{n_bytes} bytes are left out here]");
            kept.push(json!({ "type": "content", "content": { "type": "text", "text": text } }));
            break;
        }
        room -= n_bytes;
        kept.push(block.clone());
    }
    kept
}

fn bounded(value: &Value) -> Value {
    let text = value.to_string();
    if text.len() <= VALUE_BYTES_MAX {
        return value.clone();
    }
    let end = text.floor_char_boundary(VALUE_BYTES_MAX);
    Value::String(format!("{} […]", &text[..end]))
}

fn forget(known: &mut Vec<ToolCall>) {
    if known.len() < REMEMBERED_MAX {
        return;
    }
    let is_over =
        |call: &ToolCall| matches!(call.status, ToolCallStatus::Completed | ToolCallStatus::Failed);
    let oldest = known.iter().position(is_over).unwrap_or(0);
    known.remove(oldest);
}
