//! What reading commands show while no server runs: the log and the read models, opened only to read.
//!
//! The read models may be a moment behind if the last server was killed; the next one catches up.

use std::sync::Arc;

use actors::{
    clock::{Clock as _, system::SystemClock},
    erasure::file::LedgerFile,
    sealing::Sealing,
};
use anyhow::{Context as _, anyhow, bail};
use domain::ids::{AccountId, ExecutionId, IdeaId, ProjectId};
use projections::{
    account_list,
    chat_search::Scope,
    checkpoint::Checkpoints,
    damaged_streams::DamagedStreams,
    database::Database,
    erasure_ledger::{ErasureLedger, PROJECT},
    event_log::{EventLog, Options, Position, RecordedEvent},
    execution_timeline::{self, ExecutionRow, ExecutionTimeline},
    idea_board,
    keys::Keys,
    node_directory, project_overview,
    projection::Projection as _,
    projection_status, read_models,
};
use uuid::Uuid;

use crate::{
    config::Settings,
    queries::{
        chat_search::{self, SearchPage},
        ideas::{self, Idea},
        nodes::{self, Node},
        projections::{Projections, document},
        projects::Project,
        timeline::Source,
        variables::{self, Variable},
        workspaces::{self, Workspace},
    },
    server::Link,
};

/// Shows nothing of a database that is from before an erasure: the server brings it up to the ledger first.
async fn respect_ledger(settings: &Settings, database: &Database) -> anyhow::Result<()> {
    let (keys, ledger) = (Keys::new(database), ErasureLedger::new(database));
    let file = LedgerFile::of(&settings.data_dir);
    for entry in file.read()? {
        let is_from_before = match entry.kind.as_str() {
            PROJECT => keys.find("content", Some(entry.subject)).await?.is_some(),
            _ => ledger.find(entry.subject).await?.is_none(),
        };
        if is_from_before {
            bail!(
                "the database is from before the erasure of {} {}, which is in {}: start `sam serve` once, \
                 which erases it again",
                entry.kind,
                entry.subject,
                file.path().display()
            );
        }
    }
    Ok(())
}

/// The stored state of a data directory.
pub(super) struct Offline {
    database: Database,
    log: EventLog,
    sealing: Sealing,
    owner: Option<AccountId>,
}

impl Offline {
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let database = Database::open(&settings.database_url, &settings.data_dir).await?;
        Self::over(settings, database).await
    }

    /// Opens what is there to be read only: nothing is made, changed or brought up to date.
    pub(super) async fn open_read_only(settings: &Settings) -> anyhow::Result<Self> {
        let database = Database::open_read_only(&settings.database_url, &settings.data_dir).await?;
        Self::over(settings, database).await
    }

    async fn over(settings: &Settings, database: Database) -> anyhow::Result<Self> {
        let log = EventLog::open(&database, Options::default()).await?;
        let sealing = Sealing::open(&database, &log, &settings.data_dir, Arc::new(SystemClock))?;
        respect_ledger(settings, &database).await?;
        let owner = account_list::list(&database).await?.last().map(|account| account.id);
        Ok(Self { database, log, sealing, owner })
    }

    /// An execution, and what its account is made from.
    pub(super) async fn execution(&self, id: Uuid) -> anyhow::Result<Option<ExecutionRow>> {
        Ok(execution_timeline::find(&self.database, ExecutionId(id)).await?)
    }

    /// All executions of an idea, oldest first.
    pub(super) async fn executions_of(&self, idea: Uuid) -> anyhow::Result<Option<Vec<Uuid>>> {
        let row = idea_board::find(&self.database, IdeaId(idea)).await?;
        Ok(row.map(|row| row.executions.into_iter().map(|id| id.0).collect()))
    }

    /// What accounts of executions are made from.
    pub(super) fn source(&self) -> Source<'_> {
        Source { database: &self.database, log: &self.log, sealing: &self.sealing }
    }

    /// Up to where the read models show the log.
    pub(super) async fn position(&self) -> anyhow::Result<Position> {
        let checkpoints = Checkpoints::new(&self.database);
        Ok(checkpoints.position(ExecutionTimeline::NAME).await?)
    }

    pub(super) async fn projects(&self) -> anyhow::Result<Vec<Project>> {
        let Some(owner) = self.owner else { return Ok(Vec::new()) };
        let rows = project_overview::list(&self.database, owner).await?;
        Ok(rows.into_iter().map(Project::from).collect())
    }

    pub(super) async fn ideas(&self) -> anyhow::Result<Vec<Idea>> {
        let Some(owner) = self.owner else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for project in project_overview::list(&self.database, owner).await? {
            all.extend(ideas::list(&self.database, &self.sealing, project.id).await?);
        }
        Ok(all)
    }

    pub(super) async fn variables(&self, project: Uuid) -> anyhow::Result<Vec<Variable>> {
        Ok(variables::list(&self.database, &self.sealing, ProjectId(project)).await?)
    }

    pub(super) async fn nodes(&self) -> anyhow::Result<Vec<Node>> {
        let Some(owner) = self.owner else { return Ok(Vec::new()) };
        let rows = node_directory::list(&self.database, owner).await?;
        Ok(rows.into_iter().map(|row| nodes::document(row, Link::default())).collect())
    }

    pub(super) async fn workspaces(&self) -> anyhow::Result<Vec<Workspace>> {
        let Some(owner) = self.owner else { return Ok(Vec::new()) };
        Ok(workspaces::list(&self.database, owner).await?)
    }

    pub(super) async fn search(&self, text: &str, limit: usize) -> anyhow::Result<SearchPage> {
        let owner = self.owner.context("nobody has an account here yet")?;
        let query = chat_search::checked(text).map_err(|problem| anyhow!(problem.detail))?;
        let scope = Scope { owner, project: None, before: None, limit };
        let page = chat_search::page(&self.database, &self.sealing, &query, scope).await;
        page.map_err(|problem| anyhow!(problem.detail))
    }

    pub(super) async fn projections(&self) -> anyhow::Result<Projections> {
        let mut names = read_models::projector(&self.database, &self.log).names();
        names.push(projections::chat_search::NAME);
        let now = SystemClock.now();
        let overview = projection_status::overview(&self.database, &self.log, &names, now).await?;
        let damaged = DamagedStreams::new(&self.database).list().await?;
        Ok(document(overview, damaged))
    }

    pub(super) async fn events(
        &self,
        after: u64,
        limit: usize,
    ) -> anyhow::Result<Vec<RecordedEvent>> {
        Ok(self.log.read_all(after, limit).await?)
    }
}
