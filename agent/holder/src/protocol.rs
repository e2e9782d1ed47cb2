//! What the agent and a holder say to each other: JSON, one document a line.
//!
//! The holder greets with [`Event::Hello`]. Each [`Request`] carries a number of the client's, and is
//! answered by one [`Event::Done`] or [`Event::Refused`] of that number, not always in the order of
//! asking. [`Operation::Follow`] then goes on with [`Event::Output`] and ends with [`Event::Exited`].
//!
//! Everything can be repeated: a start of the same session and epoch starts nothing, a line whose
//! number was seen is not written again, and output is followed from any offset.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Raised when either side changes what it says. The holder comes out of the agent's own binary, so
/// a difference means that a container is older than the agent.
pub const PROTOCOL_VERSION: u32 = 1;

/// Longest line of this protocol, either way.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most output in one [`Event::Output`].
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// Default for [`Start::spool_bytes_max`].
pub const SPOOL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How much of a terminal's output is kept for repainting.
pub const TERMINAL_RING_BYTES: usize = 256 * 1024;

/// Something the agent wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub id: u64,
    /// Which session, in the words of the domain; the holder only compares them.
    pub session: String,
    pub epoch: u32,
    #[serde(flatten)]
    pub operation: Operation,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Operation {
    /// Start the program, or do nothing if this session and epoch was started before.
    Start(Start),
    /// Write one line to the program's stdin. Done when the pipe has it. Ignored, and done, when
    /// `number` is not above the highest one seen.
    Write { number: u64, line: String },
    /// Send output from `offset` on, then everything that follows, then the exit.
    Follow { offset: u64 },
    /// The client has recorded all output before `offset`: its space may be reused.
    Release { offset: u64 },
    /// End the whole process group: TERM, then KILL after the grace period. Done when it is gone.
    Kill { grace_ms: u64 },
    /// Type into a terminal.
    Input { text: String },
    /// Tell a terminal its size.
    Resize { rows: u16, columns: u16 },
}

/// A program to be started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    pub argv: Vec<String>,
    /// Added to the container's own environment.
    pub env: BTreeMap<String, String>,
    pub cwd: String,
    /// Output that the client has not released: above it, the program is ended as flooding.
    pub spool_bytes_max: u64,
    /// Some: on a terminal of this size, with a ring instead of a spool.
    pub terminal: Option<TerminalSize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    pub rows: u16,
    pub columns: u16,
}

/// Something the holder tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line on every connection.
    Hello { protocol: u32 },
    /// The request was carried out.
    Done { id: u64 },
    /// It cannot be.
    Refused { id: u64, kind: RefusalKind, reason: String },
    /// Output that begins at `offset`, as many bytes as `text` has: each byte that is no UTF-8 was
    /// replaced by a question mark.
    Output { session: String, epoch: u32, offset: u64, text: String },
    /// The program has ended and all its output was sent.
    Exited { session: String, epoch: u32, exit: Exit },
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// No such session and epoch was started here.
    Unknown,
    /// The program cannot be started: missing, not executable, no such directory.
    CannotStart,
    /// The program has ended, or the session is not of the kind that can do this.
    Impossible,
    /// The holder does not understand the line.
    Malformed,
}

/// How a program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The end of what it wrote to stderr, for people.
    pub stderr_tail: String,
    pub cause: ExitCause,
}

/// On whose account a program ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCause {
    /// Its own.
    #[default]
    Itself,
    /// [`Operation::Kill`].
    Killed,
    /// It wrote more than its spool holds.
    Flooded,
    /// The spool could not be written, most likely because the disk is full.
    Spool,
    /// The container went down with it; nobody saw the exit.
    Lost,
}

/// What `setup` is asked to do, as its one argument; a git bundle comes on stdin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    pub directory: String,
    /// Where the work starts, unless `branch` is in the bundle: then that is continued.
    pub base_branch: String,
    pub branch: String,
    pub author_name: String,
    pub author_email: String,
}

/// What `setup` prints as its last line on stdout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupDone {
    pub base_branch: String,
    /// What the result is compared with: where branch and base part.
    pub base_commit: String,
    /// What is checked out: the bundle had it, so whoever made that has it too.
    pub start_commit: String,
}

/// What `bundle` is asked to do, as its one argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    pub directory: String,
    /// For what is not committed yet.
    pub commit_message: String,
    /// A full disk is no obstacle: the commit is written beside the holder's own files instead.
    #[serde(default)]
    pub is_rescue: bool,
}

/// What `bundle` prints as its first line on stdout; `n_bytes` of git bundle follow. The bundle has
/// one ref, `HEAD`, and needs [`SetupDone::start_commit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleMade {
    pub base_commit: String,
    pub start_commit: String,
    pub head: String,
    /// 0 when there is no commit beyond the start.
    pub n_bytes: u64,
}
