//! Which option answers a permission request without a person. Chosen by kind, never by id: ids
//! differ between coding agents and their versions.

use domain::agent_protocol::{PermissionOption, PermissionPolicy};

/// What the policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This option; none if there is no fitting one, which the coding agent takes as a cancel.
    Settled(Option<String>),
    /// A person decides.
    Ask,
}

/// Prefers what holds once: a lasting permission would change what the log says about later calls.
pub(crate) fn decide(policy: PermissionPolicy, options: &[PermissionOption]) -> Verdict {
    let kinds = match policy {
        PermissionPolicy::Allow => ["allow_once", "allow_always"],
        PermissionPolicy::Deny => ["reject_once", "reject_always"],
        PermissionPolicy::Ask => return Verdict::Ask,
    };
    let fitting = kinds.iter().find_map(|kind| options.iter().find(|option| option.kind == *kind));
    Verdict::Settled(fitting.map(|option| option.id.clone()))
}

#[cfg(test)]
mod tests {
    use domain::agent_protocol::{PermissionOption, PermissionPolicy};

    use super::{Verdict, decide};

    fn option(id: &str, kind: &str) -> PermissionOption {
        PermissionOption { id: id.to_string(), name: String::new(), kind: kind.to_string() }
    }

    #[test]
    fn options_are_chosen_by_kind() {
        let options = [
            option("reject_once", "allow_always"),
            option("x", "allow_once"),
            option("n", "reject_once"),
        ];
        let settled = |id: &str| Verdict::Settled(Some(id.to_string()));
        assert_eq!(decide(PermissionPolicy::Allow, &options), settled("x"));
        assert_eq!(decide(PermissionPolicy::Allow, &options[..1]), settled("reject_once"));
        assert_eq!(decide(PermissionPolicy::Deny, &options), settled("n"));
        assert_eq!(decide(PermissionPolicy::Deny, &options[..2]), Verdict::Settled(None));
        assert_eq!(decide(PermissionPolicy::Ask, &options), Verdict::Ask);
    }
}
