//! What every engine promises, asked of both.

use std::{collections::BTreeSet, process::Command};

use agent::{
    engine::{
        Attached, ContainerSpec, Engine, EngineError,
        docker::DockerEngine,
        simulated::{EngineCall, FaultTime, SimulatedEngine},
    },
    holder,
};
use domain::ids::{InstallationId, NodeId, WorkspaceId};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::{
    control_plane::spawned,
    rig::{Directory, IMAGE, id, open_workspace, remove_container},
};

fn spec() -> ContainerSpec {
    let open = open_workspace("/unused");
    ContainerSpec {
        workspace: open.workspace,
        image: open.image,
        environment: open.environment,
        limits: open.limits,
    }
}

/// Removes a container even when the test fails.
struct Cleanup(WorkspaceId);

impl Drop for Cleanup {
    fn drop(&mut self) {
        remove_container(self.0);
    }
}

fn docker() -> DockerEngine {
    DockerEngine::new(None, InstallationId(id()), NodeId(id()), holder::BINARY)
}

fn simulated(directory: &Directory) -> SimulatedEngine {
    let images = Some(BTreeSet::from([IMAGE.to_string()]));
    SimulatedEngine::open(directory.path(), holder::BINARY, images).unwrap()
}

async fn greeting(attached: &mut Attached) -> String {
    let mut line = String::new();
    BufReader::new(attached.stdout.as_mut()).read_line(&mut line).await.unwrap();
    line
}

/// Stops a container from outside.
async fn stop(engine: &dyn Engine, workspace: WorkspaceId, simulated: Option<&SimulatedEngine>) {
    match simulated {
        Some(simulated) => simulated.kill(workspace).await.unwrap(),
        None => {
            let kill = Command::new("docker")
                .args(["kill", &format!("sam-{workspace}")])
                .output()
                .unwrap();
            assert!(kill.status.success());
        }
    }
    while engine.find(workspace).await.unwrap().is_some_and(|found| found.is_running) {
        tokio::task::yield_now().await;
    }
}

async fn keeps_its_promises(engine: &dyn Engine, other: Option<&SimulatedEngine>) {
    let spec = spec();
    let workspace = spec.workspace;
    let _cleanup = Cleanup(workspace);
    engine.version().await.unwrap();
    engine.need_image(IMAGE).await.unwrap();

    // Nothing there: gone, and removing it succeeds.
    assert_eq!(engine.find(workspace).await.unwrap(), None);
    engine.remove(workspace).await.unwrap();
    assert!(matches!(engine.start(workspace).await, Err(EngineError::Gone { .. })));
    let attach = || engine.run_holder(workspace, vec!["attach".into()]);
    assert!(matches!(attach().await, Err(EngineError::Gone { .. })));

    // Created twice is created once.
    let created = engine.create(spec.clone()).await.unwrap();
    // The simulation's containers have no stdio of their own.
    assert_eq!(created.beginning.is_some(), other.is_none());
    let adopted = engine.create(spec).await.unwrap();
    assert_eq!(adopted.container, created.container);
    assert!(adopted.beginning.is_none(), "what it was told is not known");
    let container = created.container;
    let found = engine.find(workspace).await.unwrap().unwrap();
    assert!(found.is_running && found.container == container);
    assert_eq!(engine.list().await.unwrap(), [found]);
    assert_eq!(engine.leftovers().await.unwrap(), [workspace].into());

    // The holder answers on an attached stdio, and lives on when that ends.
    let mut attached = attach().await.unwrap();
    assert!(greeting(&mut attached).await.contains("hello"));
    drop(attached);
    assert!(greeting(&mut attach().await.unwrap()).await.contains("hello"));

    // A program's failure has an exit code and a reason.
    let Attached { mut stdin, mut stdout, stderr, exit } =
        engine.run_holder(workspace, vec!["no-such-command".into()]).await.unwrap();
    stdin.shutdown().await.unwrap();
    drop(stdin);
    let mut printed = String::new();
    stdout.read_to_string(&mut printed).await.unwrap();
    assert_ne!(exit.await.unwrap(), 0);
    assert!(stderr.text().contains("usage"), "{}", stderr.text());

    // Stopped is not gone: it starts again.
    stop(engine, workspace, other).await;
    assert!(matches!(attach().await, Err(EngineError::Stopped { .. })));
    engine.start(workspace).await.unwrap();
    assert!(greeting(&mut attach().await.unwrap()).await.contains("hello"));

    // Removed twice is removed once, and nothing is left.
    engine.remove(workspace).await.unwrap();
    engine.remove(workspace).await.unwrap();
    assert_eq!(engine.find(workspace).await.unwrap(), None);
    assert_eq!(engine.list().await.unwrap(), []);
    assert!(engine.leftovers().await.unwrap().is_empty());
    engine.host_address().await.unwrap();
}

#[tokio::test]
async fn docker_keeps_its_promises() {
    keeps_its_promises(&docker(), None).await;
}

#[tokio::test]
async fn a_volume_without_its_container_is_found_and_removed() {
    let engine = docker();
    let spec = spec();
    let workspace = spec.workspace;
    let _cleanup = Cleanup(workspace);
    engine.create(spec).await.unwrap();
    let name = format!("sam-{workspace}");
    let removed = Command::new("docker").args(["rm", "--force", &name]).output().unwrap();
    assert!(removed.status.success());
    assert_eq!(engine.list().await.unwrap(), []);
    assert_eq!(engine.leftovers().await.unwrap(), [workspace].into());
    engine.remove(workspace).await.unwrap();
    assert!(engine.leftovers().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_simulation_keeps_its_promises() {
    let directory = Directory::new();
    let engine = simulated(&directory);
    keeps_its_promises(&engine, Some(&engine)).await;
}

#[tokio::test]
async fn a_missing_image_is_named() {
    let directory = Directory::new();
    for engine in [&docker() as &dyn Engine, &simulated(&directory)] {
        let missing = ContainerSpec { image: "sam-no-such-image:1".into(), ..spec() };
        let _cleanup = Cleanup(missing.workspace);
        let error = engine.need_image(&missing.image).await.unwrap_err();
        let reason = error.to_string();
        assert!(reason.starts_with("the image sam-no-such-image:1 is not on this"), "{reason}");
        let workspace = missing.workspace;
        assert!(matches!(engine.create(missing).await, Err(EngineError::ImageMissing { .. })));
        engine.remove(workspace).await.unwrap();
    }
}

#[tokio::test]
async fn no_engine_is_a_plain_reason() {
    let host = "unix:///nowhere/docker.sock".to_string();
    let engine = DockerEngine::new(Some(host), InstallationId(id()), NodeId(id()), holder::BINARY);
    let EngineError::Unusable { reason } = engine.version().await.unwrap_err() else {
        panic!("not unusable");
    };
    assert!(reason.contains("no container engine answers"), "{reason}");
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_a_plain_reason() {
    let directory = Directory::new();
    let socket = directory.path().join("docker.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let old = spawned(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        let body = r#"{"Version":"1.12.6","ApiVersion":"1.24","MinAPIVersion":"1.12"}"#;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
        let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let host = format!("unix://{}", socket.display());
    let engine = DockerEngine::new(Some(host), InstallationId(id()), NodeId(id()), holder::BINARY);
    let error = engine.version().await.unwrap_err().to_string();
    assert!(error.contains("too old") && error.contains("1.24"), "{error}");
    old.await.unwrap();
}

#[tokio::test]
async fn a_container_is_confined() {
    let engine = docker();
    let spec = spec();
    let workspace = spec.workspace;
    let _cleanup = Cleanup(workspace);
    engine.create(spec).await.unwrap();
    let script = "id -u; grep -E 'NoNewPrivs|CapEff|CapBnd' /proc/self/status | tr -d ' \\t'; \
                  touch /workspace/mine && echo writable; ls /var/run/docker.sock; \
                  cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max; \
                  cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max";
    let name = format!("sam-{workspace}");
    let output = Command::new("docker").args(["exec", &name, "sh", "-c", script]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in
        ["1000", "NoNewPrivs:1", "CapEff:0000000000000000", "CapBnd:0000000000000000", "writable"]
    {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}{complained}");
    }
    assert!(printed.contains(&(512 * 1024 * 1024).to_string()), "memory: {printed}");
    assert!(printed.lines().any(|line| line == "256"), "processes: {printed}");
    assert!(complained.contains("docker.sock"), "the engine's socket is in the container");
    engine.remove(workspace).await.unwrap();
}

#[tokio::test]
async fn another_installations_container_is_not_touched() {
    let (ours, theirs) = (docker(), docker());
    let spec = spec();
    let workspace = spec.workspace;
    let _cleanup = Cleanup(workspace);
    theirs.create(spec).await.unwrap();
    assert!(ours.remove(workspace).await.is_err());
    assert_eq!(ours.list().await.unwrap(), []);
    assert!(theirs.find(workspace).await.unwrap().unwrap().is_running);
    theirs.remove(workspace).await.unwrap();
}

#[tokio::test]
async fn a_planned_fault_strikes_once() {
    let directory = Directory::new();
    let engine = simulated(&directory);
    let spec = spec();
    engine.fail_next(EngineCall::Create, FaultTime::BeforeEffect);
    assert!(engine.create(spec.clone()).await.is_err());
    assert_eq!(engine.find(spec.workspace).await.unwrap(), None);
    engine.fail_next(EngineCall::Create, FaultTime::AfterEffect);
    assert!(engine.create(spec.clone()).await.is_err());
    assert!(engine.find(spec.workspace).await.unwrap().is_some());
    engine.create(spec.clone()).await.unwrap();
    engine.remove(spec.workspace).await.unwrap();
}
