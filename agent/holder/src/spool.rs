//! What a program wrote, kept until the agent has recorded it.
//!
//! A coding agent's output goes to a file and is never lost; a terminal's goes to a ring, since only
//! the newest screenfuls are worth repainting. Offsets count from the first byte ever written, and
//! stay valid when the beginning is released or overwritten.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::fs::{FallocateFlags, fallocate};
use tokio::sync::watch;

/// Space is given back in steps of this size, so that a release costs nothing most of the time.
const RELEASE_STEP_BYTES: u64 = 1024 * 1024;

/// The output of one program.
pub(crate) struct Spool {
    store: Mutex<Store>,
    length: watch::Sender<u64>,
}

enum Store {
    File { file: File, released: u64, reclaimed: u64 },
    Ring { bytes: VecDeque<u8>, capacity: usize },
}

impl Spool {
    /// Opens the file, which may have content from an earlier life of the holder.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let length = file.metadata()?.len();
        let store = Store::File { file, released: 0, reclaimed: 0 };
        Ok(Self { store: Mutex::new(store), length: watch::Sender::new(length) })
    }

    pub(crate) fn ring(capacity: usize) -> Self {
        let store = Store::Ring { bytes: VecDeque::with_capacity(capacity), capacity };
        Self { store: Mutex::new(store), length: watch::Sender::new(0) }
    }

    /// How much was ever written; changes wake those who follow.
    pub(crate) fn length(&self) -> watch::Receiver<u64> {
        self.length.subscribe()
    }

    /// Appends, and tells how much is held that nobody has released.
    pub(crate) fn append(&self, new: &[u8]) -> io::Result<u64> {
        let before = *self.length.borrow();
        let after = before + new.len() as u64;
        let held = match &mut *self.lock() {
            Store::File { file, released, .. } => {
                file.write_all_at(new, before)?;
                after - *released
            }
            Store::Ring { bytes, capacity } => {
                bytes.extend(new);
                let excess = bytes.len().saturating_sub(*capacity);
                bytes.drain(..excess);
                0
            }
        };
        self.length.send_replace(after);
        Ok(held)
    }

    /// Reads at most `n_max` bytes from `offset` on, or from the oldest that is kept. Tells where
    /// the bytes really begin.
    pub(crate) fn read(&self, offset: u64, n_max: usize) -> io::Result<(u64, Vec<u8>)> {
        let length = *self.length.borrow();
        let offset = offset.min(length);
        match &*self.lock() {
            Store::File { file, .. } => {
                let n = n_max.min(usize::try_from(length - offset).unwrap_or(usize::MAX));
                let mut bytes = vec![0; n];
                file.read_exact_at(&mut bytes, offset)?;
                Ok((offset, bytes))
            }
            Store::Ring { bytes, .. } => {
                let oldest = length - bytes.len() as u64;
                let offset = offset.max(oldest);
                let skipped = usize::try_from(offset - oldest).unwrap_or(usize::MAX);
                Ok((offset, bytes.iter().skip(skipped).take(n_max).copied().collect()))
            }
        }
    }

    /// Nobody will read before `offset` again.
    pub(crate) fn release(&self, offset: u64) {
        let length = *self.length.borrow();
        let Store::File { file, released, reclaimed } = &mut *self.lock() else { return };
        *released = (*released).max(offset.min(length));
        if *released - *reclaimed >= RELEASE_STEP_BYTES {
            let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A file system without holes keeps the bytes; that costs space and nothing else.
            let _ = fallocate(file, mode, *reclaimed, *released - *reclaimed);
            *reclaimed = *released;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of `bytes` can be told as text now: not the beginning of a character whose rest may
/// still come.
pub(crate) fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    for at in (tail..bytes.len()).rev() {
        let expected = match bytes[at] {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            0x80..=0xBF => continue,
            _ => return bytes.len(),
        };
        return if bytes.len() - at < expected { at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::{Spool, whole_characters};

    #[test]
    fn a_character_is_never_cut_in_two() {
        let text = "aä€😀z";
        for end in 0..=text.len() {
            let n = whole_characters(&text.as_bytes()[..end]);
            assert!(text.is_char_boundary(n), "cut at {n} of {end}");
            assert!(end - n < 4);
        }
    }

    #[test]
    fn a_ring_keeps_the_newest_and_says_where_it_begins() {
        let ring = Spool::ring(4);
        ring.append(b"abcdef").unwrap();
        assert_eq!(ring.read(0, 100).unwrap(), (2, b"cdef".to_vec()));
        assert_eq!(ring.read(5, 100).unwrap(), (5, b"f".to_vec()));
        assert_eq!(ring.read(6, 100).unwrap(), (6, Vec::new()));
    }
}
