//! An account is erased with its projects and secrets: nothing is left, not after a restart, and not after a
//! restore; and whoever comes next begins as somebody else.

use std::time::Duration;

use actors::{
    audit::{self, Report, Trusted},
    caller::Caller,
    credentials::credential_of,
    dispatcher::DispatchError,
    faults::Faults,
    random,
};
use domain::{
    account::{Account, AccountCommand},
    credential::{Credential, CredentialCommand, CredentialKind},
    idea::Stage,
    ids::{AccountId, CommandId, CredentialId, ProjectId},
    project::{Project, ProjectCommand},
};
use projections::{
    account_list, credential_list, erasure_ledger::ErasureLedger, project_overview, vault::Vault,
};

use crate::{
    erasure::{copy, shown},
    world::{Place, World, on_both},
};

on_both! {
    an_account_is_erased_with_all_that_is_its_own
    an_account_whose_erasure_is_asked_for_twice_is_erased_once
    the_erasure_of_an_account_goes_on_after_a_restart_at_any_moment
    every_step_of_an_erasure_of_an_account_may_happen_twice_or_fail_once
    what_comes_late_to_an_erased_account_goes_too
}

/// In no word of the story but the ideas'.
const SECRET: &str = "pelikan";
const KEY: &str = "sk-ant-of-the-story";
const KIND: CredentialKind = CredentialKind::Anthropic;

async fn link(world: &World, owner: AccountId) -> ProjectId {
    let project = ProjectId(random::uuid());
    let (repository, name) = ("/srv/repository".to_owned(), SECRET.to_owned());
    let link = ProjectCommand::Link { owner, repository, name };
    world.system().dispatcher.send(&world.caller(), (project, link), Vec::new()).await.unwrap();
    project
}

/// Whoever signs in with a link, from one browser.
async fn signed_in(world: &World) -> (String, AccountId) {
    let sign_in = &world.system().sign_in;
    let link = sign_in.new_link().await.unwrap();
    let cookie = sign_in.sign_in(&link).await.unwrap().unwrap();
    (cookie.token, cookie.account)
}

async fn erase(world: &World, account: AccountId) -> Result<u64, DispatchError> {
    let caller = Caller::person(account, CommandId(random::uuid()));
    let command = (account, AccountCommand::RequestErasure);
    world.system().dispatcher.send(&caller, command, Vec::new()).await
}

async fn until_erased(world: &World, account: AccountId) {
    world
        .until("the account to be erased", async || {
            world.clock.advance(Duration::from_secs(20));
            let account = world.system().dispatcher.state::<Account>(account.0).await;
            *account.unwrap() == Account::Erased
        })
        .await;
    let head = world.system().log.head().await.unwrap();
    world.until_projected(head).await;
}

async fn audited(world: &World) -> Report {
    let system = world.system();
    let erasures = system.eraser.file.read().unwrap();
    let trusted = Trusted { key: Some(system.signing.public()), outside: None, erasures };
    audit::verify_database(&system.database, trusted).await.unwrap()
}

/// Nothing of it is left that could be read, used or shown.
async fn assert_erased(world: &World, account: AccountId, projects: &[ProjectId]) {
    let system = world.system();
    let database = &system.database;
    for project in projects {
        let state = system.dispatcher.state::<Project>(project.0).await.unwrap();
        assert!(matches!(&*state, Project::Erased { .. }), "{state:?}");
    }
    let credential = system.dispatcher.state::<Credential>(credential_of(account, KIND).0).await;
    assert_eq!(*credential.unwrap(), Credential::Absent);
    assert_eq!(Vault::new(database).list().await.unwrap(), vec![]);
    assert_eq!(credential_list::list(database, account).await.unwrap(), vec![]);
    assert_eq!(project_overview::list(database, account).await.unwrap(), vec![]);
    let listed = account_list::list(database).await.unwrap();
    let row = listed.iter().find(|row| row.id == account).unwrap();
    assert_eq!(row.name, "erased");
    let ledger = ErasureLedger::new(database);
    assert!(ledger.unfinished().await.unwrap().is_empty());
    let entries = ledger.list().await.unwrap();
    let n_of = |kind: &str| entries.iter().filter(|entry| entry.kind == kind).count();
    assert_eq!((n_of("project"), n_of("credential"), n_of("account")), (projects.len(), 1, 1));
    assert_eq!(system.eraser.file.read().unwrap().len(), entries.len());
    let report = audited(world).await;
    assert!(report.is_intact() && report.n_erasures == entries.len() as u64, "{report:?}");
    let shown = shown(database).await.unwrap();
    let told = shown.lines().find(|line| line.contains(SECRET) || line.contains("/srv/repository"));
    assert_eq!(told, None, "a read model still says it");
}

async fn an_account_is_erased_with_all_that_is_its_own(place: Place) {
    let mut world = World::new(place, 3).await;
    let done = world.submit(&format!("say: the {SECRET} is done")).await;
    assert_eq!(world.ended(done.idea).await, Stage::Done);
    let running = world.submit(&format!("say: {SECRET}\nhang")).await;
    world.until_position(running.position + 20, running.idea).await;
    let (old, credentials) = (world.system().owner(), &world.system().credentials);
    let projects = [world.project, link(&world, old).await];
    credentials.put(&world.caller(), KIND, KEY).await.unwrap();
    let (cookie, account) = signed_in(&world).await;
    assert_eq!(account, old);
    let unused = world.system().sign_in.new_link().await.unwrap();
    world.until_projected(world.system().log.head().await.unwrap()).await;
    assert!(shown(&world.system().database).await.unwrap().contains("Ada"));

    erase(&world, old).await.unwrap();
    let refused = credentials.put(&world.caller(), KIND, KEY).await.unwrap_err();
    assert!(matches!(refused, DispatchError::Refused { code, .. } if code == "erased"));
    until_erased(&world, old).await;
    assert_eq!(world.stage(running.idea).await, Stage::Parked);
    world.rest().await;
    assert_erased(&world, old, &projects).await;
    assert!(!shown(&world.system().database).await.unwrap().contains("Ada"), "nobody is called so");
    let sign_in = &world.system().sign_in;
    assert_eq!(sign_in.cookie(&cookie).await.unwrap(), None);
    assert!(sign_in.sign_in(&unused).await.unwrap().is_none());
    let is_rented = world.machine.is_rented();
    assert!(!is_rented, "whoever comes next could not give it back");
    world.keeps_its_promises().await;

    // Somebody else: at the next start, or with the next link.
    if matches!(place, Place::Sqlite) {
        world.restart().await;
    }
    let (_, new) = signed_in(&world).await;
    assert_ne!(new, old);
    assert_eq!(world.system().owner(), new);
    world.until_projected(world.system().log.head().await.unwrap()).await;
    assert_erased(&world, old, &projects).await;
    assert_eq!(project_overview::list(&world.system().database, new).await.unwrap(), vec![]);
    world.project = link(&world, new).await;
    let again = world.submit("say: it can be used again").await;
    assert_eq!(world.ended(again.idea).await, Stage::Done);
    world.rest().await;
    world.restart().await;
    assert_eq!(world.system().owner(), new, "as long as it is not erased");
}

async fn an_account_whose_erasure_is_asked_for_twice_is_erased_once(place: Place) {
    let world = World::new(place, 1).await;
    let account = world.system().owner();
    let caller = world.caller();
    let command = (account, AccountCommand::RequestErasure);
    let dispatcher = &world.system().dispatcher;
    let first = dispatcher.send(&caller, command.clone(), Vec::new()).await.unwrap();
    assert_eq!(dispatcher.send(&caller, command, Vec::new()).await.unwrap(), first);
    erase(&world, account).await.unwrap();
    until_erased(&world, account).await;
    let entries = ErasureLedger::new(&world.system().database).list().await.unwrap();
    erase(&world, account).await.unwrap();
    world.rest().await;
    assert_eq!(ErasureLedger::new(&world.system().database).list().await.unwrap(), entries);
    assert_erased(&world, account, &[world.project]).await;
}

/// A world with one of everything that an account can have.
async fn furnished(place: Place, faults: Faults) -> (World, AccountId, Vec<ProjectId>) {
    let world = World::with_faults(place, 2, faults).await;
    let account = world.system().owner();
    let projects = vec![world.project, link(&world, account).await];
    world.system().credentials.put(&world.caller(), KIND, KEY).await.unwrap();
    (world, account, projects)
}

async fn the_erasure_of_an_account_goes_on_after_a_restart_at_any_moment(place: Place) {
    let (mut world, account, projects) = furnished(place, Faults::default()).await;
    let begun = erase(&world, account).await.unwrap();
    for n in [1, 3, 6, 10, 15, 21] {
        let state = world.system().dispatcher.state::<Account>(account.0).await.unwrap();
        if *state == Account::Erased {
            break;
        }
        println!("restart after {n} events");
        world
            .until("some more events", async || {
                world.clock.advance(Duration::from_secs(20));
                let state = world.system().dispatcher.state::<Account>(account.0).await;
                let is_over = *state.unwrap() == Account::Erased;
                is_over || world.system().log.head().await.unwrap() >= begun + n
            })
            .await;
        world.restart().await;
        assert_ne!(world.system().owner(), account, "nobody waits for the end");
    }
    until_erased(&world, account).await;
    world.rest().await;
    assert_erased(&world, account, &projects).await;
    world.keeps_its_promises().await;
}

async fn every_step_of_an_erasure_of_an_account_may_happen_twice_or_fail_once(place: Place) {
    let (world, account, projects) = furnished(place, Faults::every_intent_twice()).await;
    erase(&world, account).await.unwrap();
    until_erased(&world, account).await;
    world.rest().await;
    assert_erased(&world, account, &projects).await;
    world.keeps_its_promises().await;
    for n in 1.. {
        println!("effect {n} fails");
        let (world, account, projects) = furnished(place, Faults::effect_fails(n)).await;
        erase(&world, account).await.unwrap();
        until_erased(&world, account).await;
        world.rest().await;
        assert_erased(&world, account, &projects).await;
        if world.faults.n_effects() < n {
            assert!(n > 9, "three steps of the account and of each project, but only {n} came by");
            break;
        }
    }
}

async fn what_comes_late_to_an_erased_account_goes_too(place: Place) {
    let (world, account, mut projects) = furnished(place, Faults::default()).await;
    erase(&world, account).await.unwrap();
    until_erased(&world, account).await;
    // As if they had been on their way when the account was asked whether it is there.
    let late = link(&world, account).await;
    projects.push(late);
    let (owner, last_four) = (account, "late".to_owned());
    let store = CredentialCommand::Store { owner, kind: KIND, last_four };
    let credential: CredentialId = credential_of(account, KIND);
    let dispatcher = &world.system().dispatcher;
    dispatcher.send(&world.caller(), (credential, store), Vec::new()).await.unwrap();
    let label = format!("{account}/{}", KIND.name());
    let stored = world.system().sealing.put_secret(credential.0, &label, KEY).await;
    assert!(stored.is_err(), "the vault knows the ledger");
    world
        .until("the late project to be erased", async || {
            world.clock.advance(Duration::from_secs(20));
            let project = dispatcher.state::<Project>(late.0).await;
            matches!(&*project.unwrap(), Project::Erased { .. })
        })
        .await;
    world.rest().await;
    world.until_projected(world.system().log.head().await.unwrap()).await;
    assert_erased(&world, account, &projects).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_from_before_the_erasure_of_an_account_is_erased_again_when_it_is_restored() {
    let (mut world, account, projects) = furnished(Place::Sqlite, Faults::default()).await;
    let (cookie, _) = signed_in(&world).await;
    world.stop().await;
    let backup = world.directory().join("backup");
    copy(world.directory(), &backup);
    world.start().await;
    assert_eq!(world.system().sign_in.cookie(&cookie).await.unwrap(), Some(account));
    erase(&world, account).await.unwrap();
    until_erased(&world, account).await;
    let new = signed_in(&world).await.1;
    world.stop().await;

    copy(&backup, world.directory());
    world.start().await;
    // Before anybody could ask: not only once the process has come to its end.
    let system = world.system();
    assert_eq!(Vault::new(&system.database).list().await.unwrap(), vec![]);
    assert_eq!(system.sign_in.cookie(&cookie).await.unwrap(), None);
    assert_eq!(system.owner(), new, "the next one, as before");
    until_erased(&world, account).await;
    world.rest().await;
    assert_erased(&world, account, &projects).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_brought_back_is_found() {
    let (world, account, _) = furnished(Place::Sqlite, Faults::default()).await;
    let vault = Vault::new(&world.system().database);
    let secrets = vault.list().await.unwrap();
    erase(&world, account).await.unwrap();
    until_erased(&world, account).await;
    assert!(audited(&world).await.is_intact());
    vault.put(&secrets[0]).await.unwrap();
    let said = format!("the secret {} is stored in spite of its erasure", secrets[0].id);
    let report = audited(&world).await;
    assert_eq!((report.findings.len(), &report.findings[0].what), (1, &said));
    world.system().eraser.respect_ledger().await.unwrap();
    assert!(audited(&world).await.is_intact());
    let remove = "DELETE FROM erasures WHERE kind = 'account'";
    world.system().database.log().execute(remove, ()).await.unwrap();
    let report = audited(&world).await;
    let is_told = |words: &str| report.findings.iter().any(|found| found.what.contains(words));
    assert!(is_told(&format!("account {account} says at position")), "{report:?}");
    assert!(is_told("was kept outside and is not in the log any more"), "{report:?}");
}
