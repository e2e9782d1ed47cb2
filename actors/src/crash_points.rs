//! Every place of the control plane at which a test may have it killed.
//!
//! Switched on from outside, see the crate `crash_point`. The list is what crash tests iterate over; a
//! test holds it against the sources.

/// All names, in the order in which an idea on its way to a branch comes by.
pub const CRASH_POINTS: &[&str] = &[
    "dispatcher.before_append",
    "dispatcher.after_append",
    "process.before_stimulus",
    "process.after_reacted",
    "process.before_checkpoint",
    "process.before_open_intents",
    "intent.before_run",
    "intent.after_tell",
    "intent.before_outcome",
    "intent.after_effect",
    "intent.after_outcome",
    "timer.before_woken",
    "timer.after_woken",
    "provider.before_spawn",
    "provider.after_spawn",
    "link.before_welcome",
    "link.after_welcome",
    "order.before_sent",
    "order.after_sent",
    "report.before_commit",
    "report.after_commit",
    "report.before_acknowledge",
    "heads.before_put",
    "heads.after_put",
    "heads.after_written",
    "chat_search.before_advance",
];

/// Those that only the erasure of a project comes by, in order.
pub const ERASURE_CRASH_POINTS: [&str; 5] = [
    "erasure.before_written",
    "erasure.after_written",
    "erasure.after_destroyed",
    "erasure.after_emptied",
    "erasure.after_named",
];

/// Those that only the erasure of an account comes by, in order; it comes by those of a project as well.
pub const ACCOUNT_ERASURE_CRASH_POINTS: [&str; 3] = [
    "account_erasure.after_sign_out",
    "account_erasure.after_asked",
    "account_erasure.after_removed",
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::{ACCOUNT_ERASURE_CRASH_POINTS, CRASH_POINTS, ERASURE_CRASH_POINTS};

    fn collect(directory: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, names);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let calls = text.split(concat!("crash_point", "!(\"")).skip(1);
            names.extend(calls.filter_map(|call| Some(call.split('"').next()?.to_owned())));
        }
    }

    #[test]
    fn the_list_names_each_place_in_the_sources_once() {
        let mut names = BTreeSet::new();
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
        let all = || {
            let of_project = CRASH_POINTS.iter().chain(&ERASURE_CRASH_POINTS);
            of_project.chain(&ACCOUNT_ERASURE_CRASH_POINTS)
        };
        let listed: BTreeSet<_> = all().map(|name| (*name).to_owned()).collect();
        assert_eq!(listed, names);
        assert_eq!(listed.len(), all().count());
    }
}
