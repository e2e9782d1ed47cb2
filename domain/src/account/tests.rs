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

proptest! {
    #[test]
    fn any_sequence_of_commands_folds_to_the_live_state(
        commands in prop::collection::vec(
            prop::sample::select(vec![register("Ada"), register(""), rename("Ada"), rename("Eve")]),
            0..20,
        )
    ) {
        check_sequence::<Account>(commands, |_| true);
    }
}
