//! Full-text search over everything that was said, in conversations that go on and in those that ended.

use std::collections::HashMap;

use actix_web::{
    get,
    web::{Data, Json},
};
use actors::sealing::Sealing;
use chrono::{DateTime, Utc};
use domain::{
    idea::title::cut_title,
    ids::{ProjectId, SessionId},
    values::ContentRef,
};
use projections::{
    chat_search::{self, Index, IndexedMessage, Query, Scope, spans},
    chat_transcript::{self, SessionRow},
    database::Database,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{access, caller::Caller, problem::Problem, server::Server, texts::Texts};

const HITS_DEFAULT: usize = 20;
const HITS_MAX: usize = 100;
const QUERY_BYTES_MAX: usize = 1024;
/// How much of a message is shown: so many characters before the first hit, and so many in all.
const CHARS_BEFORE_HIT: usize = 60;
const SNIPPET_CHARS_MAX: usize = 240;

/// What to look for, and where.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct Search {
    /// Messages that hold all of these words; of the last one, its beginning is enough.
    q: String,
    /// Only in this project.
    project: Option<Uuid>,
    /// Only messages that began before this position: `next` of the page before.
    before: Option<u64>,
    /// How many hits, 1 to 100; 20 if it is not given.
    limit: Option<usize>,
}

/// Messages that were found, the newest first.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchPage {
    pub hits: Vec<SearchHit>,
    /// There are older ones: ask again with `before` = this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// Up to which position of the log messages are in the index.
    pub position: u64,
}

/// A message that holds what was looked for.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchHit {
    pub project: Uuid,
    pub session: Uuid,
    pub session_title: String,
    /// The newest idea of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idea: Option<Uuid>,
    pub message: Uuid,
    /// Of the message's first event.
    pub position: u64,
    pub at: DateTime<Utc>,
    pub role: Role,
    /// The text around the first hit, cut where hits begin and end.
    pub snippet: Vec<SnippetPart>,
}

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    User,
    Agent,
}

/// A piece of a snippet.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnippetPart {
    pub text: String,
    pub is_hit: bool,
}

/// Messages that hold all words of a query.
#[utoipa::path(params(Search), responses((status = OK, body = SearchPage)))]
#[get("/search")]
pub(crate) async fn search(
    caller: Caller,
    search: actix_web::web::Query<Search>,
    server: Data<Server>,
) -> Result<Json<SearchPage>, Problem> {
    let query = checked(&search.q)?;
    let project = match search.project {
        Some(id) => Some(access::project(&server, &caller, ProjectId(id)).await?.id),
        None => None,
    };
    let limit = search.limit.unwrap_or(HITS_DEFAULT).clamp(1, HITS_MAX);
    let scope = Scope { owner: caller.account, project, before: search.before, limit };
    Ok(Json(page(server.database(), server.sealing(), &query, scope).await?))
}

/// A page of hits as a document.
pub(crate) async fn page(
    database: &Database,
    sealing: &Sealing,
    query: &Query,
    scope: Scope,
) -> Result<SearchPage, Problem> {
    // Asked first, so that what it promises is in the answer.
    let position = Index::new(database).position().await?;
    let limit = scope.limit;
    let mut found = chat_search::find(database, query, Scope { limit: limit + 1, ..scope }).await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| last.position);
    let sessions = sessions(database, &found).await?;
    let titles = sessions.values().filter_map(|session| session.title.as_ref());
    let references: Vec<&ContentRef> =
        found.iter().flat_map(|message| &message.segments).chain(titles).collect();
    let texts = Texts::read(sealing, references).await?;
    let hits = found.iter().map(|message| hit(message, query, &sessions, &texts)).collect();
    Ok(SearchPage { hits, next, position })
}

/// Reads what somebody looks for.
pub(crate) fn checked(text: &str) -> Result<Query, Problem> {
    if text.len() > QUERY_BYTES_MAX {
        let detail = format!("Look for less: a query has at most {QUERY_BYTES_MAX} bytes.");
        return Err(Problem::invalid("query_too_long", detail));
    }
    let query = Query::new(text);
    if query.words.is_empty() {
        let detail = "Give `q` at least one word of letters or digits.";
        return Err(Problem::invalid("query_without_words", detail));
    }
    Ok(query)
}

async fn sessions(
    database: &Database,
    found: &[IndexedMessage],
) -> Result<HashMap<SessionId, SessionRow>, Problem> {
    let mut sessions = HashMap::new();
    for message in found {
        if !sessions.contains_key(&message.session)
            && let Some(row) = chat_transcript::find(database, message.session).await?
        {
            sessions.insert(message.session, row);
        }
    }
    Ok(sessions)
}

fn hit(
    message: &IndexedMessage,
    query: &Query,
    sessions: &HashMap<SessionId, SessionRow>,
    texts: &Texts,
) -> SearchHit {
    let session = sessions.get(&message.session);
    let named = session.and_then(|session| session.title.as_ref());
    let text: String = message.segments.iter().map(|segment| texts.get(segment)).collect();
    SearchHit {
        project: message.project.0,
        session: message.session.0,
        session_title: named.map(|text| cut_title(&texts.get(text))).unwrap_or_default(),
        idea: session.and_then(|session| session.idea).map(|id| id.0),
        message: message.message.0,
        position: message.position,
        at: message.at,
        role: if message.author.is_some() { Role::User } else { Role::Agent },
        snippet: snippet(&text, query),
    }
}

/// The text around the first hit, on one line.
fn snippet(text: &str, query: &Query) -> Vec<SnippetPart> {
    let hits: Vec<_> = spans(text).into_iter().filter(|span| query.is_hit(&span.word)).collect();
    let first = hits.first().map_or(0, |hit| hit.range.start);
    let start = text[..first].char_indices().rev().take(CHARS_BEFORE_HIT).last();
    let start = start.map_or(first, |(at, _)| at);
    let end = text[start..].char_indices().nth(SNIPPET_CHARS_MAX);
    let end = end.map_or(text.len(), |(at, _)| start + at);
    let mut parts = Vec::new();
    let mut add = |text: &str, is_hit| {
        let text = one_line(text);
        if !text.is_empty() {
            parts.push(SnippetPart { text, is_hit });
        }
    };
    if start > 0 {
        add("…", false);
    }
    let mut at = start;
    for hit in hits.iter().filter(|hit| hit.range.end <= end) {
        add(&text[at..hit.range.start], false);
        add(&text[hit.range.clone()], true);
        at = hit.range.end;
    }
    add(&text[at..end], false);
    if end < text.len() {
        add("…", false);
    }
    parts
}

/// Every run of white space as one space.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        match char.is_whitespace() {
            true if line.ends_with(' ') => {}
            true => line.push(' '),
            false => line.push(char),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str, query: &str) -> String {
        let part = |part: SnippetPart| match part.is_hit {
            true => format!("[{}]", part.text),
            false => part.text,
        };
        snippet(text, &Query::new(query)).into_iter().map(part).collect()
    }

    #[test]
    fn a_snippet_marks_its_hits() {
        assert_eq!(
            marked("Fix the\n  Parser, and the parse error.", "parse"),
            "Fix the [Parser], and the [parse] error."
        );
        assert_eq!(marked("Fix the Parser.", "parse "), "Fix the Parser.");
        assert_eq!(marked("", "parse"), "");
    }

    #[test]
    fn a_long_text_is_cut_around_its_first_hit() {
        let long = format!("{} needle {}", "über ".repeat(100), "aß ".repeat(300));
        let shown = marked(&long, "needle");
        assert!(shown.starts_with('…') && shown.ends_with('…') && shown.contains("[needle]"));
        assert!(shown.chars().count() <= SNIPPET_CHARS_MAX + 4, "{shown}");
    }

    #[test]
    fn a_query_needs_a_word() {
        assert_eq!(checked(" ?! ").unwrap_err().code, "query_without_words");
        assert_eq!(checked(&"a".repeat(2000)).unwrap_err().code, "query_too_long");
    }
}
