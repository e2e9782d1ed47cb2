//! `sam restore` where things go wrong: it is killed on its way, the key is another, files of another log are
//! there, or the backup is from before the first head.

#![expect(clippy::unwrap_used, reason = "it is a test to its last function")]

use std::{collections::BTreeSet, ffi::OsString, path::Path, process::Stdio, time::Duration};

use tests::world::{Store, World};

use crate::audit::{all_protected, command, draft, said, text, until_ideas, verified};

const HEADS_AT_ONCE: (&str, &str) = ("SAM_HEAD_PERIOD_MS", "50");
const NO_HEADS: (&str, &str) = ("SAM_HEAD_PERIOD_MS", "3600000");
const NO_NODE: (&str, &str) = ("SAM_NO_LOCAL_NODE", "true");
/// Between two looks at how far it is: each of its steps takes longer.
const GLANCE: Duration = Duration::from_millis(1);

fn lose_log(world: &World) {
    for file in ["log.db", "log.db-wal", "log.db-shm"] {
        let _ = std::fs::remove_file(world.data_dir().join(file));
    }
}

fn names(folder: &Path) -> BTreeSet<OsString> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

/// Kills `sam` as soon as it has come so far. If it was quicker, it is as if it was killed after all.
async fn killed(world: &World, words: &[&str], is_so_far: &dyn Fn() -> bool) {
    let mut command = command(world, words);
    command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut sam = command.spawn().unwrap();
    while !is_so_far() && sam.try_wait().unwrap().is_none() {
        tokio::time::sleep(GLANCE).await;
    }
    let _ = sam.start_kill();
    sam.wait().await.unwrap();
}

#[tokio::test]
async fn a_restore_that_is_killed_anywhere_is_run_again() {
    let settings = [HEADS_AT_ONCE, NO_NODE];
    let mut world = World::start_with("killed", Store::Sqlite, &settings).await.unwrap();
    draft(&world, 4).await;
    let backup = world.folder().join("backup");
    said(&world, true, &["backup", text(&backup)]).await;
    draft(&world, 3).await;
    all_protected(&world).await;
    world.kill().await.unwrap();

    let data = world.data_dir();
    let heads = data.join("heads.ndjson");
    let before = std::fs::read(&heads).unwrap();
    let meant = ["restore", text(&backup), "--accept-older-log"];
    let moments: [&dyn Fn() -> bool; 5] = [
        &|| data.join("restoring").exists(),
        &|| data.join("restoring/log.db").exists(),
        &|| data.join("restoring/log.db-wal").exists(),
        &|| std::fs::read(&heads).unwrap() != before,
        &|| data.join("log.db").exists(),
    ];
    for is_so_far in moments {
        lose_log(&world);
        std::fs::write(&heads, &before).unwrap();
        killed(&world, &meant, is_so_far).await;
        let restored = said(&world, true, &meant).await;
        assert!(restored.contains("the log goes on behind position"), "{restored}");
        assert!(!data.join("restoring").exists() && !data.join("views.db").exists());
        verified(&world, true, &[]).await;
    }
    // The head is outside, and the log was not put into its place: what is given up was said.
    lose_log(&world);
    let restored = said(&world, true, &meant[..2]).await;
    assert!(restored.contains("is given up"), "{restored}");
    // Cut off when all was done: nothing is done twice.
    let written = std::fs::read(&heads).unwrap();
    said(&world, true, &meant[..2]).await;
    assert_eq!(std::fs::read(&heads).unwrap(), written);
    verified(&world, true, &[]).await;

    world.resume().await.unwrap();
    until_ideas(&world, 4).await;
    draft(&world, 1).await;
    until_ideas(&world, 5).await;
    all_protected(&world).await;
    world.kill().await.unwrap();
    let refused = said(&world, false, &meant).await;
    assert!(refused.contains("there is a log already"), "{refused}");
    world.resume().await.unwrap();
    verified(&world, true, &[]).await;
    world.end().await.unwrap();
}

#[tokio::test]
async fn nothing_is_put_into_place_before_it_is_checked() {
    let settings = [HEADS_AT_ONCE, NO_NODE];
    let mut world = World::start_with("checked", Store::Sqlite, &settings).await.unwrap();
    draft(&world, 2).await;
    all_protected(&world).await;
    let backup = world.folder().join("backup");
    said(&world, true, &["backup", text(&backup)]).await;
    world.kill().await.unwrap();

    let (data, lost) = (world.data_dir(), world.folder().join("lost"));
    std::fs::create_dir(&lost).unwrap();
    for file in ["log.db", "log.db-wal", "log.db-shm", "heads.ndjson", "master.key"] {
        let _ = std::fs::rename(data.join(file), lost.join(file));
    }
    std::fs::write(data.join("views.next.db"), "of a rebuild that was cut off").unwrap();
    let (key, other) = (lost.join("master.key"), world.folder().join("other.key"));
    std::fs::write(&other, [7; 32]).unwrap();
    let refused = said(&world, false, &["restore", text(&backup)]).await;
    assert!(refused.contains("the master key is missing"), "{refused}");
    let before = names(&data);
    assert!(before.contains(&OsString::from("views.db")), "{before:?}");

    let with_other = ["restore", text(&backup), "--master-key", text(&other)];
    let refused = said(&world, false, &with_other).await;
    assert!(refused.contains("is not the master key"), "{refused}");
    assert_eq!(names(&data), before, "the wrong key is nowhere");

    let changed = world.folder().join("changed");
    std::fs::create_dir(&changed).unwrap();
    for name in names(&backup) {
        std::fs::copy(backup.join(&name), changed.join(&name)).unwrap();
    }
    let manifest = std::fs::read_to_string(changed.join("backup.json")).unwrap();
    let manifest = manifest.replace("\"position\": ", "\"position\": 1");
    std::fs::write(changed.join("backup.json"), manifest).unwrap();
    let of_changed = ["restore", text(&changed), "--master-key", text(&key)];
    let refused = said(&world, false, &of_changed).await;
    assert!(refused.contains("it was changed after it was made"), "{refused}");
    assert_eq!(names(&data), before, "nor are its heads");

    // Somebody moved the lost log away, and not what SQLite keeps beside it.
    let with_key = ["restore", text(&backup), "--master-key", text(&key)];
    let beside = data.join("log.db-wal");
    std::fs::write(&beside, "its last events").unwrap();
    let refused = said(&world, false, &with_key).await;
    assert!(refused.contains("has the last events of the log that was here"), "{refused}");
    assert_eq!(std::fs::read_to_string(&beside).unwrap(), "its last events");
    std::fs::remove_file(&beside).unwrap();

    let restored = said(&world, true, &with_key).await;
    assert!(restored.contains("the read models that were there are removed"), "{restored}");
    assert_eq!(std::fs::read(data.join("master.key")).unwrap(), std::fs::read(&key).unwrap());
    for file in ["views.db", "views.db-wal", "views.db-shm", "views.next.db", "restoring"] {
        assert!(!data.join(file).exists(), "{file}");
    }
    assert!(data.join("heads.ndjson").exists());
    verified(&world, true, &[]).await;
    let refused = said(&world, false, &["restore", "--master-key", text(&other)]).await;
    assert!(refused.contains("is another master key"), "{refused}");

    world.resume().await.unwrap();
    draft(&world, 1).await;
    until_ideas(&world, 3).await;
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_backup_from_before_the_first_head_is_restored_and_backed_up_again() {
    let settings = [NO_HEADS, NO_NODE];
    let mut world = World::start_with("headless", Store::Sqlite, &settings).await.unwrap();
    draft(&world, 2).await;
    let backup = world.folder().join("backup");
    said(&world, true, &["backup", text(&backup)]).await;
    assert!(!backup.join("heads.ndjson").exists(), "there was none yet");
    world.kill().await.unwrap();
    world.resume_with(&[HEADS_AT_ONCE]).await.unwrap();
    draft(&world, 1).await;
    all_protected(&world).await;
    world.kill().await.unwrap();

    lose_log(&world);
    said(&world, true, &["restore", text(&backup), "--accept-older-log"]).await;
    let report = verified(&world, true, &[]).await;
    assert_eq!(report["notes"].as_array().unwrap().len(), 1, "{report:#}");
    world.resume_with(&[HEADS_AT_ONCE]).await.unwrap();
    draft(&world, 1).await;
    all_protected(&world).await;
    said(&world, true, &["backup", text(&world.folder().join("again"))]).await;
    verified(&world, true, &[]).await;
    until_ideas(&world, 3).await;
    world.end().await.unwrap();
}
