//! A model behind the Anthropic Messages API: one request, one answer that comes in one piece.

use std::sync::OnceLock;

use futures_util::future::BoxFuture;
use reqwest::{Client, Response, StatusCode, header::HeaderValue, redirect::Policy};
use serde_json::{Value, json};

use crate::model::{Model, ModelError, Question};

const API_VERSION: &str = "2023-06-01";
/// Of a whole answer; what is asked here is answered in a few hundred.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The model of one name at one address.
#[derive(Debug)]
pub struct AnthropicModel {
    url: String,
    name: String,
    /// Made for the first question: that reads the machine's certificates, for which no start waits.
    client: OnceLock<Option<Client>>,
}

impl AnthropicModel {
    #[must_use]
    pub fn new(base_url: &str, name: &str) -> Self {
        let url = format!("{}/v1/messages", base_url.trim_end_matches('/'));
        Self { url, name: name.to_owned(), client: OnceLock::new() }
    }

    fn client(&self) -> Result<&Client, ModelError> {
        // A key goes to the address that was set, and never on from there.
        let client = || Client::builder().redirect(Policy::none()).build().ok();
        let client = self.client.get_or_init(client).as_ref();
        client.ok_or_else(|| ModelError::refused("this machine cannot make TLS connections"))
    }

    async fn ask(&self, question: Question<'_>) -> Result<String, ModelError> {
        let body = json!({
            "model": self.name,
            "max_tokens": question.tokens_max,
            "system": question.instructions,
            "messages": [{ "role": "user", "content": question.text }],
        });
        let unfit = |_| ModelError::refused("the key has characters that no key has");
        let mut key = HeaderValue::from_str(question.key).map_err(unfit)?;
        key.set_sensitive(true);
        let request = self.client()?.post(&self.url).header("x-api-key", key);
        let request = request.header("anthropic-version", API_VERSION).json(&body);
        let response = request.send().await.map_err(broken)?;
        check(response.status())?;
        let answer: Value = serde_json::from_slice(&read(response).await?)
            .map_err(|_| ModelError::busy("its answer is no JSON"))?;
        let blocks = answer["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let texts = blocks.iter().filter(|block| block["type"] == "text");
        Ok(texts.filter_map(|block| block["text"].as_str()).collect())
    }
}

impl Model for AnthropicModel {
    fn answer<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Result<String, ModelError>> {
        Box::pin(self.ask(question))
    }
}

/// Without the address, which may have a name and a password in it.
fn broken(error: reqwest::Error) -> ModelError {
    let what = if error.is_connect() { "it cannot be reached" } else { "the connection broke" };
    ModelError::busy(what)
}

fn check(status: StatusCode) -> Result<(), ModelError> {
    let code = status.as_u16();
    match code {
        200..=299 => Ok(()),
        408 | 409 | 429 | 500..=599 => Err(ModelError::busy(format!("status {code}"))),
        401 | 403 => Err(ModelError::refused(format!("status {code}: look at the key"))),
        404 => {
            let reason = "status 404: there is no such model; set SAM_TITLE_MODEL to one that is";
            Err(ModelError::refused(reason))
        }
        code => Err(ModelError::refused(format!("status {code}"))),
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, ModelError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(ModelError::refused("its answer is too long"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}
