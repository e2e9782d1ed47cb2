//! A log that is written to a file, read from one, or copied, is the same log.

use std::{collections::BTreeSet, path::PathBuf};

use actors::{
    archive::{
        self, ArchiveError,
        copy::copy,
        export::{Choices, export},
        import::import,
    },
    audit::{FindingKind, Trusted},
};
use projections::{
    database::Database,
    event_log::{NewContent, RawEvent, RawLog, StoredContent},
    keys::{Keys, WrappedKey},
    meta::Meta,
    signed_heads::SignedHeads,
    vault::{SealedSecret, Vault},
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    audit::Audited,
    support::{Place, Writer, id, on_both},
    tampering::key,
};

on_both! {
    an_export_goes_into_an_empty_log_and_is_the_same_log
    an_export_that_was_cut_off_is_refused_and_goes_on
    an_import_goes_on_where_it_was_and_refuses_another_log
    an_export_that_was_changed_is_found
    a_log_is_copied_to_the_other_database_and_back
    a_log_of_several_batches_goes_on_after_a_cut_in_their_middle
    a_secret_that_was_removed_goes_from_the_next_copy
}

const WITH_KEYS: Choices = Choices { texts: None, has_keys: true };

/// A log with heads and a text that two events refer to.
async fn filled(place: Place) -> Audited {
    let mut audited = Audited::filled(place).await;
    let writer = Writer::new(50);
    let mut append = writer.command(id(51), 2);
    for event in &mut append.events {
        event.payload = format!(r#"{{"text":{}}}"#, reference(id(500)));
    }
    append.contents = vec![content(id(500))];
    audited.log.append(append).await.unwrap();
    let key = WrappedKey {
        id: id(60),
        purpose: "signing".into(),
        scope: None,
        wrapped_by: None,
        nonce: vec![3; 12],
        wrapped: vec![4; 48],
        created_at: crate::support::now(),
    };
    let keys = Keys::new(&audited.database);
    keys.put(&key).await.unwrap();
    // Of the text's project.
    let content = WrappedKey { id: id(61), purpose: "content".into(), scope: Some(id(9)), ..key };
    keys.put(&content).await.unwrap();
    audited.append(3).await;
    audited.maker.make_one().await.unwrap();
    audited
}

/// How a payload refers to a text.
fn reference(text: Uuid) -> String {
    format!(r#"{{"id":"{text}","length":1,"digest":"ab"}}"#)
}

/// A text's row, unlike any other's.
fn content(text: Uuid) -> NewContent {
    let ciphertext = text.as_bytes().repeat(3);
    NewContent { id: text, project: id(9), nonce: vec![1; 12], ciphertext }
}

/// The texts that these events refer to.
fn texts_of(rows: &[RawEvent]) -> Vec<Uuid> {
    let mut texts = BTreeSet::new();
    for row in rows {
        let payload: Value = serde_json::from_str(&row.payload).unwrap();
        let of = |field: &str| payload[field]["id"].as_str()?.parse::<Uuid>().ok();
        texts.extend(["text", "first"].into_iter().filter_map(of));
    }
    texts.into_iter().collect()
}

/// Rows of contents, in the order of their ids.
async fn contents(log: &RawLog, texts: &[Uuid]) -> Vec<StoredContent> {
    let mut contents = log.contents(texts).await.unwrap();
    contents.sort_by_key(|content| content.id);
    contents
}

/// How many events are read and written at a time.
const N_BATCH: u64 = 500;
const N_LONG: u64 = 1300;

/// Two batches and more. Nearly each event has a text of its own, and refers to one of the first batch.
async fn long(place: Place) -> Audited {
    const N_STREAMS: u64 = 8;
    let audited = filled(place).await;
    let n_before = RawLog::new(&audited.database).end().await.unwrap().position;
    let n_events = (N_LONG - n_before) / N_STREAMS;
    for n in 1..=u128::from(N_STREAMS) {
        let mut append = Writer::new(1000 + n).command(id(2000 + n), n_events);
        for (text, event) in (10_000 * n..).map(id).zip(&mut append.events) {
            let (own, first) = (reference(text), reference(id(500)));
            event.payload = format!(r#"{{"text":{own},"first":{first}}}"#);
            append.contents.push(content(text));
        }
        audited.log.append(append).await.unwrap();
    }
    audited.maker.make_one().await.unwrap();
    audited
}

/// What an import or a copy leaves that was cut off: whole batches.
async fn put_first_batch(from: &Database, to: &Database) {
    let log = RawLog::new(from);
    let rows = log.events(0, N_BATCH, 1000).await.unwrap();
    let contents = contents(&log, &texts_of(&rows)).await;
    Meta::new(to).installation(id(1)).await.unwrap();
    RawLog::new(to).put(0, &rows, &contents).await.unwrap();
}

fn file(audited: &Audited) -> PathBuf {
    audited.place.directory.path().join("log.ndjson")
}

/// An empty database of the same kind.
async fn empty(place: &Place) -> (Place, Database) {
    let place = if place.is_postgres() { Place::postgres() } else { Place::sqlite() };
    let database = place.database().await;
    (place, database)
}

/// Everything that moves with a log.
async fn assert_same(one: &Database, other: &Database) {
    let (log, copy) = (RawLog::new(one), RawLog::new(other));
    let end = log.end().await.unwrap();
    assert_eq!(end, copy.end().await.unwrap());
    let rows = log.events(0, end.position, 2000).await.unwrap();
    assert_eq!(rows.last().map(|row| row.position), Some(end.position), "all of them");
    assert_eq!(rows, copy.events(0, end.position, 2000).await.unwrap());
    let texts = texts_of(&rows);
    let stored = contents(&log, &texts).await;
    assert!(!texts.is_empty() && stored.len() == texts.len());
    assert_eq!(stored, contents(&copy, &texts).await);
    let heads = SignedHeads::new(one).list(0, 100).await.unwrap();
    assert_eq!(heads, SignedHeads::new(other).list(0, 100).await.unwrap());
    let installation = Meta::new(one).get("installation").await.unwrap();
    assert_eq!(installation, Meta::new(other).get("installation").await.unwrap());
}

async fn an_export_goes_into_an_empty_log_and_is_the_same_log(place: Place) {
    let audited = filled(place).await;
    let file = file(&audited);
    let exported = export(&audited.database, &file, &WITH_KEYS).await.unwrap();
    assert_eq!((exported.n_events, exported.n_before), (20, 0));
    let trusted = Trusted {
        key: Some(key().public()),
        outside: Some(audited.outside()),
        ..Trusted::default()
    };
    let report = archive::verify(&file, trusted).unwrap();
    assert!(report.is_intact(), "{report:?}");
    assert_eq!((report.n_events, report.n_heads, report.n_unprotected), (20, 3, 0));
    let (_place, database) = empty(&audited.place).await;
    let imported = import(&database, &file).await.unwrap();
    assert!(imported.has_heads);
    assert_same(&audited.database, &database).await;
    // Exported again, it is the very same file.
    let again = file.with_extension("again");
    export(&database, &again, &WITH_KEYS).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(&again).unwrap());
}

async fn an_export_that_was_cut_off_is_refused_and_goes_on(place: Place) {
    let mut audited = filled(place).await;
    let file = file(&audited);
    export(&audited.database, &file, &WITH_KEYS).await.unwrap();
    let whole = std::fs::read(&file).unwrap();
    let line_ends: Vec<usize> =
        whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(n, _)| n + 1).collect();
    let (_place, database) = empty(&audited.place).await;
    // Within the first line, behind it, within an event, between two, and within the trailer.
    let trailer = line_ends[line_ends.len() - 2];
    for kept in [5, line_ends[0], line_ends[3] + 9, line_ends[7], trailer + 3] {
        std::fs::write(&file, &whole[..kept]).unwrap();
        let refused = import(&database, &file).await.unwrap_err();
        let is_named = kept == 5 || matches!(refused, ArchiveError::Truncated { .. });
        assert!(is_named, "{kept}: {refused}");
        assert_eq!(RawLog::new(&database).end().await.unwrap().last, 0, "nothing was written");
        export(&audited.database, &file, &WITH_KEYS).await.unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), whole, "it went on behind byte {kept}");
    }
    audited.append(4).await;
    let exported = export(&audited.database, &file, &WITH_KEYS).await.unwrap();
    assert_eq!((exported.n_events, exported.n_before), (24, 20), "an old export is continued");
    import(&database, &file).await.unwrap();
}

async fn an_import_goes_on_where_it_was_and_refuses_another_log(place: Place) {
    let mut audited = filled(place).await;
    let file = file(&audited);
    export(&audited.database, &file, &WITH_KEYS).await.unwrap();
    let (_place, database) = empty(&audited.place).await;
    // As an import that was cut off leaves it: whole batches.
    let rows = audited.rows().await;
    Meta::new(&database).installation(id(1)).await.unwrap();
    RawLog::new(&database).put(0, &rows[..11], &[]).await.unwrap();
    let imported = import(&database, &file).await.unwrap();
    assert_eq!((imported.n_events, imported.n_before), (20, 11));
    let again = import(&database, &file).await.unwrap();
    assert_eq!(again.n_before, 20, "nothing is left to do");
    audited.append(5).await;
    export(&audited.database, &file, &WITH_KEYS).await.unwrap();
    assert_eq!(import(&database, &file).await.unwrap().n_before, 20);
    assert_eq!(RawLog::new(&database).end().await.unwrap().position, 25);

    let (_place, other) = empty(&audited.place).await;
    Meta::new(&other).installation(id(2)).await.unwrap();
    let refused = import(&other, &file).await.unwrap_err().to_string();
    assert!(refused.contains("another installation"), "{refused}");
    let (place, other) = empty(&audited.place).await;
    Meta::new(&other).installation(id(1)).await.unwrap();
    let (_database, log) = place.open().await;
    Writer::new(90).append(&log, 3).await.unwrap();
    let refused = import(&other, &file).await.unwrap_err().to_string();
    assert!(refused.contains("3 events already") && refused.contains("differently"), "{refused}");
    let further = RawLog::new(&database);
    let mut row = rows[0].clone();
    (row.position, row.id) = (26, id(99).to_string());
    further.put(25, &[row], &[]).await.unwrap();
    let refused = import(&database, &file).await.unwrap_err().to_string();
    assert!(refused.contains("goes further"), "{refused}");
}

async fn an_export_that_was_changed_is_found(place: Place) {
    let audited = filled(place).await;
    let file = file(&audited);
    export(&audited.database, &file, &WITH_KEYS).await.unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let trusted = || Trusted { key: Some(key().public()), ..Trusted::default() };
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let (_place, database) = empty(&audited.place).await;
    let mut without = lines.clone();
    without.remove(5);
    let mut swapped = lines.clone();
    swapped.swap(4, 5);
    let changed = text.replacen(r#"{\"n\":2}"#, r#"{\"n\":7}"#, 1);
    assert_ne!(changed, text);
    for (name, tampered, kind) in [
        ("changed", changed, FindingKind::Changed),
        ("removed", joined(&without), FindingKind::Removed),
        ("swapped", joined(&swapped), FindingKind::Reordered),
    ] {
        std::fs::write(&file, &tampered).unwrap();
        let report = archive::verify(&file, trusted()).unwrap();
        assert!(report.findings.iter().any(|found| found.kind == kind), "{name}: {report:?}");
        let refused = import(&database, &file).await;
        assert!(matches!(refused, Err(ArchiveError::Refused(_))), "{name}: {refused:?}");
    }
    std::fs::write(&file, "{\"hello\":1}\n").unwrap();
    assert!(import(&database, &file).await.is_err(), "no export at all");
    assert_eq!(RawLog::new(&database).end().await.unwrap().last, 0, "nothing was written");
}

async fn a_log_is_copied_to_the_other_database_and_back(place: Place) {
    let audited = filled(place).await;
    let other = if audited.place.is_postgres() { Place::sqlite() } else { Place::postgres() };
    let other = (other.database().await, other);
    // A part of it is there already, as after a copy that was cut off.
    let rows = audited.rows().await;
    Meta::new(&other.0).installation(id(1)).await.unwrap();
    RawLog::new(&other.0).put(0, &rows[..4], &[]).await.unwrap();
    let copied = copy(&audited.database, &other.0).await.unwrap();
    assert_eq!((copied.n_events, copied.n_before), (20, 4));
    assert_same(&audited.database, &other.0).await;
    let (_place, back) = empty(&audited.place).await;
    copy(&other.0, &back).await.unwrap();
    assert_same(&audited.database, &back).await;
    let mut different = rows[..4].to_vec();
    different[3].hash[0] ^= 1;
    let (_place, third) = empty(&audited.place).await;
    Meta::new(&third).installation(id(1)).await.unwrap();
    RawLog::new(&third).put(0, &different, &[]).await.unwrap();
    let refused = copy(&audited.database, &third).await;
    assert!(matches!(refused, Err(ArchiveError::Refused(_))), "{refused:?}");
}

async fn a_log_of_several_batches_goes_on_after_a_cut_in_their_middle(place: Place) {
    let audited = long(place).await;
    let file = file(&audited);
    let exported = export(&audited.database, &file, &WITH_KEYS).await.unwrap();
    assert_eq!((exported.n_events, exported.n_before), (N_LONG, 0));
    let whole = std::fs::read(&file).unwrap();
    // Within the event at position 701: the first line is none.
    let mut line_ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let (line_end, _) = line_ends.nth(700).unwrap();
    std::fs::write(&file, &whole[..line_end + 20]).unwrap();
    let (_place, database) = empty(&audited.place).await;
    let refused = import(&database, &file).await;
    assert!(matches!(refused, Err(ArchiveError::Truncated { position: 700, .. })), "{refused:?}");
    let went_on = export(&audited.database, &file, &WITH_KEYS).await.unwrap();
    assert_eq!((went_on.n_events, went_on.n_before), (N_LONG, 700));
    assert!(std::fs::read(&file).unwrap() == whole, "it is not the same, byte for byte");

    put_first_batch(&audited.database, &database).await;
    let imported = import(&database, &file).await.unwrap();
    assert_eq!((imported.n_events, imported.n_before), (N_LONG, N_BATCH));
    assert_same(&audited.database, &database).await;
    let again = file.with_extension("again");
    export(&database, &again, &WITH_KEYS).await.unwrap();
    assert!(std::fs::read(&again).unwrap() == whole, "its export is not the one it came from");

    let other = if audited.place.is_postgres() { Place::sqlite() } else { Place::postgres() };
    let other = (other.database().await, other);
    put_first_batch(&audited.database, &other.0).await;
    let copied = copy(&audited.database, &other.0).await.unwrap();
    assert_eq!((copied.n_events, copied.n_before), (N_LONG, N_BATCH));
    let hashes = [exported.hash, went_on.hash, copied.hash, audited.verify(None).await.hash];
    assert!(hashes.iter().all(|hash| *hash == exported.hash), "{hashes:?}");
    assert_same(&audited.database, &other.0).await;
}

async fn a_secret_that_was_removed_goes_from_the_next_copy(place: Place) {
    let audited = filled(place).await;
    let (_place, other) = empty(&audited.place).await;
    let (keys, vault) = (Keys::new(&audited.database), Vault::new(&audited.database));
    let put = async |secret: u128, key: u128| {
        let label = "label".to_owned();
        let (id, key_id) = (id(secret), id(key));
        let sealed =
            SealedSecret { id, key_id, nonce: vec![1; 12], ciphertext: vec![2; 40], label };
        vault.put(&sealed).await.unwrap();
    };
    let signing = keys.get(id(60)).await.unwrap().unwrap();
    let vault_key = |n| WrappedKey { id: id(n), purpose: "vault".into(), ..signing.clone() };
    keys.put(&vault_key(70)).await.unwrap();
    put(80, 70).await;
    put(81, 70).await;
    let copied = async || {
        copy(&audited.database, &other).await.unwrap();
        let (of_source, of_copy) = (Vault::new(&audited.database), Vault::new(&other));
        assert_eq!(of_source.list().await.unwrap(), of_copy.list().await.unwrap());
        let mut keys = Keys::new(&other).list().await.unwrap();
        keys.retain(|key| key.purpose == "vault");
        (of_copy.list().await.unwrap().len(), keys.iter().map(|key| key.id).collect::<Vec<_>>())
    };
    assert_eq!(copied().await, (2, vec![id(70)]));
    // One is removed, the other is encrypted anew.
    vault.delete(id(80)).await.unwrap();
    keys.put(&vault_key(71)).await.unwrap();
    put(81, 71).await;
    keys.destroy(id(70)).await.unwrap();
    assert_eq!(copied().await, (1, vec![id(71)]));
    // A key of texts is destroyed by an erasure, which says so.
    keys.destroy(id(61)).await.unwrap();
    copied().await;
    assert!(Keys::new(&other).get(id(61)).await.unwrap().is_some(), "nothing was erased");
}
