//! The audit: who did what when, as pages and as a download, and whether the log is what was recorded.
//!
//! For the administrator only, which today is the local owner.

use std::sync::Arc;

use actix_web::{
    HttpResponse, get,
    http::{StatusCode, header},
    post,
    web::{Bytes, Data, Json, Query},
};
use actors::audit::{Finding, FindingKind, Report, Trusted, verify_database};
use chrono::{DateTime, Utc};
use domain::ids::ProjectId;
use projections::{
    audit_trail::{self, AuditEntry, AuditFilter, AuditPage},
    database::Database,
    event_log::Cause,
    hex,
    meta::Meta,
    signed_heads::SignedHeads,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{caller::Caller, problem::Problem, server::Server};

const ENTRIES_PER_PAGE: usize = 100;
const ENTRIES_PER_PAGE_MAX: usize = 500;

/// One thing that happened.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditLine {
    pub position: u64,
    pub at: DateTime<Utc>,
    /// An account, a process, an agent.
    pub actor: String,
    pub kind: String,
    pub stream: Uuid,
    pub sequence: u64,
    pub event: String,
    pub summary: String,
    pub command: Uuid,
    pub cause: Option<AuditCause>,
    pub project: Option<Uuid>,
}

/// What it was caused by.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum AuditCause {
    /// Of an event.
    Position(u64),
    /// Another command, by its id.
    Command(Uuid),
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntries {
    pub entries: Vec<AuditLine>,
    /// What to ask `before` next; absent at the beginning of the log.
    pub next: Option<u64>,
}

/// Which entries. What is absent does not matter.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct Filters {
    actor: Option<String>,
    kind: Option<String>,
    event: Option<String>,
    project: Option<Uuid>,
    /// Recorded at this time or later.
    from: Option<DateTime<Utc>>,
    /// Recorded before this time.
    until: Option<DateTime<Utc>>,
    /// Only entries before this position.
    before: Option<u64>,
    limit: Option<usize>,
    /// Of the download; a page is always JSON.
    format: Option<AuditFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditFormat {
    Csv,
    Ndjson,
}

/// The signed heads over the log.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heads {
    pub installation: Uuid,
    pub epoch: u64,
    /// Ed25519, in base64.
    pub public_key: String,
    pub newest: Option<Head>,
    pub n_heads: u64,
    /// Events behind the newest head.
    pub n_unprotected: u64,
    /// Of the log.
    pub head_position: u64,
    /// The file outside the database.
    pub written_to: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    pub position: u64,
    pub at: DateTime<Utc>,
    /// The running hash, in hex.
    pub hash: String,
    /// In hex.
    pub signature: String,
}

/// What a check of the whole log found.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditVerification {
    pub is_intact: bool,
    pub n_events: u64,
    pub n_streams: u64,
    pub n_heads: u64,
    /// Events behind the newest head, which none protects.
    pub n_unprotected: u64,
    /// Entries of the ledger of erasures, each signed.
    pub n_erasures: u64,
    pub findings: Vec<AuditFinding>,
    /// How many findings there are beside these.
    pub n_more: u64,
    pub notes: Vec<String>,
    /// What a check like this cannot find.
    pub limits: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditFinding {
    pub kind: AuditFindingKind,
    pub position: Option<u64>,
    pub stream: Option<String>,
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditFindingKind {
    Changed,
    Removed,
    Inserted,
    Reordered,
    Cut,
    Head,
    Erasure,
}

/// Who did what when, newest first.
#[utoipa::path(params(Filters), responses((status = OK, body = AuditEntries)))]
#[get("/audit")]
pub(crate) async fn audit(
    caller: Caller,
    filters: Query<Filters>,
    server: Data<Server>,
) -> Result<Json<AuditEntries>, Problem> {
    let database = server.administered_by(&caller)?;
    let limit = filters.limit.unwrap_or(ENTRIES_PER_PAGE).clamp(1, ENTRIES_PER_PAGE_MAX);
    let page = AuditPage::Before(filters.before);
    let entries = audit_trail::list(database, &filters.entries(), page, limit).await?;
    let next = match entries.len() == limit {
        true => entries.last().map(|entry| entry.position).filter(|position| *position > 1),
        false => None,
    };
    Ok(Json(AuditEntries { entries: entries.into_iter().map(AuditLine::from).collect(), next }))
}

/// The same as a file, oldest first, as long as the log is.
#[utoipa::path(
    params(Filters),
    responses((status = OK, body = String, content_type = "text/csv"))
)]
#[get("/audit/export")]
pub(crate) async fn audit_export(
    caller: Caller,
    filters: Query<Filters>,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    server.administered_by(&caller)?;
    let format = filters.format.unwrap_or(AuditFormat::Csv);
    let (mime, name) = match format {
        AuditFormat::Csv => ("text/csv; charset=utf-8", "audit.csv"),
        AuditFormat::Ndjson => ("application/x-ndjson", "audit.ndjson"),
    };
    let disposition = format!("attachment; filename=\"{name}\"");
    let download = Download { server, filter: filters.entries(), format, after: Some(0) };
    let pages = futures_util::stream::try_unfold(download, Download::next);
    let response = HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, mime))
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .streaming(pages);
    Ok(response)
}

/// How the log is protected.
#[utoipa::path(responses((status = OK, body = Heads)))]
#[get("/audit/heads")]
pub(crate) async fn audit_heads(
    caller: Caller,
    server: Data<Server>,
) -> Result<Json<Heads>, Problem> {
    let database = server.administered_by(&caller)?;
    let heads = SignedHeads::new(database);
    let newest = heads.newest().await?.map(|(_, head)| head);
    let head_position = server.log().head().await?;
    let protected = newest.as_ref().map_or(0, |head| head.position);
    let file = server.system().heads_file.path();
    Ok(Json(Heads {
        installation: server.installation().0,
        epoch: Meta::new(database).epoch().await?,
        public_key: server.system().signing.public().to_base64(),
        newest: newest.map(|head| Head {
            position: head.position,
            at: head.at,
            hash: hex::encode(&head.hash),
            signature: hex::encode(&head.signature),
        }),
        n_heads: heads.count().await?,
        n_unprotected: head_position.saturating_sub(protected),
        head_position,
        written_to: file.exists().then(|| file.display().to_string()),
    }))
}

/// Checks the whole log. Takes seconds for a million events; one check at a time.
#[utoipa::path(responses((status = OK, body = AuditVerification)))]
#[post("/audit/verify")]
pub(crate) async fn audit_verify(
    caller: Caller,
    server: Data<Server>,
) -> Result<Json<AuditVerification>, Problem> {
    let database = server.administered_by(&caller)?;
    let Ok(_one_at_a_time) = Arc::clone(server.verifying()).try_lock_owned() else {
        let detail = "The log is being checked already. Wait for that to end.";
        return Err(Problem::conflict("being_verified", detail));
    };
    let outside = server.system().heads_file.read().map_err(Problem::internal)?;
    let outside = (!outside.is_empty()).then_some(outside);
    let erasures = server.system().eraser.file.read().map_err(Problem::internal)?;
    let trusted = Trusted { key: Some(server.system().signing.public()), outside, erasures };
    Ok(Json(verify_database(database, trusted).await?.into()))
}

impl Server {
    /// The database, for whoever may see everything.
    fn administered_by(&self, caller: &Caller) -> Result<&Database, Problem> {
        if caller.account == self.owner() {
            return Ok(self.database());
        }
        let detail = "Only an administrator may see this.";
        Err(Problem::new(StatusCode::FORBIDDEN, "not_administrator", detail))
    }
}

impl Filters {
    fn entries(&self) -> AuditFilter {
        AuditFilter {
            actor: self.actor.clone(),
            kind: self.kind.clone(),
            event: self.event.clone(),
            project: self.project.map(ProjectId),
            from: self.from,
            until: self.until,
        }
    }
}

/// A download on its way: one page of it is in memory.
struct Download {
    server: Data<Server>,
    filter: AuditFilter,
    format: AuditFormat,
    /// None: it is over.
    after: Option<u64>,
}

impl Download {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        let Some(after) = self.after else { return Ok(None) };
        let database = self.server.database();
        let page = AuditPage::After(after);
        let entries = audit_trail::list(database, &self.filter, page, ENTRIES_PER_PAGE_MAX).await?;
        let mut text = match self.format {
            AuditFormat::Csv if after == 0 => CSV_HEADER.to_owned(),
            _ => String::new(),
        };
        self.after = match entries.len() == ENTRIES_PER_PAGE_MAX {
            true => entries.last().map(|entry| entry.position),
            false => None,
        };
        for line in entries.into_iter().map(AuditLine::from) {
            match self.format {
                AuditFormat::Csv => text.push_str(&line.to_csv()),
                AuditFormat::Ndjson => {
                    text.push_str(&serde_json::to_string(&line).map_err(Problem::internal)?);
                    text.push('\n');
                }
            }
        }
        Ok(Some((Bytes::from(text), self)))
    }
}

const CSV_HEADER: &str =
    "position,at,actor,kind,stream,sequence,event,summary,command,cause,project\r\n";

impl AuditLine {
    fn to_csv(&self) -> String {
        let fields = [
            self.position.to_string(),
            self.at.to_rfc3339(),
            self.actor.clone(),
            self.kind.clone(),
            self.stream.to_string(),
            self.sequence.to_string(),
            self.event.clone(),
            self.summary.clone(),
            self.command.to_string(),
            match self.cause {
                Some(AuditCause::Position(position)) => position.to_string(),
                Some(AuditCause::Command(command)) => command.to_string(),
                None => String::new(),
            },
            self.project.map(|project| project.to_string()).unwrap_or_default(),
        ];
        let fields: Vec<String> = fields.iter().map(|field| csv_field(field)).collect();
        format!("{}\r\n", fields.join(","))
    }
}

/// Quoted where it has to be; a text that a spreadsheet would take for a formula begins with an apostrophe.
fn csv_field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n', '\'']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

impl From<AuditEntry> for AuditLine {
    fn from(entry: AuditEntry) -> Self {
        Self {
            position: entry.position,
            at: entry.at,
            actor: entry.actor,
            kind: entry.stream.kind,
            stream: entry.stream.id,
            sequence: entry.sequence,
            event: entry.event,
            summary: entry.summary,
            command: entry.command,
            cause: entry.cause.map(|cause| match cause {
                Cause::Event(position) => AuditCause::Position(position),
                Cause::Command(command) => AuditCause::Command(command),
            }),
            project: entry.project.map(|project| project.0),
        }
    }
}

impl From<Report> for AuditVerification {
    fn from(report: Report) -> Self {
        let is_intact = report.is_intact();
        let finding = |finding: Finding| AuditFinding {
            kind: match finding.kind {
                FindingKind::Changed => AuditFindingKind::Changed,
                FindingKind::Removed => AuditFindingKind::Removed,
                FindingKind::Inserted => AuditFindingKind::Inserted,
                FindingKind::Reordered => AuditFindingKind::Reordered,
                FindingKind::Cut => AuditFindingKind::Cut,
                FindingKind::Head => AuditFindingKind::Head,
                FindingKind::Erasure => AuditFindingKind::Erasure,
            },
            position: finding.position,
            stream: finding.stream,
            what: finding.what,
        };
        Self {
            is_intact,
            n_events: report.n_events,
            n_streams: report.n_streams,
            n_heads: report.n_heads,
            n_unprotected: report.n_unprotected,
            n_erasures: report.n_erasures,
            findings: report.findings.into_iter().map(finding).collect(),
            n_more: report.n_more,
            notes: report.notes,
            limits: report.limits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::csv_field;

    #[test]
    fn a_field_is_never_taken_for_a_formula_or_for_two() {
        assert_eq!(csv_field("plain"), "plain");
        assert_eq!(csv_field("=1+1"), "\"'=1+1\"");
        assert_eq!(csv_field("@SUM(A1)"), "\"'@SUM(A1)\"");
        assert_eq!(csv_field("-2"), "\"'-2\"");
        assert_eq!(csv_field("\tx"), "\"'\tx\"");
        assert_eq!(csv_field("a,\"b\"\nc"), "\"a,\"\"b\"\"\nc\"");
    }
}
