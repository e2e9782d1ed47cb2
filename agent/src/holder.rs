//! The holder that goes into every container, carried inside our own binary.

/// A static executable for the machine's own architecture: see `build.rs`.
pub const BINARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sam-holder"));

#[cfg(test)]
mod tests {
    use super::BINARY;

    #[test]
    fn the_holder_needs_no_interpreter_and_so_runs_in_any_image() {
        assert!(BINARY.starts_with(b"\x7fELF"));
        let word = |at: usize| u16::from_le_bytes([BINARY[at], BINARY[at + 1]]);
        let headers = u64::from_le_bytes(BINARY[32..40].try_into().unwrap());
        let headers = usize::try_from(headers).unwrap();
        let (size, n) = (usize::from(word(54)), usize::from(word(56)));
        const INTERPRETER: u16 = 3;
        for number in 0..n {
            assert_ne!(word(headers + number * size), INTERPRETER, "it is linked dynamically");
        }
    }
}
