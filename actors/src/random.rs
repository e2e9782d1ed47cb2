//! The one place of this crate that asks the system for randomness: nonces, keys, tokens, ids.

use uuid::Uuid;

/// Bytes that nobody can guess.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness there is no safe way to go on, and no way to ask anybody.
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    bytes
}

/// A random id.
#[must_use]
pub fn uuid() -> Uuid {
    uuid::Builder::from_random_bytes(bytes()).into_uuid()
}

/// A token of 256 bits, in hex: safe in headers, cookies and addresses.
#[must_use]
pub fn token() -> String {
    hex(&bytes::<32>())
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]];
    bytes.iter().flat_map(digits).collect()
}
