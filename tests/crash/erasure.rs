//! One round: a project or an account is erased, with a kill in between.

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use tests::world::{Store, World, random};
use tokio::time::{Duration, Instant};

use crate::story::same;

const SECRET: &str = "nobody may read this";
const ROUND: Duration = Duration::from_secs(120);
const GLANCE: Duration = Duration::from_millis(50);

/// What is erased.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    Project,
    Account,
}

/// Erases it; the server is killed at the point, and started again. Tells whether it was killed.
pub(crate) async fn survive(store: Store, point: &str, what: What) -> Result<bool> {
    let mut world = World::start("erase", store).await?;
    let idea = random();
    let body = json!({ "idea": idea, "description": SECRET, "stage": "exploring" });
    world.server()?.post(&format!("projects/{}/ideas", world.project), &body).await?;
    // The next server shows it only once it has the lease.
    world.until(&format!("ideas/{idea}"), |idea| idea["description"] == SECRET).await?;
    let account = world.server()?.get("account").await?;
    world.kill().await?;
    let mark = world.folder().join("killed");
    let settings =
        [("SAM_CRASH_POINT", point), ("SAM_CRASH_MARK", mark.to_str().context("a readable path")?)];
    world.resume_with(&settings).await?;
    let project = format!("projects/{}", world.project);
    let (path, confirm, told, n_entries) = match what {
        What::Project => (project.clone(), json!("Story"), project, 1),
        // Its project, its key, and itself. Another account may be there before this one has gone.
        What::Account => {
            let id = account["id"].as_str().context("an account has an id")?;
            ("account".to_owned(), account["name"].clone(), format!("accounts/{id}"), 3)
        }
    };
    let body = json!({ "confirm": confirm });
    let erased = erase(&mut world, &path, &body, &told);
    let played = tokio::time::timeout(ROUND, erased).await;
    played.context("it hangs").and_then(|played| played)?;
    let ledger = std::fs::read_to_string(world.data_dir().join("erasures.ndjson"))?;
    same("the number of entries in the ledger", &ledger.lines().count(), &n_entries)?;
    if what == What::Project {
        let idea = world.server()?.get(&format!("ideas/{idea}")).await?;
        same("the idea's text", &idea["description"].as_str(), &Some("erased"))?;
    }
    let was_killed = mark.exists();
    world.end().await?;
    Ok(was_killed)
}

/// Asks for the erasure until what tells of it says that it is done.
async fn erase(world: &mut World, path: &str, body: &Value, told: &str) -> Result<()> {
    let deadline = Instant::now() + ROUND;
    let mut is_asked = false;
    while Instant::now() < deadline {
        if world.server_mut()?.is_dead() {
            world.resume().await?;
        }
        let asked = match is_asked {
            false => world.server()?.ask(Method::DELETE, path, Some(body)).await,
            true => world.server()?.ask(Method::GET, told, None).await,
        };
        match asked {
            Ok((status, document)) if status >= 400 => bail!("{told}: {status} {document}"),
            Ok((_, document)) if document["isErased"] == true => return Ok(()),
            Ok(_) => is_asked = true,
            // Cut off by the kill: asked again.
            Err(_) => {}
        }
        tokio::time::sleep(GLANCE).await;
    }
    bail!("{told} is not erased: {}", world.server()?.said())
}
