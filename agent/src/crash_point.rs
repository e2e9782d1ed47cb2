//! The places of the agent at which a test can have it killed, switched on from outside.
//!
//! How that works is told in the crate `crash_point`; the names begin with `agent.`, because the control plane
//! starts this program with its own environment. [`CRASH_POINTS`] lists every name, so that a crash test can visit
//! all of them; passing a place that is not listed is a mistake that shows in any debug build.

/// Every place in the agent, in the order in which a workspace passes them.
pub const CRASH_POINTS: &[&str] = &[
    "agent.order.before_accept",
    "agent.order.after_accept",
    "agent.order.after_settle",
    "agent.journal.before_append",
    "agent.journal.after_append",
    "agent.journal.after_acknowledge",
    "agent.link.after_welcome",
    "agent.link.after_report_sent",
    "agent.workspace.before_create",
    "agent.workspace.after_create",
    "agent.workspace.before_setup",
    "agent.workspace.after_setup",
    "agent.session.before_start",
    "agent.session.after_start",
    "agent.prompt.before_write",
    "agent.prompt.after_write",
    "agent.publish.before_bundle",
    "agent.publish.after_bundle",
    "agent.publish.before_push",
    "agent.publish.after_push",
    "agent.workspace.before_remove",
    "agent.workspace.after_remove",
];

/// Dies here if the environment says so.
pub fn pass(name: &'static str) {
    debug_assert!(CRASH_POINTS.contains(&name), "{name} is not listed in CRASH_POINTS");
    crash_point::pass(name);
}

/// Names a place where a test can kill the agent.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash_point::pass($name)
    };
}

#[cfg(test)]
mod tests {
    use super::CRASH_POINTS;

    #[test]
    fn every_place_is_listed_once() {
        let mut names = CRASH_POINTS.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CRASH_POINTS.len());
    }
}
