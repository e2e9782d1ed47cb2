//! Sending a program's output to one agent, from an offset to the end.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    program::Program,
    protocol::{Event, Exit, OUTPUT_BYTES_MAX},
    spool::whole_characters,
};

/// Ends with the program, or with the agent's connection.
pub(crate) async fn follow(
    program: Arc<Program>,
    session: String,
    epoch: u32,
    mut offset: u64,
    events: mpsc::Sender<Event>,
) {
    let mut length = program.output.length();
    let mut exit = program.exit.clone();
    loop {
        // The exit is looked at first: all output was there before it.
        let ended: Option<Exit> = exit.borrow_and_update().clone();
        length.borrow_and_update();
        let Ok((begins, bytes)) = program.output.read(offset, OUTPUT_BYTES_MAX) else { return };
        let n = match ended {
            Some(_) if bytes.len() < OUTPUT_BYTES_MAX => bytes.len(),
            _ => whole_characters(&bytes),
        };
        if n > 0 {
            let text = same_length_text(&bytes[..n]);
            offset = begins + n as u64;
            let session = session.clone();
            let output = Event::Output { session, epoch, offset: begins, text };
            if events.send(output).await.is_err() {
                return;
            }
            continue;
        }
        if let Some(exit) = ended {
            let _ = events.send(Event::Exited { session, epoch, exit }).await;
            return;
        }
        tokio::select! {
            _ = length.changed() => {}
            _ = exit.changed() => {}
            () = events.closed() => return,
        }
    }
}

/// Replaces bytes that are no UTF-8 one by one, so that places in the text are places in the spool.
fn same_length_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::same_length_text;

    #[test]
    fn text_is_as_long_as_the_bytes_it_stands_for() {
        assert_eq!(same_length_text("a€\n".as_bytes()), "a€\n");
        assert_eq!(same_length_text(b"a\xff\xe2\x82b"), "a???b");
    }
}
