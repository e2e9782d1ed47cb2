//! What a session has to tell: live chunks at once, reports with the next record.
//!
//! Text is gathered into segments of whole chunks. How it is cut into segments depends on time, and
//! so may differ when the spool is read again after a crash; message ids, chunk numbers and the text
//! do not, and a segment that was recorded is never told twice, since the offset moved with it.

use domain::{
    agent_protocol::{LiveChunk, Report, Segment, TextKind, ToolCall},
    ids::{MessageId, SessionId, derived},
};
use serde_json::Value;

use crate::session::progress::{OpenMessage, SessionProgress};

/// Longest text of a segment, and of a chunk.
pub(crate) const SEGMENT_BYTES_MAX: usize = 4 * 1024;

/// Reports and chunks that are under way.
pub(crate) struct Telling {
    session: SessionId,
    epoch: u32,
    reports: Vec<Report>,
    chunks: Vec<LiveChunk>,
    gathered: Option<Gathered>,
    is_urgent: bool,
}

/// Chunks of the open message that are in no segment yet.
struct Gathered {
    first_chunk: u32,
    n_chunks: u32,
    text: String,
}

impl Telling {
    pub(crate) fn new(session: SessionId, epoch: u32) -> Self {
        let (reports, chunks) = (Vec::new(), Vec::new());
        Self { session, epoch, reports, chunks, gathered: None, is_urgent: false }
    }

    /// The coding agent says something: the open message goes on, or a new one begins.
    pub(crate) fn say(&mut self, progress: &mut SessionProgress, kind: TextKind, text: &str) {
        if text.is_empty() {
            return;
        }
        if progress.open_message.as_ref().is_none_or(|open| open.kind != kind) {
            self.close_message(progress);
            let word = format!("{}/message/{}", self.epoch, progress.n_messages);
            let message = MessageId(derived(self.session.0, &word));
            progress.n_messages += 1;
            progress.open_message = Some(OpenMessage { message, kind, n_chunks: 0 });
        }
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(SEGMENT_BYTES_MAX));
            self.chunk(progress, piece);
            rest = after;
        }
    }

    fn chunk(&mut self, progress: &mut SessionProgress, text: &str) {
        let gathered_bytes = self.gathered.as_ref().map_or(0, |gathered| gathered.text.len());
        if gathered_bytes + text.len() > SEGMENT_BYTES_MAX {
            self.segment(progress, false);
            self.is_urgent = true;
        }
        let Some(open) = &mut progress.open_message else {
            unreachable!("a chunk belongs to an open message");
        };
        let chunk = open.n_chunks;
        open.n_chunks += 1;
        let gathered = self.gathered.get_or_insert_with(|| Gathered {
            first_chunk: chunk,
            n_chunks: 0,
            text: String::new(),
        });
        gathered.n_chunks += 1;
        gathered.text.push_str(text);
        self.chunks.push(LiveChunk {
            session: self.session,
            epoch: self.epoch,
            message: open.message,
            kind: open.kind,
            chunk,
            text: text.to_string(),
        });
    }

    /// The open message is complete.
    pub(crate) fn close_message(&mut self, progress: &mut SessionProgress) {
        if progress.open_message.is_some() {
            self.segment(progress, true);
            progress.open_message = None;
        }
    }

    fn segment(&mut self, progress: &SessionProgress, is_last: bool) {
        let Some(open) = &progress.open_message else { return };
        let nothing = || Gathered { first_chunk: open.n_chunks, n_chunks: 0, text: String::new() };
        let gathered = self.gathered.take().unwrap_or_else(nothing);
        if gathered.n_chunks == 0 && !is_last {
            return;
        }
        self.reports.push(Report::Segment(Segment {
            session: self.session,
            epoch: self.epoch,
            message: open.message,
            kind: open.kind,
            first_chunk: gathered.first_chunk,
            n_chunks: gathered.n_chunks,
            text: gathered.text,
            is_last,
        }));
    }

    /// Something that is to be recorded at once.
    pub(crate) fn report(&mut self, report: Report) {
        self.reports.push(report);
        self.is_urgent = true;
    }

    /// The newest state of a tool call, in the place of one that waits.
    pub(crate) fn tool_call(&mut self, call: ToolCall, is_urgent: bool) {
        self.is_urgent |= is_urgent;
        for waiting in &mut self.reports {
            if let Report::ToolCall(older) = waiting
                && older.call == call.call
            {
                *older = call;
                return;
            }
        }
        self.reports.push(Report::ToolCall(call));
    }

    /// The newest counters, in the place of those that wait.
    pub(crate) fn usage(&mut self, newer: Value) {
        for waiting in &mut self.reports {
            if let Report::Usage { usage, .. } = waiting {
                *usage = newer;
                return;
            }
        }
        let (session, epoch) = (self.session, self.epoch);
        self.reports.push(Report::Usage { session, epoch, usage: newer });
    }

    /// Progress has changed in a way that must be recorded before anything follows from it.
    pub(crate) fn hurry(&mut self) {
        self.is_urgent = true;
    }

    pub(crate) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.gathered.is_none()
    }

    pub(crate) fn take_chunks(&mut self) -> Vec<LiveChunk> {
        std::mem::take(&mut self.chunks)
    }

    /// Everything up to here, for the next record.
    pub(crate) fn take_reports(&mut self, progress: &SessionProgress) -> Vec<Report> {
        self.segment(progress, false);
        self.is_urgent = false;
        std::mem::take(&mut self.reports)
    }
}
