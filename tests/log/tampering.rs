//! Whatever is done to a log that heads protect is found; what nobody touched is intact.
//!
//! On rows in memory, so that thousands of logs can be tried. [`crate::audit`] does the same to databases.

use actors::{
    audit::{
        Report, Trusted,
        verifier::{Evidence, Verifier},
    },
    signed_heads::signed,
    signing::SigningKey,
};
use projections::{
    event_log::{ChainLink, FIRST_HASH, Position, RawEvent, StreamId, chain},
    signed_heads::{NO_HASH, SignedHead, running},
};
use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_assert, prop_oneof, proptest},
    sample::Index,
};

use crate::support::{id, metadata, now};

pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

/// A log in which event `n` belongs to stream `streams[n]`.
pub(crate) fn log_of(streams: &[u8]) -> Vec<RawEvent> {
    let rows = (1..).zip(streams).map(|(position, stream)| {
        let command = id(1000 + u128::from(position));
        RawEvent {
            position,
            kind: "counter".into(),
            id: id(u128::from(*stream)).to_string(),
            sequence: 0,
            event_type: "Counted".into(),
            event_version: "1".into(),
            payload: format!("{{\"n\":{position}}}"),
            metadata: metadata(command).to_canonical_json(),
            command,
            ordinal: 0,
            hash: FIRST_HASH,
        }
    });
    let mut rows: Vec<RawEvent> = rows.collect();
    rechain(&mut rows);
    rows
}

/// Gives each event the sequence and the hash that it would have been recorded with: what somebody does
/// who rewrites a log and knows how.
pub(crate) fn rechain(rows: &mut [RawEvent]) {
    let mut heads = std::collections::HashMap::new();
    for row in rows {
        let head = heads.entry(row.id.clone()).or_insert((0, FIRST_HASH));
        row.sequence = head.0 + 1;
        let stream = StreamId::new(row.kind.clone(), row.id.parse().unwrap());
        let link = ChainLink {
            stream: &stream,
            sequence: row.sequence,
            event_type: &row.event_type,
            event_version: &row.event_version,
            metadata: &row.metadata,
            payload: &row.payload,
        };
        row.hash = chain(&head.1, link);
        *head = (row.sequence, row.hash);
    }
}

/// Heads over the log at these positions, as the installation signs them.
pub(crate) fn heads_at(rows: &[RawEvent], positions: &[Position]) -> Vec<SignedHead> {
    let (mut hash, mut heads) = (NO_HASH, Vec::<SignedHead>::new());
    for row in rows {
        hash = running(&hash, &row.hash);
        if positions.contains(&row.position) {
            let head = SignedHead {
                installation: id(1),
                epoch: 1,
                position: row.position,
                hash,
                previous: heads.last().map_or(NO_HASH, SignedHead::digest),
                at: now(),
                signature: [0; 64],
            };
            heads.push(signed(&key(), head));
        }
    }
    heads
}

pub(crate) fn verify(
    rows: &[RawEvent],
    heads: Vec<SignedHead>,
    outside: Option<Vec<SignedHead>>,
) -> Report {
    let trusted = Trusted { key: Some(key().public()), outside, ..Trusted::default() };
    let mut verifier = Verifier::new(Evidence { trusted, heads });
    rows.iter().for_each(|row| verifier.event(row));
    verifier.end(rows.last().map(|row| row.position))
}

/// Something that is done to a log. Places are drawn, and fall into whatever there is.
#[derive(Clone, Debug)]
enum Tampering {
    Change { at: Index, field: u8 },
    Remove { at: Index },
    RemoveAndCloseUp { at: Index },
    Insert { at: Index },
    Swap { one: Index, other: Index },
    Rewrite { at: Index },
    Cut { at: Index },
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0..7_u8).prop_map(|(at, field)| Tampering::Change { at, field }),
        at().prop_map(|at| Tampering::Remove { at }),
        at().prop_map(|at| Tampering::RemoveAndCloseUp { at }),
        at().prop_map(|at| Tampering::Insert { at }),
        (at(), at()).prop_map(|(one, other)| Tampering::Swap { one, other }),
        at().prop_map(|at| Tampering::Rewrite { at }),
        at().prop_map(|at| Tampering::Cut { at }),
    ]
}

fn number(rows: &mut [RawEvent]) {
    (1..).zip(rows).for_each(|(position, row)| row.position = position);
}

fn tamper(rows: &mut Vec<RawEvent>, tampering: &Tampering) {
    match tampering {
        Tampering::Change { at, field } => {
            let place = at.index(rows.len());
            let row = &mut rows[place];
            match field {
                0 => row.payload = "{\"n\":0}".into(),
                1 => row.event_type = "Miscounted".into(),
                2 => row.event_version = "2".into(),
                3 => row.metadata = metadata(id(5)).to_canonical_json(),
                4 => row.command = id(5),
                5 => row.hash[0] ^= 1,
                _ => row.sequence += 1,
            }
        }
        Tampering::Remove { at } => drop(rows.remove(at.index(rows.len()))),
        Tampering::RemoveAndCloseUp { at } => {
            rows.remove(at.index(rows.len()));
            number(rows);
            rechain(rows);
        }
        Tampering::Insert { at } => {
            let place = at.index(rows.len());
            let mut row = rows[place].clone();
            row.id = id(99).to_string();
            rows.insert(place, row);
            number(rows);
            rechain(rows);
        }
        Tampering::Swap { one, other } => {
            let (one, other) = (one.index(rows.len()), other.index(rows.len()));
            rows.swap(one, other);
            number(rows);
        }
        Tampering::Rewrite { at } => {
            let place = at.index(rows.len());
            rows[place].payload = "{\"n\":0}".into();
            rechain(rows);
        }
        Tampering::Cut { at } => rows.truncate(at.index(rows.len())),
    }
}

proptest! {
    #[test]
    fn a_log_that_nobody_touched_is_intact(
        streams in vec(0..4_u8, 1..30),
        heads in vec(1..30_u64, 0..5),
    ) {
        let rows = log_of(&streams);
        let heads = heads_at(&rows, &heads);
        let newest = heads.last().map_or(0, |head| head.position);
        let report = verify(&rows, heads.clone(), Some(heads));
        prop_assert!(report.is_intact(), "{:?}", report.findings);
        prop_assert!(report.n_unprotected == rows.len() as u64 - newest);
    }

    #[test]
    fn whatever_is_done_to_what_heads_protect_is_found(
        streams in vec(0..4_u8, 1..30),
        heads in vec(1..30_u64, 0..4),
        doings in vec(tampering(), 1..3),
    ) {
        let rows = log_of(&streams);
        let heads = heads_at(&rows, &[&heads[..], &[rows.len() as u64]].concat());
        let mut tampered = rows.clone();
        for doing in &doings {
            if !tampered.is_empty() {
                tamper(&mut tampered, doing);
            }
        }
        let report = verify(&tampered, heads.clone(), Some(heads));
        // What was put behind the last head is signed by nobody: well chained, it is only told as unprotected.
        let is_untouched = tampered.get(..rows.len()) == Some(&rows[..]);
        prop_assert!(is_untouched || !report.is_intact(), "{doings:?}");
        prop_assert!(tampered != rows || report.is_intact(), "{doings:?}: {:?}", report.findings);
        prop_assert!(!report.is_intact() || report.n_unprotected == (tampered.len() - rows.len()) as u64);
    }

    #[test]
    fn heads_that_were_changed_or_removed_are_found(
        streams in vec(0..4_u8, 8..20),
        at in any::<Index>(),
        field in 0..5_u8,
    ) {
        let rows = log_of(&streams);
        let outside = heads_at(&rows, &[2, 4, 6, 8]);
        let mut heads = outside.clone();
        let place = at.index(heads.len());
        match field {
            0 => drop(heads.remove(place)),
            1 => heads[place].position += 1,
            2 => heads[place].hash[3] ^= 1,
            3 => heads[place].signature[3] ^= 1,
            _ => heads[place] = signed(&SigningKey::from_seed(&[8; 32]), heads[place].clone()),
        }
        let report = verify(&rows, heads, Some(outside));
        prop_assert!(!report.is_intact());
    }
}

#[test]
fn a_restore_that_was_signed_is_told_and_is_no_tampering() {
    let rows = log_of(&[1, 2, 1, 2, 1, 2]);
    let outside = heads_at(&rows, &[2, 4, 6]);
    let restored = SignedHead {
        epoch: 2,
        position: 3,
        hash: rows[..3].iter().fold(NO_HASH, |hash, row| running(&hash, &row.hash)),
        previous: outside[0].digest(),
        ..outside[0].clone()
    };
    let restored = signed(&key(), restored);
    let heads = vec![outside[0].clone(), restored.clone()];
    let outside = [&outside[..], std::slice::from_ref(&restored)].concat();
    let report = verify(&rows[..3], heads.clone(), Some(outside.clone()));
    assert!(report.is_intact(), "{:?}", report.findings);
    assert!(report.notes[0].contains("position 3") && report.notes[0].contains("position 6"));
    // The same without the raised epoch is a log that was cut back.
    let unraised = signed(&key(), SignedHead { epoch: 1, ..restored });
    let outside = [&outside[..3], std::slice::from_ref(&unraised)].concat();
    let report = verify(&rows[..3], vec![heads[0].clone(), unraised], Some(outside));
    assert!(!report.is_intact());
}
