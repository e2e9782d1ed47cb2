//! The hash chain of a stream: whoever changes a recorded event breaks every later hash.

use sha2::{Digest, Sha256};

use crate::event_log::StreamId;

/// A SHA-256.
pub type Hash = [u8; 32];

/// What the first event of a stream is chained to.
pub const FIRST_HASH: Hash = [0; 32];

/// Everything of an event that its hash covers.
#[derive(Clone, Copy, Debug)]
pub struct ChainLink<'a> {
    pub stream: &'a StreamId,
    pub sequence: u64,
    pub event_type: &'a str,
    pub event_version: &'a str,
    /// The metadata as stored, byte for byte.
    pub metadata: &'a str,
    /// The payload as stored, byte for byte: upcasting never touches it.
    pub payload: &'a str,
}

/// SHA-256(previous ‖ type ‖ id ‖ sequence ‖ event type ‖ event version ‖ metadata ‖ payload).
///
/// Each text is preceded by its length as eight bytes, big end first, so that moving a letter from
/// one field to the next gives another hash. The id is its hyphenated text, the sequence eight bytes.
#[must_use]
pub fn chain(previous: &Hash, link: ChainLink<'_>) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(previous);
    let id = link.stream.id.to_string();
    let mut add = |field: &[u8]| {
        hasher.update((field.len() as u64).to_be_bytes());
        hasher.update(field);
    };
    add(link.stream.kind.as_bytes());
    add(id.as_bytes());
    add(&link.sequence.to_be_bytes());
    add(link.event_type.as_bytes());
    add(link.event_version.as_bytes());
    add(link.metadata.as_bytes());
    add(link.payload.as_bytes());
    hasher.finalize().into()
}
