use proptest::prelude::*;

use super::{Account, AccountCommand, AccountError, AccountEvent};
use crate::testing::{check_sequence, given, given_nothing};

fn registered(name: &str) -> AccountEvent {
    AccountEvent::Registered { name: name.into() }
}

fn register(name: &str) -> AccountCommand {
    AccountCommand::Register { name: name.into() }
}

fn rename(name: &str) -> AccountCommand {
    AccountCommand::Rename { name: name.into() }
}

#[test]
fn a_person_registers() {
    given_nothing::<Account>().when(register("Ada")).then([registered("Ada")]);
}

#[test]
fn registering_again_changes_nothing() {
    given::<Account>([registered("Ada")]).when(register("Ada")).then_nothing();
}

#[test]
fn a_name_is_never_empty_or_endless() {
    given_nothing::<Account>()
        .when(register(" "))
        .then_rejected(AccountError::BadName { max: 100 });
    given::<Account>([registered("Ada")])
        .when(rename(&"x".repeat(101)))
        .then_rejected(AccountError::BadName { max: 100 });
}

#[test]
fn an_account_can_be_renamed() {
    given::<Account>([registered("Ada")])
        .when(rename("Grace"))
        .then([AccountEvent::Renamed { name: "Grace".into() }]);
}

#[test]
fn renaming_to_the_same_name_changes_nothing() {
    given::<Account>([registered("Ada")]).when(rename("Ada")).then_nothing();
}

#[test]
fn an_unknown_account_cannot_be_renamed() {
    given_nothing::<Account>().when(rename("Grace")).then_rejected(AccountError::NotFound);
}

fn erasing() -> [AccountEvent; 2] {
    [registered("Ada"), AccountEvent::ErasureRequested]
}

fn erased() -> [AccountEvent; 3] {
    [registered("Ada"), AccountEvent::ErasureRequested, AccountEvent::Erased]
}

#[test]
fn an_account_can_be_erased() {
    given::<Account>([registered("Ada")])
        .when(AccountCommand::RequestErasure)
        .then([AccountEvent::ErasureRequested]);
    given::<Account>(erasing()).when(AccountCommand::RecordErased).then([AccountEvent::Erased]);
}

#[test]
fn erasing_an_account_again_changes_nothing() {
    given::<Account>(erasing()).when(AccountCommand::RequestErasure).then_nothing();
    given::<Account>(erased()).when(AccountCommand::RequestErasure).then_nothing();
    given::<Account>(erased()).when(AccountCommand::RecordErased).then_nothing();
}

#[test]
fn an_account_is_not_erased_unasked() {
    given_nothing::<Account>()
        .when(AccountCommand::RequestErasure)
        .then_rejected(AccountError::NotFound);
    given::<Account>([registered("Ada")])
        .when(AccountCommand::RecordErased)
        .then_rejected(AccountError::NotErasing);
}

#[test]
fn an_erased_account_is_not_registered_or_renamed_any_more() {
    for command in [register("Ada"), rename("Eve")] {
        given::<Account>(erasing()).when(command.clone()).then_rejected(AccountError::Erased);
        given::<Account>(erased()).when(command).then_rejected(AccountError::Erased);
    }
}

proptest! {
    #[test]
    fn any_sequence_of_commands_folds_to_the_live_state(
        commands in prop::collection::vec(
            prop::sample::select(vec![
                register("Ada"),
                register(""),
                rename("Ada"),
                rename("Eve"),
                AccountCommand::RequestErasure,
                AccountCommand::RecordErased,
            ]),
            0..20,
        )
    ) {
        check_sequence::<Account>(commands, |_| true);
    }
}
