//! The streams of what runs in a container.

use std::pin::Pin;

use bollard::{Docker, container::LogOutput, errors::Error as BollardError};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, future::BoxFuture};
use tokio::io::AsyncWrite;
use tokio_util::io::StreamReader;

use super::refused;
use crate::engine::{Attached, EngineError, StderrTail};

/// What the engine sends as one stream of messages, as three streams.
pub(super) fn joined(
    output: impl Stream<Item = Result<LogOutput, BollardError>> + Send + 'static,
    stdin: Pin<Box<dyn AsyncWrite + Send>>,
    exit: BoxFuture<'static, Result<i64, EngineError>>,
) -> Attached {
    let stderr = StderrTail::default();
    let tail = stderr.clone();
    let stdout = output.map_err(std::io::Error::other).try_filter_map(move |message| {
        let piece = match message {
            LogOutput::StdOut { message } => Some(message),
            LogOutput::StdErr { message } | LogOutput::Console { message } => {
                tail.push(&message);
                None
            }
            LogOutput::StdIn { .. } => None,
        };
        async move { Ok::<Option<Bytes>, std::io::Error>(piece) }
    });
    let stdout = Box::pin(StreamReader::new(stdout.boxed()));
    Attached { stdin, stdout, stderr, exit }
}

/// The exit code of an exec whose output has ended; the engine may need a moment to know it.
pub(super) async fn exit_code(docker: &Docker, exec: &str) -> Result<i64, EngineError> {
    for _ in 0..500 {
        let inspected = docker.inspect_exec(exec).await.map_err(refused)?;
        if let (Some(false), Some(code)) = (inspected.running, inspected.exit_code) {
            return Ok(code);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Err(EngineError::Refused { reason: "a program closed its output and did not end".into() })
}
