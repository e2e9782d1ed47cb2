//! The simulated agent's end of the link: the same frames over the same socket as the real one's.

use std::path::Path;

use domain::{
    agent_protocol::{AgentFrame, ControlFrame},
    ids::NodeId,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::UnixStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::machine::Machine;

/// One connection, until it breaks or a test cuts it.
pub(super) async fn converse(machine: &Machine, node: NodeId, socket: &Path) {
    if let Err(error) = try_converse(machine, node, socket).await {
        tracing::debug!(%error, "the simulated agent is cut off");
    }
}

async fn try_converse(machine: &Machine, node: NodeId, socket: &Path) -> Result<(), Error> {
    if machine.is_lost() {
        return Ok(());
    }
    let stream = UnixStream::connect(socket).await?;
    let (mut socket, _) = tokio_tungstenite::client_async("ws://localhost/agent", stream).await?;
    let mut outbox = machine.outbox();
    let mut cuts = machine.cuts();
    socket.send(encoded(&AgentFrame::Hello(machine.hello(node)))).await?;
    let Some(ControlFrame::Welcome { acknowledged, .. }) = next(&mut socket).await? else {
        return Ok(());
    };
    machine.acknowledge(acknowledged);
    let mut sent = acknowledged;
    loop {
        outbox.mark_unchanged();
        for chunk in machine.take_chunks() {
            socket.feed(encoded(&AgentFrame::Chunk(chunk))).await?;
        }
        for (number, report) in machine.reports_after(sent) {
            socket.feed(encoded(&AgentFrame::Report { number, report })).await?;
            sent = number;
        }
        socket.flush().await?;
        tokio::select! {
            frame = next(&mut socket) => match frame? {
                Some(ControlFrame::Order { key, epoch, order }) => machine.order(key, epoch, order),
                Some(ControlFrame::Acknowledge { number }) => machine.acknowledge(number),
                Some(ControlFrame::Drain | ControlFrame::Welcome { .. }) => {}
                None => return Ok(()),
            },
            _ = outbox.changed() => {}
            _ = cuts.changed() => return Ok(()),
        }
    }
}

async fn next(
    socket: &mut tokio_tungstenite::WebSocketStream<UnixStream>,
) -> Result<Option<ControlFrame>, Error> {
    loop {
        match socket.next().await.transpose()? {
            Some(Message::Text(text)) => {
                let frame = serde_json::from_str(&text);
                return frame.map(Some).map_err(|error| Error::Io(std::io::Error::other(error)));
            }
            Some(Message::Close(_)) | None => return Ok(None),
            Some(_) => {}
        }
    }
}

fn encoded(frame: &AgentFrame) -> Message {
    Message::text(serde_json::to_string(frame).unwrap_or_default())
}
