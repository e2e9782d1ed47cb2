//! `begin` is the container's own stdio at the beginning of its life: a set-up, and then an `attach`.
//!
//! Running a program in a container takes an engine longer than the clone of a small repository, so whoever
//! makes the container can say what is to be set up as soon as it runs. The wish is one line; the bundle
//! follows in pieces, each after its length in four bytes, the highest first, and ends with a length of
//! zero. The answer is the line that `setup` prints, or an empty one: then `setup` is to be run, which
//! tells why. After that both directions belong to `attach`.

use std::io::{self, BufRead, Read, Write};

use crate::{attach, repository};

/// Longest wish.
const WISH_BYTES_MAX: u64 = 64 * 1024;

/// Ends when either side does; at once if nobody is there, as after a restart of the container.
pub(crate) async fn begin() -> io::Result<()> {
    let mut wish = String::new();
    {
        let mut stdin = io::stdin().lock();
        (&mut stdin).take(WISH_BYTES_MAX).read_line(&mut wish)?;
        if !wish.ends_with('\n') {
            return Ok(());
        }
        let mut bundle = Pieces { from: &mut stdin, left: 0, is_over: false };
        let is_set_up = repository::set_up(wish.trim_end(), &mut bundle);
        // What is left of the bundle must not be taken for requests.
        io::copy(&mut bundle, &mut io::sink())?;
        if is_set_up.is_err() {
            let mut stdout = io::stdout().lock();
            stdout.write_all(b"\n")?;
            stdout.flush()?;
        }
    }
    attach::attach().await
}

/// Reads the pieces of a bundle as one.
struct Pieces<'a, R> {
    from: &'a mut R,
    /// Of the piece that was begun.
    left: usize,
    is_over: bool,
}

impl<R: Read> Read for Pieces<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.is_over {
            let mut length = [0; 4];
            self.from.read_exact(&mut length)?;
            self.left = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
            self.is_over = self.left == 0;
        }
        let n_max = buffer.len().min(self.left);
        if n_max == 0 {
            return Ok(0);
        }
        let n = self.from.read(&mut buffer[..n_max])?;
        if n == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        self.left -= n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::Pieces;

    #[test]
    fn a_bundle_ends_with_an_empty_piece_and_what_follows_is_left() {
        let mut from: &[u8] = b"\0\0\0\x03abc\0\0\0\x02de\0\0\0\0rest";
        let mut whole = String::new();
        let mut pieces = Pieces { from: &mut from, left: 0, is_over: false };
        pieces.read_to_string(&mut whole).unwrap();
        assert_eq!((whole.as_str(), from), ("abcde", b"rest".as_slice()));
    }

    #[test]
    fn a_bundle_that_is_cut_off_is_an_error() {
        for mut from in [b"\0\0\0\x03ab".as_slice(), b"\0\0\0\x01a\0\0"] {
            let mut pieces = Pieces { from: &mut from, left: 0, is_over: false };
            assert!(pieces.read_to_end(&mut Vec::new()).is_err());
        }
    }
}
