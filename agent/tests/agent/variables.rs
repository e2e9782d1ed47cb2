//! A workspace's programs get its variables; the agent's own files do not keep them.

use std::path::Path;

use domain::agent_protocol::{Order, OrderOutcome, TurnEnd};

use crate::{
    control_plane::ControlPlane,
    crashes::{insisted, settled_or_dead},
    rig::{On, PASSWORD, Rig, bare_repository, git, id},
    story::{prompted, publish, published, start_session},
};

/// Those of the journal's files that say the password.
fn telling(data: &Path) -> Vec<String> {
    let files = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.file_type().unwrap().is_file());
    let tells = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes())
    };
    let telling = files.filter(|entry| tells(&entry.path()));
    telling.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn secrets(data: &Path) -> Vec<String> {
    let files = std::fs::read_dir(data.join("secrets")).unwrap();
    files.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// The length of the password as a program in the workspace sees it, on the pushed branch.
async fn length_seen(control: &ControlPlane, rig: &mut Rig, open: Order, bare: &Path) -> String {
    let outcome = insisted(rig, control, open.clone()).await;
    assert!(matches!(outcome, OrderOutcome::WorkspaceOpened { .. }), "{outcome:?}");
    let Order::OpenWorkspace(open) = open else { unreachable!("it was opened") };
    let start = start_session(&open);
    control.order(Order::StartSession(start.clone())).await;
    let wish = "run: printenv PASSWORD | wc -c > length.txt";
    let end = prompted(control, start.session, wish).await;
    assert_eq!(end, TurnEnd::Stopped { reason: "end_turn".into() });
    published(control.order(publish(open.workspace)).await);
    let length = git(bare, &["show", &format!("{}:length.txt", open.branch)]);
    control.order(Order::CloseWorkspace { workspace: open.workspace }).await;
    length
}

async fn programs_see_their_variables(on: On) {
    let mut rig = Rig::new(on);
    let bare = bare_repository(rig.directory.path());
    let open = Order::OpenWorkspace(rig.open(&bare));
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    let length = length_seen(&control, &mut rig, open, &bare).await;
    assert_eq!(length, (PASSWORD.len() + 1).to_string());
    let data = rig.directory.path().join("data");
    assert_eq!((telling(&data), secrets(&data)), (Vec::new(), Vec::new()));
    assert!(!rig.log().contains(PASSWORD));
}

#[tokio::test]
async fn programs_see_their_variables_on_docker() {
    programs_see_their_variables(On::Docker).await;
}

#[tokio::test]
async fn programs_see_their_variables_simulated() {
    programs_see_their_variables(On::Simulated).await;
}

#[tokio::test]
async fn an_opening_that_was_cut_short_goes_on_with_its_variables() {
    let mut rig = Rig::new(On::Simulated);
    let bare = bare_repository(rig.directory.path());
    let open = Order::OpenWorkspace(rig.open(&bare));
    let control = rig.control_plane();
    rig.start_with(&[("SAM_CRASH_POINT", "agent.workspace.before_create:1")]);
    let key = id();
    control.give(key, open.clone()).await;
    assert!(!settled_or_dead(&mut rig, &control, key).await, "it dies on the way");
    let data = rig.directory.path().join("data");
    assert_eq!((telling(&data), secrets(&data)), (Vec::new(), vec![format!("order-{key}")]));

    // The order is not given again: what the agent kept is all that it has.
    rig.kill();
    rig.start();
    let outcome = control.outcome(key).await;
    assert!(matches!(outcome, OrderOutcome::WorkspaceOpened { .. }), "{outcome:?}");
    let length = length_seen(&control, &mut rig, open, &bare).await;
    assert_eq!(length, (PASSWORD.len() + 1).to_string());
    assert_eq!((telling(&data), secrets(&data)), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn what_a_failed_opening_brought_is_deleted() {
    let mut rig = Rig::new(On::Simulated);
    let open = rig.open(Path::new("/nowhere/at/all.git"));
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    let key = id();
    for _ in 0..2 {
        control.give(key, Order::OpenWorkspace(open.clone())).await;
        let outcome = control.outcome(key).await;
        assert!(matches!(outcome, OrderOutcome::Refused { .. }), "{outcome:?}");
    }
    // Orders are taken one after the other: when this one is answered, the repeated one was, too.
    control.order(Order::CloseWorkspace { workspace: open.workspace }).await;
    let data = rig.directory.path().join("data");
    assert_eq!((telling(&data), secrets(&data)), (Vec::new(), Vec::new()));
}
