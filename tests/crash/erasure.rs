//! One round: a project is erased, with a kill in between.

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::json;
use tests::world::{Store, World, random};
use tokio::time::{Duration, Instant};

use crate::story::same;

const SECRET: &str = "nobody may read this";
const ROUND: Duration = Duration::from_secs(120);
const GLANCE: Duration = Duration::from_millis(50);

/// Erases a project; the server is killed at the point, and started again. Tells whether it was killed.
pub(crate) async fn survive(store: Store, point: &str) -> Result<bool> {
    let mut world = World::start("erase", store).await?;
    let idea = random();
    let body = json!({ "idea": idea, "description": SECRET, "stage": "exploring" });
    world.server()?.post(&format!("projects/{}/ideas", world.project), &body).await?;
    // The next server shows it only once it has the lease.
    world.until(&format!("ideas/{idea}"), |idea| idea["description"] == SECRET).await?;
    world.kill().await?;
    let mark = world.folder().join("killed");
    let settings =
        [("SAM_CRASH_POINT", point), ("SAM_CRASH_MARK", mark.to_str().context("a readable path")?)];
    world.resume_with(&settings).await?;
    let played = tokio::time::timeout(ROUND, erase(&mut world)).await;
    played.context("it hangs").and_then(|played| played)?;
    let idea = world.server()?.get(&format!("ideas/{idea}")).await?;
    same("the idea's text", &idea["description"].as_str(), &Some("erased"))?;
    let ledger = std::fs::read_to_string(world.data_dir().join("erasures.ndjson"))?;
    same("the number of entries in the ledger", &ledger.lines().count(), &1)?;
    let was_killed = mark.exists();
    world.end().await?;
    Ok(was_killed)
}

/// Asks for the erasure until the project says that it is erased.
async fn erase(world: &mut World) -> Result<()> {
    let path = format!("projects/{}", world.project);
    let deadline = Instant::now() + ROUND;
    let mut is_asked = false;
    while Instant::now() < deadline {
        if world.server_mut()?.is_dead() {
            world.resume().await?;
        }
        let asked = match is_asked {
            false => {
                let body = json!({ "confirm": "Story" });
                world.server()?.ask(Method::DELETE, &path, Some(&body)).await
            }
            true => world.server()?.ask(Method::GET, &path, None).await,
        };
        match asked {
            Ok((status, document)) if status >= 400 => bail!("{path}: {status} {document}"),
            Ok((_, document)) if document["isErased"] == true => return Ok(()),
            Ok(_) => is_asked = true,
            // Cut off by the kill: asked again.
            Err(_) => {}
        }
        tokio::time::sleep(GLANCE).await;
    }
    bail!("the project is not erased: {}", world.server()?.said())
}
