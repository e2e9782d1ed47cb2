//! A log as a file: one JSON document a line, written and read with bounded memory.
//!
//! First what it is an export of, then the events in order, each with the texts it refers to as
//! ciphertext, then keys if they were asked for, the ledger of erasures, the signed heads, and a trailer with
//! count and hashes. A file without its trailer is truncated: writing goes on behind its last whole event, and reading refuses it.
//!
//! Never in it: the vault, tokens, the master key. Read models are made again.
//!
//! Read next: `archive/line.rs` for the format, `archive/export.rs`, `archive/import.rs`,
//! `archive/copy.rs`.

use std::path::Path;

use projections::{error::DatabaseError, event_log::Position};

use crate::sealing::SealingError;

pub mod copy;
pub mod export;
pub mod import;
mod line;
mod reading;

pub(crate) use line::contents_of;
pub use reading::{Contained, read, verify};

/// How many events are read or written at a time.
const EVENTS_PER_BATCH: usize = 500;

/// Why a log was not written to a file, not read from one, or not copied.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// For example a full disk. What is written stays, and the same command goes on behind it.
    #[error("{path}: {source}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// The export was cut off. The same export command goes on behind its last event.
    #[error(
        "{path} is truncated: it ends after position {position}, without its trailer; run the export \
         again, which goes on from there"
    )]
    Truncated { path: String, position: Position },
    /// The file or the log is not what it should be; nothing was written.
    #[error("{0}")]
    Refused(String),
}

fn failed(path: &Path, source: std::io::Error) -> ArchiveError {
    ArchiveError::File { path: path.display().to_string(), source }
}
