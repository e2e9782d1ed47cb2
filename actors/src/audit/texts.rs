//! Checks that each text that is missing was erased, and that what was erased is gone.
//!
//! Four things are held against one another: the entries of the ledger, which are signed and name the one
//! before; those that were kept outside the database; the rows and keys of texts; and the streams of projects
//! and accounts, which say at the end of an erasure that there was one. Like heads, an entry proves nothing to somebody
//! who does not know the key.
//!
//! An erasure that is under way is no finding: it is signed, and not at its end.
//!
//! Read next: `actors/src/erasure.rs` for the order in which an erasure happens.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use projections::{
    erasure_ledger::{ACCOUNT, CREDENTIAL, NO_HASH, PROJECT, PURPOSE, SignedErasure},
    event_log::{Hash, Position, RawEvent},
};
use uuid::Uuid;

use crate::{
    audit::{Finding, FindingKind, Report, report::FINDINGS_MAX},
    signing::PublicKey,
};

/// What an export without keys cannot tell.
const WITHOUT_KEYS: &str = "The export has no keys (--with-keys), so it was not checked that the keys of erased texts are gone, \
     and those of all others there.";

/// What is known of texts, from rows in order of their positions.
#[derive(Debug)]
pub struct Texts {
    key: Option<PublicKey>,
    /// Entries that were kept outside the database.
    outside: Vec<SignedErasure>,
    /// Projects and accounts whose stream says that they were erased.
    erased: BTreeMap<Uuid, (&'static str, Position)>,
    /// Projects of which a row has lost its text.
    emptied: BTreeSet<Uuid>,
    /// Projects of which a row has its text.
    filled: BTreeSet<Uuid>,
    findings: Vec<Finding>,
    n_more: u64,
}

/// What is there beside the rows.
#[derive(Debug, Default)]
pub struct Beside {
    pub ledger: Vec<SignedErasure>,
    /// Projects that have texts and no key for them. None: nobody knows keys.
    pub keyless: Option<BTreeSet<Uuid>>,
    /// Subjects of the ledger that have a key or a secret.
    pub keyed: BTreeSet<Uuid>,
}

impl Texts {
    #[must_use]
    pub fn new(key: Option<PublicKey>, outside: Vec<SignedErasure>) -> Self {
        Self {
            key,
            outside,
            erased: BTreeMap::new(),
            emptied: BTreeSet::new(),
            filled: BTreeSet::new(),
            findings: Vec::new(),
            n_more: 0,
        }
    }

    /// Takes the next event.
    pub fn event(&mut self, event: &RawEvent) {
        let kind = match (&*event.kind, &*event.event_type) {
            (PROJECT, "streams_erased" | "erased") => PROJECT,
            (ACCOUNT, "erased") => ACCOUNT,
            _ => return,
        };
        if let Ok(subject) = Uuid::parse_str(&event.id) {
            self.erased.entry(subject).or_insert((kind, event.position));
        }
    }

    /// Takes a row of a text.
    pub fn row(&mut self, project: Uuid, is_tombstone: bool) {
        let projects = if is_tombstone { &mut self.emptied } else { &mut self.filled };
        projects.insert(project);
    }

    /// An event refers to a text that has no row.
    pub fn missing(&mut self, position: Position, id: Uuid) {
        let what = format!(
            "the text {id} of the event at position {position} is gone; erasing leaves a tombstone"
        );
        self.found(Some(position), what);
    }

    /// Whose texts are there.
    #[must_use]
    pub fn filled(&self) -> &BTreeSet<Uuid> {
        &self.filled
    }

    /// Ends the check, and adds to the report of the events.
    pub fn end(mut self, beside: &Beside, report: &mut Report) {
        let Some(key) = self.key else { return };
        let signed = self.check_entries(&beside.ledger, key);
        self.check_outside(&signed, key, report);
        for (subject, (kind, position)) in self.erased.clone() {
            if !signed.contains(&subject) {
                let what = format!(
                    "{kind} {subject} says at position {position} that it was erased, and the ledger \
                     has no valid entry for it"
                );
                self.found(Some(position), what);
            }
        }
        for project in self.emptied.difference(&signed).copied().collect::<Vec<_>>() {
            let what = format!("texts of project {project} are missing, and no erasure says why");
            self.found(None, what);
        }
        for project in beside.keyless.iter().flatten().filter(|it| !signed.contains(*it)) {
            let what = format!(
                "the key to the texts of project {project} is gone, and no erasure says why: it was \
                 destroyed, or the log was imported without its keys"
            );
            self.found(None, what);
        }
        for subject in &beside.keyed {
            let is_secret =
                beside.ledger.iter().any(|it| it.subject == *subject && it.kind == CREDENTIAL);
            let what = match is_secret {
                true => format!("the secret {subject} is stored in spite of its erasure"),
                false => format!("{subject} has a key to its texts in spite of its erasure"),
            };
            self.found(None, what);
        }
        for project in self.filled.intersection(&signed).copied().collect::<Vec<_>>() {
            if self.erased.contains_key(&project) {
                let what = format!("texts of project {project} are there in spite of its erasure");
                self.found(None, what);
            } else {
                report.notes.push(format!(
                    "Project {project} is being erased: texts of it are still to be taken out, which \
                     nobody can read any more."
                ));
            }
        }
        report.n_erasures = signed.len() as u64;
        if beside.keyless.is_none() {
            report.limits.insert(0, WITHOUT_KEYS.to_owned());
        }
        report.n_more += self.n_more;
        report.add(self.findings);
    }

    /// Signatures, and that each entry's predecessor is there; gives back whose entries are good.
    fn check_entries(&mut self, ledger: &[SignedErasure], key: PublicKey) -> BTreeSet<Uuid> {
        let (signed, changed): (Vec<_>, Vec<_>) = ledger.iter().partition(|it| is_signed(it, key));
        for SignedErasure { number, kind, subject, .. } in &changed {
            let what = format!(
                "erasure {number}, of {kind} {subject}, is not signed by this key: it was changed, or \
                 the key is another installation's"
            );
            self.found(None, what);
        }
        let digests: HashSet<(u64, Hash)> =
            signed.iter().map(|entry| (entry.number, entry.digest())).collect();
        for SignedErasure { number, kind, subject, previous, .. } in &signed {
            let before = number.saturating_sub(1);
            // What a changed entry was cannot be known.
            let is_linked = digests.contains(&(before, *previous))
                || (before == 0 && *previous == NO_HASH)
                || changed.iter().any(|entry| entry.number == before);
            if !is_linked {
                let what = format!(
                    "the entry before erasure {number}, of {kind} {subject}, is not in the ledger any \
                     more"
                );
                self.found(None, what);
            }
        }
        signed.iter().map(|entry| entry.subject).collect()
    }

    /// An entry outside that the database lacks: removed from it, or still to be carried out.
    fn check_outside(&mut self, signed: &BTreeSet<Uuid>, key: PublicKey, report: &mut Report) {
        for entry in std::mem::take(&mut self.outside) {
            let SignedErasure { number, kind, subject, .. } = &entry;
            if !is_signed(&entry, key) {
                let what = format!(
                    "erasure {number}, of {kind} {subject}, in the file of erasures is not signed by \
                     this key"
                );
                self.found(None, what);
            } else if !signed.contains(subject) {
                let has_begun = self.erased.contains_key(subject) || self.emptied.contains(subject);
                if has_begun {
                    let what = format!(
                        "erasure {number}, of {kind} {subject}, was kept outside and is not in the log \
                         any more"
                    );
                    self.found(None, what);
                } else {
                    report.notes.push(format!(
                        "Erasure {number}, of {kind} {subject}, is signed and not carried out on this \
                         log: the server does it at its next start at the latest."
                    ));
                }
            }
        }
    }

    fn found(&mut self, position: Option<Position>, what: String) {
        if self.findings.len() >= FINDINGS_MAX {
            self.n_more += 1;
            return;
        }
        self.findings.push(Finding { kind: FindingKind::Erasure, position, stream: None, what });
    }
}

fn is_signed(entry: &SignedErasure, key: PublicKey) -> bool {
    key.verify(PURPOSE, &entry.message(), &entry.signature)
}
