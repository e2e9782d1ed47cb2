//! Checks heads against one another, before any event is looked at: signatures, the chain of heads, and
//! whether those that were kept outside the database are still in it.
//!
//! A head names the one before. Only one of a raised epoch may name another than the last: that is a restore,
//! which gave up the heads that do not lead to it, and what they protected. It may go back to before the first
//! head, which then is named by none; and it may take back an earlier restore, so that heads which were given up
//! count again. None of this can be said without the key, nor with a head from before: its epoch is no higher.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    iter,
};

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
    let judge = |head: SignedHead| Judged {
        is_signed: key.verify(PURPOSE, &head.message(), &head.signature),
        digest: head.digest(),
        head,
    };
    let inside: Vec<Judged> = heads.into_iter().map(judge).collect();
    let outside: Vec<Judged> = trusted.outside.unwrap_or_default().into_iter().map(judge).collect();
    let signed = inside.iter().chain(&outside).filter(|judged| judged.is_signed);
    let before: HashMap<Hash, Hash> =
        signed.map(|judged| (judged.digest, judged.head.previous)).collect();
    let mut log = Chain::new("the log", true, &before);
    inside.into_iter().for_each(|judged| log.link(judged, &mut checked));
    let mut file = Chain::new("the file of heads", false, &before);
    file.installation = log.installation;
    outside.into_iter().for_each(|judged| file.link(judged, &mut checked));
    let (inside, outside) = (log.heads(), file.heads());
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

/// A head, and what is said about it.
struct Judged {
    head: SignedHead,
    is_signed: bool,
    digest: Hash,
}

/// Heads of one place, in order.
struct Chain<'a> {
    place: &'static str,
    /// It has to begin with the first head ever, and to have every one that is named.
    is_whole: bool,
    /// What every signed head of any place says was before it.
    before: &'a HashMap<Hash, Hash>,
    installation: Option<Uuid>,
    /// All of them, also those that were given up.
    seen: Vec<Judged>,
    digests: HashSet<Hash>,
    /// Where in `seen` those are that count.
    kept: Vec<usize>,
    /// The one before was not signed, so what follows cannot be held against it.
    is_broken: bool,
}

impl<'a> Chain<'a> {
    fn new(place: &'static str, is_whole: bool, before: &'a HashMap<Hash, Hash>) -> Self {
        Self {
            place,
            is_whole,
            before,
            installation: None,
            seen: Vec::new(),
            digests: HashSet::new(),
            kept: Vec::new(),
            is_broken: false,
        }
    }

    fn link(&mut self, judged: Judged, checked: &mut Checked) {
        let (place, position) = (self.place, judged.head.position);
        if !judged.is_signed {
            let what = format!(
                "the head at position {position} in {place} is not signed by this key: it was changed, \
                 or the key is another installation's"
            );
            checked.found(position, what);
            self.is_broken = true;
            return;
        }
        let installation = judged.head.installation;
        if *self.installation.get_or_insert(installation) != installation {
            let what =
                format!("the head at position {position} in {place} is of another installation");
            checked.found(position, what);
            return;
        }
        let is_broken = std::mem::take(&mut self.is_broken);
        let last = self.kept.last().map(|index| &self.seen[*index]);
        let (expected, epoch) = last.map_or((NO_HASH, 0), |last| (last.digest, last.head.epoch));
        if judged.head.previous != expected && !is_broken {
            if judged.head.epoch > epoch && self.knows(&judged.head.previous) {
                self.give_up_for(&judged.head, checked);
            } else if let Some(last) = last {
                let what = format!(
                    "in {place} a head is missing between those at positions {} and {position}",
                    last.head.position
                );
                checked.found(position, what);
            } else if self.is_whole {
                let what = format!("in {place} the heads before position {position} are missing");
                checked.found(position, what);
            }
        }
        self.kept.push(self.seen.len());
        self.digests.insert(judged.digest);
        self.seen.push(judged);
    }

    /// Whether a head was there, or, for a file that may have begun later, is known from elsewhere. Before the
    /// first one there is none.
    fn knows(&self, digest: &Hash) -> bool {
        *digest == NO_HASH
            || self.digests.contains(digest)
            || (!self.is_whole && self.before.contains_key(digest))
    }

    /// A restore went on behind another head than the last, and signed that it did.
    fn give_up_for(&mut self, head: &SignedHead, checked: &mut Checked) {
        let next = |digest: &Hash| self.before.get(digest).copied();
        let leading: HashSet<Hash> = iter::successors(Some(head.previous), next).collect();
        let is_leading = |index: &usize| leading.contains(&self.seen[*index].digest);
        let given_up = self.kept.iter().rfind(|index| !is_leading(index));
        if let Some(last) = given_up.map(|index| &self.seen[*index].head) {
            checked.notes.push(format!(
                "At epoch {} another state was restored on purpose: it went on from position {}, and \
                 gave up what had been signed up to position {}.",
                head.epoch, head.position, last.position
            ));
        }
        self.kept = (0..self.seen.len()).filter(is_leading).collect();
    }

    /// Those that count.
    fn heads(self) -> Vec<SignedHead> {
        let kept: HashSet<usize> = self.kept.into_iter().collect();
        let all = self.seen.into_iter().enumerate();
        all.filter(|(index, _)| kept.contains(index)).map(|(_, judged)| judged.head).collect()
    }
}
