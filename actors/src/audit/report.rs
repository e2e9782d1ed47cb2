//! What a check of a log found, and what it cannot find.

use std::fmt;

use projections::event_log::{Hash, Position};

/// How many findings are told; the others are counted.
pub const FINDINGS_MAX: usize = 100;

/// What was done to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// An event, or a stretch of events, is another than was recorded.
    Changed,
    /// An event is gone.
    Removed,
    /// An event is there that was not recorded.
    Inserted,
    /// Events have changed places.
    Reordered,
    /// The end of the log is gone.
    Cut,
    /// A signed head was changed or removed.
    Head,
    /// A text is missing that nobody erased, one is there that was, or the ledger of erasures was changed.
    Erasure,
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::Cut => "cut",
            Self::Head => "head",
            Self::Erasure => "erasure",
        })
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: FindingKind,
    pub position: Option<Position>,
    /// `kind/id`.
    pub stream: Option<String>,
    /// A sentence for people.
    pub what: String,
}

/// The outcome of a check.
#[derive(Clone, Debug)]
pub struct Report {
    pub n_events: u64,
    pub n_streams: u64,
    /// Heads whose signature is good.
    pub n_heads: u64,
    /// Events behind the newest of them.
    pub n_unprotected: u64,
    /// Entries of the ledger of erasures whose signature is good.
    pub n_erasures: u64,
    /// At most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub n_more: u64,
    /// What is worth knowing and nothing wrong.
    pub notes: Vec<String>,
    /// What a check like this cannot find.
    pub limits: Vec<String>,
    /// The last position, and the running hash there.
    pub position: Position,
    pub hash: Hash,
}

impl Report {
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }

    /// What is wrong with events and heads, for whoever moves a log. A ledger of erasures moves as it is.
    #[must_use]
    pub fn damage(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.kind != FindingKind::Erasure)
    }

    /// More findings, as far as there is room.
    pub(super) fn add(&mut self, findings: Vec<Finding>) {
        let n_cut = (self.findings.len() + findings.len()).saturating_sub(FINDINGS_MAX);
        self.findings.extend(findings);
        self.findings.truncate(FINDINGS_MAX);
        self.n_more += n_cut as u64;
    }
}

/// What a check cannot find, given what it had in hand.
pub(super) fn limits(
    n_unprotected: u64,
    newest: Option<Position>,
    has_key: bool,
    has_outside: bool,
) -> Vec<String> {
    let mut limits = Vec::new();
    if !has_key {
        limits.push(
            "Without the public key heads prove nothing: a log that was rewritten with all of its \
             hashes looks whole."
                .to_owned(),
        );
    }
    if n_unprotected > 0 {
        let newest = newest.unwrap_or_default();
        limits.push(format!(
            "No head protects the {n_unprotected} events behind position {newest}: whoever can write \
             to the database could rewrite them with their hashes, or cut them off."
        ));
    }
    if !has_outside {
        limits.push(
            "Without heads kept outside the database (--heads), a log that was cut back together with \
             its newest heads looks whole."
                .to_owned(),
        );
    }
    limits.push(
        "Whoever has the signing key, which is the database and the master key file together, can sign \
         another history; only heads that were copied to where they cannot reach contradict it."
            .to_owned(),
    );
    limits.push(
        "Covered are events and their order, and that a text that is missing was erased by a signed \
         entry. What a text says is covered by the digest in its event, which is compared when it is \
         opened and not here; vault, tokens and read models are not covered."
            .to_owned(),
    );
    limits
}
