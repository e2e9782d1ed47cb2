//! Tampering with the ledger of erasures, and with texts and their keys, is found: in a database and in an
//! export. An erasure that is under way is none.

mod replicas;

use std::path::{Path, PathBuf};

use actors::{
    archive::{
        self, ArchiveError,
        copy::copy,
        export::{Choices, export},
        import::import,
    },
    audit::{self, FindingKind, Report, Trusted},
    clock::simulated::SimulatedClock,
    erasure::{Eraser, file::LedgerFile},
    sealing::Sealing,
    signing::SigningKey,
};
use domain::ids::{ContentId, InstallationId, ProjectId};
use projections::{
    database::Database,
    erasure_ledger::{ErasureLedger, NO_HASH, PROJECT, PURPOSE, SignedErasure},
    event_log::{RawLog, StreamId},
    keys::{Keys, WrappedKey},
};
use sqlx::{ConnectOptions as _, Executor as _, sqlite::SqliteConnectOptions};
use uuid::Uuid;

use crate::{
    audit::Audited,
    support::{Place, Writer, id, now, on_both},
    tampering::key,
};

on_both! {
    whatever_is_done_to_erasures_and_texts_is_found
    an_erasure_that_is_under_way_is_told_and_is_no_tampering
    an_export_has_the_ledger_and_is_checked_without_a_database
    texts_are_in_clear_only_in_an_export_that_was_asked_for_them
    texts_that_were_erased_after_an_export_are_not_exported_again
    the_ledger_moves_with_its_log
}

const FIRST: u128 = 9001;
const SECOND: u128 = 9002;
/// Not erased.
const KEPT: u128 = 9003;
const PROJECTS: [u128; 3] = [FIRST, SECOND, KEPT];
const WITH_KEYS: Choices = Choices { texts: None, has_keys: true };

/// A log with three projects that have a text each. Two of them were erased.
struct Erased {
    audited: Audited,
    eraser: Eraser,
}

impl Erased {
    async fn new(place: Place) -> Self {
        let erased = Self::before(place).await;
        for project in [FIRST, SECOND] {
            erased.erase(project).await;
        }
        erased
    }

    /// Before anything was erased.
    async fn before(place: Place) -> Self {
        let audited = Audited::new(place).await;
        let (database, log) = (audited.database.clone(), audited.log.clone());
        let directory = audited.place.directory.path();
        let clock = std::sync::Arc::new(SimulatedClock::new(now()));
        let sealing = Sealing::open(&database, &log, directory, clock.clone()).unwrap();
        for project in PROJECTS {
            let text = format!("what {project} wants");
            let id = ContentId(id(project + 100));
            let sealed = sealing.seal(ProjectId(self::id(project)), id, &text).await.unwrap();
            let writer = Writer { stream: stream(project), ..Writer::new(0) };
            let mut append = writer.command(self::id(project + 200), 1);
            append.events[0].event_type = "linked".into();
            append.events[0].payload = serde_json::to_string(&sealed.0).unwrap();
            append.contents = vec![sealed.1];
            log.append(append).await.unwrap();
        }
        // As the first life of a system makes it, in the table of keys; entries are signed by another here.
        sealing.signing_key().await.unwrap();
        let file = LedgerFile::of(directory);
        let installation = InstallationId(self::id(1));
        let one_at_a_time = std::sync::Arc::default();
        let key = key();
        let eraser =
            Eraser { database, log, sealing, key, installation, file, clock, one_at_a_time };
        Self { audited, eraser }
    }

    async fn erase(&self, project: u128) {
        self.eraser.erase(PROJECT, id(project)).await.unwrap();
        self.say_erased(project).await;
    }

    /// What the project's stream records at the end of an erasure.
    async fn say_erased(&self, project: u128) {
        let events = self.eraser.log.read_stream(&stream(project), 0, 1).await.unwrap();
        let writer = Writer { stream: stream(project), sequence: 1, hash: events[0].hash };
        let mut append = writer.command(id(project + 300), 1);
        append.events[0].event_type = "erased".into();
        self.eraser.log.append(append).await.unwrap();
    }

    fn database(&self) -> &Database {
        &self.audited.database
    }

    fn trusted(&self) -> Trusted {
        let erasures = self.eraser.file.read().unwrap();
        Trusted { key: Some(key().public()), outside: None, erasures }
    }

    async fn verify(&self) -> Report {
        audit::verify_database(self.database(), self.trusted()).await.unwrap()
    }

    fn file(&self) -> PathBuf {
        self.audited.place.directory.path().join("log.ndjson")
    }

    async fn for_tables(&self, statements: &[&str]) {
        for table in ["erasures", "contents", "keys"] {
            for statement in statements {
                self.audited.sql(&statement.replace("TABLE_NAME", table)).await;
            }
        }
    }

    async fn sql(&self, statement: &str, project: u128) {
        let log = self.database().log();
        log.execute(statement, (id(project),)).await.unwrap();
    }

    async fn put_text(&self, project: u128, text: &[u8]) {
        let put = "UPDATE contents SET ciphertext = $1 WHERE project = $2";
        self.database().log().execute(put, (text.to_vec(), id(project))).await.unwrap();
    }
}

fn stream(project: u128) -> StreamId {
    StreamId::new(PROJECT, id(project))
}

/// An entry that is signed, by whomever.
fn entry(key: &SigningKey, number: u64, project: u128, previous: [u8; 32]) -> SignedErasure {
    let mut entry = SignedErasure {
        installation: id(1),
        number,
        kind: PROJECT.to_owned(),
        subject: id(project),
        position: 3,
        previous,
        at: now(),
        signature: [0; 64],
    };
    entry.signature = key.sign(PURPOSE, &entry.message());
    entry
}

/// What somebody does who may write to the database.
#[derive(Clone, Copy, Debug)]
enum Tampering {
    ChangeEntry,
    ChangeSubject,
    RemoveFirstEntry,
    RemoveLastEntry,
    ForgeEntry,
    DestroyKey,
    EmptyText,
    RemoveText,
    BringKeyBack,
    BringTextBack,
}

impl Tampering {
    const ALL: [(Self, &'static str); 10] = [
        (Self::ChangeEntry, "erasure 1, of project"),
        (Self::ChangeSubject, "is not signed by this key"),
        (Self::RemoveFirstEntry, "the entry before erasure 2"),
        (Self::RemoveLastEntry, "says at position 5 that it was erased"),
        (Self::ForgeEntry, "is not signed by this key"),
        (Self::DestroyKey, "the key to the texts of project"),
        (Self::EmptyText, "are missing, and no erasure says why"),
        (Self::RemoveText, "erasing leaves a tombstone"),
        (Self::BringKeyBack, "has a key to its texts in spite of its erasure"),
        (Self::BringTextBack, "are there in spite of its erasure"),
    ];

    async fn happen(self, erased: &Erased) {
        match self {
            Self::ChangeEntry => {
                erased.sql("UPDATE erasures SET position = 1 WHERE subject = $1", FIRST).await;
            }
            Self::ChangeSubject => {
                let change = "UPDATE erasures SET subject = $1 WHERE number = 2";
                erased.sql(change, KEPT).await;
            }
            Self::RemoveFirstEntry => {
                erased.sql("DELETE FROM erasures WHERE subject = $1", FIRST).await;
            }
            Self::RemoveLastEntry => {
                erased.sql("DELETE FROM erasures WHERE subject = $1", SECOND).await;
            }
            Self::ForgeEntry => {
                let entries = ErasureLedger::new(erased.database()).list().await.unwrap();
                let own = SigningKey::from_seed(&[8; 32]);
                let forged = entry(&own, 3, KEPT, entries[1].digest());
                ErasureLedger::new(erased.database()).destroy_key(&forged).await.unwrap();
            }
            Self::DestroyKey => erased.sql("DELETE FROM keys WHERE scope = $1", KEPT).await,
            Self::EmptyText => erased.put_text(KEPT, &[]).await,
            Self::RemoveText => erased.sql("DELETE FROM contents WHERE project = $1", SECOND).await,
            Self::BringKeyBack => {
                let keys = Keys::new(erased.database());
                let key = keys.find("content", Some(id(KEPT))).await.unwrap().unwrap();
                let key = WrappedKey { id: id(77), scope: Some(id(FIRST)), ..key };
                keys.put(&key).await.unwrap();
            }
            Self::BringTextBack => erased.put_text(FIRST, &[7; 40]).await,
        }
    }
}

fn assert_found(tampering: Tampering, words: &str, report: &Report) {
    let is_erasure = |kind| kind == FindingKind::Erasure;
    assert!(
        report.findings.iter().all(|found| is_erasure(found.kind)),
        "{tampering:?}: {report:?}"
    );
    let found = report.findings.iter().any(|found| found.what.contains(words));
    assert!(found, "{tampering:?}: {report:?}");
    assert!(report.damage().is_none(), "the log itself is whole");
}

async fn whatever_is_done_to_erasures_and_texts_is_found(place: Place) {
    let erased = Erased::new(place).await;
    let report = erased.verify().await;
    assert!(report.is_intact() && report.notes.is_empty(), "{report:?}");
    assert_eq!((report.n_erasures, report.n_events), (2, 5));
    erased.for_tables(&["CREATE TABLE kept_TABLE_NAME AS SELECT * FROM TABLE_NAME"]).await;
    for (n, (tampering, words)) in Tampering::ALL.into_iter().enumerate() {
        tampering.happen(&erased).await;
        assert_found(tampering, words, &erased.verify().await);
        // The same without a database and without the file of erasures.
        let file = erased.file().with_extension(n.to_string());
        export(erased.database(), &file, &WITH_KEYS).await.unwrap();
        let trusted = Trusted { key: Some(key().public()), ..Trusted::default() };
        let report = archive::verify(&file, trusted).unwrap();
        match tampering {
            // Never exported, wherever it came from.
            Tampering::BringKeyBack => assert!(report.is_intact(), "{report:?}"),
            _ => assert_found(tampering, words, &report),
        }
        let put_back =
            ["DELETE FROM TABLE_NAME", "INSERT INTO TABLE_NAME SELECT * FROM kept_TABLE_NAME"];
        erased.for_tables(&put_back).await;
    }
    assert!(erased.verify().await.is_intact());
    // Without the key entries prove nothing, and are not looked at.
    erased.sql("DELETE FROM erasures WHERE subject = $1", FIRST).await;
    let report = audit::verify_database(erased.database(), Trusted::default()).await.unwrap();
    assert!(report.is_intact() && report.n_erasures == 0, "{report:?}");
}

async fn an_erasure_that_is_under_way_is_told_and_is_no_tampering(place: Place) {
    let erased = Erased::before(place).await;
    let first = entry(&key(), 1, FIRST, NO_HASH);
    // It was written outside, and nothing was destroyed yet.
    let trusted = |erasures| Trusted { key: Some(key().public()), outside: None, erasures };
    let outside = trusted(vec![first.clone()]);
    let report = audit::verify_database(erased.database(), outside).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert!(report.notes[0].contains("not carried out on this log"), "{report:?}");
    // The key is gone, and the rows are not emptied yet.
    let ledger = ErasureLedger::new(erased.database());
    ledger.destroy_key(&first).await.unwrap();
    let report = erased.verify().await;
    assert!(report.is_intact() && report.n_erasures == 1, "{report:?}");
    assert!(report.notes[0].contains("is being erased"), "{report:?}");
    // At its end that is no excuse any more.
    erased.say_erased(FIRST).await;
    let report = erased.verify().await;
    assert!(report.findings[0].what.contains("in spite of its erasure"), "{report:?}");
    ledger.empty_contents(id(FIRST)).await.unwrap();
    let report = erased.verify().await;
    assert!(report.is_intact() && report.notes.is_empty(), "{report:?}");
    // Somebody takes the entry out of the database: the copy outside tells.
    erased.sql("DELETE FROM erasures WHERE subject = $1", FIRST).await;
    let outside = trusted(vec![first.clone()]);
    let report = audit::verify_database(erased.database(), outside).await.unwrap();
    assert!(report.findings[0].what.contains("was kept outside"), "{report:?}");
    let forged = SignedErasure { number: 2, ..first };
    let report = audit::verify_database(erased.database(), trusted(vec![forged])).await.unwrap();
    assert!(report.findings[0].what.contains("in the file of erasures"), "{report:?}");
}

async fn an_export_has_the_ledger_and_is_checked_without_a_database(place: Place) {
    let erased = Erased::new(place).await;
    let file = erased.file();
    export(erased.database(), &file, &WITH_KEYS).await.unwrap();
    let report = archive::verify(&file, erased.trusted()).unwrap();
    assert!(report.is_intact() && report.n_erasures == 2, "{report:?}");
    let whole = std::fs::read_to_string(&file).unwrap();
    let is_entry = |line: &str| line.starts_with(r#"{"erasure":"#);
    assert_eq!(whole.lines().filter(|line| is_entry(line)).count(), 2);
    let mut n_seen = 0;
    let mut without = String::new();
    for line in whole.lines() {
        n_seen += usize::from(is_entry(line));
        if !is_entry(line) || n_seen > 1 {
            without += line;
            without.push('\n');
        }
    }
    let changed = whole.replace(&id(SECOND).to_string(), &id(KEPT).to_string());
    let keyless: String = whole
        .lines()
        .filter(|line| !(line.starts_with(r#"{"key":"#) && line.contains("content")))
        .map(|line| format!("{line}\n"))
        .collect();
    for (tampered, words) in [
        (without, "the entry before erasure 2"),
        (changed, "is not signed by this key"),
        (keyless, "the key to the texts of project"),
    ] {
        std::fs::write(&file, tampered).unwrap();
        let report = archive::verify(&file, erased.trusted()).unwrap();
        assert!(report.findings.iter().any(|it| it.what.contains(words)), "{words}: {report:?}");
    }
    std::fs::remove_file(&file).unwrap();
    export(erased.database(), &file, &Choices::default()).await.unwrap();
    let report = archive::verify(&file, erased.trusted()).unwrap();
    assert!(report.is_intact() && report.n_erasures == 2, "{report:?}");
    assert!(report.limits[0].contains("--with-keys"), "{report:?}");
}

async fn texts_are_in_clear_only_in_an_export_that_was_asked_for_them(place: Place) {
    let erased = Erased::before(place).await;
    erased.erase(FIRST).await;
    let in_clear = Choices { texts: Some(erased.eraser.sealing.clone()), has_keys: true };
    for (name, choices, is_clear) in [("closed", WITH_KEYS, false), ("clear", in_clear, true)] {
        let file = erased.file().with_extension(name);
        export(erased.database(), &file, &choices).await.unwrap();
        let written = std::fs::read_to_string(&file).unwrap();
        let said = PROJECTS.map(|project| written.contains(&format!("what {project} wants")));
        assert_eq!(said, [false, is_clear, is_clear], "{name}");
        assert!(archive::verify(&file, erased.trusted()).unwrap().is_intact());

        let place =
            if erased.audited.place.is_postgres() { Place::postgres() } else { Place::sqlite() };
        let (database, log) = place.open().await;
        import(&database, &file).await.unwrap();
        let imported = RawLog::new(&database);
        let ids = PROJECTS.map(|project| id(project + 100));
        let rows = RawLog::new(erased.database()).contents(&ids).await.unwrap();
        assert_eq!(imported.contents(&ids).await.unwrap(), rows, "closed as ever");
        // Under the master key of the first, which is in its directory.
        let directory = erased.audited.place.directory.path();
        let clock = std::sync::Arc::new(SimulatedClock::new(now()));
        let sealing = Sealing::open(&database, &log, directory, clock).unwrap();
        let texts = sealing.texts(&ids.map(ContentId)).await.unwrap();
        assert_eq!(texts.len(), 2);
        assert_eq!(texts[&ContentId(id(KEPT + 100))], format!("what {KEPT} wants"));
    }
}

async fn texts_that_were_erased_after_an_export_are_not_exported_again(place: Place) {
    let erased = Erased::before(place).await;
    let file = erased.file();
    let in_clear = || Choices { texts: Some(erased.eraser.sealing.clone()), has_keys: true };
    export(erased.database(), &file, &in_clear()).await.unwrap();
    erased.erase(FIRST).await;
    let refused = export(erased.database(), &file, &in_clear()).await;
    let Err(ArchiveError::Refused(reason)) = refused else { panic!("{refused:?}") };
    assert!(
        reason.contains(&id(FIRST).to_string()) && reason.contains("delete the file"),
        "{reason}"
    );
    std::fs::remove_file(&file).unwrap();
    export(erased.database(), &file, &in_clear()).await.unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("what 9002 wants") && !text.contains("what 9001 wants"));
    assert!(archive::verify(&file, erased.trusted()).unwrap().is_intact());
}

async fn content_keys(database: &Database) -> Vec<Option<Uuid>> {
    let keys = Keys::new(database).list().await.unwrap();
    keys.into_iter().filter(|key| key.purpose == "content").map(|key| key.scope).collect()
}

async fn the_ledger_moves_with_its_log(place: Place) {
    let erased = Erased::new(place).await;
    let file = erased.file();
    export(erased.database(), &file, &WITH_KEYS).await.unwrap();
    let empty =
        || if erased.audited.place.is_postgres() { Place::postgres() } else { Place::sqlite() };
    let (imported, copied, keyless) = (empty(), empty(), empty());
    let (imported, copied, keyless) = (
        (imported.database().await, imported),
        (copied.database().await, copied),
        (keyless.database().await, keyless),
    );
    import(&imported.0, &file).await.unwrap();
    copy(erased.database(), &copied.0).await.unwrap();
    let entries = ErasureLedger::new(erased.database()).list().await.unwrap();
    for database in [&imported.0, &copied.0] {
        assert_eq!(ErasureLedger::new(database).list().await.unwrap(), entries);
        assert_eq!(content_keys(database).await, [Some(id(KEPT))]);
        let report = audit::verify_database(database, erased.trusted()).await.unwrap();
        assert!(report.is_intact() && report.n_erasures == 2, "{report:?}");
    }
    // An entry is of use only under the key that signed it: without that, texts are gone for no good reason.
    std::fs::remove_file(&file).unwrap();
    export(erased.database(), &file, &Choices::default()).await.unwrap();
    import(&keyless.0, &file).await.unwrap();
    assert_eq!(ErasureLedger::new(&keyless.0).list().await.unwrap(), vec![]);
    let report = audit::verify_database(&keyless.0, erased.trusted()).await.unwrap();
    let is_told = |words: &str| report.findings.iter().any(|found| found.what.contains(words));
    assert!(is_told("imported without its keys"), "{report:?}");
}

/// SQLite refuses to empty its write-ahead log while somebody else brings it into the file.
#[tokio::test]
async fn an_erased_key_does_not_stay_in_the_write_ahead_log() {
    let erased = Erased::before(Place::sqlite()).await;
    let file = erased.audited.place.directory.path().join("log.db");
    let mut other = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
    let bringing_in = async {
        loop {
            other.execute("PRAGMA wal_checkpoint(PASSIVE)").await.unwrap();
        }
    };
    let write_ahead = file.with_extension("db-wal");
    let erasing = erase_and_look(&erased, &write_ahead);
    tokio::select! {
        () = bringing_in => {}
        () = erasing => {}
    }
}

async fn erase_and_look(erased: &Erased, write_ahead: &Path) {
    let ledger = ErasureLedger::new(erased.database());
    for number in 1..=40 {
        let entry = SignedErasure {
            installation: id(1),
            number,
            kind: PROJECT.to_owned(),
            subject: id(9100 + u128::from(number)),
            position: 0,
            previous: NO_HASH,
            at: now(),
            signature: [0; 64],
        };
        ledger.destroy_key(&entry).await.unwrap();
        let n_bytes = std::fs::metadata(write_ahead).unwrap().len();
        assert_eq!(n_bytes, 0, "after {number} erasures");
    }
}
