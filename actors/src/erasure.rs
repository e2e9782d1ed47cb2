//! Destroys the texts of a project, for ever, and in every restored backup.
//!
//! The order is what makes it safe to die anywhere: executions end, so nobody writes texts any more; a signed
//! entry goes to the ledger's file outside the database; then entry and destruction of the key are one
//! transaction; then ciphertexts are taken out of the content rows; then the project's stream names what read
//! models have to forget. Each step finds what the last life left, and goes on.
//!
//! A database that is older than the file, because a backup was restored, is brought up to the ledger before
//! anything reads a text ([`Eraser::respect_ledger`]).
//!
//! An account is erased by the same ledger: its credentials and itself get entries of their own, see
//! `erasure/account.rs`.
//!
//! Not erased here: what was pushed to the repository, and payloads of events (`ops/evolution.md` says which
//! words these have).
//!
//! Read next: `erasure/file.rs`, which `erasure/following.rs` keeps complete on each server; `erasure/account.rs`;
//! `domain/src/process/erase_project.rs` for who asks for which step.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::DateTime;
use crash_point::crash_point;
use domain::{
    account::{Account, AccountCommand},
    agent_protocol::RefusalKind,
    event::Command,
    execution::ExecutionCommand,
    idea::Stage,
    ids::{AccountId, CommandId, InstallationId, ProjectId, derived},
    process::Outcome,
    project::{ERASED_STREAMS_MAX, ErasedStreams, Project, ProjectCommand, ProjectEvent},
    workspace::{Phase, WorkspaceCommand},
};
use projections::{
    chat_search::Index,
    checkpoint::Checkpoints,
    database::Database,
    erasure_ledger::{ACCOUNT, ErasureLedger, NO_HASH, PROJECT, PURPOSE, SignedErasure},
    error::DatabaseError,
    event_log::{Cause, EventLog, Position, StreamId},
    idea_board, project_overview, workspace_list,
};
use tokio::sync::{Mutex, watch};
use uuid::Uuid;

use crate::{
    aggregate_actor::read,
    caller::Caller,
    clock::SharedClock,
    dispatcher::{DispatchError, Dispatcher},
    effects::failed,
    erasure::file::LedgerFile,
    sealing::Sealing,
    settings::Settings,
    sign_in::SignIn,
    signing::SigningKey,
};

mod account;
pub mod file;
mod following;

/// While waiting for executions to end: not less often than this, for read models have no bell.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
const EVENTS_PER_READ: usize = 512;
const PROCESS: &str = "process/erase_project";
/// What tells of a project's streams.
const READ_MODELS: [&str; 4] =
    ["idea_board", "execution_timeline", "chat_transcript", "workspace_list"];

/// Why an erasure, or the ledger, stands still.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    #[error("{path}: {source}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}, line {line}: this is no entry of an erasure ledger")]
    Malformed { path: String, line: u64 },
    /// Somebody has to look at it: see `ops/evolution.md`.
    #[error("{0}")]
    Refused(String),
}

/// What can destroy texts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Eraser {
    pub database: Database,
    pub log: EventLog,
    pub sealing: Sealing,
    pub key: SigningKey,
    pub installation: InstallationId,
    pub file: LedgerFile,
    pub clock: SharedClock,
    /// Entries follow one another: two erasures at once would sign the same number.
    pub one_at_a_time: Arc<Mutex<()>>,
}

impl Eraser {
    /// `signed_by` is the key for the ledger's entries, and whose installation it is.
    pub fn new(
        settings: &Settings,
        database: &Database,
        log: &EventLog,
        sealing: &Sealing,
        signed_by: (&SigningKey, InstallationId),
    ) -> Self {
        Self {
            database: database.clone(),
            log: log.clone(),
            sealing: sealing.clone(),
            key: signed_by.0.clone(),
            installation: signed_by.1,
            file: LedgerFile::of(&settings.data_dir),
            clock: Arc::clone(&settings.clock),
            one_at_a_time: Arc::default(),
        }
    }

    /// Makes file and table say the same, and destroys what the ledger says is destroyed. Before anything
    /// reads a text: the database may be an older state.
    pub async fn respect_ledger(&self) -> Result<(), ErasureError> {
        let ledger = ErasureLedger::new(&self.database);
        let written = self.file.read()?;
        let recorded = ledger.list().await?;
        for entry in written.iter().chain(&recorded) {
            self.check(entry)?;
        }
        let known: HashSet<Uuid> = recorded.iter().map(|entry| entry.subject).collect();
        for entry in written.iter().filter(|entry| !known.contains(&entry.subject)) {
            tracing::warn!(
                kind = entry.kind, subject = %entry.subject,
                "the database is from before an erasure, which is repeated"
            );
            ledger.destroy_key(entry).await?;
        }
        for subject in ledger.unfinished().await? {
            if let Some(entry) = ledger.find(subject).await? {
                self.destroy(&entry).await?;
            }
        }
        let known: HashSet<Uuid> = written.iter().map(|entry| entry.subject).collect();
        let missing: Vec<_> =
            recorded.into_iter().filter(|entry| !known.contains(&entry.subject)).collect();
        self.file.append(missing).await
    }

    /// Has projects and accounts erased whose stream does not say so: it may be from before.
    pub(crate) async fn ask_again(&self, dispatcher: &Dispatcher) -> Result<(), ErasureError> {
        for entry in ErasureLedger::new(&self.database).list().await? {
            let subject = entry.subject;
            let command: Command = match entry.kind.as_str() {
                PROJECT => match &*dispatcher.state::<Project>(subject).await? {
                    Project::Linked { .. } => (ProjectId(subject), ProjectCommand::Erase).into(),
                    _ => continue,
                },
                ACCOUNT => match &*dispatcher.state::<Account>(subject).await? {
                    Account::Registered { .. } => {
                        (AccountId(subject), AccountCommand::RequestErasure).into()
                    }
                    _ => continue,
                },
                // A credential's entry was followed by its account's.
                _ => continue,
            };
            let caller = caller(PROCESS, derived(subject, "erased in the ledger"), None);
            dispatcher.send(&caller, command, Vec::new()).await?;
        }
        Ok(())
    }

    /// An entry that this installation did not sign destroys nothing.
    fn check(&self, entry: &SignedErasure) -> Result<(), ErasureError> {
        let is_ours = entry.installation == self.installation.0
            && self.key.public().verify(PURPOSE, &entry.message(), &entry.signature);
        if is_ours {
            return Ok(());
        }
        Err(ErasureError::Refused(format!(
            "the erasure of {} {} in the ledger ({}, or the table `erasures`) is not signed by this \
             installation's key: somebody changed it, or it belongs to another installation; see \
             ops/evolution.md",
            entry.kind,
            entry.subject,
            self.file.path().display()
        )))
    }

    /// Enters somebody in the ledger, outside the database first, and destroys what can be read of them.
    pub async fn erase(&self, kind: &str, subject: Uuid) -> Result<(), ErasureError> {
        let _one_at_a_time = self.one_at_a_time.lock().await;
        self.respect_ledger().await?;
        let ledger = ErasureLedger::new(&self.database);
        let entry = match ledger.find(subject).await? {
            Some(entry) => entry,
            None => {
                let entry = self.sign((kind, subject), &ledger.list().await?).await?;
                crash_point!("erasure.before_written");
                self.file.append(vec![entry.clone()]).await?;
                crash_point!("erasure.after_written");
                entry
            }
        };
        self.destroy(&entry).await
    }

    async fn destroy(&self, entry: &SignedErasure) -> Result<(), ErasureError> {
        let ledger = ErasureLedger::new(&self.database);
        ledger.destroy_key(entry).await?;
        self.sealing.forget(entry.subject);
        crash_point!("erasure.after_destroyed");
        let n_emptied = ledger.empty_contents(entry.subject).await?;
        crash_point!("erasure.after_emptied");
        tracing::info!(kind = entry.kind, subject = %entry.subject, n_emptied, "destroyed");
        Ok(())
    }

    async fn sign(
        &self,
        (kind, subject): (&str, Uuid),
        before: &[SignedErasure],
    ) -> Result<SignedErasure, ErasureError> {
        let now = self.clock.now();
        let last = before.last();
        let mut entry = SignedErasure {
            installation: self.installation.0,
            number: last.map_or(1, |last| last.number + 1),
            kind: kind.to_owned(),
            subject,
            position: self.log.head().await?,
            previous: last.map_or(NO_HASH, SignedErasure::digest),
            at: DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now),
            signature: [0; 64],
        };
        entry.signature = self.key.sign(PURPOSE, &entry.message());
        Ok(entry)
    }
}

/// Who does it: a process, by its name.
fn caller(actor: &str, command: Uuid, key: Option<Uuid>) -> Caller {
    Caller {
        actor: actor.to_owned(),
        account: AccountId(Uuid::nil()),
        command: CommandId(command),
        correlation: key.unwrap_or(command),
        causation: key.map(Cause::Command),
    }
}

/// An eraser with what is to be told to others. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Erasure {
    pub(crate) eraser: Eraser,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) sign_in: SignIn,
    /// Up to where the read models show the log.
    pub(crate) projected: watch::Receiver<Position>,
}

impl Erasure {
    /// Cancels what runs in a project and has its workspaces removed, until nothing is left or it is late.
    pub(crate) async fn end_executions(
        &self,
        key: Uuid,
        project: ProjectId,
        is_late: impl Future<Output = ()>,
    ) -> Outcome {
        let ended = async {
            self.shown(&READ_MODELS).await?;
            while !self.has_ended(key, project).await? {
                tokio::time::sleep(LOOK_PERIOD).await;
            }
            Ok(())
        };
        let reason = "executions or workspaces of the project did not end in time";
        in_time(ended, is_late, reason).await
    }

    /// Asks for the end of whatever has not ended; tells whether there was nothing.
    async fn has_ended(&self, key: Uuid, project: ProjectId) -> Result<bool, ErasureError> {
        let database = &self.eraser.database;
        let mut has_ended = true;
        for idea in idea_board::list(database, project).await? {
            if let (Stage::Executing, Some(execution)) = (idea.stage, idea.execution) {
                has_ended = false;
                self.tell(PROCESS, key, execution.0, (execution, ExecutionCommand::Cancel)).await?;
            }
        }
        let is_there = has_ended;
        for workspace in workspace_list::list(database).await? {
            if workspace.project != project || workspace.state == Phase::Stopped {
                continue;
            }
            has_ended = false;
            // An execution that is ending brings its work out of its workspace first.
            if is_there && workspace.state != Phase::Stopping {
                let reason = "the project is being erased".to_owned();
                let stop = WorkspaceCommand::Stop { reason };
                self.tell(PROCESS, key, workspace.id.0, (workspace.id, stop)).await?;
            }
        }
        Ok(has_ended)
    }

    /// A refusal is as good: it is looked at again.
    async fn tell(
        &self,
        actor: &str,
        key: Uuid,
        subject: Uuid,
        command: impl Into<Command>,
    ) -> Result<(), ErasureError> {
        let caller = caller(actor, derived(key, &subject.to_string()), Some(key));
        match self.dispatcher.send(&caller, command, Vec::new()).await {
            Ok(_) | Err(DispatchError::Refused { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn destroy_texts(&self, project: ProjectId) -> Outcome {
        outcome(self.eraser.erase(PROJECT, project.0).await)
    }

    /// Records which streams the project had, as far as that is not recorded yet.
    pub(crate) async fn name_streams(&self, key: Uuid, project: ProjectId) -> Outcome {
        let named = async {
            self.shown(&READ_MODELS).await?;
            let streams = project_overview::streams(&self.eraser.database, project).await?;
            let (n_parts, recorded) = self.recorded(project).await?;
            for (part, streams) in (n_parts + 1..).zip(parts(&streams, &recorded)) {
                let command = derived(key, &format!("part {part}"));
                let caller = caller(PROCESS, command, Some(key));
                let record =
                    ProjectCommand::RecordErasedStreams { part, streams: Box::new(streams) };
                self.dispatcher.send(&caller, (project, record), Vec::new()).await?;
                crash_point!("erasure.after_named");
            }
            self.forget_words(project).await
        };
        outcome(named.await)
    }

    /// Takes a project out of the index of words. Whether that keeps up or stands still is no matter: what it
    /// read before the texts were destroyed it cannot put in any more, and what it reads now is empty.
    async fn forget_words(&self, project: ProjectId) -> Result<(), ErasureError> {
        Ok(Index::new(&self.eraser.database).purge(project).await?)
    }

    /// The parts of the list that are recorded: how many, and which ids they have.
    async fn recorded(&self, project: ProjectId) -> Result<(u32, HashSet<Uuid>), ErasureError> {
        let stream = StreamId::new("project", project.0);
        let (mut after, mut n_parts, mut ids) = (0, 0, HashSet::new());
        loop {
            let events = self.eraser.log.read_stream(&stream, after, EVENTS_PER_READ).await?;
            for event in &events {
                after = event.sequence;
                if let Ok(ProjectEvent::StreamsErased { part, streams }) = read::<Project>(event) {
                    n_parts = n_parts.max(part);
                    ids.extend(all(&streams).map(|(id, _)| id));
                }
            }
            if events.len() < EVENTS_PER_READ {
                return Ok((n_parts, ids));
            }
        }
    }

    /// Waits until the read models show the log, and refuses one that stands still.
    async fn shown(&self, read_models: &[&str]) -> Result<(), ErasureError> {
        let head = self.eraser.log.head().await?;
        let mut projected = self.projected.clone();
        let shown = projected.wait_for(|position| *position >= head).await;
        shown.map_err(|_| ErasureError::Refused("the read models have ended".to_owned()))?;
        let checkpoints = Checkpoints::new(&self.eraser.database).list().await?;
        let parked = checkpoints
            .iter()
            .find(|it| it.parked.is_some() && read_models.contains(&it.name.as_str()));
        match parked {
            Some(parked) => Err(ErasureError::Refused(format!(
                "the read model {} stands still, so nobody knows what there is to be erased",
                parked.name
            ))),
            None => Ok(()),
        }
    }
}

/// What became of it, or that it took too long.
async fn in_time(
    work: impl Future<Output = Result<(), ErasureError>>,
    is_late: impl Future<Output = ()>,
    reason: &str,
) -> Outcome {
    tokio::select! {
        done = work => outcome(done),
        () = is_late => failed(RefusalKind::Machine, reason.to_owned()),
    }
}

fn outcome(done: Result<(), ErasureError>) -> Outcome {
    match done {
        Ok(()) => Outcome::Done,
        Err(error) => {
            tracing::warn!(%error, "a step of an erasure is tried again");
            failed(RefusalKind::Machine, error.to_string())
        }
    }
}

/// Puts an id where it belongs.
type Put = fn(&mut ErasedStreams, Uuid);

fn all(streams: &ErasedStreams) -> impl Iterator<Item = (Uuid, Put)> {
    let ErasedStreams { ideas, executions, sessions, workspaces } = streams;
    let ideas = ideas.iter().map(|id| {
        let put: Put = |streams, id| streams.ideas.push(domain::ids::IdeaId(id));
        (id.0, put)
    });
    let executions = executions.iter().map(|id| {
        let put: Put = |streams, id| streams.executions.push(domain::ids::ExecutionId(id));
        (id.0, put)
    });
    let sessions = sessions.iter().map(|id| {
        let put: Put = |streams, id| streams.sessions.push(domain::ids::SessionId(id));
        (id.0, put)
    });
    let workspaces = workspaces.iter().map(|id| {
        let put: Put = |streams, id| streams.workspaces.push(domain::ids::WorkspaceId(id));
        (id.0, put)
    });
    ideas.chain(executions).chain(sessions).chain(workspaces)
}

/// What is not recorded yet, in parts of at most [`ERASED_STREAMS_MAX`] ids.
fn parts(streams: &ErasedStreams, recorded: &HashSet<Uuid>) -> Vec<ErasedStreams> {
    let new: Vec<_> = all(streams).filter(|(id, _)| !recorded.contains(id)).collect();
    let part = |ids: &[(Uuid, Put)]| {
        let mut part = ErasedStreams::default();
        ids.iter().for_each(|(id, put)| put(&mut part, *id));
        part
    };
    new.chunks(ERASED_STREAMS_MAX).map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use domain::{
        ids::{IdeaId, SessionId},
        project::ErasedStreams,
    };
    use uuid::Uuid;

    use super::parts;

    #[test]
    fn streams_are_named_in_parts_without_those_that_were_named() {
        let ids = |kind: u128, n| (0..n).map(move |n| Uuid::from_u128(kind << 64 | n));
        let streams = ErasedStreams {
            ideas: ids(1, 1500).map(IdeaId).collect(),
            sessions: ids(2, 700).map(SessionId).collect(),
            ..ErasedStreams::default()
        };
        let named: HashSet<Uuid> = ids(1, 100).collect();
        let parts = parts(&streams, &named);
        let sizes: Vec<_> =
            parts.iter().map(|part| (part.ideas.len(), part.sessions.len())).collect();
        assert_eq!(sizes, [(1000, 0), (400, 600), (0, 100)]);
        assert_eq!(parts[0].ideas[0], streams.ideas[100]);
    }
}
