//! The link: greeting, belief, repetition, reconnects.

use std::sync::Arc;

use domain::{
    agent_protocol::{ControlFrame, Order, OrderOutcome, RefusalKind, Report},
    ids::{ExecutionId, InstallationId, SessionId, WorkspaceId},
};

use crate::{
    control_plane::{Key, PATIENCE},
    rig::{On, Rig, id},
};

/// An order that is refused at once: enough to see that orders are taken.
fn small_order() -> Order {
    Order::CancelTurn { session: SessionId(id()) }
}

#[tokio::test]
async fn an_agent_says_who_it_is_and_takes_orders() {
    let mut rig = Rig::new(On::Simulated);
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    let hello = control.heard().hellos[0].clone();
    assert_eq!((hello.node, hello.slots), (rig.node, 3));
    assert_eq!(hello.engine.as_deref(), Some("simulated (API 1.41)"));
    let outcome = control.order(small_order()).await;
    assert!(matches!(outcome, OrderOutcome::Refused { kind: RefusalKind::Unknown, .. }));
    control.until("a heartbeat", |heard| (heard.n_heartbeats > 0).then_some(())).await;
}

#[tokio::test]
async fn a_wrong_token_is_worth_nothing() {
    let key = || Key::of(7);
    let foreign = Key::of(9);
    type Forge = Box<dyn Fn(&domain::agent_protocol::ControlClaims) -> String + Send + Sync>;
    let forgeries: Vec<(&str, Forge)> = vec![
        ("another key", Box::new(move |claims| foreign.sign(claims))),
        ("another node", {
            let key = key();
            Box::new(move |claims| {
                let mut claims = claims.clone();
                claims.sub = id().to_string();
                key.sign(&claims)
            })
        }),
        ("another installation", {
            let key = key();
            Box::new(move |claims| {
                let mut claims = claims.clone();
                claims.iss = format!("sam:{}", InstallationId(id()));
                key.sign(&claims)
            })
        }),
        ("another audience", {
            let key = key();
            Box::new(move |claims| {
                let mut claims = claims.clone();
                claims.aud = "sam-browser".into();
                key.sign(&claims)
            })
        }),
        ("expired", {
            let key = key();
            Box::new(move |claims| {
                let mut claims = claims.clone();
                claims.exp -= 7200;
                key.sign(&claims)
            })
        }),
        ("no token", Box::new(|_| String::new())),
    ];
    for (what, forge) in forgeries {
        let mut rig = Rig::new(On::Simulated);
        let control = rig.control_plane();
        control.manner.lock().unwrap().token = Arc::from(forge);
        rig.start();
        control.until(what, |heard| (heard.n_closed >= 2).then_some(())).await;
        assert!(control.heard().reports.is_empty(), "{what}: orders were taken");
    }
}

#[tokio::test]
async fn a_report_is_repeated_until_it_is_acknowledged_and_keeps_its_number() {
    let mut rig = Rig::new(On::Simulated);
    let control = rig.control_plane();
    control.manner.lock().unwrap().acknowledges = false;
    rig.start();
    control.connected(1).await;
    control.order(small_order()).await;
    control.order(small_order()).await;
    control.hang_up().await;
    control.connected(2).await;
    control.until("the reports again", |heard| (heard.arrivals.len() >= 4).then_some(())).await;
    assert_eq!(control.heard().arrivals, [1, 2, 1, 2]);

    // Also after the agent was killed.
    rig.kill();
    rig.start();
    control.until("the reports again", |heard| (heard.arrivals.len() >= 6).then_some(())).await;
    assert_eq!(control.heard().arrivals, [1, 2, 1, 2, 1, 2]);
    let hellos = control.heard().hellos;
    assert!(hellos.iter().all(|hello| hello.journal == hellos[0].journal));

    // Acknowledged, they are gone, and their numbers are not used again.
    control.say(ControlFrame::Acknowledge { number: 2 }).await;
    control.order(small_order()).await;
    assert_eq!(control.heard().arrivals, [1, 2, 1, 2, 1, 2, 3]);
}

#[tokio::test]
async fn a_repeated_key_gets_the_first_outcome_again() {
    let mut rig = Rig::new(On::Simulated);
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    let (key, close) = (id(), Order::CloseWorkspace { workspace: WorkspaceId(id()) });
    control.give(key, close.clone()).await;
    assert_eq!(control.outcome(key).await, OrderOutcome::Done);
    // Under the same key even another order is not carried out.
    control.give(key, small_order()).await;
    let settled = |heard: &crate::control_plane::Heard| {
        let of_key = heard.reports.values().filter(
            |report| matches!(report, Report::OrderSettled { key: settled, .. } if *settled == key),
        );
        let reports: Vec<_> = of_key.cloned().collect();
        (reports.len() == 2).then_some(reports)
    };
    let reports = control.until("the outcome again", settled).await;
    assert_eq!(reports[0], reports[1]);
}

#[tokio::test]
async fn an_order_of_an_older_epoch_is_refused() {
    let mut rig = Rig::new(On::Simulated);
    let control = rig.control_plane();
    control.manner.lock().unwrap().epoch = 5;
    rig.start();
    control.connected(1).await;
    control.order(small_order()).await;
    let key = id();
    control.give_under(4, key, small_order()).await;
    let outcome = control.outcome(key).await;
    assert!(matches!(outcome, OrderOutcome::Refused { kind: RefusalKind::Stale, .. }));

    // A control plane that is behind is not even listened to.
    control.manner.lock().unwrap().epoch = 4;
    control.hang_up().await;
    let n_closed = control.heard().n_closed;
    control.until("hanging up", |heard| (heard.n_closed >= n_closed + 2).then_some(())).await;
}

#[tokio::test]
async fn a_second_agent_finds_the_directory_locked() {
    let mut rig = Rig::new(On::Simulated);
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    let mut second = rig.command(&[]);
    let status = tokio::task::spawn_blocking(move || second.status().unwrap()).await.unwrap();
    assert!(!status.success());
    assert!(rig.log().contains("another agent uses"), "{}", rig.log());
}

#[tokio::test]
async fn a_lonely_agent_leaves() {
    let mut rig = Rig::new(On::Simulated);
    rig.start_with(&[("SAM_AGENT_LEAVE_AFTER_SECONDS", "1")]);
    let status = tokio::time::timeout(PATIENCE, rig.left()).await.unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_drained_agent_leaves_when_nothing_runs() {
    let mut rig = Rig::new(On::Simulated);
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    control.say(ControlFrame::Drain).await;
    assert!(tokio::time::timeout(PATIENCE, rig.left()).await.unwrap().success());
}

#[tokio::test]
async fn a_retired_agent_reports_and_leaves() {
    let mut rig = Rig::new(On::Simulated);
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    assert_eq!(control.order(Order::Retire).await, OrderOutcome::Done);
    assert!(tokio::time::timeout(PATIENCE, rig.left()).await.unwrap().success());
}

#[tokio::test]
async fn an_order_for_nothing_that_is_here_is_refused() {
    let mut rig = Rig::new(On::Simulated);
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    let publish = Order::Publish {
        workspace: WorkspaceId(id()),
        target: domain::agent_protocol::PublishTarget::Checkpoint { execution: ExecutionId(id()) },
        commit_message: "Keep".into(),
    };
    let outcome = control.order(publish).await;
    assert!(matches!(outcome, OrderOutcome::Refused { kind: RefusalKind::Unknown, .. }));
}
