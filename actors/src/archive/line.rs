//! The lines of an export.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use projections::{
    erasure_ledger::ErasureLine,
    event_log::{Position, RawEvent, StoredContent},
    hex,
    keys::WrappedKey,
    signed_heads::HeadLine,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The version of the format.
pub(super) const VERSION: u32 = 1;

/// One line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Line {
    Export(Header),
    Event(EventLine),
    Key(KeyLine),
    Head(HeadLine),
    Erasure(ErasureLine),
    End(Trailer),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) installation: Uuid,
    pub(super) epoch: u64,
    /// Texts are also there as they are.
    pub(super) has_texts: bool,
}

/// What an export ends with, so that one that was cut off is recognised.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trailer {
    pub(super) n_events: u64,
    /// The running hash over all events.
    pub(super) hash: String,
    /// SHA-256 of all bytes before this line.
    pub(super) sha256: String,
}

/// An event with the texts it refers to. Payload and metadata are texts, byte for byte as stored.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventLine {
    pub(super) position: Position,
    kind: String,
    stream: String,
    sequence: u64,
    #[serde(rename = "type")]
    event_type: String,
    version: String,
    payload: String,
    metadata: String,
    command: Uuid,
    ordinal: u64,
    hash: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) contents: Vec<ContentLine>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct ContentLine {
    pub(super) id: Uuid,
    project: Uuid,
    nonce: String,
    ciphertext: String,
    /// For people; what is imported is the ciphertext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
}

/// A key that only the master key opens.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyLine {
    id: Uuid,
    purpose: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wrapped_by: Option<Uuid>,
    nonce: String,
    wrapped: String,
    created_at: DateTime<Utc>,
}

impl From<RawEvent> for EventLine {
    fn from(event: RawEvent) -> Self {
        Self {
            position: event.position,
            kind: event.kind,
            stream: event.id,
            sequence: event.sequence,
            event_type: event.event_type,
            version: event.event_version,
            payload: event.payload,
            metadata: event.metadata,
            command: event.command,
            ordinal: event.ordinal,
            hash: hex::encode(&event.hash),
            contents: Vec::new(),
        }
    }
}

impl EventLine {
    /// The row and its texts; None where a hash or a ciphertext is none.
    pub(super) fn read(self) -> Option<(RawEvent, Vec<StoredContent>)> {
        let event = RawEvent {
            position: self.position,
            kind: self.kind,
            id: self.stream,
            sequence: self.sequence,
            event_type: self.event_type,
            event_version: self.version,
            payload: self.payload,
            metadata: self.metadata,
            command: self.command,
            ordinal: self.ordinal,
            hash: hex::decode(&self.hash)?,
        };
        let contents = self.contents.iter().map(ContentLine::read).collect::<Option<_>>()?;
        Some((event, contents))
    }
}

impl From<&StoredContent> for ContentLine {
    fn from(content: &StoredContent) -> Self {
        Self {
            id: content.id,
            project: content.project,
            nonce: hex::encode(&content.nonce),
            ciphertext: STANDARD.encode(&content.ciphertext),
            text: None,
        }
    }
}

impl ContentLine {
    pub(super) fn project(&self) -> Uuid {
        self.project
    }

    /// Its text was erased.
    pub(super) fn is_tombstone(&self) -> bool {
        self.ciphertext.is_empty()
    }

    fn read(&self) -> Option<StoredContent> {
        Some(StoredContent {
            id: self.id,
            project: self.project,
            nonce: hex::decode_any(&self.nonce)?,
            ciphertext: STANDARD.decode(&self.ciphertext).ok()?,
        })
    }
}

impl From<&WrappedKey> for KeyLine {
    fn from(key: &WrappedKey) -> Self {
        Self {
            id: key.id,
            purpose: key.purpose.clone(),
            scope: key.scope,
            wrapped_by: key.wrapped_by,
            nonce: hex::encode(&key.nonce),
            wrapped: hex::encode(&key.wrapped),
            created_at: key.created_at,
        }
    }
}

impl KeyLine {
    pub(super) fn read(&self) -> Option<WrappedKey> {
        Some(WrappedKey {
            id: self.id,
            purpose: self.purpose.clone(),
            scope: self.scope,
            wrapped_by: self.wrapped_by,
            nonce: hex::decode_any(&self.nonce)?,
            wrapped: hex::decode_any(&self.wrapped)?,
            created_at: self.created_at,
        })
    }
}

/// The texts that a payload refers to: objects with an id, a length and a digest, at any depth.
pub(crate) fn contents_of(payload: &str) -> Vec<Uuid> {
    fn collect(value: &serde_json::Value, found: &mut Vec<Uuid>) {
        match value {
            serde_json::Value::Object(fields) => {
                if fields.contains_key("digest")
                    && fields.contains_key("length")
                    && let Some(id) = fields.get("id").and_then(|id| id.as_str()?.parse().ok())
                {
                    found.push(id);
                }
                fields.values().for_each(|value| collect(value, found));
            }
            serde_json::Value::Array(values) => {
                values.iter().for_each(|value| collect(value, found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    // Most payloads refer to none, and are not parsed.
    if payload.contains("\"digest\"")
        && let Ok(value) = serde_json::from_str(payload)
    {
        collect(&value, &mut found);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::contents_of;

    #[test]
    fn texts_are_found_wherever_a_payload_refers_to_them() {
        let id = "00000000-0000-0000-0000-000000000007";
        let content = format!(r#"{{"id":"{id}","length":5,"digest":"ab"}}"#);
        let payload =
            format!(r#"{{"request":{{"prompt":{content}}},"more":[{content},{{"id":"{id}"}}]}}"#);
        let found: Vec<String> = contents_of(&payload).iter().map(ToString::to_string).collect();
        assert_eq!(found, [id, id]);
        assert!(contents_of("{").is_empty());
    }
}
