//! The oracle beside random work: whatever writers do to each other, the promises of the log hold; and the
//! oracle sees each kind of damage by itself.
//!
//! What is written are counters, of which S5 and S14 say nothing: see `planted.rs` and the simulation for those.

use projections::event_log::{AppendError, Position};
use proptest::prelude::{Strategy, any, prop_assert, proptest};
use tests::oracle::{Acknowledged, Invariant, Oracle, Violation};
use uuid::Uuid;

use crate::support::{Place, Writer, id, on_both};

on_both! {
    the_oracle_sees_what_was_done_to_a_log
}

const STREAMS: u128 = 3;

/// One thing that one of two writers of a stream does.
#[derive(Clone, Copy, Debug)]
struct Deed {
    stream: u128,
    is_second: bool,
    n_events: u64,
    is_repeated: bool,
}

fn deed() -> impl Strategy<Value = Deed> {
    (0..STREAMS, any::<bool>(), 1..4_u64, any::<bool>()).prop_map(
        |(stream, is_second, n_events, is_repeated)| Deed {
            stream,
            is_second,
            n_events,
            is_repeated,
        },
    )
}

/// Does all of it; tells what was acknowledged, and what a reader saw beside it.
async fn work(place: &Place, deeds: &[Deed]) -> (Vec<Acknowledged>, Vec<Position>) {
    let logs = [place.open().await, place.open().await];
    let mut writers: Vec<Writer> = (0..2 * STREAMS).map(|n| Writer::new(n % STREAMS)).collect();
    let (mut acknowledged, mut seen) = (Vec::new(), Vec::new());
    for (n, deed) in (0_u64..).zip(deeds) {
        let log = &logs[usize::from(deed.is_second)].1;
        let place = usize::try_from(deed.stream).unwrap() + if deed.is_second { 3 } else { 0 };
        let writer = &mut writers[place];
        let command = Uuid::new_v5(&id(deed.stream), &n.to_be_bytes());
        for _ in 0..=usize::from(deed.is_repeated) {
            match log.append(writer.command(command, deed.n_events)).await {
                Ok(appended) => {
                    let (stream, position) = (writer.stream.clone(), appended.position);
                    acknowledged.push(Acknowledged { stream, command, position });
                    (writer.sequence, writer.hash) = (appended.sequence, appended.hash);
                }
                // Somebody was faster: read what they did, and leave it at that.
                Err(AppendError::Conflict { .. }) => {
                    let tail = log.read_stream(&writer.stream, writer.sequence, 1_000).await;
                    if let Some(last) = tail.unwrap().last() {
                        (writer.sequence, writer.hash) = (last.sequence, last.hash);
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
        let page = log.read_all(seen.last().copied().unwrap_or(0), 2).await.unwrap();
        seen.extend(page.iter().map(|event| event.position));
    }
    for (database, log) in &logs {
        log.close().await;
        database.close().await;
    }
    (acknowledged, seen)
}

/// Does all of it, and asks the oracle.
fn violations_of(place: &Place, deeds: &[Deed]) -> Vec<Violation> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (acknowledged, seen) = work(place, deeds).await;
        let database = place.database().await;
        let oracle = Oracle::read(&database).await.unwrap();
        let mut violations = oracle.check_log(&acknowledged);
        violations.extend(oracle.check_reader("the reader", &seen));
        database.close().await;
        violations
    })
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    proptest::collection::vec(deed(), 1..40)
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 12, ..Default::default() })]

    #[test]
    fn the_promises_hold_whatever_writers_do_on_sqlite(deeds in deeds()) {
        let violations = violations_of(&Place::sqlite(), &deeds);
        prop_assert!(violations.is_empty(), "{violations:?}");
    }
}

proptest! {
    // Fewer: each makes a database of its own on the server.
    #![proptest_config(proptest::test_runner::Config { cases: 4, ..Default::default() })]

    #[test]
    fn the_promises_hold_whatever_writers_do_on_postgres(deeds in deeds()) {
        let violations = violations_of(&Place::postgres(), &deeds);
        prop_assert!(violations.is_empty(), "{violations:?}");
    }
}

async fn the_oracle_sees_what_was_done_to_a_log(place: Place) {
    let (database, log) = place.open().await;
    let mut writer = Writer::new(1);
    let mut last = writer.append(&log, 2).await.unwrap();
    for _ in 0..3 {
        last = writer.append(&log, 2).await.unwrap();
    }
    let seen = async |acknowledged: &[Acknowledged]| {
        let oracle = Oracle::read(&database).await.unwrap();
        let violations = oracle.check_log(acknowledged).into_iter();
        violations.map(|violation| violation.invariant).collect::<Vec<_>>()
    };
    assert_eq!(seen(&[]).await, []);
    // A client was told of a command that nobody has, and of one somewhere else than it is.
    let stream = writer.stream.clone();
    let told = |command, position| Acknowledged { stream: stream.clone(), command, position };
    assert_eq!(seen(&[told(id(77), 1)]).await, [Invariant::Durability]);
    let command = Uuid::new_v5(&stream.id, &6_u64.to_be_bytes());
    assert_eq!(seen(&[told(command, last.position)]).await, []);
    let twice = [told(command, last.position), told(command, last.position - 1)];
    assert_eq!(seen(&twice).await, [Invariant::Idempotence, Invariant::Durability]);
    // A reader that missed one, and one that saw one twice.
    let oracle = Oracle::read(&database).await.unwrap();
    assert!(oracle.check_reader("whole", &[1, 2, 3]).is_empty());
    assert_eq!(oracle.check_reader("missed", &[1, 3]).len(), 1);
    assert_eq!(oracle.check_reader("twice", &[1, 1, 2]).len(), 1);
    // The last event was cut off.
    database.log().execute("DELETE FROM events WHERE position = 8", ()).await.unwrap();
    assert_eq!(seen(&[]).await, [Invariant::SingleHistory]);
    // Two sets of events under one command.
    database.log().execute("UPDATE log_head SET position = 7", ()).await.unwrap();
    let change = "UPDATE events SET command_ordinal = 5 WHERE position = 4";
    database.log().execute(change, ()).await.unwrap();
    assert_eq!(seen(&[]).await, [Invariant::Idempotence]);
    log.close().await;
}
