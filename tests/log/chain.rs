//! The hash chain shows every change to what was recorded.

use projections::{
    event_log::{ChainLink, FIRST_HASH, Hash, StreamId, chain},
    signed_heads::{NO_HASH, SignedHead, running},
    sql::SqlPool,
};
use proptest::prelude::{Just, Strategy, any, prop_assert_ne, proptest};

use crate::support::{Place, Writer, id, now, on_both};

on_both! {
    a_changed_payload_breaks_the_chain
}

/// The hashed fields of an event, owned.
#[derive(Clone, Debug, PartialEq)]
struct Fields {
    kind: String,
    id: u128,
    sequence: u64,
    texts: [String; 4],
}

fn hash(previous: &Hash, fields: &Fields) -> Hash {
    let stream = StreamId::new(fields.kind.clone(), id(fields.id));
    let [event_type, event_version, metadata, payload] = &fields.texts;
    let sequence = fields.sequence;
    chain(
        previous,
        ChainLink { stream: &stream, sequence, event_type, event_version, metadata, payload },
    )
}

fn text() -> impl Strategy<Value = String> {
    "[ab]{0,4}"
}

fn fields() -> impl Strategy<Value = Fields> {
    (text(), 0..3_u128, 0..3_u64, [text(), text(), text(), text()])
        .prop_map(|(kind, id, sequence, texts)| Fields { kind, id, sequence, texts })
}

proptest! {
    /// Drawn from few letters, so that pairs that differ only in where a field ends are common.
    #[test]
    fn different_events_have_different_hashes(one in fields(), two in fields()) {
        if one != two {
            prop_assert_ne!(hash(&FIRST_HASH, &one), hash(&FIRST_HASH, &two));
        }
    }

    #[test]
    fn moving_letters_to_the_next_field_gives_another_hash(
        one in fields(),
        (field, n) in (0..3_usize).prop_flat_map(|field| (Just(field), 1..4_usize)),
    ) {
        let mut two = one.clone();
        let end = two.texts[field].len().saturating_sub(n);
        let moved = two.texts[field].split_off(end);
        two.texts[field + 1].insert_str(0, &moved);
        if one != two {
            prop_assert_ne!(hash(&FIRST_HASH, &one), hash(&FIRST_HASH, &two));
        }
    }

    #[test]
    fn a_change_to_any_event_changes_all_later_hashes(
        mut events in proptest::collection::vec(fields(), 2..8),
        at in any::<proptest::sample::Index>(),
    ) {
        let chain = |events: &[Fields]| {
            events.iter().scan(FIRST_HASH, |previous, fields| {
                *previous = hash(previous, fields);
                Some(*previous)
            }).collect::<Vec<_>>()
        };
        let before = chain(&events);
        let at = at.index(events.len());
        events[at].texts[3].push('!');
        let after = chain(&events);
        for n in at..events.len() {
            prop_assert_ne!(before[n], after[n]);
        }
    }
}

/// A golden value: the format of the chain is a storage contract.
#[test]
fn the_hash_of_a_known_event_never_changes() {
    let fields = Fields {
        kind: "node".into(),
        id: 1,
        sequence: 1,
        texts: ["Started".into(), "1".into(), "{\"actor\":\"a\"}".into(), "{\"slots\":2}".into()],
    };
    let hex: String = hash(&FIRST_HASH, &fields).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "f716988a0365013204c2b60f58bbe502eb21809aca6c0068854cd4ac0a822c99");
}

/// The same for what the installation's key vouches for.
#[test]
fn the_message_of_a_known_head_never_changes() {
    let text =
        |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    assert_eq!(
        text(&running(&NO_HASH, &[1; 32])),
        "5c85955f709283ecce2b74f1b1552918819f390911816e7bb466805a38ab87f3"
    );
    let head = SignedHead {
        installation: id(1),
        epoch: 2,
        position: 3,
        hash: [4; 32],
        previous: [5; 32],
        at: now(),
        signature: [6; 64],
    };
    let [four, five] = ["04".repeat(32), "05".repeat(32)];
    let message = format!(
        "0000000000000000000000000000000100000000000000020000000000000003{four}{five}00064752550dd240"
    );
    assert_eq!(text(&head.message()), message);
    let digest = "0f548eb23675824bd21f0a59fedd752b81db6275c8ecdbb772c6592a7b3f82ab";
    assert_eq!(text(&head.digest()), digest);
}

async fn a_changed_payload_breaks_the_chain(place: Place) {
    let (database, log) = place.open().await;
    let mut writer = Writer::new(1);
    writer.append(&log, 5).await.unwrap();
    let change = "UPDATE events SET payload = '{\"n\":99}' WHERE position = 3";
    match database.log() {
        SqlPool::Sqlite { writer, .. } => drop(sqlx::query(change).execute(writer).await.unwrap()),
        SqlPool::Postgres(pool) => drop(sqlx::query(change).execute(pool).await.unwrap()),
    }
    let events = log.read_stream(&writer.stream, 0, 10).await.unwrap();
    let mut previous = FIRST_HASH;
    let first_wrong = events.iter().find(|event| {
        let link = ChainLink {
            stream: &event.stream,
            sequence: event.sequence,
            event_type: &event.event_type,
            event_version: &event.event_version,
            metadata: &event.metadata_text,
            payload: &event.payload,
        };
        let is_wrong = chain(&previous, link) != event.hash;
        previous = event.hash;
        is_wrong
    });
    assert_eq!(first_wrong.map(|event| event.position), Some(3));
}
