//! What crosses a container's border: a bundle in, a bundle out, both through the holder's stdio.
//!
//! What comes out was made by programs that we do not trust: lengths are bounded, lines are bounded,
//! and commit ids are checked by [`crate::mirror`] before git sees them.

use std::{path::Path, pin::Pin, time::Duration};

use domain::{
    agent_protocol::{OpenWorkspace, RefusalKind},
    ids::WorkspaceId,
};
use holder::protocol::{Bundle, BundleMade, Setup, SetupDone};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    time::{sleep, timeout},
};

use crate::{
    engine::{Attached, EngineError},
    git::Running,
    mirror::{Mirror, Prepared},
    workspace::{Context, refusal::Refusal},
};

/// Longest set-up: a big repository on a slow disk.
const SET_UP_PERIOD_MAX: Duration = Duration::from_secs(900);
/// Longest time for commit and bundle.
const BRING_OUT_PERIOD_MAX: Duration = Duration::from_secs(600);
/// Longest line that the holder says about its work.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Most of a bundle that is brought in at once, with four bytes for its length.
const PIECE_BYTES: usize = 64 * 1024;
/// Most that one workspace may give back at once.
pub const BUNDLE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Runs the holder in a container. One that has stopped is started again, once: its volume is whole.
pub async fn attach(
    context: &Context,
    workspace: WorkspaceId,
    arguments: &[String],
) -> Result<Attached, EngineError> {
    match context.engine.run_holder(workspace, arguments.to_vec()).await {
        Err(EngineError::Stopped { .. }) => {
            tracing::warn!(workspace.id = %workspace, "the container had stopped; it is started again");
            context.engine.start(workspace).await?;
            context.engine.run_holder(workspace, arguments.to_vec()).await
        }
        attached => attached,
    }
}

/// How often an attempt is repeated because the container died under it.
const DEATHS_MAX: u32 = 3;
/// How long the engine may take to see that a container has died.
const DEATH_LOOKS: u32 = 10;
const DEATH_LOOK_PERIOD: Duration = Duration::from_millis(50);

/// Whether a workspace's container is down. What was under way in it was cut off then, and can be
/// repeated: it is started again by the next attempt, and its volume is whole.
pub async fn has_died(context: &Context, workspace: WorkspaceId) -> bool {
    for _ in 0..DEATH_LOOKS {
        match context.engine.find(workspace).await {
            Ok(Some(found)) if found.is_running => sleep(DEATH_LOOK_PERIOD).await,
            Ok(Some(_)) => return true,
            Ok(None) | Err(_) => return false,
        }
    }
    false
}

/// Has the holder's `begin` clone the repository, at the other end of a stdio that leads to a session
/// afterwards. None: it could not, and [`set_up`] finds out why.
pub async fn begin(
    context: &Context,
    spec: &OpenWorkspace,
    mut beginning: Attached,
    mut bundle: Running,
    prepared: &Prepared,
) -> Option<(SetupDone, Attached)> {
    let wish = wish(context, spec, prepared).ok()?;
    let work = async {
        let Attached { stdin, stdout, .. } = &mut beginning;
        let mut source = bundle.take_stdout()?;
        let giving = async {
            stdin.write_all(format!("{wish}\n").as_bytes()).await?;
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let n = source.read(&mut piece[4..]).await?;
                piece[..4].copy_from_slice(&u32::try_from(n).unwrap_or_default().to_be_bytes());
                stdin.write_all(&piece[..4 + n]).await?;
                if n == 0 {
                    return stdin.flush().await;
                }
            }
        };
        let (is_given, line) = both(giving, whole_line(&mut stdout.as_mut())).await;
        let done = serde_json::from_slice(&line.ok()?).ok()?;
        // Something else than the whole bundle was cloned, or nobody knows.
        (is_given && bundle.finish().await.is_ok()).then_some(done)
    };
    let done = timeout(SET_UP_PERIOD_MAX, work).await.ok().flatten()?;
    Some((done, beginning))
}

/// A line that is short, byte by byte: what follows it belongs to somebody else.
async fn whole_line(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') && (line.len() as u64) < LINE_BYTES_MAX {
        line.push(from.read_u8().await?);
    }
    Ok(line)
}

fn wish(context: &Context, spec: &OpenWorkspace, prepared: &Prepared) -> Result<String, Refusal> {
    let wish = Setup {
        directory: context.engine.repository_directory(spec.workspace),
        base_branch: prepared.base_branch.clone(),
        branch: spec.branch.clone(),
        author_name: spec.author_name.clone(),
        author_email: spec.author_email.clone(),
    };
    serde_json::to_string(&wish).map_err(Refusal::machine)
}

/// Clones the repository into the container, on its branch; again if the container dies meanwhile.
pub async fn set_up(
    context: &Context,
    spec: &OpenWorkspace,
    mirror: &Mirror,
    prepared: &Prepared,
) -> Result<SetupDone, Refusal> {
    let mut n_deaths = 0;
    loop {
        let outcome = set_up_once(context, spec, mirror, prepared).await;
        if outcome.is_ok() || n_deaths == DEATHS_MAX || !has_died(context, spec.workspace).await {
            return outcome;
        }
        n_deaths += 1;
    }
}

async fn set_up_once(
    context: &Context,
    spec: &OpenWorkspace,
    mirror: &Mirror,
    prepared: &Prepared,
) -> Result<SetupDone, Refusal> {
    let wish = wish(context, spec, prepared)?;
    let attached = attach(context, spec.workspace, &["setup".into(), wish]).await?;
    let work = async {
        let Attached { mut stdin, mut stdout, stderr, exit } = attached;
        let mut bundle = mirror.start_bundle(prepared, &spec.branch)?;
        let source = bundle.take_stdout();
        let copying = async move {
            if let Some(mut source) = source {
                tokio::io::copy(&mut source, &mut stdin).await?;
            }
            // Docker needs the half-close, a pipe needs the drop.
            stdin.shutdown().await
        };
        let printing = async {
            let mut reader = BufReader::new(stdout.as_mut().take(LINE_BYTES_MAX));
            let mut line = Vec::new();
            reader.read_until(b'\n', &mut line).await.map(|_| line)
        };
        let (copied, printed) = both(copying, printing).await;
        let line = printed.map_err(Refusal::machine)?;
        // The line is its last act; that it has ended as well is not worth waiting for.
        if !line.ends_with(b"\n") {
            exit.await?;
            return Err(complaint(&stderr.text(), "the repository could not be set up"));
        }
        if copied {
            bundle.finish().await?;
        }
        understood::<SetupDone>(&line)
    };
    timeout(SET_UP_PERIOD_MAX, work).await.unwrap_or_else(|_| Err(too_slow()))
}

/// Waits for the reader, and for the writer only as long as somebody reads: a program that gives up
/// early never takes the rest. Tells whether all was written.
async fn both<T>(
    writing: impl Future<Output = std::io::Result<()>>,
    reading: impl Future<Output = T>,
) -> (bool, T) {
    tokio::pin!(writing, reading);
    let mut is_written = None;
    loop {
        tokio::select! {
            done = &mut reading => return (is_written == Some(true), done),
            written = &mut writing, if is_written.is_none() => is_written = Some(written.is_ok()),
        }
    }
}

/// Has everything committed, and writes the bundle of it to `file`; again if the container dies meanwhile.
/// `is_rescue`: nothing but saving what there is matters, so a full disk is no obstacle.
pub async fn bring_out(
    context: &Context,
    workspace: WorkspaceId,
    commit_message: String,
    is_rescue: bool,
    file: &Path,
) -> Result<BundleMade, Refusal> {
    let directory = context.engine.repository_directory(workspace);
    let wish = Bundle { directory, commit_message, is_rescue };
    let mut n_deaths = 0;
    loop {
        let outcome = bring_out_once(context, workspace, &wish, file).await;
        if outcome.is_ok() || n_deaths == DEATHS_MAX || !has_died(context, workspace).await {
            return outcome;
        }
        n_deaths += 1;
    }
}

async fn bring_out_once(
    context: &Context,
    workspace: WorkspaceId,
    wish: &Bundle,
    file: &Path,
) -> Result<BundleMade, Refusal> {
    let wish = serde_json::to_string(wish).map_err(Refusal::machine)?;
    let attached = attach(context, workspace, &["bundle".into(), wish]).await?;
    let work = async {
        let Attached { mut stdin, stdout, stderr, exit } = attached;
        let _ = stdin.shutdown().await;
        drop(stdin);
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
        read.map_err(Refusal::machine)?;
        if line.is_empty() {
            exit.await?;
            return Err(complaint(&stderr.text(), "the work could not be committed"));
        }
        let made: BundleMade = understood(&line)?;
        receive(&mut reader, made.n_bytes, file).await?;
        let code = exit.await?;
        if code != 0 {
            return Err(complaint(&stderr.text(), "the work could not be brought out"));
        }
        Ok(made)
    };
    timeout(BRING_OUT_PERIOD_MAX, work).await.unwrap_or_else(|_| Err(too_slow()))
}

async fn receive(
    reader: &mut BufReader<Pin<Box<dyn AsyncRead + Send>>>,
    n_bytes: u64,
    file: &Path,
) -> Result<(), Refusal> {
    if n_bytes > BUNDLE_BYTES_MAX {
        let reason = format!("the workspace wants to give back {n_bytes} bytes, more than 4 GiB");
        return Err(Refusal::new(RefusalKind::Machine, reason));
    }
    if n_bytes > 0 {
        let mut kept = tokio::fs::File::create(file).await.map_err(Refusal::machine)?;
        let received = tokio::io::copy(&mut reader.take(n_bytes), &mut kept).await;
        let received = received.map_err(Refusal::machine)?;
        kept.flush().await.map_err(Refusal::machine)?;
        if received != n_bytes {
            let reason = "the workspace gave back less than it announced";
            return Err(Refusal::new(RefusalKind::Machine, reason));
        }
    }
    // To its end, so that the exit code can be asked for.
    let rest = tokio::io::copy(reader, &mut tokio::io::sink()).await;
    rest.map(drop).map_err(Refusal::machine)
}

fn understood<T: DeserializeOwned>(line: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(line).map_err(|error| {
        Refusal::new(RefusalKind::Machine, format!("the holder said something else: {error}"))
    })
}

/// What a holder's complaint means for people.
fn complaint(stderr: &str, what: &str) -> Refusal {
    let is_full = ["No space left on device", "os error 28", "Out of diskspace"]
        .iter()
        .any(|complaint| stderr.contains(complaint));
    let reason = if is_full {
        "the workspace's disk is full".to_string()
    } else {
        format!("{what}: {}", stderr.trim_start_matches("sam-holder: "))
    };
    Refusal::new(RefusalKind::Machine, reason)
}

fn too_slow() -> Refusal {
    Refusal::new(RefusalKind::Machine, "the workspace did not answer in time")
}
