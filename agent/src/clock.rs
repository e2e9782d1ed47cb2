//! What time it is, and what is random: the agent's only sources of both.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The time of the wall clock: for people and for tokens, never for order.
#[expect(clippy::disallowed_methods, reason = "the agent's one clock")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A fresh random id.
///
/// # Panics
/// When the kernel has no randomness to give, which it does not recover from.
pub fn random_id() -> Uuid {
    uuid::Builder::from_random_bytes(random_bytes()).into_uuid()
}

/// Unpredictable bytes, good enough for tokens.
///
/// # Panics
/// When the kernel has no randomness to give, which it does not recover from.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel gives randomness");
    bytes
}

/// Unpredictable bytes as lower-case hexadecimal text, for tokens in URLs.
pub fn random_token() -> String {
    hex(&random_bytes::<32>())
}

/// Lower-case hexadecimal text.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
