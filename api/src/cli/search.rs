//! `sam search`: looks for words in all conversations.

use anyhow::Context as _;
use clap::Args;

use crate::{
    cli::{
        console,
        listings::{Source, source},
    },
    config::Settings,
    queries::chat_search::{Role, SearchHit, SearchPage},
};

#[derive(Args, Clone, Debug)]
pub(super) struct SearchArguments {
    /// Messages that hold all of these words; of the last one, its beginning is enough.
    #[arg(required = true)]
    words: Vec<String>,
    /// How many hits at most, the newest first.
    #[arg(long, default_value_t = 20)]
    limit: u8,
    /// Print a JSON array.
    #[arg(long)]
    json: bool,
}

pub(super) async fn search(settings: &Settings, arguments: SearchArguments) -> anyhow::Result<()> {
    let text = arguments.words.join(" ");
    let limit = usize::from(arguments.limit);
    let page: SearchPage = match source(settings).await? {
        Source::Stored(stored) => stored.search(&text, limit).await?,
        Source::Server(client) => {
            let words = [("q", text), ("limit", limit.to_string())];
            let url = reqwest::Url::parse_with_params("http://localhost/search", words)?;
            client.get(&format!("/search?{}", url.query().unwrap_or_default())).await?
        }
    };
    if arguments.json {
        console::result(&serde_json::to_string_pretty(&page.hits).context("hits are JSON")?);
        return Ok(());
    }
    for hit in &page.hits {
        console::result(&line(hit));
    }
    if page.hits.is_empty() {
        console::progress("nothing was said that holds these words");
    }
    Ok(())
}

fn line(hit: &SearchHit) -> String {
    let who = match hit.role {
        Role::User => "you",
        Role::Agent => "agent",
    };
    let snippet: String = hit.snippet.iter().map(|part| part.text.as_str()).collect();
    format!("{}  {}  {who}: {snippet}", hit.at.format("%Y-%m-%d %H:%M"), hit.session)
}
