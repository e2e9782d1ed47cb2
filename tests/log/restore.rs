//! The restore drill: a backup that is taken under load has everything that was acknowledged before it
//! began, and goes on under a new epoch.

use std::{path::Path, sync::Arc};

use actors::{
    audit::{self, Trusted},
    restore::{RestoreError, begin_epoch},
    signed_heads::{check_high_water, file::HeadsFile},
    tasks::Tasks,
};
use domain::ids::InstallationId;
use projections::{
    database::Database,
    event_log::{AppendError, Appended, EventLog, Options},
    tokens::{Token, TokenHash, Tokens},
};
use tests::postgres::Cluster;
use tokio::sync::Mutex;

use crate::{
    audit::Audited,
    support::{Directory, Place, Writer, assert_whole, id, now, on_both},
    tampering::key,
};

on_both! {
    an_older_state_goes_on_only_if_that_is_meant
}

const ACKNOWLEDGED_MIN: usize = 200;

/// Many writers that go on until told to stop, and what they were answered.
struct Load {
    acknowledged: Arc<Mutex<Vec<(u128, Appended)>>>,
    tasks: Tasks,
}

impl Load {
    fn on(log: &EventLog) -> Self {
        let load = Self { acknowledged: Arc::default(), tasks: Tasks::new() };
        for n in 100..116 {
            let (log, acknowledged) = (log.clone(), Arc::clone(&load.acknowledged));
            load.tasks.start("writer", async move {
                let mut writer = Writer::new(n);
                loop {
                    let appended = writer.append(&log, 2).await.unwrap();
                    acknowledged.lock().await.push((n, appended));
                }
            });
        }
        load
    }

    /// What was acknowledged up to now, once that is enough.
    async fn so_far(&self) -> Vec<(u128, Appended)> {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let acknowledged = self.acknowledged.lock().await.clone();
            if acknowledged.len() >= ACKNOWLEDGED_MIN {
                return acknowledged;
            }
            assert!(tokio::time::Instant::now() < deadline, "nothing is acknowledged");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// The oracle of the drill: what was acknowledged is there, everything verifies, and it goes on.
async fn assert_restored(database: &Database, file: &HeadsFile, acknowledged: &[(u128, Appended)]) {
    let log = EventLog::open(database, Options::default()).await.unwrap();
    let n_events = assert_whole(&log).await;
    for (n, appended) in acknowledged {
        let events = log.read_stream(&Writer::new(*n).stream, appended.sequence - 1, 1).await;
        let events = events.unwrap();
        let event = events.first().expect("what was acknowledged before the backup is in it");
        assert_eq!((event.position, event.hash), (appended.position, appended.hash));
    }
    log.close().await;
    let installation = InstallationId(id(1));
    // The file goes on to after the backup, so somebody has to say that this is meant.
    let refused = begin_epoch(database, installation, &key(), file, now(), false).await;
    assert!(matches!(refused, Err(RestoreError::Older { .. })), "{refused:?}");
    let restored = begin_epoch(database, installation, &key(), file, now(), true).await.unwrap();
    assert_eq!((restored.position, restored.epoch), (n_events, 2));
    check_high_water(database, file, &key()).await.unwrap();
    let trusted = Trusted {
        key: Some(key().public()),
        outside: Some(file.read().unwrap()),
        ..Trusted::default()
    };
    let report = audit::verify_database(database, trusted).await.unwrap();
    assert!(report.is_intact() && report.n_unprotected == 0, "{report:?}");
    assert_eq!(report.notes.len(), 1, "what was given up is told: {report:?}");
    let log = EventLog::open(database, Options::default()).await.unwrap();
    Writer::new(900).append(&log, 3).await.unwrap();
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_sqlite_under_load_is_restored() {
    let audited = Audited::filled(Place::sqlite()).await;
    let load = Load::on(&audited.log);
    let acknowledged = load.so_far().await;
    let backup = Directory::new();
    let snapshot = backup.path().join("log.db");
    audited.database.snapshot_log(&snapshot).await.unwrap();
    let more = load.so_far().await.len();
    load.tasks.stop().await;
    assert!(more >= acknowledged.len(), "writers went on meanwhile");
    // One more head, which the backup does not have.
    let mut writer = Writer::new(800);
    writer.append(&audited.log, 1).await.unwrap();
    audited.maker.make_one().await.unwrap();
    let again = audited.database.snapshot_log(&snapshot).await;
    assert!(again.is_err(), "a backup is not written over");
    let restored = Database::open("sqlite:", backup.path()).await.unwrap();
    assert_restored(&restored, &audited.maker.file, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_backup_of_postgres_under_load_is_restored() {
    let folder = Directory::new();
    let open = |name: &str| folder.path().join(name);
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .unwrap();
    let cluster = Cluster::start(&open("one"), "fsync=off").unwrap();
    let url = cluster.database().unwrap();
    let place = Place { url: url.clone(), directory: Directory::new() };
    let audited = Audited::filled(place).await;
    let load = Load::on(&audited.log);
    let acknowledged = load.so_far().await;
    let (cluster, copy) = tokio::task::spawn_blocking({
        let target = open("two");
        move || {
            let copy = cluster.base_backup(&target).unwrap();
            (cluster, copy)
        }
    })
    .await
    .unwrap();
    load.tasks.stop().await;
    Writer::new(800).append(&audited.log, 1).await.unwrap();
    audited.maker.make_one().await.unwrap();
    copy.start_server("fsync=off").unwrap();
    let name = url.split('?').next().unwrap().rsplit_once('/').unwrap().1;
    let restored = Database::open(&copy.url(name), Path::new("")).await.unwrap();
    assert_restored(&restored, &audited.maker.file, &acknowledged).await;
    restored.close().await;
    audited.log.close().await;
    audited.database.close().await;
    drop(cluster);
}

async fn an_older_state_goes_on_only_if_that_is_meant(place: Place) {
    let audited = Audited::filled(place).await;
    let token = Token {
        hash: TokenHash::of("cookie"),
        kind: "browser".into(),
        subject: id(3),
        created_at: now(),
        expires_at: now() + chrono::TimeDelta::days(1),
        used_at: None,
    };
    let tokens = Tokens::new(&audited.database);
    tokens.put(&token).await.unwrap();
    let file = &audited.maker.file;
    let (database, key) = (&audited.database, key());
    let begin =
        |is_meant| begin_epoch(database, InstallationId(id(1)), &key, file, now(), is_meant);
    audited.sql("DELETE FROM events WHERE position > 7").await;
    audited.sql("UPDATE log_head SET position = 7").await;
    audited.sql("DELETE FROM signed_heads WHERE position > 7").await;
    let refused = begin(false).await.unwrap_err();
    assert!(matches!(refused, RestoreError::Older { position: 7, signed: 12, .. }), "{refused}");
    let restored = begin(true).await.unwrap();
    assert_eq!((restored.epoch, restored.given_up), (2, Some(12)));
    let found = tokens.find(token.hash, "browser", now()).await.unwrap();
    assert_eq!(found, None, "all sign-ins end");
    // What still runs on the state before is fenced, and nothing of it is signed.
    let fenced = Writer::new(70).append(&audited.log, 1).await;
    assert!(matches!(fenced, Err(AppendError::Fenced)), "{fenced:?}");
    // Once more, with nothing to give up: the epoch goes on, and everything still fits.
    let restored = begin(false).await.unwrap();
    assert_eq!((restored.epoch, restored.given_up), (3, None));
    let (_database, log) = audited.place.open().await;
    Writer::new(70).append(&log, 2).await.unwrap();
    audited.maker.make_one().await.unwrap();
    let report = audited.verify(Some(audited.outside())).await;
    assert!(report.is_intact() && report.n_unprotected == 0, "{report:?}");
    audited.sql("UPDATE events SET payload = '{}' WHERE position = 2").await;
    let damaged = begin(false).await;
    assert!(matches!(damaged, Err(RestoreError::Damaged(_))), "{damaged:?}");
}
