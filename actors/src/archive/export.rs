//! Writes a log into a file. Run again, it goes on behind the last whole event.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{BufWriter, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use projections::{
    database::Database,
    erasure_ledger::{ErasureLedger, ErasureLine},
    event_log::{Hash, Position, RawEvent, RawLog},
    hex,
    keys::Keys,
    meta::Meta,
    signed_heads::{HeadLine, NO_HASH, SignedHeads, running},
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    archive::{
        ArchiveError, EVENTS_PER_BATCH, failed,
        line::{ContentLine, EventLine, Header, KeyLine, Line, Trailer, VERSION, contents_of},
        reading::Lines,
    },
    sealing::Sealing,
};

const HEADS_PER_READ: usize = 1000;
/// Keys that move with a log. The vault's does not: neither does the vault.
const PURPOSES: [&str; 2] = ["content", "signing"];

/// What goes into an export beside events and ciphertext.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Texts as they are, opened by this. What was erased stays erased.
    pub texts: Option<Sealing>,
    /// The wrapped keys of projects and of signing, which the master key opens.
    pub has_keys: bool,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// How many events are in the file.
    pub n_events: u64,
    /// How many of them were there already.
    pub n_before: u64,
    pub hash: Hash,
}

/// Writes the log as it is at this moment.
pub async fn export(
    database: &Database,
    path: &Path,
    choices: &Choices,
) -> Result<Exported, ArchiveError> {
    let log = RawLog::new(database);
    let end = log.end().await?;
    let installation = Meta::new(database).get("installation").await?;
    let installation = installation.and_then(|text| text.parse::<Uuid>().ok());
    let installation = installation.ok_or_else(|| {
        ArchiveError::Refused("this log has no installation yet: start `sam serve` once".to_owned())
    })?;
    let header = Header {
        version: VERSION,
        installation,
        epoch: end.epoch,
        has_texts: choices.texts.is_some(),
    };
    let mut writer = Writer::open(path, &header)?;
    let n_before = writer.position;
    writer.check_continues(&log).await?;
    while writer.position < end.position {
        let events = log.events(writer.position, end.position, EVENTS_PER_BATCH).await?;
        if events.first().is_none_or(|event| event.position != writer.position + 1) {
            let position = writer.position + 1;
            return Err(ArchiveError::Refused(format!(
                "the event at position {position} is missing: run `sam audit verify`"
            )));
        }
        write_events(&mut writer, &log, events, choices).await?;
    }
    // Before the ledger: of a project that is erased meanwhile, the key is left out.
    let keys = match choices.has_keys {
        true => Keys::new(database).list().await?,
        false => Vec::new(),
    };
    let erasures = ErasureLedger::new(database).list().await?;
    let erased: HashSet<Uuid> = erasures.iter().map(|entry| entry.subject).collect();
    writer.check_erased(&erased)?;
    for key in keys {
        let is_erased = key.scope.is_some_and(|scope| erased.contains(&scope));
        if PURPOSES.contains(&key.purpose.as_str()) && !is_erased {
            writer.line(&Line::Key(KeyLine::from(&key)))?;
        }
    }
    for entry in &erasures {
        writer.line(&Line::Erasure(ErasureLine::from(entry)))?;
    }
    write_heads(&mut writer, &SignedHeads::new(database)).await?;
    let (n_events, hash) = (writer.position, writer.running);
    writer.finish()?;
    Ok(Exported { n_events, n_before, hash })
}

async fn write_events(
    writer: &mut Writer,
    log: &RawLog,
    events: Vec<RawEvent>,
    choices: &Choices,
) -> Result<(), ArchiveError> {
    let ids: Vec<Vec<Uuid>> = events.iter().map(|event| contents_of(&event.payload)).collect();
    let contents = log.contents(&ids.concat()).await?;
    let texts = match &choices.texts {
        Some(sealing) => sealing.open_contents(&contents).await?,
        None => std::collections::HashMap::new(),
    };
    for (event, ids) in events.into_iter().zip(ids) {
        writer.fold(&event)?;
        let mut line = EventLine::from(event);
        for id in ids {
            let Some(content) = contents.iter().find(|content| content.id == id) else { continue };
            let text = texts.get(&domain::ids::ContentId(id)).cloned();
            let mut content = ContentLine::from(content);
            content.text = text;
            line.contents.push(content);
        }
        let opened = line.contents.iter().filter(|content| content.text.is_some());
        writer.filled.extend(opened.map(ContentLine::project));
        writer.line(&Line::Event(line))?;
    }
    Ok(())
}

async fn write_heads(writer: &mut Writer, heads: &SignedHeads) -> Result<(), ArchiveError> {
    let mut number = 0;
    loop {
        let page = heads.list(number, HEADS_PER_READ).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        number = *last;
        // A head that was signed meanwhile is about events that are not in this file.
        let position = writer.position;
        for (_, head) in page.iter().filter(|(_, head)| head.position <= position) {
            writer.line(&Line::Head(HeadLine::from(head)))?;
        }
    }
}

/// The file, and what is in it.
struct Writer {
    path: std::path::PathBuf,
    file: BufWriter<File>,
    hasher: Sha256,
    position: Position,
    running: Hash,
    /// Of the last event that was there before.
    last_hash: Option<Hash>,
    /// Projects whose texts are in the file from before, or in clear.
    filled: HashSet<Uuid>,
}

impl Writer {
    /// Opens a file, cuts off what comes behind its last event, and starts it where it is empty.
    fn open(path: &Path, header: &Header) -> Result<Self, ArchiveError> {
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
        let file = file.map_err(|error| failed(path, error))?;
        let mut writer = Self {
            path: path.to_path_buf(),
            file: BufWriter::with_capacity(1 << 20, file),
            hasher: Sha256::new(),
            position: 0,
            running: NO_HASH,
            last_hash: None,
            filled: HashSet::new(),
        };
        let n_bytes = writer.go_over(header)?;
        let file = writer.file.get_mut();
        let cut = file.set_len(n_bytes).and_then(|()| file.seek(SeekFrom::Start(n_bytes)));
        cut.map_err(|error| failed(path, error))?;
        if n_bytes == 0 {
            writer.line(&Line::Export(header.clone()))?;
        }
        Ok(writer)
    }

    /// Reads what is there; tells how many bytes of it stay.
    fn go_over(&mut self, header: &Header) -> Result<u64, ArchiveError> {
        let length =
            self.file.get_ref().metadata().map_err(|error| failed(&self.path, error))?.len();
        if length == 0 {
            return Ok(0);
        }
        let mut lines = Lines::open(&self.path)?;
        let written = match lines.next()? {
            // Cut off within its first line.
            None => return Ok(0),
            Some(Line::Export(written)) => written,
            Some(_) => return Err(lines.damaged()),
        };
        let path = self.path.display();
        if (written.version, written.installation) != (header.version, header.installation) {
            return Err(ArchiveError::Refused(format!(
                "{path} is an export of another log: choose another file"
            )));
        }
        if written.has_texts != header.has_texts {
            return Err(ArchiveError::Refused(format!(
                "{path} was begun with another choice about --with-content: choose another file"
            )));
        }
        let mut n_bytes = lines.n_bytes;
        loop {
            let line = lines.next()?;
            self.hasher = lines.hash_before();
            let Some(Line::Event(line)) = line else { return Ok(n_bytes) };
            let texts = line.contents.iter().filter(|content| !content.is_tombstone());
            self.filled.extend(texts.map(ContentLine::project));
            let (event, _) = line.read().ok_or_else(|| lines.damaged())?;
            self.fold(&event)?;
            self.last_hash = Some(event.hash);
            n_bytes = lines.n_bytes;
        }
    }

    /// Refuses to go on with a file whose last event is another than the log's.
    async fn check_continues(&self, log: &RawLog) -> Result<(), ArchiveError> {
        let Some(hash) = self.last_hash else { return Ok(()) };
        let same = log.events(self.position - 1, self.position, 1).await?;
        if same.first().is_some_and(|event| event.hash == hash) {
            return Ok(());
        }
        Err(ArchiveError::Refused(format!(
            "{} has another event at position {} than the log: one of them was changed, or the log was \
             restored to an older state; choose another file",
            self.path.display(),
            self.position
        )))
    }

    /// Refuses a file with texts that were erased after they had been written into it.
    fn check_erased(&self, erased: &HashSet<Uuid>) -> Result<(), ArchiveError> {
        let Some(project) = self.filled.intersection(erased).next() else { return Ok(()) };
        Err(ArchiveError::Refused(format!(
            "{} has texts of project {project}, which was erased since: delete the file, and export \
             again",
            self.path.display()
        )))
    }

    fn fold(&mut self, event: &RawEvent) -> Result<(), ArchiveError> {
        if event.position != self.position + 1 {
            let path = self.path.display();
            let reason = format!("{path} lacks the event at position {}", self.position + 1);
            return Err(ArchiveError::Refused(reason));
        }
        self.position = event.position;
        self.running = running(&self.running, &event.hash);
        Ok(())
    }

    fn line(&mut self, line: &Line) -> Result<(), ArchiveError> {
        let mut text =
            serde_json::to_vec(line).map_err(|error| failed(&self.path, error.into()))?;
        text.push(b'\n');
        self.hasher.update(&text);
        self.file.write_all(&text).map_err(|error| failed(&self.path, error))
    }

    /// Writes the trailer; the file is on disk when it returns.
    fn finish(mut self) -> Result<(), ArchiveError> {
        let sha256 = hex::encode(&self.hasher.clone().finalize());
        let hash = hex::encode(&self.running);
        self.line(&Line::End(Trailer { n_events: self.position, hash, sha256 }))?;
        let written = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        written.map_err(|error| failed(&self.path, error))
    }
}
