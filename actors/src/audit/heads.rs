//! Checks heads against one another, before any event is looked at: signatures, the chain of heads, and
//! whether those that were kept outside the database are still in it.
//!
//! A head names the one before. Only one of a raised epoch may name an earlier one: that is a restore, which
//! gave up the heads in between and what they protected.

use std::collections::{BTreeMap, HashMap, HashSet};

use projections::{
    event_log::{Hash, Position},
    signed_heads::{NO_HASH, PURPOSE, SignedHead},
};
use uuid::Uuid;

use crate::audit::{Finding, FindingKind, Trusted};

/// What events are held against.
#[derive(Debug)]
pub struct Evidence {
    pub trusted: Trusted,
    /// Those that are kept with the events.
    pub heads: Vec<SignedHead>,
}

/// What remains of the evidence.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Running hashes that were signed, by position.
    pub(super) signed: BTreeMap<Position, Hash>,
    pub(super) n_heads: u64,
    pub(super) findings: Vec<Finding>,
    pub(super) notes: Vec<String>,
    pub(super) has_key: bool,
    pub(super) has_outside: bool,
}

pub(super) fn check(evidence: Evidence) -> Checked {
    let Evidence { trusted, heads } = evidence;
    let mut checked = Checked { has_outside: trusted.outside.is_some(), ..Checked::default() };
    let Some(key) = trusted.key else { return checked };
    checked.has_key = true;
    let mut installation = None;
    let mut chain = |heads: Vec<SignedHead>, place, is_whole, checked: &mut Checked| {
        let mut chain = Chain { place, is_whole, installation, ..Chain::default() };
        for head in heads {
            let is_signed = key.verify(PURPOSE, &head.message(), &head.signature);
            chain.link(head, is_signed, checked);
        }
        installation = chain.installation;
        chain.heads
    };
    let inside = chain(heads, "the log", true, &mut checked);
    let outside =
        chain(trusted.outside.unwrap_or_default(), "the file of heads", false, &mut checked);
    let known: HashSet<[u8; 64]> = inside.iter().map(|head| head.signature).collect();
    for head in outside.iter().filter(|head| !known.contains(&head.signature)) {
        let what = format!(
            "the head that was signed at position {} and kept outside is not in the log any more",
            head.position
        );
        checked.found(head.position, what);
    }
    checked.n_heads = inside.len() as u64;
    for head in inside.iter().chain(&outside) {
        let signed = checked.signed.entry(head.position).or_insert(head.hash);
        if *signed != head.hash {
            let what = format!("two heads say different things about position {}", head.position);
            checked.findings.push(finding(head.position, what));
        }
    }
    checked
}

fn finding(position: Position, what: String) -> Finding {
    Finding { kind: FindingKind::Head, position: Some(position), stream: None, what }
}

impl Checked {
    fn found(&mut self, position: Position, what: String) {
        self.findings.push(finding(position, what));
    }
}

/// Heads of one place, in order.
#[derive(Default)]
struct Chain {
    place: &'static str,
    /// It has to begin with the first head ever.
    is_whole: bool,
    installation: Option<Uuid>,
    heads: Vec<SignedHead>,
    /// Where each of them is in `heads`.
    digests: HashMap<Hash, usize>,
    /// The one before was not signed, so what follows cannot be held against it.
    is_broken: bool,
}

impl Chain {
    fn link(&mut self, head: SignedHead, is_signed: bool, checked: &mut Checked) {
        let (place, position) = (self.place, head.position);
        if !is_signed {
            let what = format!(
                "the head at position {position} in {place} is not signed by this key: it was changed, \
                 or the key is another installation's"
            );
            checked.found(position, what);
            self.is_broken = true;
            return;
        }
        if *self.installation.get_or_insert(head.installation) != head.installation {
            let what =
                format!("the head at position {position} in {place} is of another installation");
            checked.found(position, what);
            return;
        }
        let is_broken = std::mem::take(&mut self.is_broken);
        let last = self.heads.last();
        let expected = last.map_or(NO_HASH, SignedHead::digest);
        let epoch = last.map_or(0, |last| last.epoch);
        if head.previous != expected && !is_broken {
            let earlier = self.digests.get(&head.previous).copied();
            match earlier {
                Some(earlier) if head.epoch > epoch => self.give_up_after(earlier, &head, checked),
                None if last.is_none() && !self.is_whole => {}
                _ => {
                    let what = match last {
                        Some(last) => format!(
                            "in {place} a head is missing between those at positions {} and {position}",
                            last.position
                        ),
                        None => {
                            format!("in {place} the heads before position {position} are missing")
                        }
                    };
                    checked.found(position, what);
                }
            }
        }
        self.digests.insert(head.digest(), self.heads.len());
        self.heads.push(head);
    }

    /// A restore went back to an earlier head, and signed that it did.
    fn give_up_after(&mut self, earlier: usize, head: &SignedHead, checked: &mut Checked) {
        let given_up = self.heads.split_off(earlier + 1);
        if let Some(last) = given_up.last() {
            checked.notes.push(format!(
                "At epoch {} an older state was restored on purpose: it went on from position {}, and \
                 gave up what had been signed up to position {}.",
                head.epoch, head.position, last.position
            ));
        }
        for head in given_up {
            self.digests.remove(&head.digest());
        }
    }
}
