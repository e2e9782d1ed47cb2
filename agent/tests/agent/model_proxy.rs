//! The model proxy against a model on loopback, and what is left of a session's key.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, mpsc},
};

use agent::{
    engine::simulated::SimulatedEngine,
    holder,
    journal::Journal,
    model_proxy::ModelProxy,
    secrets::{SecretFiles, SessionSecrets},
};
use domain::{
    agent_protocol::{CodingAgentKind, CodingAgentStart, ModelAccess, Order, OrderOutcome},
    ids::SessionId,
};
use futures_util::StreamExt;

use crate::{
    rig::{Directory, On, Rig, bare_repository, id},
    story::{opened, start_session},
};

const KEY: &str = "sk-canary-4711";

/// Reads one request to the end of its body.
fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        let head_ends = text.find("\r\n\r\n").map(|at| at + 4);
        let length = text.lines().find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
        });
        if head_ends.is_some_and(|at| request.len() >= at + length.unwrap_or(0)) {
            return text;
        }
        let n_bytes = stream.read(&mut piece).unwrap();
        request.extend_from_slice(&piece[..n_bytes]);
    }
}

/// A model that streams two pieces, the second only when told to.
fn model() -> (String, mpsc::Receiver<String>, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}/v0", listener.local_addr().unwrap());
    let (tell, requests) = mpsc::channel();
    let (go_on, gate) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            tell.send(read_request(&mut stream)).unwrap();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                        Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            if gate.recv().is_err() {
                return;
            }
            stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
        }
    });
    (base_url, requests, go_on)
}

async fn proxy(directory: &Directory) -> ModelProxy {
    let engine = SimulatedEngine::open(directory.path(), holder::BINARY, None).unwrap();
    ModelProxy::new(Arc::new(engine), Journal::open(directory.path()).await.unwrap())
}

#[tokio::test]
async fn the_key_is_put_in_and_both_ways_are_streamed() {
    let directory = Directory::new();
    let proxy = proxy(&directory).await;
    let (base_url, requests, go_on) = model();
    let session = SessionId(id());
    let model = ModelAccess { base_url, key: KEY.into() };
    let secrets = SessionSecrets { token: "t0ken".into(), model };
    let address = proxy.admit(session, &secrets).await.unwrap();
    assert!(address.starts_with("http://127.0.0.1:") && address.ends_with("/m/t0ken"));

    let client = reqwest::Client::new();
    let url = format!("{address}/v1/messages?beta=true");
    let asked = client.post(&url).header("x-api-key", "t0ken").body("{\"a\":1}").send();
    let mut answer = asked.await.unwrap().bytes_stream();
    assert_eq!(answer.next().await.unwrap().unwrap(), "first");
    let request = requests.recv().unwrap();
    assert!(request.starts_with("POST /v0/v1/messages?beta=true HTTP/1.1"), "{request}");
    assert!(request.contains(&format!("x-api-key: {KEY}")) && request.ends_with("{\"a\":1}"));
    assert!(!request.contains("t0ken"), "{request}");
    // The first piece came while the model was still thinking about the second.
    go_on.send(()).unwrap();
    assert_eq!(answer.next().await.unwrap().unwrap(), "second");

    let asked = client.get(format!("{address}/x")).bearer_auth("t0ken").send();
    let _answer = asked.await.unwrap();
    let request = requests.recv().unwrap();
    assert!(request.contains(&format!("authorization: Bearer {KEY}")), "{request}");

    // Unknown tokens, and those of sessions that have ended, reach nobody.
    let unknown = client.get(address.replace("t0ken", "other") + "/x").send().await.unwrap();
    assert_eq!(unknown.status(), 401);
    proxy.dismiss(session);
    assert_eq!(client.get(format!("{address}/x")).send().await.unwrap().status(), 401);
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused() {
    let directory = Directory::new();
    let proxy = proxy(&directory).await;
    let model = ModelAccess { base_url: "http://127.0.0.1:1".into(), key: KEY.into() };
    let secrets = SessionSecrets { token: "t0ken".into(), model };
    let address = proxy.admit(SessionId(id()), &secrets).await.unwrap();
    let client = reqwest::Client::new();
    let body = vec![b'x'; agent::model_proxy::REQUEST_BYTES_MAX + 1];
    // Refused by its length: the connection may be closed while it is still being sent.
    if let Ok(answer) = client.post(format!("{address}/x")).body(body).send().await {
        assert_eq!(answer.status(), 413);
    }
    let answer = client.post(format!("{address}/x")).body("short").send().await.unwrap();
    assert_eq!(answer.status(), 502);
}

#[tokio::test]
async fn the_port_stays_the_same_over_a_restart() {
    // A port that is free may be somebody else's a moment later.
    for _ in 0..5 {
        let directory = Directory::new();
        let journal = Journal::open(directory.path()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        journal.set_setting("model_proxy_port", &port.to_string()).await.unwrap();
        drop(journal);
        let model = ModelAccess { base_url: "http://127.0.0.1:1".into(), key: KEY.into() };
        let secrets = SessionSecrets { token: "t0ken".into(), model };
        let address = proxy(&directory).await.admit(SessionId(id()), &secrets).await.unwrap();
        if address == format!("http://127.0.0.1:{port}/m/t0ken") {
            return;
        }
    }
    panic!("it takes another port each time");
}

#[tokio::test]
async fn a_sessions_key_is_unreadable_after_its_end() {
    use std::os::unix::fs::PermissionsExt;
    let mut rig = Rig::new(On::Simulated);
    let bare = bare_repository(rig.directory.path());
    let open = rig.open(&bare);
    let control = rig.control_plane();
    rig.start();
    control.connected(1).await;
    opened(&control, &open).await;
    let mut start = start_session(&open);
    let model = ModelAccess { base_url: "http://127.0.0.1:1".into(), key: KEY.into() };
    start.coding_agent = CodingAgentStart { kind: CodingAgentKind::Demo, model: Some(model) };
    let session = start.session;
    let started = control.order(Order::StartSession(start)).await;
    assert!(matches!(started, OrderOutcome::SessionStarted { .. }), "{started:?}");

    let data = rig.directory.path().join("data");
    let file = data.join("secrets").join(session.to_string());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let holding = files_with_key(&data);
    assert_eq!(holding, [file], "the key is in one file while the session runs");

    assert_eq!(control.order(Order::StopSession { session }).await, OrderOutcome::Done);
    assert_eq!(
        control.order(Order::CloseWorkspace { workspace: open.workspace }).await,
        OrderOutcome::Done
    );
    assert_eq!(files_with_key(&data), [""; 0].map(std::path::PathBuf::from));
    assert!(SecretFiles::open(&data).unwrap().get(session).unwrap().is_none());
}

fn files_with_key(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_with_key(&path));
        } else if std::fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()))
        {
            found.push(path);
        }
    }
    found
}
