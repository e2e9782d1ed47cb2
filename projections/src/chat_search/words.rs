//! What a word is, the same for both databases: a run of letters and digits, in lower case.
//!
//! `foo_bar` and `src/main.rs` are two words and three, so that code is found by its parts. In scripts
//! that put no spaces between words every character is a word.

use std::{collections::BTreeSet, ops::Range};

/// Longer words are found by their beginning.
const CHARS_OF_A_WORD_MAX: usize = 64;
/// How many words of a query count.
pub const WORDS_OF_A_QUERY_MAX: usize = 16;

/// A word and where it is in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub word: String,
    /// Bytes of the text.
    pub range: Range<usize>,
}

/// What is looked for: messages that hold all of these words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub words: Vec<String>,
    /// Words that begin with the last one count too while it is still being typed: until something
    /// follows it.
    pub is_last_whole: bool,
}

impl Query {
    /// Reads what somebody typed. One without any word finds nothing.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let spans = spans(text);
        let is_last_whole = spans.last().is_some_and(|last| last.range.end < text.len());
        let words = spans.into_iter().map(|span| span.word).take(WORDS_OF_A_QUERY_MAX).collect();
        Self { words, is_last_whole }
    }

    /// Tells whether a word of a text is one that was looked for.
    #[must_use]
    pub fn is_hit(&self, word: &str) -> bool {
        let is_whole = self.words.iter().any(|wanted| wanted == word);
        let is_begun =
            || self.words.last().is_some_and(|last| !self.is_last_whole && word.starts_with(last));
        is_whole || is_begun()
    }
}

/// The words of a text in order, with their places.
#[must_use]
pub fn spans(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut begun = None;
    for (at, char) in text.char_indices() {
        let is_alone = stands_alone(char);
        if (is_alone || !char.is_alphanumeric())
            && let Some(start) = begun.take()
        {
            spans.extend(span(text, start..at));
        }
        if is_alone {
            spans.extend(span(text, at..at + char.len_utf8()));
        } else if char.is_alphanumeric() && begun.is_none() {
            begun = Some(at);
        }
    }
    if let Some(start) = begun {
        spans.extend(span(text, start..text.len()));
    }
    spans
}

fn span(text: &str, range: Range<usize>) -> Option<Span> {
    // Lower case may bring marks of its own (İ), which are no letters.
    let lower = text[range.clone()].chars().flat_map(char::to_lowercase);
    let word: String =
        lower.filter(|char| char.is_alphanumeric()).take(CHARS_OF_A_WORD_MAX).collect();
    (!word.is_empty()).then_some(Span { word, range })
}

/// The words of a text, each once, separated by spaces.
#[must_use]
pub fn words(text: &str) -> String {
    let words: BTreeSet<String> = spans(text).into_iter().map(|span| span.word).collect();
    words.into_iter().collect::<Vec<_>>().join(" ")
}

fn stands_alone(char: char) -> bool {
    matches!(char,
        '\u{0E00}'..='\u{0EFF}'        // Thai, Lao
        | '\u{3040}'..='\u{30FF}'      // Hiragana, Katakana
        | '\u{3400}'..='\u{4DBF}'      // Han
        | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFF}')
        && char.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::{Query, spans, words};

    #[test]
    fn code_is_found_by_its_parts() {
        assert_eq!(words("Fix `foo_bar` in src/main.rs, FOO!"), "bar fix foo in main rs src");
        assert_eq!(words("Grüße 世界 ½ 10e5"), "10e5 grüße ½ 世 界");
        assert_eq!(words(" \n—"), "");
    }

    #[test]
    fn a_word_knows_its_place() {
        let text = "Ein Grüßen: 世界";
        let found: Vec<_> = spans(text).into_iter().map(|span| &text[span.range]).collect();
        assert_eq!(found, ["Ein", "Grüßen", "世", "界"]);
    }

    #[test]
    fn long_words_are_cut_alike_in_text_and_query() {
        let long = "a".repeat(200);
        assert_eq!(words(&long).len(), 64);
        assert_eq!(Query::new(&long).words, [words(&long)]);
    }

    #[test]
    fn the_last_word_of_a_query_may_be_unfinished() {
        let query = Query::new("parse con");
        assert!(query.is_hit("config") && query.is_hit("parse") && !query.is_hit("parser"));
        let query = Query::new("parse con ");
        assert!(!query.is_hit("config") && query.is_hit("con"));
        assert_eq!(Query::new("?!").words, Vec::<String>::new());
    }
}
