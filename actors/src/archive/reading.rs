//! Reads an export, line by line.

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use projections::{
    erasure_ledger::SignedErasure,
    event_log::{Hash, Position, RawEvent, StoredContent},
    hex,
    keys::WrappedKey,
    signed_heads::SignedHead,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    archive::{
        ArchiveError, failed,
        line::{Header, Line, VERSION, contents_of},
    },
    audit::{
        Report, Trusted,
        texts::{Beside, Texts},
        verifier::{Evidence, Verifier},
    },
};

/// No line of ours is longer: an append has at most 4 MiB, and hex and JSON make it larger.
const LINE_BYTES_MAX: usize = 64 << 20;

/// What an export has beside its events.
#[derive(Clone, Debug)]
pub struct Contained {
    pub installation: Uuid,
    pub epoch: u64,
    pub n_events: u64,
    /// The running hash over all events.
    pub hash: Hash,
    pub heads: Vec<SignedHead>,
    pub keys: Vec<WrappedKey>,
    pub erasures: Vec<SignedErasure>,
}

/// The lines of an export with what was read so far.
pub(super) struct Lines {
    reader: BufReader<File>,
    hasher: Sha256,
    /// Bytes up to the end of the line that was read last.
    pub(super) n_bytes: u64,
    path: String,
    line: Vec<u8>,
    n_lines: u64,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(|error| failed(path, error))?;
        Ok(Self {
            reader: BufReader::with_capacity(1 << 20, file),
            hasher: Sha256::new(),
            n_bytes: 0,
            path: path.display().to_string(),
            line: Vec::new(),
            n_lines: 0,
        })
    }

    /// The next whole line; None at the end, or where a line was cut off.
    pub(super) fn next(&mut self) -> Result<Option<Line>, ArchiveError> {
        self.hasher.update(&self.line);
        self.line.clear();
        let mut limited = std::io::Read::take(&mut self.reader, LINE_BYTES_MAX as u64);
        let read = limited.read_until(b'\n', &mut self.line);
        read.map_err(|error| failed(Path::new(&self.path), error))?;
        if self.line.last() != Some(&b'\n') {
            self.line.clear();
            return Ok(None);
        }
        self.n_bytes += self.line.len() as u64;
        self.n_lines += 1;
        let line = serde_json::from_slice(&self.line);
        line.map(Some).map_err(|error| {
            ArchiveError::Refused(format!(
                "{}, line {}: this is no line of an export ({error})",
                self.path, self.n_lines
            ))
        })
    }

    /// The SHA-256 of all lines before the one that was read last.
    pub(super) fn hash_before(&self) -> Sha256 {
        self.hasher.clone()
    }

    pub(super) fn header(&mut self) -> Result<Header, ArchiveError> {
        match self.next()? {
            Some(Line::Export(header)) if header.version == VERSION => Ok(header),
            Some(Line::Export(header)) => Err(ArchiveError::Refused(format!(
                "{} has version {} of the format, and this SAM knows {VERSION}: take a newer one",
                self.path, header.version
            ))),
            _ => Err(ArchiveError::Refused(format!("{} is no export of a log", self.path))),
        }
    }

    pub(super) fn damaged(&self) -> ArchiveError {
        ArchiveError::Refused(format!(
            "{}, line {}: it was changed after it was written",
            self.path, self.n_lines
        ))
    }
}

/// Reads an export to its end, gives each event to `visit`, and refuses one that was cut off or changed.
///
/// Whether the events are what was recorded is another question: see [`verify`].
pub fn read(
    path: &Path,
    mut visit: impl FnMut(RawEvent, Vec<StoredContent>),
) -> Result<Contained, ArchiveError> {
    let mut lines = Lines::open(path)?;
    let header = lines.header()?;
    let (mut position, mut n_events) = (0, 0);
    let (mut heads, mut keys, mut erasures) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let Some(line) = lines.next()? else {
            let path = path.display().to_string();
            return Err(ArchiveError::Truncated { path, position });
        };
        match line {
            Line::Export(_) => return Err(lines.damaged()),
            Line::Event(line) => {
                let (event, contents) = line.read().ok_or_else(|| lines.damaged())?;
                position = event.position;
                n_events += 1;
                visit(event, contents);
            }
            Line::Key(line) => keys.push(line.read().ok_or_else(|| lines.damaged())?),
            Line::Head(line) => heads.push(line.read().ok_or_else(|| lines.damaged())?),
            Line::Erasure(line) => erasures.push(line.read().ok_or_else(|| lines.damaged())?),
            Line::End(trailer) => {
                let sha256 = hex::encode(&lines.hash_before().finalize());
                if trailer.sha256 != sha256 || trailer.n_events != n_events {
                    return Err(lines.damaged());
                }
                let hash = hex::decode(&trailer.hash).ok_or_else(|| lines.damaged())?;
                let Header { installation, epoch, .. } = header;
                return Ok(Contained {
                    installation,
                    epoch,
                    n_events,
                    hash,
                    heads,
                    keys,
                    erasures,
                });
            }
        }
    }
}

/// Checks the events of an export, and its heads and erasures if the key is known.
///
/// A file that was changed is still read to its end, so that the report can say what was changed.
pub fn verify(path: &Path, mut trusted: Trusted) -> Result<Report, ArchiveError> {
    let Tail { heads, erasures, keys } = tail_of(path)?;
    let mut texts = Texts::new(trusted.key, std::mem::take(&mut trusted.erasures));
    let mut verifier = Verifier::new(Evidence { trusted, heads });
    let mut lines = Lines::open(path)?;
    lines.header()?;
    let mut position: Position = 0;
    let n_events = loop {
        match lines.next()? {
            Some(Line::Event(line)) => {
                let kept: HashMap<Uuid, (Uuid, bool)> = line
                    .contents
                    .iter()
                    .map(|content| (content.id, (content.project(), content.is_tombstone())))
                    .collect();
                let (event, _) = line.read().ok_or_else(|| lines.damaged())?;
                position = event.position;
                verifier.event(&event);
                texts.event(&event);
                for id in contents_of(&event.payload) {
                    match kept.get(&id) {
                        Some((project, is_tombstone)) => texts.row(*project, *is_tombstone),
                        None => texts.missing(position, id),
                    }
                }
            }
            Some(Line::End(trailer)) => break trailer.n_events,
            Some(_) => {}
            None => return Err(truncated(path, position)),
        }
    };
    let mut report = verifier.end(Some(n_events));
    let keyless = keys.as_ref().map(|keys| texts.filled().difference(keys).copied().collect());
    let subjects = erasures.iter().map(|entry| entry.subject);
    let keyed = subjects.filter(|it| keys.as_ref().is_some_and(|keys| keys.contains(it)));
    let keyed = keyed.collect();
    texts.end(&Beside { ledger: erasures, keyless, keyed }, &mut report);
    Ok(report)
}

fn truncated(path: &Path, position: Position) -> ArchiveError {
    ArchiveError::Truncated { path: path.display().to_string(), position }
}

/// What comes behind the events, and is needed before them.
#[derive(Default)]
struct Tail {
    heads: Vec<SignedHead>,
    erasures: Vec<SignedErasure>,
    /// Projects whose key is there; None where no keys are.
    keys: Option<BTreeSet<Uuid>>,
}

fn tail_of(path: &Path) -> Result<Tail, ArchiveError> {
    let mut lines = Lines::open(path)?;
    lines.header()?;
    let mut tail = Tail::default();
    while let Some(line) = lines.next()? {
        match line {
            Line::Head(line) => tail.heads.push(line.read().ok_or_else(|| lines.damaged())?),
            Line::Erasure(line) => {
                tail.erasures.push(line.read().ok_or_else(|| lines.damaged())?);
            }
            Line::Key(line) => {
                let key = line.read().ok_or_else(|| lines.damaged())?;
                let keys = tail.keys.get_or_insert_default();
                if key.purpose == "content" {
                    keys.extend(key.scope);
                }
            }
            Line::Export(_) | Line::Event(_) | Line::End(_) => {}
        }
    }
    Ok(tail)
}
