use std::{path::PathBuf, sync::Arc};

use domain::ids::{ContentId, ProjectId};
use projections::{
    database::Database,
    erasure_ledger::{ErasureLedger, NO_HASH, PROJECT, SignedErasure},
    event_log::{EventLog, Options, StoredContent},
    keys::Keys,
    vault::Vault,
};

use super::{Sealing, SealingError};
use crate::{clock::system::SystemClock, random};

struct Place {
    directory: PathBuf,
    database: Database,
    sealing: Sealing,
}

async fn place() -> Place {
    let directory = std::env::temp_dir().join(format!("sam-sealing-{}", random::uuid()));
    let database = Database::open("sqlite:", &directory).await.unwrap();
    let log = EventLog::open(&database, Options::default()).await.unwrap();
    let sealing = Sealing::open(&database, &log, &directory, Arc::new(SystemClock)).unwrap();
    Place { directory, database, sealing }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test]
async fn a_text_opens_under_its_own_id_only() {
    let place = place().await;
    let (project, id) = (ProjectId(random::uuid()), ContentId(random::uuid()));
    let (reference, row) = place.sealing.seal(project, id, "a wish").await.unwrap();
    assert_eq!(reference.length, 6);
    let stored = |id| StoredContent {
        id,
        project: project.0,
        nonce: row.nonce.clone(),
        ciphertext: row.ciphertext.clone(),
    };
    let texts = place.sealing.open_contents(&[stored(id.0)]).await.unwrap();
    assert_eq!(texts[&id], "a wish");
    let moved = place.sealing.open_contents(&[stored(random::uuid())]).await;
    assert!(matches!(moved, Err(SealingError::Unreadable { .. })));
}

#[tokio::test]
async fn the_same_text_looks_different_each_time() {
    let place = place().await;
    let (project, id) = (ProjectId(random::uuid()), ContentId(random::uuid()));
    let (first, first_row) = place.sealing.seal(project, id, "yes").await.unwrap();
    let (second, second_row) = place.sealing.seal(project, id, "yes").await.unwrap();
    assert_ne!(first.digest, second.digest);
    assert_ne!(first_row.ciphertext, second_row.ciphertext);
}

#[tokio::test]
async fn a_text_of_an_erased_project_is_missing() {
    let place = place().await;
    let (project, id) = (ProjectId(random::uuid()), ContentId(random::uuid()));
    let (_, row) = place.sealing.seal(project, id, "a wish").await.unwrap();
    let keys = Keys::new(&place.database);
    let key = keys.find("content", Some(project.0)).await.unwrap().unwrap();
    keys.destroy(key.id).await.unwrap();
    let log = EventLog::open(&place.database, Options::default()).await.unwrap();
    let clock = Arc::new(SystemClock);
    let later = Sealing::open(&place.database, &log, &place.directory, clock).unwrap();
    let (nonce, ciphertext) = (row.nonce, row.ciphertext);
    let stored = StoredContent { id: id.0, project: project.0, nonce, ciphertext };
    assert!(later.open_contents(&[stored]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_secret_opens_under_its_label_only_and_outlives_a_rotation() {
    let place = place().await;
    let id = random::uuid();
    place.sealing.put_secret(id, "ada/anthropic", "sk-1234").await.unwrap();
    assert!(place.sealing.secret(id, "eve/anthropic").await.is_err());
    let before = Vault::new(&place.database).get(id).await.unwrap().unwrap();
    assert_eq!(place.sealing.rotate_vault_key().await.unwrap(), 1);
    let after = Vault::new(&place.database).get(id).await.unwrap().unwrap();
    assert_ne!(before.key_id, after.key_id);
    assert!(Keys::new(&place.database).get(before.key_id).await.unwrap().is_none());
    let secret = place.sealing.secret(id, "ada/anthropic").await.unwrap();
    assert_eq!(secret.as_deref(), Some("sk-1234"));
}

#[tokio::test]
async fn a_master_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = place().await;
    let file = place.directory.join("master.key");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let log = EventLog::open(&place.database, Options::default()).await.unwrap();
    let clock = Arc::new(SystemClock);
    let refused = Sealing::open(&place.database, &log, &place.directory, clock);
    assert!(matches!(refused, Err(SealingError::MasterKey { .. })));
}

#[tokio::test]
async fn no_key_is_made_for_a_project_whose_texts_were_destroyed() {
    let place = place().await;
    let (project, other) = (ProjectId(random::uuid()), ProjectId(random::uuid()));
    for project in [project, other] {
        place.sealing.seal(project, ContentId(random::uuid()), "a wish").await.unwrap();
    }
    let mut erasure = SignedErasure {
        installation: random::uuid(),
        number: 1,
        kind: PROJECT.to_owned(),
        subject: project.0,
        position: 0,
        previous: NO_HASH,
        at: "2026-01-01T12:00:00Z".parse().unwrap(),
        signature: [0; 64],
    };
    let ledger = ErasureLedger::new(&place.database);
    ledger.destroy_key(&erasure).await.unwrap();
    place.sealing.forget(project.0);
    let sealed = place.sealing.seal(project, ContentId(random::uuid()), "another").await;
    assert!(matches!(sealed, Err(SealingError::Erased)), "{sealed:?}");
    place.sealing.seal(other, ContentId(random::uuid()), "another").await.unwrap();
    // The first entry counts, whatever is said later.
    erasure.number = 2;
    ledger.destroy_key(&erasure).await.unwrap();
    assert_eq!(ledger.find(project.0).await.unwrap().unwrap().number, 1);
}
