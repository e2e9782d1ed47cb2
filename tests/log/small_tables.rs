//! Vault, tokens, keys, facts and the lease, on both databases.

use std::time::Duration;

use chrono::TimeDelta;
use projections::{
    keys::{Keys, WrappedKey},
    lease_row::LeaseRow,
    meta::Meta,
    open_intents::{OpenIntents, Wanting},
    replica_list::{Replica, ReplicaList},
    tokens::{Token, TokenHash, Tokens},
    vault::{SealedSecret, Vault},
};

use crate::support::{Place, id, now, on_both};

on_both! {
    a_secret_is_put_replaced_listed_and_deleted
    a_token_is_used_once
    of_many_that_consume_a_token_one_succeeds
    an_expired_or_foreign_token_is_not_found
    tokens_are_listed_prolonged_and_revoked
    a_project_gets_one_key_however_many_ask
    a_destroyed_key_is_gone
    the_installation_keeps_its_first_id
    the_lease_has_one_holder_at_a_time
    a_lease_that_ran_out_passes_on_under_a_new_epoch
    a_released_lease_is_free_at_once
    a_lease_that_was_renewed_is_not_had_run_out_for_what_was_seen_before
    a_replica_is_listed_while_it_says_that_it_runs
    open_intents_move_with_their_reader_and_with_no_other
}

fn secret(n: u128, key: u128) -> SealedSecret {
    SealedSecret {
        id: id(n),
        key_id: id(key),
        nonce: vec![0, 1, 255],
        ciphertext: vec![7; 50],
        label: "credential/hetzner".into(),
    }
}

async fn a_replica_is_listed_while_it_says_that_it_runs(place: Place) {
    let list = ReplicaList::new(&place.database().await);
    let replica =
        |n: u128| Replica { id: id(n), address: format!("127.0.0.1:{n}"), carries_node: n == 1 };
    for n in 1..=3 {
        list.announce(&replica(n), Duration::from_secs(60)).await.unwrap();
    }
    assert_eq!(list.others(id(2)).await.unwrap(), [replica(1), replica(3)]);
    let moved = Replica { address: "127.0.0.1:9".into(), ..replica(3) };
    list.announce(&moved, Duration::from_secs(60)).await.unwrap();
    // Said for no time at all: it is over.
    list.announce(&replica(1), Duration::ZERO).await.unwrap();
    assert_eq!(list.others(id(2)).await.unwrap(), [moved]);
    list.leave(id(3)).await.unwrap();
    assert_eq!(list.others(id(1)).await.unwrap(), [replica(2)]);
}

async fn a_secret_is_put_replaced_listed_and_deleted(place: Place) {
    let vault = Vault::new(&place.database().await);
    assert_eq!(vault.get(id(1)).await.unwrap(), None);
    vault.put(&secret(1, 10)).await.unwrap();
    vault.put(&secret(2, 10)).await.unwrap();
    assert_eq!(vault.get(id(1)).await.unwrap(), Some(secret(1, 10)));
    vault.put(&secret(1, 11)).await.unwrap();
    assert_eq!(vault.list_by_key(id(10)).await.unwrap(), [secret(2, 10)]);
    assert_eq!(vault.list().await.unwrap(), [secret(1, 11), secret(2, 10)]);
    assert!(vault.delete(id(1)).await.unwrap());
    assert!(!vault.delete(id(1)).await.unwrap());
    assert_eq!(vault.list().await.unwrap().len(), 1);
}

fn token(text: &str, subject: u128) -> Token {
    Token {
        hash: TokenHash::of(text),
        kind: "sign-in".into(),
        subject: id(subject),
        created_at: now(),
        expires_at: now() + TimeDelta::minutes(15),
        used_at: None,
    }
}

async fn a_token_is_used_once(place: Place) {
    let tokens = Tokens::new(&place.database().await);
    tokens.put(&token("secret", 1)).await.unwrap();
    let hash = TokenHash::of("secret");
    let later = now() + TimeDelta::minutes(1);
    assert!(tokens.find(hash, "sign-in", later).await.unwrap().is_some(), "a look uses nothing up");
    let used = tokens.consume(hash, "sign-in", later).await.unwrap().unwrap();
    assert_eq!(used, Token { used_at: Some(later), ..token("secret", 1) });
    assert_eq!(tokens.consume(hash, "sign-in", later).await.unwrap(), None);
    assert_eq!(tokens.find(hash, "sign-in", later).await.unwrap(), None);
}

async fn of_many_that_consume_a_token_one_succeeds(place: Place) {
    let tokens = Tokens::new(&place.database().await);
    for round in 0..10 {
        let text = format!("secret {round}");
        tokens.put(&token(&text, 1)).await.unwrap();
        let hash = TokenHash::of(&text);
        let racers = (0..8).map(|_| tokens.consume(hash, "sign-in", now()));
        let outcomes = futures_util::future::join_all(racers).await;
        assert_eq!(outcomes.into_iter().filter_map(Result::unwrap).count(), 1);
    }
}

async fn an_expired_or_foreign_token_is_not_found(place: Place) {
    let tokens = Tokens::new(&place.database().await);
    tokens.put(&token("secret", 1)).await.unwrap();
    let hash = TokenHash::of("secret");
    let at_the_end = now() + TimeDelta::minutes(15);
    assert_eq!(tokens.consume(hash, "sign-in", at_the_end).await.unwrap(), None);
    assert_eq!(tokens.consume(hash, "bootstrap", now()).await.unwrap(), None);
    assert_eq!(tokens.consume(TokenHash::of("guess"), "sign-in", now()).await.unwrap(), None);
    let just_before = at_the_end - TimeDelta::microseconds(1);
    assert!(tokens.consume(hash, "sign-in", just_before).await.unwrap().is_some());
}

async fn tokens_are_listed_prolonged_and_revoked(place: Place) {
    let tokens = Tokens::new(&place.database().await);
    for (text, subject) in [("a", 1), ("b", 1), ("c", 2)] {
        tokens.put(&token(text, subject)).await.unwrap();
    }
    assert_eq!(tokens.list(id(1), "sign-in", now()).await.unwrap().len(), 2);
    let far = now() + TimeDelta::days(1);
    assert!(tokens.prolong(TokenHash::of("a"), now(), far).await.unwrap());
    let next_hour = now() + TimeDelta::hours(1);
    assert_eq!(tokens.list(id(1), "sign-in", next_hour).await.unwrap().len(), 1);
    assert!(tokens.revoke(TokenHash::of("a")).await.unwrap());
    assert!(!tokens.revoke(TokenHash::of("a")).await.unwrap());
    assert_eq!(tokens.revoke_all("sign-in", Some(id(1))).await.unwrap(), 1);
    assert_eq!(tokens.revoke_all("sign-in", None).await.unwrap(), 1);
    tokens.put(&token("d", 3)).await.unwrap();
    assert_eq!(tokens.forget_expired(next_hour).await.unwrap(), 1);
}

fn key(n: u128, scope: Option<u128>) -> WrappedKey {
    WrappedKey {
        id: id(n),
        purpose: "content".into(),
        scope: scope.map(id),
        wrapped_by: None,
        nonce: vec![1; 12],
        wrapped: vec![2; 48],
        created_at: now(),
    }
}

async fn a_project_gets_one_key_however_many_ask(place: Place) {
    let keys = Keys::new(&place.database().await);
    let made: Vec<_> = (1..=6).map(|n| key(n, Some(77))).collect();
    let asked = futures_util::future::join_all(made.iter().map(|key| keys.put_first(key))).await;
    let ids: std::collections::BTreeSet<_> =
        asked.iter().map(|key| key.as_ref().unwrap().id).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(keys.list().await.unwrap().len(), 1);
    // Keys of the installation have no scope, and are another matter.
    assert_eq!(keys.put_first(&key(50, None)).await.unwrap(), key(50, None));
    assert_eq!(keys.put_first(&key(51, None)).await.unwrap(), key(50, None));
}

async fn a_destroyed_key_is_gone(place: Place) {
    let keys = Keys::new(&place.database().await);
    keys.put(&key(1, Some(77))).await.unwrap();
    let newer = WrappedKey { created_at: now() + TimeDelta::days(1), ..key(2, Some(77)) };
    keys.put(&newer).await.unwrap();
    assert_eq!(keys.find("content", Some(id(77))).await.unwrap(), Some(newer));
    assert!(keys.destroy(id(2)).await.unwrap());
    assert_eq!(keys.find("content", Some(id(77))).await.unwrap(), Some(key(1, Some(77))));
    assert_eq!(keys.get(id(2)).await.unwrap(), None);
    assert_eq!(keys.find("vault", Some(id(77))).await.unwrap(), None);
    assert_eq!(keys.find("content", None).await.unwrap(), None);
}

async fn the_installation_keeps_its_first_id(place: Place) {
    let meta = Meta::new(&place.database().await);
    assert_eq!(meta.installation(id(1)).await.unwrap(), id(1));
    assert_eq!(meta.installation(id(2)).await.unwrap(), id(1));
    assert_eq!(meta.epoch().await.unwrap(), 1);
    assert_eq!(meta.get("signed-in").await.unwrap(), None);
    meta.set("signed-in", "once").await.unwrap();
    meta.set("signed-in", "twice").await.unwrap();
    assert!(!meta.set_if_absent("signed-in", "thrice").await.unwrap());
    assert_eq!(meta.get("signed-in").await.unwrap().as_deref(), Some("twice"));
}

const PERIOD: Duration = Duration::from_secs(9);

async fn the_lease_has_one_holder_at_a_time(place: Place) {
    let row = LeaseRow::new(&place.database().await);
    assert_eq!(row.current().await.unwrap(), None);
    let racers = (1..=6).map(|n| row.acquire(id(n), PERIOD));
    let outcomes = futures_util::future::join_all(racers).await;
    let held: Vec<_> = outcomes.into_iter().filter_map(Result::unwrap).collect();
    let [lease] = held.as_slice() else { panic!("{held:?}") };
    assert!(lease.remaining > Duration::from_secs(8) && lease.remaining <= PERIOD);
    let again = row.acquire(lease.holder, PERIOD).await.unwrap().unwrap();
    assert_eq!(again.epoch, lease.epoch, "it is still the same hold");
    assert!(row.renew(lease.holder, lease.epoch, PERIOD).await.unwrap().is_some());
    assert_eq!(row.renew(id(99), lease.epoch, PERIOD).await.unwrap(), None);
    assert_eq!(row.current().await.unwrap().unwrap().holder, lease.holder);
}

async fn a_lease_that_ran_out_passes_on_under_a_new_epoch(place: Place) {
    let row = LeaseRow::new(&place.database().await);
    let old = row.acquire(id(1), Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(row.renew(id(1), old.epoch, PERIOD).await.unwrap(), None, "too late");
    let new = row.acquire(id(2), PERIOD).await.unwrap().unwrap();
    assert_eq!((new.holder, new.epoch), (id(2), old.epoch + 1));
    assert_eq!(row.acquire(id(1), PERIOD).await.unwrap(), None);
    assert!(!row.release(id(1), old.epoch).await.unwrap());
}

async fn a_released_lease_is_free_at_once(place: Place) {
    let row = LeaseRow::new(&place.database().await);
    let lease = row.acquire(id(1), PERIOD).await.unwrap().unwrap();
    assert!(row.release(id(1), lease.epoch).await.unwrap());
    assert_eq!(row.current().await.unwrap().unwrap().remaining, Duration::ZERO);
    let next = row.acquire(id(2), PERIOD).await.unwrap().unwrap();
    assert_eq!(next.epoch, lease.epoch + 1);
}

async fn a_lease_that_was_renewed_is_not_had_run_out_for_what_was_seen_before(place: Place) {
    let row = LeaseRow::new(&place.database().await);
    let old = row.acquire(id(1), PERIOD).await.unwrap().unwrap();
    assert!(row.current().await.unwrap().unwrap().is_as_before(&old));
    let renewed = row.renew(id(1), old.epoch, 2 * PERIOD).await.unwrap().unwrap();
    assert!(!renewed.is_as_before(&old));
    assert!(!row.run_out(&old).await.unwrap());
    assert!(row.current().await.unwrap().unwrap().is_as_before(&renewed));
    assert_eq!(row.acquire(id(2), PERIOD).await.unwrap(), None);
    assert!(row.run_out(&renewed).await.unwrap());
    assert_eq!(row.renew(id(1), old.epoch, PERIOD).await.unwrap(), None, "its holder is told");
    let next = row.acquire(id(2), PERIOD).await.unwrap().unwrap();
    assert_eq!((next.holder, next.epoch), (id(2), old.epoch + 1));
    assert!(!row.run_out(&renewed).await.unwrap(), "it is somebody else's");
}

async fn open_intents_move_with_their_reader_and_with_no_other(place: Place) {
    let table = OpenIntents::new(&place.database().await);
    let wanting = |n: u128, intents: &str| Wanting {
        process: id(n),
        correlation: id(n + 100),
        intents: intents.to_owned(),
    };
    assert_eq!(table.load("one").await.unwrap(), (0, Vec::new()));
    let changed = [(id(1), Some(wanting(1, "first"))), (id(2), None)];
    assert!(table.save("one", 0, 7, &changed).await.unwrap());
    assert!(table.save("two", 0, 3, &[(id(1), Some(wanting(1, "other")))]).await.unwrap());
    // Whoever thinks that the rows are elsewhere was overtaken.
    assert!(!table.save("one", 0, 9, &[(id(1), None)]).await.unwrap());
    assert_eq!(table.load("one").await.unwrap(), (7, vec![wanting(1, "first")]));
    let changed = [(id(1), None), (id(3), Some(wanting(3, "second")))];
    assert!(table.save("one", 7, 8, &changed).await.unwrap());
    assert_eq!(table.load("one").await.unwrap(), (8, vec![wanting(3, "second")]));
    assert_eq!(table.load("two").await.unwrap(), (3, vec![wanting(1, "other")]));
}
