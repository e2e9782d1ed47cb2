//! The whole sequence of orders, on both engines, with a real remote.

use std::path::Path;

use domain::{
    agent_protocol::{
        CodingAgentKind, CodingAgentStart, FileChange, OpenWorkspace, Order, OrderOutcome,
        PermissionPolicy, PublishTarget, Published, RefusalKind, Report, StartSession, StepState,
        TurnEnd,
    },
    ids::{ExecutionId, MessageId, SessionId, WorkspaceId},
};

use crate::{
    control_plane::{ControlPlane, Heard},
    rig::{On, Rig, bare_repository, git, id},
};

pub(crate) fn start_session(open: &OpenWorkspace) -> StartSession {
    StartSession {
        session: SessionId(id()),
        workspace: open.workspace,
        epoch: 1,
        coding_agent: CodingAgentStart { kind: CodingAgentKind::Demo, model: None },
        permissions: PermissionPolicy::Allow,
    }
}

pub(crate) fn prompt(session: SessionId, text: &str) -> (MessageId, Order) {
    let message = MessageId(id());
    (message, Order::Prompt { session, epoch: 1, message, text: text.into() })
}

pub(crate) fn turn_end(heard: &Heard, wanted: MessageId) -> Option<TurnEnd> {
    heard.reports.values().find_map(|report| match report {
        Report::TurnEnded { message, end, .. } if *message == wanted => Some(end.clone()),
        _ => None,
    })
}

pub(crate) fn publish(workspace: WorkspaceId) -> Order {
    let commit_message = "Write a file".into();
    Order::Publish { workspace, target: PublishTarget::Branch, commit_message }
}

pub(crate) fn published(outcome: OrderOutcome) -> Published {
    match outcome {
        OrderOutcome::Published(published) => published,
        other => panic!("not published: {other:?}"),
    }
}

fn boot_steps(heard: &Heard) -> Vec<(String, StepState)> {
    let steps = heard.reports.values().filter_map(|report| match report {
        Report::BootStep { step, state, .. } => Some((step.clone(), *state)),
        _ => None,
    });
    steps.collect()
}

pub(crate) async fn opened(control: &ControlPlane, open: &OpenWorkspace) {
    let outcome = control.order(Order::OpenWorkspace(open.clone())).await;
    assert!(matches!(outcome, OrderOutcome::WorkspaceOpened { .. }), "{outcome:?}");
}

pub(crate) async fn prompted(control: &ControlPlane, session: SessionId, text: &str) -> TurnEnd {
    let (message, order) = prompt(session, text);
    assert_eq!(control.order(order).await, OrderOutcome::Done);
    control.until("the turn's end", |heard| turn_end(heard, message)).await
}

async fn from_open_to_close(on: On) {
    let mut rig = Rig::new(on);
    let bare = bare_repository(rig.directory.path());
    let open = rig.open(&bare);
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    opened(&control, &open).await;
    let steps = boot_steps(&control.heard());
    for step in ["image", "container", "mirror", "clone", "ready"] {
        assert!(steps.contains(&(step.to_string(), StepState::Completed)), "{step}: {steps:?}");
    }

    let start = start_session(&open);
    let started = control.order(Order::StartSession(start.clone())).await;
    assert!(matches!(started, OrderOutcome::SessionStarted { .. }), "{started:?}");
    let directives = "write hello.txt: hello\nrun: echo $SAM_GREETING > greeting.txt\nsay: done";
    let end = prompted(&control, start.session, directives).await;
    assert_eq!(end, TurnEnd::Stopped { reason: "end_turn".into() });
    let said: String = (control.heard().reports.values())
        .filter_map(|report| match report {
            Report::Segment(segment) => Some(segment.text.clone()),
            _ => None,
        })
        .collect();
    assert!(said.contains("done"), "{said}");

    let first = published(control.order(publish(open.workspace)).await);
    check_published(&bare, &open, &first);
    // Again, under another key: the same commits, and nothing new on the remote.
    let second = published(control.order(publish(open.workspace)).await);
    assert_eq!((&second.head, &second.reference), (&first.head, &first.reference));

    let close = Order::CloseWorkspace { workspace: open.workspace };
    assert_eq!(control.order(close.clone()).await, OrderOutcome::Done);
    assert_eq!(control.order(close).await, OrderOutcome::Done);
    assert!(is_gone(on, &rig, open.workspace), "something was left");
}

fn check_published(bare: &Path, open: &OpenWorkspace, published: &Published) {
    let reference = format!("refs/heads/{}", open.branch);
    assert_eq!(published.reference.as_deref(), Some(reference.as_str()));
    assert_eq!(git(bare, &["rev-parse", &reference]), published.head);
    assert_eq!(git(bare, &["show", &format!("{reference}:greeting.txt")]), "hello");
    assert_eq!(git(bare, &["log", "-1", "--format=%an %s", &reference]), "Ada Write a file");
    assert_eq!(git(bare, &["rev-parse", "main"]), published.base);
    assert_eq!(published.commits.len(), 1);
    assert_eq!(published.commits[0].subject, "Write a file");
    let change = |path: &str| FileChange { path: path.into(), added: 1, removed: 0 };
    assert_eq!(published.files, [change("greeting.txt"), change("hello.txt")]);
    assert!(published.diff.contains("+hello") && !published.is_diff_cut, "{}", published.diff);
}

pub(crate) fn is_gone(on: On, rig: &Rig, workspace: WorkspaceId) -> bool {
    match on {
        On::Docker => {
            let filter = format!("label=sam.workspace={workspace}");
            let listed = |what: &[&str]| {
                let output = std::process::Command::new("docker")
                    .args(what)
                    .args(["--filter", &filter, "-q"])
                    .output()
                    .unwrap();
                output.status.success() && output.stdout.is_empty()
            };
            listed(&["ps", "-a"]) && listed(&["volume", "ls"])
        }
        On::Simulated => {
            let containers = rig.directory.path().join("data/simulated/c");
            std::fs::read_dir(containers).unwrap().next().is_none()
        }
    }
}

#[tokio::test]
async fn from_open_to_close_on_docker() {
    from_open_to_close(On::Docker).await;
}

#[tokio::test]
async fn from_open_to_close_simulated() {
    from_open_to_close(On::Simulated).await;
}

#[tokio::test]
async fn without_a_change_nothing_is_pushed() {
    let mut rig = Rig::new(On::Simulated);
    let bare = bare_repository(rig.directory.path());
    let open = rig.open(&bare);
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    opened(&control, &open).await;
    let published = published(control.order(publish(open.workspace)).await);
    assert_eq!((published.reference, published.commits.len()), (None, 0));
    assert_eq!(git(&bare, &["branch", "--list", "sam/*"]), "");
}

#[tokio::test]
async fn a_checkpoint_lands_beside_the_branches() {
    let mut rig = Rig::new(On::Simulated);
    let bare = bare_repository(rig.directory.path());
    let open = rig.open(&bare);
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    opened(&control, &open).await;
    write_into(&rig, open.workspace, "unpushed.txt");
    let execution = ExecutionId(id());
    let order = Order::Publish {
        workspace: open.workspace,
        target: PublishTarget::Checkpoint { execution },
        commit_message: "Keep what was unpushed".into(),
    };
    let published = published(control.order(order).await);
    let reference = format!("refs/sam/checkpoints/{execution}");
    assert_eq!(published.reference.as_deref(), Some(reference.as_str()));
    assert_eq!(git(&bare, &["rev-parse", &reference]), published.head);
    assert_eq!(git(&bare, &["branch", "--list", "sam/*"]), "");
}

#[tokio::test]
async fn a_rejected_push_is_the_repositorys_turn_and_a_checkpoint_stays_in_the_mirror() {
    let mut rig = Rig::new(On::Simulated);
    let bare = bare_repository(rig.directory.path());
    let hook = bare.join("hooks/pre-receive");
    std::fs::write(&hook, "#!/bin/sh\necho nobody may push here >&2\nexit 1\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let open = rig.open(&bare);
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    opened(&control, &open).await;
    write_into(&rig, open.workspace, "refused.txt");
    let outcome = control.order(publish(open.workspace)).await;
    let OrderOutcome::Refused { kind: RefusalKind::Repository, reason } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("rejected") && reason.contains("nobody may push here"), "{reason}");

    let execution = ExecutionId(id());
    let order = Order::Publish {
        workspace: open.workspace,
        target: PublishTarget::Checkpoint { execution },
        commit_message: "Keep".into(),
    };
    let published = published(control.order(order).await);
    let reference = format!("mirror:refs/sam/checkpoints/{execution}");
    assert_eq!(published.reference, Some(reference));
}

#[tokio::test]
async fn a_failed_opening_says_why_and_leaves_nothing() {
    let mut rig = Rig::new(On::Simulated);
    let open = rig.open(Path::new("/nowhere/at/all.git"));
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    let outcome = control.order(Order::OpenWorkspace(open.clone())).await;
    let OrderOutcome::Refused { kind: RefusalKind::Repository, reason } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("does not exist"), "{reason}");
    assert!(boot_steps(&control.heard()).contains(&("mirror".into(), StepState::Failed)));
    assert!(is_gone(On::Simulated, &rig, open.workspace));
}

/// Changes a simulated workspace as a person at its shell would.
fn write_into(rig: &Rig, workspace: WorkspaceId, name: &str) {
    let containers = rig.directory.path().join("data/simulated/c");
    let file = containers.join(workspace.0.simple().to_string()).join("workspace").join(name);
    std::fs::write(file, "text\n").unwrap();
}
