//! Restores beside other restores: one that is run again because it was cut off, one from before the first
//! head, and one that takes another back. Afterwards the log is intact, and so are the heads outside.

use actors::{
    audit::Report,
    restore::{RestoreError, Restored, begin_epoch},
    signed_heads::{check_high_water, file::HeadsFile, signed},
    signing::SigningKey,
};
use domain::ids::InstallationId;
use projections::{
    event_log::{Position, RawLog},
    signed_heads::{NO_HASH, SignedHead, SignedHeads, running},
};

use crate::{
    audit::Audited,
    support::{Place, Writer, id, now, on_both},
    tampering::{heads_at, key, log_of, rechain, verify},
};

on_both! {
    a_restore_that_was_cut_off_is_run_again_without_a_second_word
    a_head_that_was_signed_right_after_the_backup_is_no_loss
    a_state_from_before_the_first_head_goes_on
    a_newer_state_goes_on_after_an_older_one
}

async fn begin(audited: &Audited, is_meant: bool) -> Result<Restored, RestoreError> {
    let (file, installation) = (&audited.maker.file, InstallationId(id(1)));
    begin_epoch(&audited.database, installation, &key(), file, now(), is_meant).await
}

/// The database as a backup from the first epoch has it: what came later is gone, restores too.
async fn go_back(audited: &Audited, position: Position) {
    audited.sql(&format!("DELETE FROM events WHERE position > {position}")).await;
    audited.sql(&format!("UPDATE log_head SET position = {position}, epoch = 1")).await;
    let heads = format!("DELETE FROM signed_heads WHERE position > {position} OR epoch > 1");
    audited.sql(&heads).await;
}

/// Somebody goes on behind a restore.
async fn go_on(audited: &Audited) {
    let (database, log) = audited.place.open().await;
    Writer::new(70).append(&log, 2).await.unwrap();
    audited.maker.make_one().await.unwrap();
    log.close().await;
    database.close().await;
}

async fn assert_intact(audited: &Audited, n_notes: usize) -> Report {
    check_high_water(&audited.database, &audited.maker.file, &key()).await.unwrap();
    let report = audited.verify(Some(audited.outside())).await;
    assert!(report.is_intact() && report.n_unprotected == 0, "{report:?}");
    assert_eq!(report.notes.len(), n_notes, "what was given up is told: {report:?}");
    report
}

async fn a_restore_that_was_cut_off_is_run_again_without_a_second_word(place: Place) {
    let audited = Audited::filled(place).await;
    go_back(&audited, 7).await;
    let restored = begin(&audited, true).await.unwrap();
    assert_eq!((restored.epoch, restored.given_up), (2, Some(12)));
    // It was cut off as often as it was said outside, and never put where the log is.
    for epoch in 3..5 {
        go_back(&audited, 7).await;
        let restored = begin(&audited, false).await.unwrap();
        let expected = Restored { position: 7, epoch, given_up: Some(12) };
        assert_eq!(restored, expected);
        let report = assert_intact(&audited, 1).await;
        assert_eq!(report.n_heads, epoch, "the first, and one of each restore");
    }
    go_on(&audited).await;
    assert_intact(&audited, 1).await;
    // What was signed behind it would be given up now.
    go_back(&audited, 7).await;
    let refused = begin(&audited, false).await;
    assert!(matches!(refused, Err(RestoreError::Older { signed: 9, .. })), "{refused:?}");
}

/// The state is whole, and only the signature is missing.
async fn a_head_that_was_signed_right_after_the_backup_is_no_loss(place: Place) {
    let audited = Audited::filled(place).await;
    audited.maker.make_one().await.unwrap();
    audited.sql("DELETE FROM signed_heads WHERE position > 12").await;
    let restored = begin(&audited, false).await.unwrap();
    assert_eq!(restored, Restored { position: 15, epoch: 2, given_up: None });
    assert_eq!(assert_intact(&audited, 0).await.n_heads, 4);
    // Over other events of the same number it is a head of something else.
    audited.sql("DELETE FROM signed_heads WHERE position > 12").await;
    let mut rows = audited.rows().await;
    rows[14].payload = "{\"n\":99}".into();
    rechain(&mut rows);
    audited.sql("DELETE FROM events").await;
    audited.sql("UPDATE log_head SET position = 0").await;
    RawLog::new(&audited.database).put(0, &rows, &[]).await.unwrap();
    let refused = begin(&audited, false).await;
    assert!(matches!(refused, Err(RestoreError::Older { signed: 15, .. })), "{refused:?}");
}

async fn a_state_from_before_the_first_head_goes_on(place: Place) {
    let audited = Audited::filled(place).await;
    for (epoch, given_up) in [(2, 12), (3, 7)] {
        go_back(&audited, 5).await;
        let refused = begin(&audited, false).await;
        assert!(matches!(refused, Err(RestoreError::Older { .. })), "{refused:?}");
        let restored = begin(&audited, true).await.unwrap();
        assert_eq!(restored, Restored { position: 5, epoch, given_up: Some(given_up) });
        let n_restores = usize::try_from(epoch).unwrap() - 1;
        assert_intact(&audited, n_restores).await;
        go_on(&audited).await;
        assert_intact(&audited, n_restores).await;
    }
    // Cut back, it is found as ever.
    go_back(&audited, 5).await;
    let report = audited.verify(Some(audited.outside())).await;
    assert!(!report.is_intact(), "{report:?}");
}

/// Somebody took the wrong backup first.
async fn a_newer_state_goes_on_after_an_older_one(place: Place) {
    let audited = Audited::filled(place).await;
    audited.maker.make_one().await.unwrap();
    let (log, heads) = (RawLog::new(&audited.database), SignedHeads::new(&audited.database));
    let (rows, newer) = (audited.rows().await, heads.list(0, 100).await.unwrap());
    go_back(&audited, 7).await;
    begin(&audited, true).await.unwrap();
    go_on(&audited).await;
    go_back(&audited, 0).await;
    log.put(0, &rows, &[]).await.unwrap();
    for (number, head) in &newer {
        heads.put_as_it_was(*number, head).await.unwrap();
    }
    let refused = begin(&audited, false).await;
    assert!(matches!(refused, Err(RestoreError::Older { signed: 9, .. })), "{refused:?}");
    let restored = begin(&audited, true).await.unwrap();
    assert_eq!(restored, Restored { position: 15, epoch: 3, given_up: Some(9) });
    let report = assert_intact(&audited, 2).await;
    assert_eq!(report.n_heads, 4, "the three from before count again, and that of the restore");
    // A file that was lost before the second restore has never had the head that this one went on behind.
    let mut outside = audited.outside();
    outside.retain(|head| !newer[1..].iter().any(|(_, newer)| newer == head));
    let report = audited.verify(Some(outside)).await;
    assert!(report.is_intact(), "{report:?}");
    // Again cut back to the older state: what counts is what was signed last.
    go_back(&audited, 7).await;
    let report = audited.verify(Some(audited.outside())).await;
    assert!(!report.is_intact(), "{report:?}");
}

#[tokio::test]
async fn a_log_does_not_go_on_behind_the_heads_of_another_installation() {
    let audited = Audited::filled(Place::sqlite()).await;
    let file = HeadsFile::new(audited.place.directory.path().join("other.ndjson"));
    let head = audited.outside().remove(0);
    file.append_now(&[signed(&SigningKey::from_seed(&[8; 32]), head)]).unwrap();
    let (database, installation) = (&audited.database, InstallationId(id(1)));
    let refused = begin_epoch(database, installation, &key(), &file, now(), true).await;
    assert!(matches!(refused, Err(RestoreError::Foreign { .. })), "{refused:?}");
    assert_eq!(file.read().unwrap().len(), 1, "nothing is written");
}

/// Whoever has the database alone cannot give up heads that are kept outside.
#[test]
fn heads_are_given_up_only_under_the_key_and_in_a_raised_epoch() {
    let rows = log_of(&[1, 2, 1, 2, 1, 2]);
    let before = heads_at(&rows, &[4, 6]);
    let rows = &rows[..2];
    let restored = |epoch, key: &SigningKey| {
        let hash = rows.iter().fold(NO_HASH, |hash, row| running(&hash, &row.hash));
        let head = before[0].clone();
        signed(key, SignedHead { epoch, position: 2, hash, previous: NO_HASH, ..head })
    };
    let report = |head: &SignedHead, later: &[SignedHead]| {
        let outside = [&before[..], std::slice::from_ref(head), later].concat();
        verify(rows, vec![head.clone()], Some(outside))
    };
    let head = restored(2, &key());
    let intact = report(&head, &[]);
    assert!(intact.is_intact(), "{:?}", intact.findings);
    assert!(intact.notes[0].contains("position 2") && intact.notes[0].contains("position 6"));
    assert!(!report(&restored(1, &key()), &[]).is_intact(), "no restore");
    let other = SigningKey::from_seed(&[8; 32]);
    assert!(!report(&restored(2, &other), &[]).is_intact(), "not ours");
    // The log is cut back to where it once went on, and the head of that is said again.
    let later = SignedHead { position: 4, previous: head.digest(), ..head.clone() };
    let later = signed(&key(), later);
    assert!(!report(&head, std::slice::from_ref(&later)).is_intact(), "cut back");
    assert!(!report(&head, &[later, head.clone()]).is_intact(), "cut back, and said again");
}
