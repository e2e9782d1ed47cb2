use super::{RETRY_MS, RetireNode, START_MS_MAX, UNUSED_MS_MAX};
use crate::{
    event::Event,
    node::{NodeCommand, NodeEvent},
    process::{Effect, Intent, Outcome, testing::given_process},
    testing::{node, node_spec, noon, workspace},
    values::after,
};

fn event(event: NodeEvent) -> Event {
    (node(1), event).into()
}

fn requested() -> Event {
    event(NodeEvent::Requested { spec: node_spec() })
}

fn started() -> Event {
    event(NodeEvent::Started { slots: 2, version: "1".into() })
}

fn placed() -> Event {
    event(NodeEvent::WorkspacePlaced { workspace: workspace(1) })
}

fn warmed() -> Event {
    event(NodeEvent::Warmed { until: noon() })
}

fn stop_requested() -> Event {
    event(NodeEvent::StopRequested { spec: node_spec(), reason: "told to".into() })
}

fn tell_to_stop(reason: &str) -> Intent {
    Intent::tell((node(1), NodeCommand::Stop { reason: reason.into() }))
}

fn stop() -> Intent {
    Intent::run(Effect::StopNode { node: node(1), spec: node_spec() })
}

#[test]
fn a_machine_that_does_not_start_is_given_back() {
    given_process::<RetireNode>()
        .happened(requested())
        .then([Intent::wake_at(after(noon(), START_MS_MAX), "start")])
        .woken()
        .then([tell_to_stop("its agent did not call in time")]);
}

#[test]
fn a_machine_that_nobody_uses_is_given_back() {
    let unused = Intent::wake_at(after(noon(), UNUSED_MS_MAX), "warm");
    given_process::<RetireNode>()
        .happened(requested())
        .happened(started())
        .then([unused.clone()])
        .then_unsettled([unused])
        .woken()
        .then([tell_to_stop("empty for longer than a node is kept warm")]);
}

#[test]
fn a_warm_node_waits_for_reuse() {
    given_process::<RetireNode>()
        .happened(requested())
        .happened(started())
        .happened(placed())
        .happened(warmed())
        .then([Intent::wake_at(noon(), "warm")])
        .happened(placed())
        .then_unsettled([]);
}

#[test]
fn a_node_that_is_to_stop_is_stopped_until_it_is_confirmed() {
    given_process::<RetireNode>()
        .happened(requested())
        .happened(stop_requested())
        .then([stop()])
        .failed("the provider is away")
        .then([Intent::wake_at(after(noon(), RETRY_MS), "again")])
        .woken()
        .then([stop()])
        .settled(Outcome::Done)
        .then([Intent::tell((node(1), NodeCommand::RecordStop))]);
}

#[test]
fn a_machine_that_is_gone_needs_no_retiring() {
    given_process::<RetireNode>()
        .happened(requested())
        .happened(event(NodeEvent::Failed { reason: "gone".into() }))
        .then_unsettled([]);
}
