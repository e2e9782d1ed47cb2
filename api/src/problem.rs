//! An error as an HTTP answer (RFC 9457).
//!
//! `code` is for programs, `detail` tells a person what to do. Nothing of what went wrong inside
//! leaves the server: that is logged where the problem is made.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, ContentType},
    },
};
use actors::{dispatcher::DispatchError, sealing::SealingError};
use projections::error::DatabaseError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// When to try again where somebody has to free space first.
const DISK_FULL_RETRY_SECONDS: u32 = 30;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why something was not done, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub code: String,
    /// The limit that was exceeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    #[serde(skip)]
    pub retry_after_seconds: Option<u32>,
}

/// Problems are told apart by their codes; none has a page of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub enum ProblemKind {
    #[serde(rename = "about:blank")]
    AboutBlank,
}

impl Problem {
    /// A problem with its status, its word for programs and its sentence for people.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: ProblemKind::AboutBlank,
            title: status.canonical_reason().unwrap_or("Problem").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            limit: None,
            retry_after_seconds: None,
        }
    }

    /// The request cannot be understood.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// The request is understood and makes no sense.
    #[must_use]
    pub fn invalid(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// There is no such `noun`, or it is not the caller's: the two look the same.
    #[must_use]
    pub fn not_found(noun: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("There is no such {noun}."))
    }

    /// There is nothing there; the sentence says what there is.
    #[must_use]
    pub fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// Nobody is signed in.
    #[must_use]
    pub fn signed_out() -> Self {
        let detail = "Sign in first: open the link that SAM printed when it started.";
        Self::new(StatusCode::UNAUTHORIZED, "signed_out", detail)
    }

    /// The state of things does not allow it now.
    #[must_use]
    pub fn conflict(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// More bytes than allowed; `setting` names the limit.
    #[must_use]
    pub fn too_large(what: &str, setting: &str, limit: usize) -> Self {
        let detail = format!("{what} may have at most {limit} bytes ({setting}). Make it shorter.");
        Self {
            limit: u64::try_from(limit).ok(),
            ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
        }
    }

    /// Worth another try soon.
    #[must_use]
    pub fn busy() -> Self {
        let detail = "SAM is busy. Try again in a second.";
        Self {
            retry_after_seconds: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
        }
    }

    /// The database is away, or starting. Asked again under the same id, it is done once.
    #[must_use]
    pub fn unavailable() -> Self {
        let detail = "SAM cannot reach its database at the moment. Try again in a second; if that does not \
                      help, see whether the database runs and whether its disk is full.";
        Self {
            retry_after_seconds: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
        }
    }

    /// The log's disk is full. Reading goes on.
    #[must_use]
    pub fn disk_full() -> Self {
        let detail = "The disk of SAM's database is full, so nothing new can be kept. Free some space there, \
                      then try again: what was accepted until now is safe, and no restart is needed.";
        Self {
            retry_after_seconds: Some(DISK_FULL_RETRY_SECONDS),
            ..Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", detail)
        }
    }

    /// Our fault. What happened goes to the log and stays there.
    #[must_use]
    pub fn internal(error: impl fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        let detail = "SAM could not do this. Its log says why; try again.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }
}

/// A refusal of the domain, by its code.
fn refused(code: &str, reason: &str) -> Problem {
    let status = match code {
        "not_found" => StatusCode::NOT_FOUND,
        "message_too_long" | "variable_too_long" => StatusCode::PAYLOAD_TOO_LARGE,
        "empty_message" | "bad_name" | "bad_repository" | "bad_secret" | "no_such_option"
        | "bad_variable_name" | "bad_variable_value" => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::CONFLICT,
    };
    Problem::new(status, code, sentence(reason))
}

/// With a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    let rest = letters.as_str();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{rest}{stop}")
}

impl From<DispatchError> for Problem {
    fn from(error: DispatchError) -> Self {
        match error {
            DispatchError::Refused { code, reason } => refused(&code, &reason),
            DispatchError::Busy { retry_after } => Self {
                retry_after_seconds: u32::try_from(retry_after.as_secs().max(1)).ok(),
                ..Self::busy()
            },
            // Asked again under the same id, it is done once.
            DispatchError::Unavailable { .. } => {
                tracing::warn!(%error, "a command has to be sent again");
                Self::unavailable()
            }
            DispatchError::Fenced => {
                tracing::warn!(%error, "a command has to be sent again");
                Self::busy()
            }
            DispatchError::Full => {
                tracing::error!(%error, "a command was not accepted");
                Self::disk_full()
            }
            DispatchError::Damaged { .. } | DispatchError::Failed { .. } => Self::internal(error),
        }
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Unavailable { .. } => {
                tracing::warn!(%error, "the database is away");
                Self::unavailable()
            }
            DatabaseError::Full { .. } => {
                tracing::error!(%error, "a request was not accepted");
                Self::disk_full()
            }
            error => Self::internal(error),
        }
    }
}

impl From<SealingError> for Problem {
    fn from(error: SealingError) -> Self {
        match error {
            SealingError::Database(error) => error.into(),
            error => Self::internal(error),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Some(seconds) = self.retry_after_seconds {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        let text = serde_json::to_string(self).unwrap_or_default();
        response.insert_header(ContentType(mime())).body(text)
    }
}

fn mime() -> actix_web::mime::Mime {
    PROBLEM_JSON.parse().unwrap_or(actix_web::mime::APPLICATION_JSON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_problem_is_a_document_of_its_own_media_type() {
        let response = Problem::too_large("A message", "MESSAGE_BYTES_MAX", 10).error_response();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let content_type = response.headers().get(header::CONTENT_TYPE).unwrap();
        assert_eq!(content_type, PROBLEM_JSON);
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["limit"], 10);
        assert!(problem["detail"].as_str().unwrap().contains("MESSAGE_BYTES_MAX"));
    }

    #[actix_web::test]
    async fn a_busy_server_says_when_to_come_back() {
        let response = Problem::busy().error_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers().get(header::RETRY_AFTER).unwrap(), "1");
    }

    #[test]
    fn a_full_disk_says_what_to_do() {
        let problem = Problem::from(DispatchError::Full);
        assert_eq!((problem.status, &*problem.code), (507, "disk_full"));
        assert!(problem.detail.contains("Free some space"), "{problem}");
    }
}
