//! Tampering with the rows of a database is found, and so is a log that was cut back.

use actors::{
    audit::{self, FindingKind, Report, Trusted},
    clock::{SharedClock, simulated::SimulatedClock},
    settings::HeadSettings,
    signed_heads::{HeadMaker, HeadsError, check_high_water, file::HeadsFile, signed},
    signing::SigningKey,
};
use chrono::TimeDelta;
use domain::ids::InstallationId;
use projections::{
    audit_trail::{self, AuditFilter, AuditPage},
    database::Database,
    event_log::{EventLog, Position, RawEvent, RawLog, StreamId},
    meta::Meta,
    signed_heads::{SignedHead, SignedHeads},
};

use crate::{
    support::{Place, Writer, id, now, on_both},
    tampering::{heads_at, key, rechain},
};

on_both! {
    every_kind_of_tampering_is_found
    every_field_of_a_head_is_signed
    damaged_metadata_of_one_event_hides_no_other_from_a_filter
    a_rewritten_chain_with_heads_of_another_key_is_found
    what_no_head_protects_is_said
    only_heads_kept_outside_find_a_log_that_was_cut_back_with_its_heads
    heads_are_made_over_what_is_new_and_nothing_else
    a_life_that_ended_between_row_and_file_is_made_up_for
    a_database_behind_its_heads_file_is_refused
    a_raised_epoch_and_a_lost_lease_make_no_heads
}

/// A log with heads, as a running system makes them.
pub(crate) struct Audited {
    pub(crate) place: Place,
    pub(crate) database: Database,
    pub(crate) log: EventLog,
    pub(crate) maker: HeadMaker,
    writers: Vec<Writer>,
}

impl Audited {
    pub(crate) async fn new(place: Place) -> Self {
        let (database, log) = place.open().await;
        Meta::new(&database).installation(id(1)).await.unwrap();
        let clock: SharedClock = std::sync::Arc::new(SimulatedClock::new(now()));
        let maker = HeadMaker {
            database: database.clone(),
            log: log.clone(),
            key: key(),
            installation: InstallationId(id(1)),
            file: HeadsFile::new(place.directory.path().join("heads.ndjson")),
            settings: HeadSettings { events_max: 4, ..HeadSettings::default() },
            clock,
            lease: None,
        };
        let writers = (1..=3).map(Writer::new).collect();
        Self { place, database, log, maker, writers }
    }

    /// Three streams in turn, six events and a head, twice, and three events that no head protects.
    pub(crate) async fn filled(place: Place) -> Self {
        let mut audited = Self::new(place).await;
        for _ in 0..2 {
            audited.append(6).await;
            audited.maker.make_one().await.unwrap();
        }
        audited.append(3).await;
        audited
    }

    pub(crate) async fn append(&mut self, n_events: usize) {
        for n in 0..n_events {
            self.writers[n % 3].append(&self.log, 1).await.unwrap();
        }
    }

    pub(crate) async fn sql(&self, statement: &str) {
        self.database.log().execute(statement, ()).await.unwrap();
    }

    pub(crate) fn outside(&self) -> Vec<SignedHead> {
        self.maker.file.read().unwrap()
    }

    pub(crate) async fn verify(&self, outside: Option<Vec<SignedHead>>) -> Report {
        let trusted = Trusted { key: Some(key().public()), outside, ..Trusted::default() };
        audit::verify_database(&self.database, trusted).await.unwrap()
    }

    pub(crate) async fn rows(&self) -> Vec<RawEvent> {
        RawLog::new(&self.database).events(0, 1000, 1000).await.unwrap()
    }

    /// Puts the log's rows back as these, as somebody could who may write to the database.
    async fn replace(&self, rows: &[RawEvent]) {
        self.sql("DELETE FROM events").await;
        self.sql("UPDATE log_head SET position = 0").await;
        RawLog::new(&self.database).put(0, rows, &[]).await.unwrap();
    }
}

type Rows = Vec<RawEvent>;
type Tamper = fn(&mut Rows);

fn number(rows: &mut Rows) {
    (1..).zip(rows).for_each(|(position, row)| row.position = position);
}

async fn every_kind_of_tampering_is_found(place: Place) {
    let audited = Audited::filled(place).await;
    let before = audited.rows().await;
    let report = audited.verify(Some(audited.outside())).await;
    assert!(report.is_intact(), "{:?}", report.findings);
    assert_eq!((report.n_events, report.n_streams, report.n_heads), (15, 3, 2));
    let rows: [(&str, FindingKind, Tamper); 8] = [
        ("changed", FindingKind::Changed, |rows| rows[2].payload = "{\"n\":99}".into()),
        ("another time", FindingKind::Changed, |rows| {
            rows[3].metadata = rows[3].metadata.replace("2026", "2025");
        }),
        ("another command", FindingKind::Changed, |rows| rows[3].command = id(77)),
        ("another hash", FindingKind::Changed, |rows| rows[4].hash[9] ^= 1),
        ("swapped between streams", FindingKind::Changed, |rows| {
            rows.swap(3, 4);
            number(rows);
        }),
        ("swapped within a stream", FindingKind::Reordered, |rows| {
            rows.swap(0, 3);
            number(rows);
        }),
        ("rewritten with its hashes", FindingKind::Changed, |rows| {
            rows[2].payload = "{\"n\":99}".into();
            rechain(rows);
        }),
        ("removed, and closed up", FindingKind::Changed, |rows| {
            rows.remove(5);
            number(rows);
            rechain(rows);
        }),
    ];
    for (name, kind, tamper) in rows {
        let mut rows = before.clone();
        tamper(&mut rows);
        audited.replace(&rows).await;
        let report = audited.verify(None).await;
        assert!(report.findings.iter().any(|found| found.kind == kind), "{name}: {report:?}");
        audited.replace(&before).await;
    }
    let statements: [(&str, FindingKind, &str); 3] = [
        ("removed", FindingKind::Removed, "DELETE FROM events WHERE position = 4"),
        ("cut", FindingKind::Cut, "DELETE FROM events WHERE position > 9"),
        ("cut with the log's end", FindingKind::Cut, "UPDATE log_head SET position = 9"),
    ];
    for (name, kind, statement) in statements {
        if name == "cut with the log's end" {
            audited.sql("DELETE FROM events WHERE position > 9").await;
        }
        audited.sql(statement).await;
        let report = audited.verify(None).await;
        assert!(report.findings.iter().any(|found| found.kind == kind), "{name}: {report:?}");
        audited.replace(&before).await;
    }
    // Behind the end that the log says it has.
    let mut more = before[14].clone();
    (more.position, more.id) = (16, id(99).to_string());
    RawLog::new(&audited.database).put(15, &[more], &[]).await.unwrap();
    audited.sql("UPDATE log_head SET position = 15").await;
    let report = audited.verify(None).await;
    assert!(report.findings.iter().any(|found| found.kind == FindingKind::Inserted), "{report:?}");
}

/// It is found under its position, and not by whoever reads its stream. PostgreSQL has no such numbers.
#[tokio::test]
async fn an_event_with_the_number_of_another_stream_is_found() {
    let audited = Audited::filled(Place::sqlite()).await;
    audited.sql("INSERT INTO streams VALUES (99, 'counter', 'nobody')").await;
    audited.sql("UPDATE events SET stream = 99 WHERE position = 4").await;
    let report = audited.verify(None).await;
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    assert_eq!((finding.kind, finding.position), (FindingKind::Changed, Some(4)));
}

async fn damaged_metadata_of_one_event_hides_no_other_from_a_filter(place: Place) {
    let audited = Audited::filled(place).await;
    // PostgreSQL takes nothing but JSON there, and reads no text with this character in it.
    let damaged =
        if audited.place.is_postgres() { r#"{"actor":"\u0000"}"# } else { r#"{"actor":"# };
    audited.sql(&format!("UPDATE events SET metadata = '{damaged}' WHERE position = 4")).await;
    let (moment, second) = (now(), TimeDelta::seconds(1));
    let of_actor = AuditFilter { actor: Some("test".into()), ..AuditFilter::default() };
    let of_time =
        AuditFilter { from: Some(moment), until: Some(moment + second), ..AuditFilter::default() };
    for filter in [of_actor, of_time] {
        let listed = audit_trail::list(&audited.database, &filter, AuditPage::After(0), 100).await;
        let listed: Vec<Position> = listed.unwrap().iter().map(|entry| entry.position).collect();
        let others: Vec<Position> = (1..=15).filter(|position| *position != 4).collect();
        assert_eq!(listed, others, "{filter:?}");
    }
    let later = AuditFilter { from: Some(moment + second), ..AuditFilter::default() };
    let listed = audit_trail::list(&audited.database, &later, AuditPage::After(0), 100).await;
    assert_eq!(listed.unwrap(), []);
}

/// Only SQLite can be made to keep a row that cannot be read.
#[tokio::test]
async fn an_event_that_cannot_be_read_hides_nothing_before_it() {
    let mut audited = Audited::new(Place::sqlite()).await;
    audited.append(2).await;
    // A project that was erased according to nobody else, and a text that is nowhere.
    let writer = Writer { stream: StreamId::new("project", id(9)), ..Writer::new(9) };
    let mut append = writer.command(id(51), 1);
    append.events[0].event_type = "erased".into();
    let content = format!(r#"{{"id":"{}","length":1,"digest":"ab"}}"#, id(500));
    append.events[0].payload = format!(r#"{{"text":{content}}}"#);
    audited.log.append(append).await.unwrap();
    audited.append(2).await;
    let before = audited.verify(None).await;
    assert_eq!(before.findings.len(), 2, "{before:?}");
    audited.sql("UPDATE events SET command_id = 'nobody' WHERE position = 5").await;
    let report = audited.verify(None).await;
    let found: Vec<_> = report.findings.iter().map(|found| (found.kind, found.position)).collect();
    let erasure = (FindingKind::Erasure, Some(3));
    assert_eq!(found, [(FindingKind::Changed, Some(5)), erasure, erasure], "{report:?}");
}

async fn every_field_of_a_head_is_signed(place: Place) {
    for change in [
        "UPDATE signed_heads SET position = 5 WHERE number = 1",
        "UPDATE signed_heads SET epoch = epoch + 1 WHERE number = 1",
        "UPDATE signed_heads SET hash = previous WHERE number = 1",
        "UPDATE signed_heads SET previous = hash WHERE number = 1",
        "UPDATE signed_heads SET signed_at = signed_at + 1 WHERE number = 1",
        "UPDATE signed_heads SET installation = '00000000-0000-0000-0000-000000000002' WHERE number = 1",
        "UPDATE signed_heads SET signature = (SELECT signature FROM signed_heads WHERE number = 2)
            WHERE number = 1",
        "DELETE FROM signed_heads WHERE number = 1",
    ] {
        let again = if place.is_postgres() { Place::postgres() } else { Place::sqlite() };
        let audited = Audited::filled(again).await;
        assert_eq!(audited.verify(None).await.findings, [], "before");
        audited.sql(change).await;
        let report = audited.verify(None).await;
        let of_heads = report.findings.iter().filter(|found| found.kind == FindingKind::Head);
        assert_ne!(of_heads.count(), 0, "{change}: {report:?}");
    }
}

/// Everything is rewritten consistently, with heads signed by a key of the rewriter's own.
async fn a_rewritten_chain_with_heads_of_another_key_is_found(place: Place) {
    let audited = Audited::filled(place).await;
    let mut rows = audited.rows().await;
    rows[2].payload = "{\"n\":99}".into();
    rechain(&mut rows);
    audited.replace(&rows).await;
    let report = audited.verify(None).await;
    assert_eq!(report.findings[0].kind, FindingKind::Changed, "{report:?}");
    assert_eq!(report.findings[0].position, Some(6), "told by the first head over it");
    audited.sql("DELETE FROM signed_heads").await;
    let heads = SignedHeads::new(&audited.database);
    let own = SigningKey::from_seed(&[8; 32]);
    for (number, head) in (1..).zip(heads_at(&rows, &[6, 12])) {
        assert!(heads.put(number, &signed(&own, head), None).await.unwrap());
    }
    let report = audited.verify(None).await;
    assert!(report.findings.iter().all(|found| found.kind == FindingKind::Head), "{report:?}");
    assert_eq!(report.findings.len(), 2);
    assert_eq!(report.n_unprotected, 15);
}

async fn what_no_head_protects_is_said(place: Place) {
    let audited = Audited::filled(place).await;
    let mut rows = audited.rows().await;
    rows[13].payload = "{\"n\":99}".into();
    rechain(&mut rows);
    audited.replace(&rows).await;
    let report = audited.verify(Some(audited.outside())).await;
    assert!(report.is_intact(), "nobody could know: {report:?}");
    assert_eq!(report.n_unprotected, 3);
    assert!(report.limits[0].contains("3 events behind position 12"), "{:?}", report.limits);
    audited.maker.make_one().await.unwrap();
    let report = audited.verify(None).await;
    assert_eq!(report.n_unprotected, 0);
    assert!(report.limits.iter().any(|limit| limit.contains("--heads")), "{:?}", report.limits);
}

async fn only_heads_kept_outside_find_a_log_that_was_cut_back_with_its_heads(place: Place) {
    let audited = Audited::filled(place).await;
    audited.sql("DELETE FROM events WHERE position > 7").await;
    audited.sql("UPDATE log_head SET position = 7").await;
    audited.sql("DELETE FROM signed_heads WHERE position > 7").await;
    assert!(audited.verify(None).await.is_intact(), "it looks whole");
    let report = audited.verify(Some(audited.outside())).await;
    let kinds: Vec<FindingKind> = report.findings.iter().map(|found| found.kind).collect();
    assert_eq!(kinds, [FindingKind::Head, FindingKind::Cut], "{report:?}");
}

async fn positions(audited: &Audited) -> Vec<Position> {
    let heads = SignedHeads::new(&audited.database).list(0, 100).await.unwrap();
    let heads: Vec<SignedHead> = heads.into_iter().map(|(_, head)| head).collect();
    assert_eq!(heads, audited.outside(), "the file has what the table has");
    heads.iter().map(|head| head.position).collect()
}

async fn heads_are_made_over_what_is_new_and_nothing_else(place: Place) {
    let mut audited = Audited::new(place).await;
    audited.maker.make_one().await.unwrap();
    assert!(positions(&audited).await.is_empty(), "there is nothing to sign");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async move { stopped.await.unwrap() };
    let making = actors::tasks::Tasks::new();
    making.start_to_its_end("heads", audited.maker.clone().run(stopped));
    // Four events are enough for a head before its period is over; the clock stands still.
    audited.append(4).await;
    let heads = SignedHeads::new(&audited.database);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(120);
    while heads.newest().await.unwrap().is_none_or(|(_, head)| head.position < 4) {
        assert!(tokio::time::Instant::now() < deadline, "no head after four events");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    audited.append(1).await;
    stop.send(()).unwrap();
    making.stop().await;
    assert_eq!(positions(&audited).await.last(), Some(&5), "a last one at the end");
    let n_heads = positions(&audited).await.len();
    audited.maker.make_one().await.unwrap();
    assert_eq!(positions(&audited).await.len(), n_heads, "nothing new, no head");
    let report = audited.verify(Some(audited.outside())).await;
    assert!(report.is_intact() && report.n_unprotected == 0, "{report:?}");
}

async fn a_life_that_ended_between_row_and_file_is_made_up_for(place: Place) {
    let mut audited = Audited::filled(place).await;
    audited.maker.make_one().await.unwrap();
    let path = audited.maker.file.path().to_path_buf();
    let whole = std::fs::read(&path).unwrap();
    let line = whole.len() / 3;
    // Nothing of the last line, a part of it, and nothing at all.
    for kept in [2 * line + 1, whole.len() - 10, 0] {
        std::fs::write(&path, &whole[..kept]).unwrap();
        audited.maker.make_one().await.unwrap();
        assert_eq!(positions(&audited).await, [6, 12, 15]);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
    audited.append(2).await;
    audited.maker.make_one().await.unwrap();
    assert_eq!(positions(&audited).await, [6, 12, 15, 17]);
    assert!(audited.verify(Some(audited.outside())).await.is_intact());
}

async fn a_database_behind_its_heads_file_is_refused(place: Place) {
    let audited = Audited::filled(place).await;
    let check = || check_high_water(&audited.database, &audited.maker.file, &audited.maker.key);
    check().await.unwrap();
    let other = SigningKey::from_seed(&[8; 32]);
    let foreign = check_high_water(&audited.database, &audited.maker.file, &other).await;
    assert!(matches!(foreign, Err(HeadsError::Refused(_))), "{foreign:?}");
    audited.sql("DELETE FROM events WHERE position > 7").await;
    audited.sql("UPDATE log_head SET position = 7").await;
    let refused = check().await.unwrap_err().to_string();
    assert!(refused.contains("--accept-older-log"), "{refused}");
    audited.sql("DELETE FROM signed_heads WHERE position > 7").await;
    let refused = check().await.unwrap_err().to_string();
    assert!(refused.contains("position 12"), "{refused}");
    assert!(audited.maker.make_one().await.is_err(), "nothing is signed on it");
}

async fn a_raised_epoch_and_a_lost_lease_make_no_heads(place: Place) {
    let mut audited = Audited::filled(place).await;
    audited.maker.lease = Some(7);
    let fenced = audited.maker.make_one().await;
    assert!(matches!(fenced, Err(HeadsError::Fenced)), "{fenced:?}");
    assert_eq!(positions(&audited).await, [6, 12]);
    let heads = SignedHeads::new(&audited.database);
    let (number, newest) = heads.newest().await.unwrap().unwrap();
    let old = SignedHead { epoch: 9, ..newest.clone() };
    assert!(!heads.put(number + 1, &signed(&key(), old), None).await.unwrap());
    let twice = heads.put(number, &newest, None).await;
    assert!(twice.is_err(), "of two makers one gets the number");
}
