//! What the log does, whatever database is below it.

use std::{collections::HashSet, time::Duration};

use projections::{
    database::Database,
    event_log::{APPEND_BYTES_MAX, AppendError, Cause, EventLog, FIRST_HASH, NewContent, Options},
    lease_row::LeaseRow,
    meta::Meta,
};

use crate::support::{Place, Writer, assert_whole, event, id, now, on_both};

on_both! {
    appended_events_are_read_back_as_written
    a_stream_is_read_from_any_sequence
    an_append_behind_the_stream_is_a_conflict
    an_append_ahead_of_the_stream_is_a_conflict
    an_append_that_is_chained_to_something_else_is_refused
    a_repeated_command_gets_its_first_answer
    a_command_repeated_in_one_batch_is_recorded_once
    a_command_is_found_by_its_id
    a_bad_append_does_not_take_others_with_it
    an_append_without_events_or_with_broken_json_is_refused
    an_append_beyond_the_limits_is_refused
    a_full_append_is_taken
    content_is_stored_with_its_event_or_not_at_all
    many_writers_leave_no_gap
    of_racers_on_one_stream_one_wins
    a_busy_project_does_not_hold_up_a_quiet_one
    the_watch_shows_every_append
    the_watch_shows_appends_of_another_process
    what_was_appended_is_there_after_reopening
    a_closed_log_appends_what_was_queued_and_refuses_the_rest
    a_caller_that_goes_away_does_not_cut_its_append
    a_clock_that_is_set_back_changes_no_order
    a_log_from_a_newer_program_is_left_alone
    an_append_under_an_old_lease_is_fenced
    a_raised_installation_epoch_fences_the_running_log
    two_processes_share_one_order
    a_log_opened_for_reading_shows_what_is_there_and_takes_nothing
}

async fn appended_events_are_read_back_as_written(place: Place) {
    let (_database, log) = place.open().await;
    let writer = Writer::new(1);
    let mut append = writer.command(id(100), 2);
    append.metadata.causation = Some(Cause::Event(7));
    append.events[1].payload = "{ \"text\" : \"Zoë \\u0000 ☂\",\n\"b\":1.0, \"a\":1e2}".into();
    let metadata = append.metadata.clone();
    let appended = log.append(append.clone()).await.unwrap();
    assert_eq!((appended.position, appended.sequence, appended.is_repeat), (2, 2, false));
    let events = log.read_all(0, 10).await.unwrap();
    assert_eq!(events, log.read_stream(&writer.stream, 0, 10).await.unwrap());
    assert_eq!(events.len(), 2);
    for (event, new) in events.iter().zip(&append.events) {
        assert_eq!(event.payload, new.payload, "byte for byte");
        assert_eq!(event.event_type, new.event_type);
        assert_eq!(event.event_version, new.event_version);
        assert_eq!(event.metadata, metadata);
        assert_eq!(event.metadata_text, metadata.to_canonical_json());
        assert_eq!(event.stream, writer.stream);
    }
    assert_eq!(events[1].hash, appended.hash);
    assert_whole(&log).await;
}

async fn a_stream_is_read_from_any_sequence(place: Place) {
    let (_database, log) = place.open().await;
    let (mut one, mut two) = (Writer::new(1), Writer::new(2));
    for _ in 0..5 {
        one.append(&log, 2).await.unwrap();
        two.append(&log, 1).await.unwrap();
    }
    let sequences = |events: Vec<projections::event_log::RecordedEvent>| -> Vec<u64> {
        events.iter().map(|event| event.sequence).collect()
    };
    assert_eq!(sequences(log.read_stream(&one.stream, 7, 100).await.unwrap()), [8, 9, 10]);
    assert_eq!(sequences(log.read_stream(&one.stream, 2, 3).await.unwrap()), [3, 4, 5]);
    assert_eq!(sequences(log.read_stream(&two.stream, 5, 3).await.unwrap()), [0_u64; 0]);
    assert_eq!(log.read_all(13, 100).await.unwrap().len(), 2);
    assert_eq!(log.read_kind("counter", 13, 100).await.unwrap().len(), 2);
    assert_eq!(log.read_kind("other", 0, 100).await.unwrap().len(), 0);
    assert_eq!(log.head().await.unwrap(), 15);
}

async fn an_append_behind_the_stream_is_a_conflict(place: Place) {
    let (_database, log) = place.open().await;
    let mut writer = Writer::new(1);
    writer.append(&log, 3).await.unwrap();
    let stale = Writer::new(1).command(id(100), 1);
    let refused = log.append(stale).await;
    assert!(matches!(refused, Err(AppendError::Conflict { actual: 3 })), "{refused:?}");
    assert_eq!(assert_whole(&log).await, 3);
}

async fn an_append_ahead_of_the_stream_is_a_conflict(place: Place) {
    let (_database, log) = place.open().await;
    let ahead = Writer { sequence: 5, ..Writer::new(1) };
    let refused = log.append(ahead.command(id(100), 1)).await;
    assert!(matches!(refused, Err(AppendError::Conflict { actual: 0 })), "{refused:?}");
    assert_eq!(assert_whole(&log).await, 0);
}

async fn an_append_that_is_chained_to_something_else_is_refused(place: Place) {
    let (_database, log) = place.open().await;
    let mut writer = Writer::new(1);
    writer.append(&log, 1).await.unwrap();
    writer.hash = FIRST_HASH;
    let refused = log.append(writer.command(id(100), 1)).await;
    assert!(matches!(refused, Err(AppendError::Failed { .. })), "{refused:?}");
    assert_eq!(assert_whole(&log).await, 1);
}

async fn a_repeated_command_gets_its_first_answer(place: Place) {
    let (_database, log) = place.open().await;
    let mut writer = Writer::new(1);
    let command = writer.command(id(100), 2);
    let first = log.append(command.clone()).await.unwrap();
    (writer.sequence, writer.hash) = (first.sequence, first.hash);
    writer.append(&log, 4).await.unwrap();
    // As sent the first time, and as decided again on the newer state.
    for repeated in [command, writer.command(id(100), 1)] {
        let answer = log.append(repeated).await.unwrap();
        assert!(answer.is_repeat);
        assert_eq!((answer.position, answer.sequence, answer.hash), (2, 2, first.hash));
    }
    assert_eq!(assert_whole(&log).await, 6);
}

async fn a_command_repeated_in_one_batch_is_recorded_once(place: Place) {
    let (_database, log) = place.open().await;
    let command = Writer::new(1).command(id(100), 2);
    let answers = futures_util::future::join_all((0..20).map(|_| log.append(command.clone())));
    let answers: Vec<_> = answers.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.is_repeat).count(), 1);
    assert!(answers.iter().all(|answer| answer.position == 2));
    assert_eq!(assert_whole(&log).await, 2);
}

async fn a_command_is_found_by_its_id(place: Place) {
    let (_database, log) = place.open().await;
    let writer = Writer::new(1);
    let appended = log.append(writer.command(id(100), 3)).await.unwrap();
    let found = log.find_command(&writer.stream, id(100)).await.unwrap().unwrap();
    assert!(found.is_repeat);
    assert_eq!((found.position, found.hash), (appended.position, appended.hash));
    assert_eq!(log.find_command(&writer.stream, id(101)).await.unwrap(), None);
    assert_eq!(log.find_command(&Writer::new(2).stream, id(100)).await.unwrap(), None);
}

async fn a_bad_append_does_not_take_others_with_it(place: Place) {
    let (_database, log) = place.open().await;
    let content =
        NewContent { id: id(500), project: id(9), nonce: vec![1; 12], ciphertext: vec![2; 40] };
    let mut appends: Vec<_> = (1..=30).map(|n| Writer::new(n).command(id(100 + n), 1)).collect();
    // The same content id twice is refused by the database, which fails a whole statement.
    for append in appends.iter_mut().take(2) {
        append.contents.push(content.clone());
    }
    let outcomes = futures_util::future::join_all(appends.into_iter().map(|a| log.append(a))).await;
    let n_failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert_eq!(n_failed, 1, "{outcomes:?}");
    assert_eq!(assert_whole(&log).await, 29);
}

async fn an_append_without_events_or_with_broken_json_is_refused(place: Place) {
    let (_database, log) = place.open().await;
    let writer = Writer::new(1);
    let mut broken = writer.command(id(101), 1);
    broken.events[0].payload = "{\"n\":}".into();
    let mut nameless = writer.command(id(102), 1);
    nameless.events[0].event_type = String::new();
    for malformed in [writer.command(id(100), 0), broken, nameless] {
        let refused = log.append(malformed).await;
        assert!(matches!(refused, Err(AppendError::Failed { .. })), "{refused:?}");
    }
    assert_eq!(assert_whole(&log).await, 0);
}

async fn an_append_beyond_the_limits_is_refused(place: Place) {
    let (_database, log) = place.open().await;
    let writer = Writer::new(1);
    let too_many = writer.command(id(100), 513);
    let mut too_large = writer.command(id(101), 1);
    too_large.events[0].payload = format!("\"{}\"", "x".repeat(APPEND_BYTES_MAX));
    for beyond in [too_many, too_large] {
        let refused = log.append(beyond).await;
        assert!(matches!(refused, Err(AppendError::TooLarge { .. })), "{refused:?}");
    }
    assert_eq!(assert_whole(&log).await, 0);
}

async fn a_full_append_is_taken(place: Place) {
    let (_database, log) = place.open().await;
    let mut writer = Writer::new(1);
    assert_eq!(writer.append(&log, 512).await.unwrap().position, 512);
    let mut large = writer.command(id(100), 1);
    large.project = Some(id(9));
    large.events[0].payload = format!("\"{}\"", "x".repeat(3 << 20));
    let large = log.append(large).await.unwrap();
    assert_eq!(large.position, 513);
    assert_eq!(assert_whole(&log).await, 513);
}

async fn content_is_stored_with_its_event_or_not_at_all(place: Place) {
    let (_database, log) = place.open().await;
    let mut writer = Writer::new(1);
    let content = |n: u8| NewContent {
        id: id(u128::from(n)),
        project: id(9),
        nonce: vec![n; 12],
        ciphertext: vec![n; 300],
    };
    let mut append = writer.command(id(100), 1);
    append.contents = vec![content(1), content(2)];
    let appended = log.append(append).await.unwrap();
    let mut lost = writer.command(id(101), 1);
    lost.contents = vec![content(3)];
    assert!(log.append(lost).await.is_err(), "it is a conflict");
    (writer.sequence, writer.hash) = (appended.sequence, appended.hash);
    writer.append(&log, 1).await.unwrap();
    let found = log.contents(&[id(1), id(2), id(3)]).await.unwrap();
    assert_eq!(found.len(), 2);
    for stored in found {
        let n = u8::try_from(stored.id.as_u128()).unwrap();
        assert_eq!((stored.nonce, stored.ciphertext), (vec![n; 12], vec![n; 300]));
        assert_eq!(stored.project, id(9));
    }
    assert!(log.contents(&[]).await.unwrap().is_empty());
}

async fn many_writers_leave_no_gap(place: Place) {
    const WRITERS: u128 = 24;
    const APPENDS: u64 = 25;
    let (_database, log) = place.open().await;
    let writing = (0..WRITERS).map(|n| {
        let log = log.clone();
        async move {
            let mut writer = Writer::new(n);
            for k in 0..APPENDS {
                writer.append(&log, 1 + k % 3).await.unwrap();
            }
            writer.sequence
        }
    });
    let written: u64 = futures_util::future::join_all(writing).await.into_iter().sum();
    assert_eq!(assert_whole(&log).await, written);
}

async fn of_racers_on_one_stream_one_wins(place: Place) {
    let (_database, log) = place.open().await;
    for round in 0..10 {
        let racers = (0..8).map(|n| log.append(Writer::new(round).command(id(1000 + n), 1)));
        let outcomes = futures_util::future::join_all(racers).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let conflicts = outcomes
            .iter()
            .filter(|outcome| matches!(outcome, Err(AppendError::Conflict { actual: 1 })));
        assert_eq!(conflicts.count(), 7);
    }
    assert_eq!(assert_whole(&log).await, 10);
}

async fn a_busy_project_does_not_hold_up_a_quiet_one(place: Place) {
    let (_database, log) = place.open().await;
    let busy = (0..1000).map(|n| {
        let mut append = Writer::new(n).command(id(10_000 + n), 1);
        append.project = Some(id(1));
        append
    });
    let mut quiet = Writer::new(5000).command(id(5000), 1);
    quiet.project = Some(id(2));
    let busy: Vec<_> = busy.map(|append| log.append(append)).collect();
    let busy = futures_util::future::join_all(busy);
    let quiet = async {
        // Polled after all of the busy ones, so it stands at the end of the queue.
        let mut appending = std::pin::pin!(log.append(quiet));
        let polled = futures_util::poll!(appending.as_mut());
        // Read once it is handed over: however long this thread is kept from going on, nothing comes between.
        let head = *log.watch().borrow();
        let appended = match polled {
            std::task::Poll::Ready(appended) => appended,
            std::task::Poll::Pending => appending.await,
        };
        (head, appended.unwrap().position)
    };
    // Without tokio's budget, which would hold back most of the busy ones and the quiet one.
    let both = tokio::task::unconstrained(futures_util::future::join(busy, quiet));
    let (busy, (head, quiet)) = both.await;
    assert!(busy.into_iter().all(|outcome| outcome.is_ok()));
    // One batch may be under way and one may have been put together; each has 64 rows of the busy one.
    assert!(quiet <= head + 3 * 65, "the quiet one came at {quiet}, after {head}");
    assert_eq!(assert_whole(&log).await, 1001);
}

async fn the_watch_shows_every_append(place: Place) {
    let (_database, log) = place.open().await;
    let mut head = log.watch();
    let mut writer = Writer::new(1);
    for _ in 0..20 {
        let position = writer.append(&log, 2).await.unwrap().position;
        assert!(*head.borrow_and_update() >= position, "it is awake before the caller is answered");
    }
}

async fn the_watch_shows_appends_of_another_process(place: Place) {
    let (_database, log) = place.open().await;
    let (_other_database, other) = place.open().await;
    let mut head = log.watch();
    let mut writer = Writer::new(1);
    let position = writer.append(&other, 2).await.unwrap().position;
    let waited =
        tokio::time::timeout(Duration::from_secs(60), head.wait_for(|head| *head >= position));
    waited.await.expect("a notification or the poll").unwrap();
}

async fn what_was_appended_is_there_after_reopening(place: Place) {
    let (database, log) = place.open().await;
    let mut writer = Writer::new(1);
    writer.append(&log, 3).await.unwrap();
    log.close().await;
    database.close().await;
    let (_database, log) = place.open().await;
    assert_eq!(*log.watch().borrow(), 3);
    writer.append(&log, 2).await.unwrap();
    assert_eq!(assert_whole(&log).await, 5);
}

async fn a_closed_log_appends_what_was_queued_and_refuses_the_rest(place: Place) {
    let (_database, log) = place.open().await;
    let appends = (0..200).map(|n| log.append(Writer::new(n).command(id(n), 1)));
    let appends = futures_util::future::join_all(appends);
    let closing = log.close();
    let (outcomes, ()) = futures_util::future::join(appends, closing).await;
    let n_recorded = outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64;
    assert_eq!(assert_whole(&log).await, n_recorded, "answered is recorded, and nothing else");
    let refused = log.append(Writer::new(900).command(id(900), 1)).await;
    assert!(matches!(refused, Err(AppendError::Failed { .. })));
}

async fn a_caller_that_goes_away_does_not_cut_its_append(place: Place) {
    let (_database, log) = place.open().await;
    let writer = Writer::new(1);
    let mut append = Box::pin(log.append(writer.command(id(100), 2)));
    // Polled once, which hands it over, and then dropped. It may have been quick enough to be answered.
    let _ = futures_util::poll!(&mut append);
    drop(append);
    let mut head = log.watch();
    head.wait_for(|head| *head == 2).await.unwrap();
    assert!(log.find_command(&writer.stream, id(100)).await.unwrap().is_some());
}

/// Order is positions; times are only told.
async fn a_clock_that_is_set_back_changes_no_order(place: Place) {
    let (_database, log) = place.open().await;
    let mut writer = Writer::new(1);
    writer.append(&log, 1).await.unwrap();
    let mut append = writer.command(id(100), 2);
    append.metadata.at -= chrono::TimeDelta::hours(1);
    let appended = log.append(append).await.unwrap();
    (writer.sequence, writer.hash) = (appended.sequence, appended.hash);
    writer.append(&log, 1).await.unwrap();
    let events = log.read_all(0, 10).await.unwrap();
    let hours: Vec<_> =
        events.iter().map(|event| (now() - event.metadata.at).num_hours()).collect();
    assert_eq!(hours, [0, 1, 1, 0], "as they were recorded, with the times that were told");
    assert_eq!(assert_whole(&log).await, 4);
}

async fn a_log_from_a_newer_program_is_left_alone(place: Place) {
    let (database, log) = place.open().await;
    Writer::new(1).append(&log, 1).await.unwrap();
    let is_true = if place.is_postgres() { "true" } else { "1" };
    let newer = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'newer', {is_true}, $1, 0)"
    );
    database.log().execute(&newer, (vec![0_u8],)).await.unwrap();
    log.close().await;
    database.close().await;
    let refused = Database::open(&place.url, place.directory.path()).await.unwrap_err().to_string();
    assert!(refused.contains("newer SAM") && refused.contains("9999"), "{refused}");
    assert!(!refused.contains('\n'), "one sentence: {refused}");
}

async fn an_append_under_an_old_lease_is_fenced(place: Place) {
    let (database, log) = place.open().await;
    let lease = LeaseRow::new(&database);
    let old = lease.acquire(id(1), Duration::ZERO).await.unwrap().unwrap();
    let mut writer = Writer::new(1);
    let mut append = writer.command(id(100), 1);
    append.epoch = Some(old.epoch);
    let appended = log.append(append).await.unwrap();
    (writer.sequence, writer.hash) = (appended.sequence, appended.hash);
    let new = lease.acquire(id(2), Duration::from_secs(9)).await.unwrap().unwrap();
    assert!(new.epoch > old.epoch);
    let mut append = writer.command(id(101), 1);
    append.epoch = Some(old.epoch);
    let fenced = log.append(append.clone()).await;
    assert!(matches!(fenced, Err(AppendError::Fenced)), "{fenced:?}");
    append.epoch = Some(new.epoch);
    log.append(append).await.unwrap();
    assert_eq!(assert_whole(&log).await, 2);
}

async fn a_raised_installation_epoch_fences_the_running_log(place: Place) {
    let (database, log) = place.open().await;
    let mut writer = Writer::new(1);
    writer.append(&log, 1).await.unwrap();
    assert_eq!(Meta::new(&database).raise_epoch().await.unwrap(), 2);
    let fenced = writer.append(&log, 1).await;
    assert!(matches!(fenced, Err(AppendError::Fenced)), "{fenced:?}");
    let (_database, log) = place.open().await;
    writer.append(&log, 1).await.unwrap();
}

async fn two_processes_share_one_order(place: Place) {
    let logs: [(Database, EventLog); 2] = [place.open().await, place.open().await];
    let writing = (0..12_u128).map(|n| {
        let log = logs[usize::try_from(n % 2).unwrap()].1.clone();
        async move {
            // Pairs share a stream, so the two processes also fight for it.
            let mut writer = Writer::new(n / 2);
            let mut n_won = 0;
            while n_won < 10 {
                let command = uuid::Uuid::new_v5(&id(n), &writer.sequence.to_be_bytes());
                let mut append = writer.command(command, 1);
                append.events = vec![event(n_won)];
                match log.append(append).await {
                    Ok(appended) => {
                        (writer.sequence, writer.hash) = (appended.sequence, appended.hash);
                        n_won += 1;
                    }
                    Err(AppendError::Conflict { .. }) => {
                        let tail = log.read_stream(&writer.stream, writer.sequence, 100).await;
                        let last = tail.unwrap().pop().expect("somebody was faster");
                        (writer.sequence, writer.hash) = (last.sequence, last.hash);
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    });
    futures_util::future::join_all(writing).await;
    assert_eq!(assert_whole(&logs[0].1).await, 120);
    let streams: HashSet<_> =
        logs[1].1.read_all(0, 200).await.unwrap().into_iter().map(|event| event.stream).collect();
    assert_eq!(streams.len(), 6);
}

async fn a_log_opened_for_reading_shows_what_is_there_and_takes_nothing(place: Place) {
    let read_only = || Database::open_read_only(&place.url, place.directory.path());
    if let Ok(empty) = read_only().await {
        let log = EventLog::open(&empty, Options::default()).await;
        assert!(log.is_err(), "nothing is made by reading");
    }
    let (database, log) = place.open().await;
    let mut writer = Writer::new(1);
    writer.append(&log, 2).await.unwrap();
    let beside = EventLog::open(&read_only().await.unwrap(), Options::default()).await.unwrap();
    assert_eq!(assert_whole(&beside).await, 2);
    writer.append(&log, 2).await.unwrap();
    assert_eq!(assert_whole(&beside).await, 4, "it sees what comes");
    let on_reader = read_only().await.unwrap();
    let write = on_reader.log().execute("UPDATE log_head SET position = 9", ()).await;
    assert!(write.is_err());
    log.close().await;
    database.close().await;
    let without = EventLog::open(&read_only().await.unwrap(), Options::default()).await.unwrap();
    assert_eq!(assert_whole(&without).await, 4, "no server is needed");
}

/// The poll alone must do, since a wake may be lost.
#[tokio::test]
async fn the_poll_finds_what_no_wake_told() {
    let place = Place::sqlite();
    let database = place.database().await;
    let options = Options { poll_interval: Duration::from_millis(10), ..Options::default() };
    let log = EventLog::open(&database, options).await.unwrap();
    let (_other, other) = place.open().await;
    Writer::new(1).append(&other, 1).await.unwrap();
    log.watch().wait_for(|head| *head == 1).await.unwrap();
}
