//! The erasure ledger outside the database: a file that only grows, one JSON document a line.
//!
//! A backup that is restored does not bring back an older one of it: that is its whole purpose. Keep it in
//! the data directory when restoring, and keep a copy elsewhere, as of the master key. Each server of a database
//! has one of its own.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use projections::erasure_ledger::{ErasureLine, SignedErasure};

use crate::erasure::ErasureError;

/// The name of the file in the data directory.
const FILE: &str = "erasures.ndjson";

/// The file by its name. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerFile {
    path: PathBuf,
}

impl LedgerFile {
    /// The ledger of a data directory.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self { path: data_dir.join(FILE) }
    }

    /// A copy of it, wherever it is kept.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All entries, in the order in which they were written; none where there is no file. A last line that
    /// was cut off by a crash is left out: nothing was destroyed because of it yet.
    pub fn read(&self) -> Result<Vec<SignedErasure>, ErasureError> {
        let text = match std::fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.map_err(|error| self.failed(error))?,
        };
        let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        // Empty, or cut off.
        lines.pop();
        let parse = |(line, text): (u64, &[u8])| {
            let entry = serde_json::from_slice::<ErasureLine>(text).ok();
            let path = self.path.display().to_string();
            entry.and_then(|entry| entry.read()).ok_or(ErasureError::Malformed { path, line })
        };
        (1..).zip(lines).map(parse).collect()
    }

    /// Writes entries behind what is there, on disk when it returns.
    pub(crate) async fn append(&self, entries: Vec<SignedErasure>) -> Result<(), ErasureError> {
        if entries.is_empty() {
            return Ok(());
        }
        let file = self.clone();
        let write = move || file.append_now(&entries).map_err(|error| file.failed(error));
        match tokio::task::spawn_blocking(write).await {
            Ok(written) => written,
            Err(error) => Err(self.failed(std::io::Error::other(error))),
        }
    }

    fn append_now(&self, entries: &[SignedErasure]) -> std::io::Result<()> {
        let mut text = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut text, &ErasureLine::from(entry))?;
            text.push(b'\n');
        }
        let is_new = !self.path.exists();
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        let mut before = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut before)?;
        let whole = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1);
        if whole < before.len() {
            file.set_len(u64::try_from(whole).unwrap_or_default())?;
        }
        file.write_all(&text)?;
        file.sync_all()?;
        if is_new && let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> ErasureError {
        ErasureError::File { path: self.path.display().to_string(), source }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use projections::erasure_ledger::{NO_HASH, PROJECT, SignedErasure};
    use uuid::Uuid;

    use super::LedgerFile;
    use crate::random;

    fn entry(number: u64) -> SignedErasure {
        SignedErasure {
            installation: Uuid::from_u128(1),
            number,
            kind: PROJECT.to_owned(),
            subject: Uuid::from_u128(number.into()),
            position: 7,
            previous: NO_HASH,
            at: DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
            signature: [3; 64],
        }
    }

    #[test]
    fn a_line_that_was_cut_off_is_left_out_and_then_written_over() {
        let folder = std::env::temp_dir().join(format!("sam-ledger-{}", random::uuid()));
        std::fs::create_dir(&folder).unwrap();
        let file = LedgerFile::of(&folder);
        assert_eq!(file.read().unwrap(), vec![]);
        file.append_now(&[entry(1), entry(2)]).unwrap();
        let whole = std::fs::read(file.path()).unwrap();
        std::fs::write(file.path(), &whole[..whole.len() - 20]).unwrap();
        assert_eq!(file.read().unwrap(), vec![entry(1)]);
        file.append_now(&[entry(2), entry(3)]).unwrap();
        assert_eq!(file.read().unwrap(), vec![entry(1), entry(2), entry(3)]);
        std::fs::write(file.path(), "{\"number\":1}\n").unwrap();
        assert!(file.read().is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
