//! A long message gets a short title from a model, some time after it was accepted.

use anyhow::{Result, ensure};
use serde_json::json;
use tests::{
    scripted_model::{Reply, ScriptedModel},
    world::{Store, World, random},
};

const KEY: &str = "sk-ant-a-key-of-the-test";
const TITLE: &str = "Calm the pelicans";

#[tokio::test]
async fn a_long_message_gets_the_title_that_a_model_makes() {
    is_titled().await.unwrap();
}

async fn is_titled() -> Result<()> {
    let model = ScriptedModel::start("127.0.0.1", Vec::new()).await?;
    model.reply([Reply::Fail(529), Reply::Say(format!("“{TITLE}”"))]);
    let base_url = format!("http://{}", model.address);
    let settings = [
        ("SAM_ANTHROPIC_BASE_URL", base_url.as_str()),
        ("SAM_TITLE_MODEL", "small-1"),
        ("SAM_LOG", "debug"),
    ];
    let world = World::start_with("titles", Store::Sqlite, &settings).await?;
    let server = world.server()?;
    let secret = json!({ "secret": KEY });
    let (status, stored) =
        server.ask(reqwest::Method::PUT, "credentials/anthropic", Some(&secret)).await?;
    ensure!(status == 202, "{stored}");

    let description = "The flamingos stand on one leg again. ".repeat(8);
    let idea = random();
    let body = json!({ "idea": idea, "description": description, "stage": "exploring" });
    server.post(&format!("projects/{}/ideas", world.project), &body).await?;
    let shown = world.until(&format!("ideas/{idea}"), |idea| idea["title"] == TITLE).await?;
    assert_eq!(shown["description"], description);

    let seen = model.seen();
    assert_eq!(seen.len(), 2, "{seen:#?}");
    for seen in seen {
        assert_eq!((seen.line.as_str(), seen.key.as_deref()), ("POST /v1/messages", Some(KEY)));
        assert_eq!(seen.model.as_deref(), Some("small-1"));
        assert_eq!(seen.text, Some(description.clone()));
    }
    let said = std::fs::read_to_string(world.data_dir().with_extension("log"))?;
    assert!(said.contains("DEBUG"), "it logs what there is to log");
    for secret in [KEY, TITLE, "flamingos"] {
        assert!(!said.contains(secret), "the log says {secret}");
    }
    world.end().await
}
