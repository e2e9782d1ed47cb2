//! A read model that fails stands still in sight of everybody; all else goes on.

use anyhow::{Context as _, Result};
use projections::{database::Database, sql::SqlPool};
use reqwest::Method;
use serde_json::{Value, json};
use tests::world::{Store, World, random};

use crate::{
    browser::Browser,
    command_line::{sam, text},
};

const UNTAKEN: &str = "Untaken";

#[tokio::test]
async fn a_projection_that_fails_is_parked_in_sight_and_catches_up_after_the_mend_on_sqlite() {
    parked_and_mended(Store::Sqlite).await.unwrap();
}

#[tokio::test]
async fn a_projection_that_fails_is_parked_in_sight_and_catches_up_after_the_mend_on_postgres() {
    parked_and_mended(Store::Postgres).await.unwrap();
}

async fn parked_and_mended(store: Store) -> Result<()> {
    let world = World::start_with("parked", store, &[("SAM_NO_LOCAL_NODE", "true")]).await?;
    let database = Database::open(world.database_url(), &world.data_dir()).await?;
    refuse(database.views()).await?;
    link(&world, UNTAKEN).await?;
    let parked = world.until("projections", |document| state(document) == Some("parked")).await?;
    let overview = projection(&parked).context("it is listed")?;
    assert!(overview["reason"].as_str().is_some_and(|reason| reason.contains("not today")));
    assert!(overview["lag"].as_u64() >= Some(1) && overview["lagMs"].is_i64(), "{overview}");
    assert!(overview["parkedAt"].is_string(), "{overview}");
    let is_other = |other: &&Value| other["name"] != "project_overview";
    let all = parked["projections"].as_array().context("a list")?;
    assert!(all.iter().filter(is_other).all(|other| other["state"] == "running"), "{parked:#}");
    let browser = Browser::signed_in(&world).await?;
    let figures = browser.get("/metrics").await?;
    let figures = figures.body.as_str().context("a text")?.to_owned();
    assert!(figures.contains("sam_parked_projections 1"), "{figures}");
    assert!(figures.contains("sam_projection_lag_events{projection=\"project_overview\"}"));
    assert!(figures.contains("sam_log_append_seconds_bucket{le=\"0.001\"}"), "{figures}");
    // What it does not show goes on all the same.
    let names = names(&world).await?;
    assert_eq!(names, ["Story"], "the page waits at the event that could not be taken");

    mend(database.views()).await?;
    let (status, _) = world.server()?.ask(Method::POST, &path("nothing", "retry"), None).await?;
    assert_eq!(status, 404);
    let asked = sam(&world, &["projections", "retry", "project_overview"]).await?;
    assert!(asked.status.success(), "{}", text(&asked.stderr));
    let caught_up = |document: &Value| {
        projection(document).is_some_and(|one| one["state"] == "running" && one["lag"] == 0)
    };
    world.until("projections", caught_up).await?;
    let mut shown = self::names(&world).await?;
    shown.sort();
    assert_eq!(shown, ["Story", UNTAKEN]);

    let rebuild = path("project_overview", "rebuild");
    assert_eq!(world.server()?.ask(Method::POST, &rebuild, None).await?.0, 202);
    world.until("projections", caught_up).await?;
    assert_eq!(self::names(&world).await?.len(), 2);
    database.close().await;
    world.end().await
}

/// A stream whose events make no sense stands still, and only that one.
#[tokio::test]
async fn a_damaged_stream_is_seen_and_the_others_go_on() -> Result<()> {
    let settings = [("SAM_NO_LOCAL_NODE", "true")];
    let mut world = World::start_with("damaged", Store::Sqlite, &settings).await?;
    let other = link(&world, "Other").await?;
    let are_both = |projects: &Value| projects.as_array().is_some_and(|both| both.len() == 2);
    // The pages show them before the damage.
    world.until("projects", are_both).await?;
    world.kill().await?;
    let database = Database::open(world.database_url(), &world.data_dir()).await?;
    let damage = "UPDATE events SET payload = '{}' WHERE aggregate_type = 'project'
        AND aggregate_id = $1 AND sequence = 1";
    assert_eq!(database.log().execute(damage, (world.project.to_string(),)).await?, 1);
    database.close().await;
    world.resume().await?;
    let rename = json!({ "name": "Renamed" });
    let server = world.server()?;
    let change = |project| format!("projects/{project}");
    let (status, document) =
        server.ask(Method::PATCH, &change(world.project), Some(&rename)).await?;
    assert_eq!(status, 500, "{document}");
    let (status, document) = server.ask(Method::PATCH, &change(other), Some(&rename)).await?;
    assert_eq!(status, 202, "{document}");
    let document = server.get("projections").await?;
    let damaged = document["damagedStreams"].as_array().context("a list")?;
    assert_eq!(damaged.len(), 1, "{document:#}");
    assert_eq!(damaged[0]["stream"], json!(world.project));
    assert_eq!((&damaged[0]["kind"], &damaged[0]["sequence"]), (&json!("project"), &json!(1)));
    world.end().await
}

fn path(name: &str, word: &str) -> String {
    format!("projections/{name}/{word}")
}

fn projection(document: &Value) -> Option<&Value> {
    let all = document["projections"].as_array()?;
    all.iter().find(|one| one["name"] == "project_overview")
}

fn state(document: &Value) -> Option<&str> {
    projection(document)?["state"].as_str()
}

async fn link(world: &World, name: &str) -> Result<uuid::Uuid> {
    let id = random();
    let body = json!({ "id": id, "repository": world.repository.path(), "name": name });
    world.server()?.post("projects", &body).await?;
    Ok(id)
}

async fn names(world: &World) -> Result<Vec<String>> {
    let projects = world.server()?.get("projects").await?;
    let names = projects.as_array().context("a list")?.iter();
    Ok(names.filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect())
}

/// Has the table refuse one row, as a mistake in a projection would.
async fn refuse(views: &SqlPool) -> Result<()> {
    let statements: &[&str] = match views.is_postgres() {
        true => &[
            "CREATE FUNCTION not_today() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN IF NEW.name = ''Untaken'' THEN RAISE EXCEPTION ''not today''; END IF;
              RETURN NEW; END'",
            "CREATE TRIGGER not_today BEFORE INSERT ON project_overview
             FOR EACH ROW EXECUTE FUNCTION not_today()",
        ],
        false => &["CREATE TRIGGER not_today BEFORE INSERT ON project_overview
             WHEN NEW.name = 'Untaken' BEGIN SELECT RAISE(ABORT, 'not today'); END"],
    };
    for statement in statements {
        views.execute(statement, ()).await?;
    }
    Ok(())
}

async fn mend(views: &SqlPool) -> Result<()> {
    let mend = match views.is_postgres() {
        true => "DROP TRIGGER not_today ON project_overview",
        false => "DROP TRIGGER not_today",
    };
    views.execute(mend, ()).await?;
    Ok(())
}
