//! `sam audit verify`: whether the log is what was recorded, with a server, without one, or from a file.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use actors::{
    archive,
    audit::{self, Report, Trusted},
    erasure::file::LedgerFile,
    signed_heads::file::HeadsFile,
    signing::{PUBLIC_KEY_FILE, PublicKey},
};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use projections::{database::Database, erasure_ledger::SignedErasure, signed_heads::SignedHead};

use crate::{cli::console, config::Settings, queries::audit::AuditVerification};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Check that no event was changed, removed, inserted or moved, that the log was not cut back, and that
    /// texts are missing only where a signed erasure says so.
    Verify(VerifyArguments),
}

#[derive(Args, Debug)]
pub(super) struct VerifyArguments {
    /// Check an export instead of the log of the data directory.
    #[arg(long, value_name = "FILE", requires = "public_key")]
    export: Option<PathBuf>,
    /// The installation's public key [default: control.pem in the data directory]
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Signed heads that were kept outside the database [default: the file that the server writes]
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
    /// Erasures that were kept outside the database [default: the file that the server writes]
    #[arg(long, value_name = "FILE")]
    erasures: Option<PathBuf>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) async fn verify(
    settings: &Settings,
    arguments: VerifyArguments,
) -> anyhow::Result<ExitCode> {
    let key = match &arguments.public_key {
        Some(path) => public_key(path)?,
        None => own_public_key(settings)?,
    };
    let outside = match (&arguments.heads, &arguments.export) {
        (Some(path), _) => Some(heads(path)?),
        (None, Some(_)) => None,
        (None, None) => heads(&settings.heads_file()).ok(),
    };
    let erasures = match (&arguments.erasures, &arguments.export) {
        (Some(path), _) => erasures(path)?,
        (None, Some(_)) => Vec::new(),
        (None, None) => LedgerFile::of(&settings.data_dir).read()?,
    };
    let trusted = Trusted { key: Some(key), outside, erasures };
    let report = match &arguments.export {
        Some(path) => archive::verify(path, trusted)?,
        None => {
            let database = open_log(settings).await?;
            audit::verify_database(&database, trusted).await?
        }
    };
    let is_intact = report.is_intact();
    if arguments.json {
        console::result(&serde_json::to_string_pretty(&AuditVerification::from(report))?);
    } else {
        print(&report);
    }
    Ok(if is_intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report) {
    for finding in &report.findings {
        console::result(&format!("{}: {}", finding.kind, finding.what));
    }
    if report.n_more > 0 {
        console::result(&format!("… and {} more", report.n_more));
    }
    for note in &report.notes {
        console::result(&format!("note: {note}"));
    }
    for limit in &report.limits {
        console::result(&format!("not covered: {limit}"));
    }
    let verdict = if report.is_intact() { "intact" } else { "NOT INTACT" };
    let Report { n_events, n_streams, n_heads, n_unprotected, n_erasures, .. } = report;
    console::result(&format!(
        "{verdict}: {n_events} events in {n_streams} streams, {n_heads} signed heads; \
         {n_unprotected} newer events are protected by none; {n_erasures} signed erasures"
    ));
}

/// The log of the data directory, with or without a server that writes it.
pub(super) async fn open_log(settings: &Settings) -> anyhow::Result<Database> {
    let opened = Database::open_log_read_only(&settings.database_url, &settings.data_dir).await;
    opened.context("there is no log to read: check --data-dir and --database-url")
}

/// The key as the server wrote it into its data directory.
pub(super) fn own_public_key(settings: &Settings) -> anyhow::Result<PublicKey> {
    let path = settings.data_dir.join(PUBLIC_KEY_FILE);
    if !path.exists() {
        bail!("{} is missing: say with --public-key where the public key is", path.display());
    }
    public_key(&path)
}

fn public_key(path: &Path) -> anyhow::Result<PublicKey> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let key = PublicKey::parse(&text);
    key.with_context(|| format!("{} is no Ed25519 public key in PEM or base64", path.display()))
}

fn heads(path: &Path) -> anyhow::Result<Vec<SignedHead>> {
    if !path.exists() {
        bail!("{} does not exist", path.display());
    }
    Ok(HeadsFile::new(path.to_path_buf()).read()?)
}

fn erasures(path: &Path) -> anyhow::Result<Vec<SignedErasure>> {
    if !path.exists() {
        bail!("{} does not exist", path.display());
    }
    Ok(LedgerFile::new(path.to_path_buf()).read()?)
}
