//! The heads outside the database: a file that only grows, one JSON document a line.
//!
//! Copy it, or have it written, to where whoever can change the database cannot reach it: then a log that
//! was cut back together with its heads is found too.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use projections::signed_heads::{HeadLine, SignedHead};

use crate::signed_heads::HeadsError;

/// A line has some 450 bytes; the last one is looked for in this much of the end.
const TAIL_BYTES: u64 = 64 * 1024;

/// The file by its name. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadsFile {
    path: PathBuf,
}

impl HeadsFile {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All heads, in the order in which they were written; none where there is no file. A last line
    /// that was cut off by a crash is left out.
    pub fn read(&self) -> Result<Vec<SignedHead>, HeadsError> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.map_err(|error| self.failed(error))?,
        };
        let (mut reader, mut heads, mut line) = (BufReader::new(file), Vec::new(), Vec::new());
        for number in 1.. {
            line.clear();
            reader.read_until(b'\n', &mut line).map_err(|error| self.failed(error))?;
            if line.pop() != Some(b'\n') {
                break;
            }
            heads.push(self.parse(&line, number)?);
        }
        Ok(heads)
    }

    /// The last complete line.
    pub fn newest(&self) -> Result<Option<SignedHead>, HeadsError> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| self.failed(error))?,
        };
        let tail = (|| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut tail = Vec::new();
            file.read_to_end(&mut tail)?;
            Ok(tail)
        })();
        let tail = tail.map_err(|error| self.failed(error))?;
        let mut lines = tail.split(|byte| *byte == b'\n').rev();
        // What comes behind the last line break is empty, or was cut off by a crash.
        lines.next();
        lines.next().map(|line| self.parse(line, 0)).transpose()
    }

    /// Writes heads behind what is there, on disk when it returns.
    pub(crate) async fn append(&self, heads: Vec<SignedHead>) -> Result<(), HeadsError> {
        let file = self.clone();
        let write = move || file.append_now(&heads);
        match tokio::task::spawn_blocking(write).await {
            Ok(written) => written,
            Err(error) => Err(self.failed(std::io::Error::other(error))),
        }
    }

    /// The same on this very thread.
    pub fn append_now(&self, heads: &[SignedHead]) -> Result<(), HeadsError> {
        let mut text = Vec::new();
        for head in heads {
            serde_json::to_writer(&mut text, &HeadLine::from(head))
                .map_err(|error| self.failed(error.into()))?;
            text.push(b'\n');
        }
        self.write(&text).map_err(|error| self.failed(error))
    }

    fn write(&self, text: &[u8]) -> std::io::Result<()> {
        let is_new = !self.path.exists();
        let options = OpenOptions::new().read(true).append(true).create(true).open(&self.path);
        let mut file = options?;
        let whole = whole_lines(&mut file)?;
        if whole < file.metadata()?.len() {
            file.set_len(whole)?;
        }
        file.write_all(text)?;
        file.sync_data()?;
        if is_new && let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    fn parse(&self, line: &[u8], number: u64) -> Result<SignedHead, HeadsError> {
        let head = serde_json::from_slice::<HeadLine>(line).ok().and_then(|line| line.read());
        let path = self.path.display().to_string();
        head.ok_or(HeadsError::Malformed { path, line: number })
    }

    fn failed(&self, source: std::io::Error) -> HeadsError {
        HeadsError::File { path: self.path.display().to_string(), source }
    }
}

/// How many bytes of the file are whole lines: the rest was cut off by a crash.
fn whole_lines(file: &mut File) -> std::io::Result<u64> {
    let length = file.metadata()?.len();
    let start = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |index| index + 1);
    Ok(start + u64::try_from(whole).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use projections::signed_heads::{NO_HASH, SignedHead};
    use uuid::Uuid;

    use super::HeadsFile;
    use crate::{random, signed_heads::signed, signing::SigningKey};

    fn head(position: u64) -> SignedHead {
        let head = SignedHead {
            installation: Uuid::from_u128(1),
            epoch: 1,
            position,
            hash: [3; 32],
            previous: NO_HASH,
            at: DateTime::from_timestamp_nanos(1_700_000_000_123_456_789),
            signature: [0; 64],
        };
        signed(&SigningKey::from_seed(&[7; 32]), head)
    }

    #[test]
    fn a_line_that_was_cut_off_is_left_out_and_then_written_over() {
        let path = std::env::temp_dir().join(format!("sam-heads-{}.ndjson", random::uuid()));
        let file = HeadsFile::new(path.clone());
        assert_eq!((file.read().unwrap(), file.newest().unwrap()), (vec![], None));
        file.append_now(&[head(1), head(2)]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 20]).unwrap();
        assert_eq!(file.newest().unwrap(), Some(head(1)));
        assert_eq!(file.read().unwrap(), vec![head(1)]);
        file.append_now(&[head(2), head(3)]).unwrap();
        assert_eq!(file.read().unwrap(), vec![head(1), head(2), head(3)]);
        assert_eq!(file.newest().unwrap(), Some(head(3)));
        std::fs::write(&path, "{\"position\":1}\n").unwrap();
        assert!(file.newest().is_err() && file.read().is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
