use proptest::prelude::*;

use super::{Credential, CredentialCommand, CredentialError, CredentialEvent, CredentialKind};
use crate::testing::{account, check_sequence, given, given_nothing};

const KIND: CredentialKind = CredentialKind::Anthropic;

fn store(owner: u128) -> CredentialCommand {
    CredentialCommand::Store { owner: account(owner), kind: KIND, last_four: "wxyz".into() }
}

fn stored(owner: u128) -> CredentialEvent {
    CredentialEvent::Stored { owner: account(owner), kind: KIND, last_four: "wxyz".into() }
}

fn remove(owner: u128) -> CredentialCommand {
    CredentialCommand::Remove { owner: account(owner) }
}

#[test]
fn a_key_is_stored() {
    given_nothing::<Credential>().when(store(1)).then([stored(1)]);
}

#[test]
fn a_key_is_replaced_even_when_its_end_is_the_same() {
    given::<Credential>([stored(1)]).when(store(1)).then([stored(1)]);
}

#[test]
fn nobody_replaces_or_removes_a_key_of_somebody_else() {
    given::<Credential>([stored(1)]).when(store(2)).then_rejected(CredentialError::NotYours);
    given::<Credential>([stored(1)]).when(remove(2)).then_rejected(CredentialError::NotYours);
}

#[test]
fn a_key_is_removed() {
    given::<Credential>([stored(1)])
        .when(remove(1))
        .then([CredentialEvent::Removed { owner: account(1), kind: KIND }]);
}

#[test]
fn removing_a_key_that_is_not_there_changes_nothing() {
    given_nothing::<Credential>().when(remove(1)).then_nothing();
}

proptest! {
    #[test]
    fn any_sequence_of_commands_folds_to_the_live_state(
        commands in prop::collection::vec(
            prop::sample::select(vec![store(1), store(2), remove(1), remove(2)]), 0..20)
    ) {
        // Storing again is a replacement: only the vault knows whether the key is another one.
        check_sequence::<Credential>(commands, |command| {
            !matches!(command, CredentialCommand::Store { .. })
        });
    }
}
