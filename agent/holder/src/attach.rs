//! `attach` joins its own stdio to the socket of `serve`: what the agent runs in the container.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncWriteExt, copy, stdin, stdout},
    net::UnixStream,
    time,
};

use crate::place;

/// How long `serve` may take to listen in a container that was just started.
const CONNECT_TRIES: u32 = 100;
const CONNECT_PERIOD: Duration = Duration::from_millis(20);

/// Ends when either side does.
pub(crate) async fn attach() -> io::Result<()> {
    let (mut reader, mut writer) = connect().await?.into_split();
    let up = async {
        let mut stdin = stdin();
        copy(&mut stdin, &mut writer).await?;
        writer.shutdown().await
    };
    let down = async {
        let mut stdout = stdout();
        copy(&mut reader, &mut stdout).await.map(drop)
    };
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
    }
}

async fn connect() -> io::Result<UnixStream> {
    let socket = place::socket()?;
    for _ in 1..CONNECT_TRIES {
        if let Ok(stream) = UnixStream::connect(&socket).await {
            return Ok(stream);
        }
        time::sleep(CONNECT_PERIOD).await;
    }
    UnixStream::connect(&socket).await
}
