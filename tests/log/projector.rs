//! Projections: rows and checkpoint move together, whatever happens in between.

use std::time::Duration;

use projections::{
    checkpoint::Checkpoints,
    database::Database,
    event_log::{EventLog, RecordedEvent},
    projection::{Projection, Recorded, Writes},
    projection_status::{Request, Requests, State, overview},
    projector::Projector,
    sql::{SqlPool, Value},
};
use uuid::Uuid;

use crate::support::{Place, Writer, id, now, on_both};

mod damage;

on_both! {
    rows_and_checkpoints_follow_the_log
    every_cut_and_every_repeat_gives_the_same_rows
    a_projector_torn_down_in_between_repeats_nothing
    a_failing_projection_is_parked_and_the_others_go_on
    a_panicking_projection_is_parked
    a_parked_projection_catches_up_when_asked_after_the_mend
    a_rebuild_that_was_asked_for_in_another_process_is_made
    a_rebuild_gives_the_same_rows
    a_rebuild_heals_a_parked_projection
    another_version_is_made_again_at_the_start
    an_event_that_cannot_be_decoded_is_passed_over_until_it_can
    a_client_waits_for_its_own_write
    without_permission_nothing_is_projected
    two_projectors_do_not_write_twice
    values_of_every_kind_come_back
}

/// What the tests' events say.
#[derive(Clone, Debug)]
struct Counted {
    n: i64,
}

fn decode(event: &RecordedEvent) -> Result<Option<Counted>, String> {
    let payload: serde_json::Value =
        serde_json::from_str(&event.payload).map_err(|error| error.to_string())?;
    Ok(Some(Counted { n: payload["n"].as_i64().ok_or("no n")? }))
}

/// Cannot make sense of number 4.
fn decode_not_4(event: &RecordedEvent) -> Result<Option<Counted>, String> {
    match decode(event)? {
        Some(Counted { n: 4 }) => Err("4 is from the future".into()),
        counted => Ok(counted),
    }
}

/// Sums per stream: a statement that adds, so that a repeated one would show.
struct Sums;

impl Projection<Counted> for Sums {
    const NAME: &'static str = "sums";
    const TABLES: &'static [&'static str] = &["sums"];

    fn project(&self, recorded: &Recorded<Counted>, writes: &mut Writes) {
        let (stream, n) = (recorded.stream.id, recorded.event.n);
        writes.add(
            "INSERT INTO sums (stream, total) VALUES ($1, $2)
             ON CONFLICT (stream) DO UPDATE SET total = sums.total + excluded.total",
            (stream, n),
        );
    }
}

/// One row per event: a plain insert, which is grouped.
struct Lines;

impl Projection<Counted> for Lines {
    const NAME: &'static str = "lines";
    const TABLES: &'static [&'static str] = &["lines", "counts"];

    fn project(&self, recorded: &Recorded<Counted>, writes: &mut Writes) {
        writes.add(
            "INSERT INTO lines (position, n, note) VALUES ($1, $2, $3)",
            (recorded.position, recorded.event.n, (recorded.event.n % 2 == 0).then_some("even")),
        );
        writes.add("UPDATE counts SET n_lines = n_lines + 1 WHERE id = $1", (1_i64,));
        if recorded.sequence == 1 {
            let insert = "INSERT INTO counts (id, n_lines) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            writes.add(insert, (1_i64, 1_i64));
        }
    }
}

/// The same as [`Lines`] in a later version that notes something else.
struct LaterLines;

impl Projection<Counted> for LaterLines {
    const NAME: &'static str = "lines";
    const VERSION: u32 = 2;
    const TABLES: &'static [&'static str] = &["lines", "counts"];

    fn project(&self, recorded: &Recorded<Counted>, writes: &mut Writes) {
        writes.add(
            "INSERT INTO lines (position, n, note) VALUES ($1, $2, $3)",
            (recorded.position, recorded.event.n, "later"),
        );
    }
}

/// Fails or panics at number 5.
struct Failing {
    is_panicking: bool,
}

impl Projection<Counted> for Failing {
    const NAME: &'static str = "failing";
    const TABLES: &'static [&'static str] = &["failing"];

    fn project(&self, recorded: &Recorded<Counted>, writes: &mut Writes) {
        assert!(!(self.is_panicking && recorded.event.n == 5), "at number 5");
        let position = if recorded.event.n == 5 { 1 } else { recorded.position };
        writes.add("INSERT INTO failing (position) VALUES ($1)", (position,));
    }
}

/// Opens a place and makes the tables of these projections, live and for rebuilds.
async fn open(place: &Place) -> (Database, EventLog) {
    let (database, log) = place.open().await;
    for table in [
        "sums (stream TEXT PRIMARY KEY, total BIGINT NOT NULL)",
        "lines (position BIGINT PRIMARY KEY, n BIGINT NOT NULL, note TEXT)",
        "counts (id BIGINT PRIMARY KEY, n_lines BIGINT NOT NULL)",
        "failing (position BIGINT PRIMARY KEY)",
    ] {
        let table = match place.is_postgres() {
            true => table.replace("stream TEXT", "stream UUID"),
            false => table.to_string(),
        };
        let create = format!("CREATE TABLE IF NOT EXISTS {table}");
        database.views().execute(&create, ()).await.unwrap();
    }
    (database, log)
}

fn projector(database: &Database, log: &EventLog) -> Projector<Counted> {
    Projector::new(database, log, decode).with(Sums).with(Lines)
}

/// All rows of the tables, in an order that does not depend on how they came.
async fn rows(views: &SqlPool) -> Vec<String> {
    let mut all = Vec::new();
    let sums = views.fetch_all("SELECT stream, total FROM sums ORDER BY stream", ()).await;
    for row in sums.unwrap() {
        all.push(format!("sum {} {}", row.uuid("stream").unwrap(), row.int("total").unwrap()));
    }
    let lines = views.fetch_all("SELECT position, n, note FROM lines ORDER BY position", ()).await;
    for row in lines.unwrap() {
        let note = row.text_option("note").unwrap();
        all.push(format!(
            "line {} {} {note:?}",
            row.int("position").unwrap(),
            row.int("n").unwrap()
        ));
    }
    for row in views.fetch_all("SELECT n_lines FROM counts", ()).await.unwrap() {
        all.push(format!("count {}", row.int("n_lines").unwrap()));
    }
    all
}

async fn clear(views: &SqlPool) {
    for table in ["sums", "lines", "counts", "failing", "checkpoints"] {
        views.execute(&format!("DELETE FROM {table}"), ()).await.unwrap();
    }
}

/// Appends to three streams in turn; event numbers are the sequences.
async fn append(log: &EventLog, writers: &mut [Writer], n_appends: usize) -> u64 {
    let mut position = 0;
    for n in 0..n_appends {
        let n_writers = writers.len();
        position = writers[n % n_writers].append(log, 1 + n as u64 % 3).await.unwrap().position;
    }
    position
}

fn writers() -> Vec<Writer> {
    (1..=3).map(Writer::new).collect()
}

async fn rows_and_checkpoints_follow_the_log(place: Place) {
    let (database, log) = open(&place).await;
    let head = append(&log, &mut writers(), 12).await;
    assert_eq!(projector(&database, &log).catch_up().await.unwrap(), head);
    let rows = rows(database.views()).await;
    assert_eq!(rows.iter().filter(|row| row.starts_with("line")).count() as u64, head);
    assert_eq!(rows.last().unwrap(), &format!("count {head}"));
    for checkpoint in Checkpoints::new(&database).list().await.unwrap() {
        assert_eq!((checkpoint.position, checkpoint.parked), (head, None));
    }
}

/// Each prefix of the log is projected first, and then the rest; all at once gives the same rows.
async fn every_cut_and_every_repeat_gives_the_same_rows(place: Place) {
    let (database, log) = open(&place).await;
    let head = append(&log, &mut writers(), 8).await;
    projector(&database, &log).catch_up().await.unwrap();
    let expected = rows(database.views()).await;
    for cut in 0..=head {
        clear(database.views()).await;
        // A log that ends at the cut: the same streams, written again as far as that.
        let part = Place::sqlite();
        let part_log = part.open().await.1;
        let mut part_writers = writers();
        for event in log.read_all(0, usize::try_from(cut).unwrap()).await.unwrap() {
            let writer = part_writers.iter_mut().find(|writer| writer.stream == event.stream);
            writer.unwrap().append(&part_log, 1).await.unwrap();
        }
        projector(&database, &part_log).catch_up().await.unwrap();
        // Twice, since after a crash a projector does not know whether it had finished.
        projector(&database, &log).catch_up().await.unwrap();
        projector(&database, &log).catch_up().await.unwrap();
        assert_eq!(rows(database.views()).await, expected, "cut at {cut}");
    }
}

async fn a_projector_torn_down_in_between_repeats_nothing(place: Place) {
    let (database, log) = open(&place).await;
    let mut writers = writers();
    for round in 0..10 {
        let head = append(&log, &mut writers, 30).await;
        let running = projector(&database, &log).start();
        if round % 2 == 0 {
            // Ended wherever it happens to be.
            running.close().await;
        } else {
            running.projected().wait_for(|position| *position >= head).await.unwrap();
        }
    }
    projector(&database, &log).catch_up().await.unwrap();
    let incremental = rows(database.views()).await;
    clear(database.views()).await;
    projector(&database, &log).catch_up().await.unwrap();
    assert_eq!(rows(database.views()).await, incremental);
}

async fn assert_parked(place: &Place, is_panicking: bool) {
    let (database, log) = open(place).await;
    let head = append(&log, &mut [Writer::new(1)], 9).await;
    let failing = || projector(&database, &log).with(Failing { is_panicking });
    assert_eq!(failing().catch_up().await.unwrap(), head);
    let checkpoints = Checkpoints::new(&database);
    let failed = checkpoints.get("failing").await.unwrap().unwrap();
    let parked = failed.parked.unwrap();
    assert_eq!(
        (failed.position, parked.position),
        (4, 5),
        "it waits before the event it cannot take"
    );
    assert!(!parked.error.is_empty());
    let kept = database.views().fetch_all("SELECT position FROM failing", ()).await.unwrap();
    assert_eq!(kept.len(), 4, "up to there its rows are kept");
    assert_eq!(checkpoints.position("lines").await.unwrap(), head, "the others go on");
    // It stays parked at the next start, until somebody says otherwise.
    failing().catch_up().await.unwrap();
    assert!(checkpoints.get("failing").await.unwrap().unwrap().parked.is_some());
    assert!(checkpoints.unpark("failing").await.unwrap());
    failing().catch_up().await.unwrap();
    assert!(checkpoints.get("failing").await.unwrap().unwrap().parked.is_some(), "nothing changed");
}

async fn a_failing_projection_is_parked_and_the_others_go_on(place: Place) {
    assert_parked(&place, false).await;
}

async fn a_panicking_projection_is_parked(place: Place) {
    assert_parked(&place, true).await;
}

/// What fails here is the table, so that it can be mended while the projector runs.
async fn a_parked_projection_catches_up_when_asked_after_the_mend(place: Place) {
    let (database, log) = open(&place).await;
    let mut writer = Writer::new(1);
    let running = projector(&database, &log).with(Failing { is_panicking: false }).start();
    assert_eq!(running.names(), ["sums", "lines", "failing"]);
    // The row that event 5 wants is there already: not its own, which the mend takes away.
    let head = append(&log, std::slice::from_mut(&mut writer), 7).await;
    running.projected().wait_for(|position| *position >= head).await.unwrap();
    let status = || async {
        let overview = overview(&database, &log, &["failing", "lines"], now()).await.unwrap();
        assert_eq!(overview.head, log.head().await.unwrap());
        (overview.projections[0].clone(), overview.projections[1].clone())
    };
    let (failing, lines) = status().await;
    assert_eq!((failing.state, failing.position), (State::Parked, 4));
    assert_eq!(failing.lag_events, head - 4);
    assert!(failing.parked_since.is_some() && failing.lag.is_some());
    assert_eq!((lines.state, lines.lag_events), (State::Running, 0), "the others go on");

    // Asked before the mend: it is parked again, at the same event.
    let requests = Requests::new(&database);
    requests.ask("failing", Request::Retry).await.unwrap();
    until(async || requests.list().await.unwrap().is_empty()).await;
    until(async || status().await.0.state == State::Parked).await;

    let mend = "DELETE FROM failing WHERE position = 1";
    database.views().execute(mend, ()).await.unwrap();
    requests.ask("failing", Request::Retry).await.unwrap();
    until(async || status().await.0.lag_events == 0).await;
    let (failing, _) = status().await;
    assert_eq!((failing.state, failing.parked, failing.parked_since), (State::Running, None, None));
    let rows = database.views().fetch_all("SELECT position FROM failing", ()).await.unwrap();
    assert_eq!(rows.len() as u64, head - 1, "one for each event, without the one that was removed");
    running.close().await;
}

async fn a_rebuild_that_was_asked_for_in_another_process_is_made(place: Place) {
    let (database, log) = open(&place).await;
    let head = append(&log, &mut writers(), 20).await;
    let running = projector(&database, &log).start();
    running.projected().wait_for(|position| *position >= head).await.unwrap();
    let before = rows(database.views()).await;
    let change = "UPDATE lines SET n = -1 WHERE position = 3";
    database.views().execute(change, ()).await.unwrap();
    let elsewhere = place.database().await;
    let requests = Requests::new(&elsewhere);
    requests.ask("lines", Request::Rebuild).await.unwrap();
    requests.ask("lines", Request::Retry).await.unwrap();
    requests.ask("unknown", Request::Rebuild).await.unwrap();
    until(async || requests.list().await.unwrap().is_empty()).await;
    assert_eq!(rows(database.views()).await, before);
    running.close().await;
}

/// Waits until a condition holds.
async fn until(is_met: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !is_met().await {
        assert!(tokio::time::Instant::now() < deadline, "it never came to that");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn a_rebuild_gives_the_same_rows(place: Place) {
    let (database, log) = open(&place).await;
    let mut writers = writers();
    let head = append(&log, &mut writers, 20).await;
    let running = projector(&database, &log).start();
    running.projected().wait_for(|position| *position >= head).await.unwrap();
    let before = rows(database.views()).await;
    let change = "UPDATE lines SET n = -1 WHERE position = 3";
    database.views().execute(change, ()).await.unwrap();
    let rebuilt = running.rebuild("lines").await;
    assert_eq!(rebuilt.unwrap(), head);
    assert_eq!(rows(database.views()).await, before);
    assert!(running.rebuild("unknown").await.is_err());
    let head = append(&log, &mut writers, 5).await;
    running.projected().wait_for(|position| *position >= head).await.unwrap();
}

async fn a_rebuild_heals_a_parked_projection(place: Place) {
    let (database, log) = open(&place).await;
    let head = append(&log, &mut [Writer::new(1)], 9).await;
    let parking = projector(&database, &log).with(Failing { is_panicking: false });
    parking.catch_up().await.unwrap();
    let checkpoints = Checkpoints::new(&database);
    assert!(checkpoints.get("failing").await.unwrap().unwrap().parked.is_some());

    /// The same, but right.
    struct Healed;
    impl Projection<Counted> for Healed {
        const NAME: &'static str = "failing";
        const TABLES: &'static [&'static str] = &["failing"];
        fn project(&self, recorded: &Recorded<Counted>, writes: &mut Writes) {
            writes.add("INSERT INTO failing (position) VALUES ($1)", (recorded.position,));
        }
    }
    let running = projector(&database, &log).with(Healed).start();
    assert_eq!(running.rebuild("failing").await.unwrap(), head);
    let healed = checkpoints.get("failing").await.unwrap().unwrap();
    assert_eq!((healed.position, healed.parked), (head, None));
    let kept = database.views().fetch_all("SELECT position FROM failing", ()).await.unwrap();
    assert_eq!(kept.len() as u64, head);
}

async fn another_version_is_made_again_at_the_start(place: Place) {
    let (database, log) = open(&place).await;
    let head = append(&log, &mut writers(), 12).await;
    projector(&database, &log).catch_up().await.unwrap();
    let later = Projector::new(&database, &log, decode).with(Sums).with(LaterLines);
    later.catch_up().await.unwrap();
    let rows = rows(database.views()).await;
    let n_later = rows.iter().filter(|row| row.contains("later")).count() as u64;
    assert_eq!(n_later, head);
    assert!(!rows.iter().any(|row| row.starts_with("count")), "what it does not write is gone");
    let checkpoint = Checkpoints::new(&database).get("lines").await.unwrap().unwrap();
    assert_eq!((checkpoint.version, checkpoint.position), (2, head));
}

async fn an_event_that_cannot_be_decoded_is_passed_over_until_it_can(place: Place) {
    let (database, log) = open(&place).await;
    let head = append(&log, &mut [Writer::new(1)], 9).await;
    let old = Projector::new(&database, &log, decode_not_4).with(Sums).with(Lines);
    assert_eq!(old.catch_up().await.unwrap(), head);
    let lines = rows(database.views()).await;
    assert_eq!(lines.iter().filter(|row| row.starts_with("line")).count() as u64, head - 1);
    projector(&database, &log).catch_up().await.unwrap();
    let lines = rows(database.views()).await;
    assert_eq!(lines.iter().filter(|row| row.starts_with("line")).count() as u64, head);
    assert!(lines.contains(&format!("sum {} {}", id(1), head * (head + 1) / 2)));
}

async fn a_client_waits_for_its_own_write(place: Place) {
    let (database, log) = open(&place).await;
    let running = projector(&database, &log).start();
    let mut projected = running.projected();
    let mut writer = Writer::new(1);
    for n in 1..=20 {
        let position = writer.append(&log, 1).await.unwrap().position;
        projected.wait_for(|projected| *projected >= position).await.unwrap();
        let lines = database.views().fetch_all("SELECT n FROM lines", ()).await.unwrap();
        assert_eq!(lines.len(), n);
    }
}

async fn without_permission_nothing_is_projected(place: Place) {
    let (database, log) = open(&place).await;
    let (permit, permitted) = tokio::sync::watch::channel(false);
    let running = projector(&database, &log).while_permitted(permitted).start();
    let head = append(&log, &mut writers(), 5).await;
    // The one with the permission; the other follows what it writes.
    projector(&database, &log).catch_up().await.unwrap();
    let mut projected = running.projected();
    projected.wait_for(|projected| *projected >= head).await.unwrap();
    let later = append(&log, &mut [Writer::new(9)], 5).await;
    assert_eq!(Checkpoints::new(&database).position("lines").await.unwrap(), head);
    permit.send(true).unwrap();
    projected.wait_for(|projected| *projected >= later).await.unwrap();
}

async fn two_projectors_do_not_write_twice(place: Place) {
    let (database, log) = open(&place).await;
    let (one, two) = (projector(&database, &log).start(), projector(&database, &log).start());
    let mut writers = writers();
    let mut head = 0;
    for _ in 0..10 {
        head = append(&log, &mut writers, 20).await;
    }
    for running in [&one, &two] {
        let caught_up = running.projected();
        let caught_up = tokio::time::timeout(Duration::from_secs(60), async move {
            let mut projected = caught_up;
            projected.wait_for(|projected| *projected >= head).await.map(|position| *position)
        });
        caught_up.await.expect("neither stands still").unwrap();
    }
    let incremental = rows(database.views()).await;
    one.close().await;
    two.close().await;
    clear(database.views()).await;
    projector(&database, &log).catch_up().await.unwrap();
    assert_eq!(rows(database.views()).await, incremental);
}

async fn values_of_every_kind_come_back(place: Place) {
    let (database, _log) = open(&place).await;
    let views = database.views();
    let create = match place.is_postgres() {
        true => {
            "CREATE TABLE kinds (a BIGINT, b DOUBLE PRECISION, c TEXT, d BYTEA, e BOOLEAN, f UUID, g BIGINT)"
        }
        false => {
            "CREATE TABLE kinds (a INTEGER, b REAL, c TEXT, d BLOB, e BOOLEAN, f TEXT, g INTEGER)"
        }
    };
    views.execute(create, ()).await.unwrap();
    let insert = "INSERT INTO kinds (a, b, c, d, e, f, g) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let (uuid, time) = (Uuid::from_u128(7), crate::support::now());
    views.execute(insert, (-5_i64, 0.5, "Zoë", vec![0_u8, 255], true, uuid, time)).await.unwrap();
    views.execute(insert, vec![Value::Null; 7]).await.unwrap();
    let by_value = "SELECT a, b, c, d, e, f, g FROM kinds WHERE f = $1 AND g <= $2 AND e = $3";
    let row = views.fetch_optional(by_value, (uuid, time, true)).await.unwrap().unwrap();
    assert_eq!((row.int("a").unwrap(), row.real("b").unwrap()), (-5, 0.5));
    assert_eq!(row.text("c").unwrap(), "Zoë");
    assert_eq!(row.bytes("d").unwrap(), [0, 255]);
    assert!(row.bool("e").unwrap());
    assert_eq!((row.uuid("f").unwrap(), row.time("g").unwrap()), (uuid, time));
    let empty = "SELECT a, c, d, f, g FROM kinds WHERE a IS NULL";
    let row = views.fetch_optional(empty, ()).await.unwrap().unwrap();
    assert_eq!(row.int_option("a").unwrap(), None);
    assert_eq!(row.text_option("c").unwrap(), None);
    assert_eq!(row.bytes_option("d").unwrap(), None);
    assert_eq!((row.uuid_option("f").unwrap(), row.time_option("g").unwrap()), (None, None));
}
