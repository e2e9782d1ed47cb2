//! Decrypts the texts that rows refer to, once per answer.

use std::collections::HashMap;

use actors::sealing::Sealing;
use domain::{ids::ContentId, values::ContentRef};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// What is shown in the place of an erased text.
pub const ERASED: &str = "erased";

/// What is shown in the place of a text that cannot be decrypted. Everything around it is shown as ever.
pub const DAMAGED: &str = "damaged: this text cannot be read";

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
        let mut texts = HashMap::new();
        if !ids.is_empty() {
            let shown = sealing.shown_texts(&ids).await?;
            let shown = shown.into_iter();
            texts.extend(shown.map(|(id, text)| (id, text.unwrap_or_else(|| DAMAGED.to_owned()))));
        }
        Ok(Self { texts })
    }

    /// A text; the word [`ERASED`] where its key was destroyed.
    #[must_use]
    pub fn get(&self, reference: &ContentRef) -> String {
        self.texts.get(&reference.id).cloned().unwrap_or_else(|| ERASED.to_owned())
    }

    /// A text that was stored in pieces.
    #[must_use]
    pub fn joined(&self, references: &[ContentRef]) -> String {
        if references.iter().any(|reference| self.is_erased(reference)) {
            return ERASED.to_owned();
        }
        references.iter().map(|reference| self.get(reference)).collect()
    }

    /// Tells whether a text's key was destroyed.
    #[must_use]
    pub fn is_erased(&self, reference: &ContentRef) -> bool {
        !self.texts.contains_key(&reference.id)
    }

    /// A document; none where its key was destroyed.
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self, reference: &ContentRef) -> Option<T> {
        serde_json::from_str(self.texts.get(&reference.id)?).ok()
    }
}
