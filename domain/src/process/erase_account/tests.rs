use uuid::Uuid;

use super::{ERASE_MS_MAX, EraseAccount, RETRY_MS};
use crate::{
    account::{AccountCommand, AccountEvent},
    credential::{CredentialCommand, CredentialEvent, CredentialKind},
    event::Event,
    ids::CredentialId,
    process::{
        Effect, Intent, Outcome,
        testing::{Given, given_process},
    },
    project::{ProjectCommand, ProjectEvent},
    testing::{account, noon, project},
    values::after,
};

fn requested() -> Event {
    (account(1), AccountEvent::ErasureRequested).into()
}

fn linked() -> Event {
    let (owner, repository, name) = (account(1), "/srv/git/shop".into(), "shop".into());
    (project(1), ProjectEvent::Linked { owner, repository, name }).into()
}

fn credential() -> CredentialId {
    CredentialId(Uuid::from_u128(11))
}

fn stored() -> Event {
    let (owner, kind, last_four) = (account(1), CredentialKind::Anthropic, "wxyz".into());
    (credential(), CredentialEvent::Stored { owner, kind, last_four }).into()
}

fn sign_out() -> Intent {
    Intent::run(Effect::EndSignIns { account: account(1) })
}

fn erase_projects() -> Intent {
    let until = after(noon(), ERASE_MS_MAX);
    Intent::run(Effect::EraseProjects { account: account(1), until })
}

fn destroy() -> Intent {
    Intent::run(Effect::DestroySecrets { account: account(1) })
}

fn record() -> Intent {
    Intent::tell((account(1), AccountCommand::RecordErased))
}

fn erase_late() -> Intent {
    Intent::tell((project(1), ProjectCommand::Erase)).beside()
}

fn remove_late() -> Intent {
    let remove = CredentialCommand::Remove { owner: account(1) };
    Intent::tell((credential(), remove)).beside()
}

fn again() -> Intent {
    Intent::wake_at(after(noon(), RETRY_MS), "again")
}

fn begun() -> Given<EraseAccount> {
    given_process::<EraseAccount>().happened(requested())
}

#[test]
fn nobody_is_signed_in_any_more_before_projects_go_and_projects_before_secrets() {
    begun()
        .then([sign_out()])
        .settled(Outcome::Done)
        .then([erase_projects()])
        .settled(Outcome::Done)
        .then([destroy()])
        .settled(Outcome::Done)
        .then([record()])
        .told()
        .then([])
        .then_unsettled([]);
}

#[test]
fn each_step_that_fails_is_tried_again() {
    begun()
        .failed("the database is away")
        .then([again()])
        .woken()
        .then([sign_out()])
        .settled(Outcome::Done)
        .failed("a project is not erased in time")
        .then([again()])
        .woken()
        .then([erase_projects()])
        .settled(Outcome::Done)
        .failed("the disk is full")
        .then([again()])
        .woken()
        .then([destroy()])
        .settled(Outcome::Done)
        .then([record()]);
}

#[test]
fn a_second_request_starts_nothing() {
    begun().happened(requested()).then([]).then_unsettled([sign_out()]);
}

#[test]
fn projects_and_credentials_are_no_concern_unless_the_account_is_erased() {
    given_process::<EraseAccount>()
        .happened(linked())
        .then([])
        .happened(stored())
        .then([])
        .then_unsettled([]);
}

#[test]
fn what_comes_while_the_account_is_erased_goes_too() {
    begun()
        .happened(linked())
        .then([erase_late()])
        .happened(stored())
        .then([remove_late()])
        .then_unsettled([sign_out(), erase_late(), remove_late()])
        .settled(Outcome::Done)
        .then([erase_projects()]);
}

#[test]
fn what_comes_after_the_account_was_erased_goes_too() {
    begun()
        .settled(Outcome::Done)
        .settled(Outcome::Done)
        .settled(Outcome::Done)
        .told()
        .happened(linked())
        .then([erase_late()])
        .happened(stored())
        .then([remove_late()])
        .told()
        .then([])
        .then_unsettled([]);
}
