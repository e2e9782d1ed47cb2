//! Who is let in, and by which door.

use projections::database::Database;
use reqwest::{Method, header};
use serde_json::{Value, json};
use tests::world::{Store, World, random};

use crate::browser::{Browser, answer, link_token};

#[tokio::test]
async fn a_link_is_good_once_and_the_browser_stays_signed_in() {
    let mut world = World::start("link", Store::Sqlite).await.unwrap();
    let mut stranger = Browser::new(&world).unwrap();
    let seen = stranger.get("/api/auth/session").await.unwrap();
    seen.is_problem(401, "signed_out").unwrap();
    let wrong = stranger.sign_in("0123456789abcdef").await.unwrap();
    wrong.is_problem(401, "link_used_or_unknown").unwrap();

    let token = link_token(&world.data_dir()).unwrap();
    let mut browser = Browser::new(&world).unwrap();
    assert_eq!(browser.sign_in(&token).await.unwrap().status, 204);
    let used = stranger.sign_in(&token).await.unwrap();
    used.is_problem(401, "link_used_or_unknown").unwrap();
    let signed_in = browser.get("/api/auth/session").await.unwrap();
    assert_eq!(signed_in.status, 200);
    assert_eq!(signed_in.body["installation"], json!(world.installation().unwrap()));

    world.kill().await.unwrap();
    world.resume().await.unwrap();
    let browser = browser.moved_to(&world).unwrap();
    assert_eq!(browser.get("/api/auth/session").await.unwrap().status, 200, "a restart keeps it");
    let old = stranger.moved_to(&world).unwrap().sign_in(&token).await.unwrap();
    old.is_problem(401, "link_used_or_unknown").unwrap();
    assert_ne!(link_token(&world.data_dir()).unwrap(), token, "each start has a link of its own");

    assert_eq!(browser.post("/api/auth/sign-out", &json!({})).await.unwrap().status, 204);
    let left = browser.get("/api/auth/session").await.unwrap();
    left.is_problem(401, "signed_out").unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn somebody_new_is_signed_in_before_a_read_model_shows_them() {
    let settings = [("SAM_NO_LOCAL_NODE", "true")];
    let world = World::start_with("newcomer", Store::Sqlite, &settings).await.unwrap();
    let database = Database::open(world.database_url(), &world.data_dir()).await.unwrap();
    let refuse = "CREATE TRIGGER not_yet BEFORE INSERT ON accounts
        BEGIN SELECT RAISE(ABORT, 'not yet'); END";
    database.views().execute(refuse, ()).await.unwrap();
    let server = world.server().unwrap();
    let old = server.get("account").await.unwrap();
    let confirm = json!({ "confirm": old["name"] });
    let (status, answer) = server.ask(Method::DELETE, "account", Some(&confirm)).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let gone = format!("accounts/{}", old["id"].as_str().unwrap());
    world.until(&gone, |account| account["isErased"] == true).await.unwrap();

    let link = server.post("sign-in-links", &json!({})).await.unwrap();
    let is_refused = |one: &Value| one["name"] == "account_list" && one["state"] == "parked";
    let is_parked = |document: &Value| {
        document["projections"].as_array().is_some_and(|all| all.iter().any(is_refused))
    };
    world.until("projections", is_parked).await.unwrap();
    let (_, token) = link.as_str().unwrap().split_once("/sign-in#").unwrap();
    let mut browser = Browser::new(&world).unwrap();
    assert_eq!(browser.sign_in(token).await.unwrap().status, 204);
    let seen = browser.get("/api/auth/session").await.unwrap();
    assert_eq!((seen.status, &seen.body["account"]["name"]), (200, &old["name"]), "{seen:?}");
    assert_ne!(seen.body["account"]["id"], old["id"]);
    database.close().await;
    world.end().await.unwrap();
}

#[tokio::test]
async fn only_the_apps_own_pages_may_write_or_listen() {
    let world = World::start("origin", Store::Sqlite).await.unwrap();
    let browser = Browser::signed_in(&world).await.unwrap();
    let body = json!({ "id": random(), "repository": "/nowhere" });
    let post = || browser.request(Method::POST, "/api/projects").json(&body);
    let port = world.server().unwrap().address.port();
    let foreign = format!("http://ws-1.sam.localhost:{port}");
    for request in [
        post(),
        post().header(header::ORIGIN, &foreign),
        post().header(header::ORIGIN, "null"),
        post().header(header::ORIGIN, format!("{}.evil.example", browser.origin())),
    ] {
        answer(request).await.unwrap().is_problem(403, "wrong_origin").unwrap();
    }
    assert!(browser.feed(None, &foreign).await.is_err(), "no live feed for other pages");
    assert!(browser.feed(None, &browser.origin()).await.is_ok());
    let sign_in = browser.request(Method::POST, "/api/auth/link").json(&json!({ "token": "x" }));
    answer(sign_in).await.unwrap().is_problem(403, "wrong_origin").unwrap();
    world.end().await.unwrap();
}

#[tokio::test]
async fn each_host_has_its_own_door() {
    let world = World::start("hosts", Store::Sqlite).await.unwrap();
    let browser = Browser::signed_in(&world).await.unwrap();
    let port = world.server().unwrap().address.port();
    let ask = |host: &str, path: &str| {
        let host = format!("{host}:{port}");
        answer(browser.request(Method::GET, path).header(header::HOST, host))
    };
    // A cookie opens nothing for machines, and a machine's token nothing for browsers.
    let machine = ask("api.sam.localhost", "/api/projects").await.unwrap();
    machine.is_problem(401, "unknown_token").unwrap();
    let stranger = Browser::new(&world).unwrap();
    let token = world.server().unwrap().token();
    let bearer = stranger.request(Method::GET, "/api/projects").bearer_auth(token);
    answer(bearer).await.unwrap().is_problem(401, "signed_out").unwrap();

    for host in ["localhost", "127.0.0.1"] {
        let bare = ask(host, "/projects?x=1").await.unwrap();
        assert_eq!(bare.status, 307);
        let location = bare.headers.get(header::LOCATION).unwrap().to_str().unwrap();
        assert_eq!(location, format!("{}/projects?x=1", browser.origin()));
    }
    for host in ["ws-1.sam.localhost", "evil.example", "app.sam.localhost.evil.example"] {
        ask(host, "/api/projects").await.unwrap().is_problem(404, "not_found").unwrap();
        assert_eq!(ask(host, "/health").await.unwrap().body["status"], "ok");
    }
    let page = ask("app.sam.localhost", "/projects/anything").await.unwrap();
    assert_eq!(page.status, 200, "the UI finds its way by itself");
    assert_eq!(page.headers.get("x-content-type-options").unwrap(), "nosniff");
    let policy = page.headers.get("content-security-policy").unwrap().to_str().unwrap();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let figures = ask("app.sam.localhost", "/metrics").await.unwrap();
    let figures = figures.body.as_str().unwrap().to_owned();
    for name in ["sam_http_requests_total", "sam_commands_total", "sam_projection_lag_events"] {
        assert!(figures.contains(name), "{name} is missing: {figures}");
    }
    world.end().await.unwrap();
}

#[tokio::test]
async fn the_live_feed_resumes_after_a_position() {
    let world = World::start("resume", Store::Sqlite).await.unwrap();
    let browser = Browser::signed_in(&world).await.unwrap();
    let mut feed = browser.feed(None, &browser.origin()).await.unwrap();
    let position = feed.next().await.unwrap()["position"].as_u64().unwrap();
    drop(feed);
    let path = format!("/api/projects/{}", world.project);
    for name in ["One", "Two"] {
        let body = json!({ "name": name });
        assert_eq!(browser.write(Method::PATCH, &path, &body).await.unwrap().status, 202);
    }
    let after = format!("{path}?after={}", position + 2);
    assert_eq!(browser.get(&after).await.unwrap().body["name"], "Two");
    let mut feed = browser.feed(Some(position), &browser.origin()).await.unwrap();
    assert_eq!(feed.next().await.unwrap()["position"], position + 2);
    for expected in [position + 1, position + 2] {
        let frame = feed.next().await.unwrap();
        assert_eq!(frame["position"], expected, "{frame}");
        assert_eq!(frame["event"], "project/renamed");
        assert_eq!(frame["project"], json!(world.project));
    }
    feed.send(&json!({ "type": "dance" })).await.unwrap();
    assert!(feed.next().await.is_err(), "nobody talks like that to the live feed");
    world.end().await.unwrap();
}
