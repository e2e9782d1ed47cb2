//! Bytes as lower-case hexadecimal digits, and back: how hashes are written down outside the database.

/// Writes bytes down.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let digits =
        |byte: &u8| [byte >> 4, byte & 0xf].map(|digit| char::from(DIGITS[usize::from(digit)]));
    bytes.iter().flat_map(digits).collect()
}

/// Reads digits; None where they are not exactly `N` bytes.
#[must_use]
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode_any(text)?.try_into().ok()
}

/// Reads any number of bytes; None where something is no digit, or one is left over.
#[must_use]
pub fn decode_any(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().map(value).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn value(digit: u8) -> Option<u8> {
    let found = DIGITS.iter().position(|known| *known == digit)?;
    u8::try_from(found).ok()
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn bytes_are_read_as_they_were_written() {
        assert_eq!(encode(&[0, 0x1f, 0xa0]), "001fa0");
        assert_eq!(decode("001fa0"), Some([0, 0x1f, 0xa0]));
        assert_eq!(decode::<3>("001fa"), None);
        assert_eq!(decode::<3>("001fag"), None);
        assert_eq!(decode::<2>("001fa0"), None);
    }
}
