//! The agent is killed, its container is killed, its disk is full: the story goes on or says why.

use std::{process::Command, time::Duration};

use agent::crash_point::CRASH_POINTS;
use domain::{
    agent_protocol::{OpenWorkspace, Order, OrderOutcome, RefusalKind, Report, Segment, TurnEnd},
    ids::MessageId,
};
use uuid::Uuid;

use crate::{
    control_plane::{ControlPlane, PATIENCE},
    rig::{On, Rig, bare_repository, git, id},
    story::{is_gone, opened, prompt, prompted, publish, published, start_session, turn_end},
};

/// Gives an order under one key until it is settled, starting the agent again whenever it has died,
/// as a control plane does.
pub(crate) async fn insisted(rig: &mut Rig, control: &ControlPlane, order: Order) -> OrderOutcome {
    let key = id();
    control.give(key, order.clone()).await;
    while !settled_or_dead(rig, control, key).await {
        revive(rig, control).await;
        control.give(key, order.clone()).await;
    }
    control.outcome(key).await
}

pub(crate) async fn settled_or_dead(rig: &mut Rig, control: &ControlPlane, key: Uuid) -> bool {
    let watching = async {
        loop {
            if control.heard().outcome(key).is_some() {
                return true;
            }
            if rig.has_died() {
                return false;
            }
            // A process cannot be awaited without taking it from the rig, so it is looked at.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, watching).await.expect("an outcome or a death")
}

async fn revive(rig: &mut Rig, control: &ControlPlane) {
    let n_hellos = control.heard().hellos.len();
    rig.kill();
    rig.start();
    control.connected(n_hellos + 1).await;
}

async fn story_with_a_crash_at(point: &str, hit: u32) -> bool {
    let mut rig = Rig::new(On::Simulated);
    let bare = bare_repository(rig.directory.path());
    let open = rig.open(&bare);
    let control = rig.control_plane();
    rig.start_with(&[("SAM_CRASH_POINT", &format!("{point}:{hit}"))]);
    let outcome = insisted(&mut rig, &control, Order::OpenWorkspace(open.clone())).await;
    assert!(matches!(outcome, OrderOutcome::WorkspaceOpened { .. }), "{point}: {outcome:?}");
    let start = start_session(&open);
    let outcome = insisted(&mut rig, &control, Order::StartSession(start.clone())).await;
    assert!(matches!(outcome, OrderOutcome::SessionStarted { .. }), "{point}: {outcome:?}");
    let (message, order) = prompt(start.session, "write hello.txt: hello\nsay: all done");
    let outcome = insisted(&mut rig, &control, order).await;
    assert_eq!(outcome, OrderOutcome::Done, "{point}");
    let end = ended(&mut rig, &control, message).await;
    assert_eq!(end, TurnEnd::Stopped { reason: "end_turn".into() }, "{point}");
    let published = published(insisted(&mut rig, &control, publish(open.workspace)).await);
    check(&control, &bare, &open, &published.head);
    let close = Order::CloseWorkspace { workspace: open.workspace };
    assert_eq!(insisted(&mut rig, &control, close).await, OrderOutcome::Done, "{point}");
    assert!(is_gone(On::Simulated, &rig, open.workspace), "{point}: something was left");
    control.heard().hellos.len() > 1 || rig.has_died()
}

async fn ended(rig: &mut Rig, control: &ControlPlane, message: MessageId) -> TurnEnd {
    while turn_end(&control.heard(), message).is_none() {
        if rig.has_died() {
            revive(rig, control).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    turn_end(&control.heard(), message).unwrap()
}

/// The branch is there with one commit, and the text arrived once and in order.
fn check(control: &ControlPlane, bare: &std::path::Path, open: &OpenWorkspace, head: &str) {
    let reference = format!("refs/heads/{}", open.branch);
    assert_eq!(git(bare, &["rev-parse", &reference]), head);
    assert_eq!(git(bare, &["show", &format!("{reference}:hello.txt")]), "hello");
    assert_eq!(git(bare, &["rev-list", "--count", &format!("main..{reference}")]), "1");
    let heard = control.heard();
    let mut next = std::collections::BTreeMap::new();
    for report in heard.reports.values() {
        if let Report::Segment(Segment { message, first_chunk, n_chunks, .. }) = report {
            let expected = next.entry(*message).or_insert(0);
            assert_eq!(first_chunk, expected, "chunks are missing or repeated");
            *expected += n_chunks;
        }
    }
    let n_ends =
        heard.reports.values().filter(|report| matches!(report, Report::TurnEnded { .. })).count();
    assert_eq!(n_ends, 1, "a turn ends once");
}

#[tokio::test]
async fn the_story_survives_a_crash_at_every_point() {
    let mut missed = Vec::new();
    for point in CRASH_POINTS {
        if !story_with_a_crash_at(point, 1).await {
            missed.push(*point);
        }
    }
    assert_eq!(missed, [""; 0], "the story never passed these points");
}

#[tokio::test]
async fn the_story_survives_a_crash_later_in_the_journal() {
    for (point, hit) in [
        ("journal.before_append", 9),
        ("journal.after_append", 12),
        ("link.after_report_sent", 6),
        ("order.after_settle", 2),
        ("order.before_accept", 3),
    ] {
        story_with_a_crash_at(point, hit).await;
    }
}

#[tokio::test]
async fn a_container_that_dies_loses_the_session_and_keeps_the_work() {
    let mut rig = Rig::new(On::Docker);
    let bare = bare_repository(rig.directory.path());
    let open = rig.open(&bare);
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    opened(&control, &open).await;
    let start = start_session(&open);
    control.order(Order::StartSession(start.clone())).await;
    prompted(&control, start.session, "write kept.txt: kept").await;
    let (message, order) = prompt(start.session, "hang");
    assert_eq!(control.order(order).await, OrderOutcome::Done);
    let name = format!("sam-{}", open.workspace);
    let killed = Command::new("docker").args(["kill", &name]).output().unwrap();
    assert!(killed.status.success());
    let lost = control.until("the loss", |heard| {
        heard.reports.values().find_map(|report| match report {
            Report::SessionLost { session, prompt, .. } if *session == start.session => {
                Some(*prompt)
            }
            _ => None,
        })
    });
    assert_eq!(lost.await, Some(message), "the prompt in flight is named");
    let published = published(control.order(publish(open.workspace)).await);
    assert!(published.files.iter().any(|file| file.path == "kept.txt"), "{published:?}");
    control.order(Order::CloseWorkspace { workspace: open.workspace }).await;
    assert!(is_gone(On::Docker, &rig, open.workspace));
}

#[tokio::test]
async fn a_full_disk_in_the_workspace_is_a_plain_reason() {
    let mut rig = Rig::new(On::Docker);
    let bare = bare_repository(rig.directory.path());
    let mut open = rig.open(&bare);
    open.limits.disk_bytes = 4 * 1024 * 1024;
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    opened(&control, &open).await;
    let start = start_session(&open);
    control.order(Order::StartSession(start.clone())).await;
    prompted(&control, start.session, "run: head -c 20000000 /dev/urandom > big.bin").await;
    let outcome = control.order(publish(open.workspace)).await;
    let OrderOutcome::Refused { kind: RefusalKind::Machine, reason } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(reason, "the workspace's disk is full");
    control.order(Order::CloseWorkspace { workspace: open.workspace }).await;
    assert!(is_gone(On::Docker, &rig, open.workspace));
}

#[tokio::test]
async fn a_repository_bigger_than_the_workspace_is_refused_and_leaves_nothing() {
    let mut rig = Rig::new(On::Docker);
    let bare = bare_repository(rig.directory.path());
    let work = rig.directory.path().join("work");
    let noise: Vec<u8> =
        (0..8_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(work.join("big.bin"), noise).unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "--quiet", "--message", "Grow"]);
    git(&work, &["push", "--quiet", &bare.to_string_lossy(), "main"]);
    let mut open = rig.open(&bare);
    open.limits.disk_bytes = 4 * 1024 * 1024;
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    let outcome = control.order(Order::OpenWorkspace(open.clone())).await;
    let refused = OrderOutcome::Refused {
        kind: RefusalKind::Machine,
        reason: "the workspace's disk is full".into(),
    };
    assert_eq!(outcome, refused);
    assert!(is_gone(On::Docker, &rig, open.workspace));
}

#[tokio::test]
async fn a_closing_cuts_an_opening_short() {
    let mut rig = Rig::new(On::Simulated);
    // A remote that accepts and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}/repo.git", listener.local_addr().unwrap());
    let open = rig.open(std::path::Path::new(&silent));
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    let key = id();
    control.give(key, Order::OpenWorkspace(open.clone())).await;
    control
        .until("the mirror step", |heard| {
            let mut reports = heard.reports.values();
            reports.find(
                |report| matches!(report, Report::BootStep { step, .. } if step == "mirror"),
            )?;
            Some(())
        })
        .await;
    let close = Order::CloseWorkspace { workspace: open.workspace };
    assert_eq!(control.order(close).await, OrderOutcome::Done);
    let outcome = control.outcome(key).await;
    assert!(matches!(outcome, OrderOutcome::Refused { kind: RefusalKind::Unknown, .. }));
    assert!(is_gone(On::Simulated, &rig, open.workspace));
}
