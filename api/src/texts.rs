//! Decrypts the texts that rows refer to, once per answer.

use std::collections::HashMap;

use actors::sealing::Sealing;
use domain::{ids::ContentId, values::ContentRef};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Texts by their references.
pub struct Texts {
    texts: HashMap<ContentId, String>,
}

impl Texts {
    /// Reads and decrypts all of them.
    pub async fn read<'row>(
        sealing: &Sealing,
        references: impl IntoIterator<Item = &'row ContentRef>,
    ) -> Result<Self, Problem> {
        let ids: Vec<ContentId> = references.into_iter().map(|reference| reference.id).collect();
        let texts = if ids.is_empty() { HashMap::new() } else { sealing.texts(&ids).await? };
        Ok(Self { texts })
    }

    /// A text; empty where its key was destroyed.
    #[must_use]
    pub fn get(&self, reference: &ContentRef) -> String {
        self.texts.get(&reference.id).cloned().unwrap_or_default()
    }

    /// A document; none where its key was destroyed.
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self, reference: &ContentRef) -> Option<T> {
        serde_json::from_str(self.texts.get(&reference.id)?).ok()
    }
}
