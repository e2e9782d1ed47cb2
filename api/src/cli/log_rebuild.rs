//! `sam log rebuild`: makes read models again from the log, or only compares them with new ones.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use projections::{
    database::Database,
    event_log::{EventLog, Options},
    projector::{Checked, RowDifference},
    read_models,
};
use serde_json::json;

use crate::{
    cli::{console, data_directory},
    config::Settings,
};

#[derive(Args, Clone, Debug)]
pub(super) struct RebuildArguments {
    /// The read model to make again.
    #[arg(required_unless_present_any = ["all", "check"])]
    name: Option<String>,
    /// All of them, one after the other.
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// Change nothing: make them beside the live ones, compare row by row, and fail if anything differs.
    #[arg(long)]
    check: bool,
    /// Print one JSON document a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn rebuild(
    settings: &Settings,
    arguments: RebuildArguments,
) -> anyhow::Result<ExitCode> {
    if arguments.check {
        return check(settings, arguments).await;
    }
    // The lock keeps a server from starting meanwhile.
    let _lock = match data_directory::take(&settings.data_dir).await? {
        data_directory::Holder::Us(lock) => lock,
        data_directory::Holder::Other(_) => {
            bail!("SAM runs and keeps its read models itself: stop it first, or use --check")
        }
    };
    let database = Database::open(&settings.database_url, &settings.data_dir).await?;
    let log = EventLog::open(&database, Options::default()).await?;
    let projector = read_models::projector(&database, &log);
    let known = projector.names();
    let names = match &arguments.name {
        Some(name) => vec![*known.iter().find(|known| *known == name).with_context(|| {
            format!("there is no read model {name}; there are {}", known.join(", "))
        })?],
        None => known,
    };
    let running = projector.start();
    for name in names {
        let position = running.rebuild(name).await?;
        let text = format!("{name}: made again up to position {position}");
        let document = json!({ "name": name, "position": position });
        console::result(&if arguments.json { document.to_string() } else { text });
    }
    running.close().await;
    log.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn check(settings: &Settings, arguments: RebuildArguments) -> anyhow::Result<ExitCode> {
    let database = Database::open_read_only(&settings.database_url, &settings.data_dir).await?;
    let log = EventLog::open(&database, Options::default()).await?;
    let mut projector = read_models::projector(&database, &log);
    let known = projector.names().join(", ");
    if let Some(name) = &arguments.name {
        let unknown = || format!("there is no read model {name}; there are {known}");
        projector = projector.only(name).with_context(unknown)?;
    }
    let checked = projector.check().await?;
    for one in &checked {
        console::result(&if arguments.json { document(one).to_string() } else { text(one) });
    }
    log.close().await;
    let is_same = checked.iter().all(|one| one.differences.is_empty());
    Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(checked: &Checked) -> String {
    let Checked { name, position, n_rows, differences, parked } = checked;
    let verdict = match differences.len() {
        0 => "no difference".to_owned(),
        n => format!("{n} differences"),
    };
    let mut lines = vec![format!("{name:<20} {n_rows:>9} rows at position {position}: {verdict}")];
    if let Some(parked) = parked {
        lines.push(format!("  it waits before position {}: {}", parked.position, parked.error));
    }
    lines.extend(differences.iter().map(|difference| {
        let RowDifference { table, key, column, live, rebuilt } = difference;
        let column = column.as_deref().map(|name| format!(", column {name}")).unwrap_or_default();
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        let (live, rebuilt) = (value(live), value(rebuilt));
        format!("  table {table}, key {key}{column}: is {live}, should be {rebuilt}")
    }));
    lines.join("\n")
}

fn document(checked: &Checked) -> serde_json::Value {
    let differences: Vec<_> = checked
        .differences
        .iter()
        .map(|difference| {
            json!({
                "table": difference.table,
                "key": difference.key,
                "column": difference.column,
                "live": difference.live,
                "rebuilt": difference.rebuilt,
            })
        })
        .collect();
    let parked = checked.parked.as_ref();
    json!({
        "name": checked.name,
        "position": checked.position,
        "nRows": checked.n_rows,
        "parkedBefore": parked.map(|parked| parked.position),
        "differences": differences,
    })
}
