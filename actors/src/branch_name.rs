//! The branch of an execution: `sam/`, up to four words of the description, and a suffix.
//!
//! The suffix follows from the execution's id, so that a repeated request names the same branch.

use domain::ids::{ExecutionId, derived};

use crate::random;

const PREFIX: &str = "sam/";
const WORDS_MAX: usize = 4;
const CHARS_MAX: usize = 60;
const SUFFIX_BYTES: usize = 3;

/// A valid git ref of at most 60 characters, all of them ASCII.
#[must_use]
pub(crate) fn branch_name(description: &str, execution: ExecutionId) -> String {
    let suffix = random::hex(&derived(execution.0, "branch").as_bytes()[..SUFFIX_BYTES]);
    let room = CHARS_MAX - PREFIX.len() - suffix.len() - 1;
    let mut name = String::from(PREFIX);
    for word in words(description).take(WORDS_MAX) {
        if name.len() - PREFIX.len() + word.len() + 1 > room {
            break;
        }
        name.push_str(&word);
        name.push('-');
    }
    name.push_str(&suffix);
    name
}

/// Letters and digits only: nothing that git or a shell could take for something else.
fn words(description: &str) -> impl Iterator<Item = String> {
    description
        .split(|char: char| !char.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use domain::ids::ExecutionId;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::{CHARS_MAX, branch_name};

    /// What `git check-ref-format --branch` asks for.
    fn is_valid_ref(name: &str) -> bool {
        let is_valid_part = |part: &str| {
            !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with(".lock")
        };
        let has_bad_char = name.contains(|char: char| {
            char.is_control() || " ~^:?*[\\".contains(char) || !char.is_ascii()
        });
        name.split('/').all(is_valid_part)
            && !has_bad_char
            && !name.contains("..")
            && !name.contains("@{")
            && !name.ends_with('.')
    }

    #[test]
    fn it_begins_like_the_description() {
        let name = branch_name("Add a README, please, now!", ExecutionId(Uuid::from_u128(1)));
        assert!(name.starts_with("sam/add-a-readme-please-"), "{name}");
    }

    proptest! {
        #[test]
        fn it_is_always_a_valid_and_short_ref(description in any::<String>(), id in any::<u128>()) {
            let name = branch_name(&description, ExecutionId(Uuid::from_u128(id)));
            prop_assert!(is_valid_ref(&name), "{name}");
            prop_assert!(name.len() <= CHARS_MAX, "{name}");
        }

        #[test]
        fn long_words_leave_room_for_the_suffix(word in "[a-z]{1,80}", id in any::<u128>()) {
            let description = [word.as_str(); 4].join(" ");
            let name = branch_name(&description, ExecutionId(Uuid::from_u128(id)));
            prop_assert!(is_valid_ref(&name) && name.len() <= CHARS_MAX, "{name}");
        }
    }
}
