//! A TCP connection on which only holders of one key understand each other.
//!
//! Each side sends a random nonce in the clear; from both and the key follows a key for this connection
//! alone. Every frame is sealed with it, bound to its sender and its number, so frames cannot be read,
//! changed, repeated, left out or turned round. There is no TLS: the key is the whole trust.

use std::{io, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    random,
    sealing::cipher::{Cipher, NONCE_BYTES},
};

/// Longest frame: an order with a prompt, or what is open in a session, and room around it.
pub(crate) const FRAME_BYTES_MAX: usize = 20 << 20;
/// How long an end may be silent, and how long it may take nothing.
pub(crate) const SILENCE_PERIOD_MAX: Duration = Duration::from_secs(15);
/// Longest first frame: whoever sends it may be a stranger.
pub(crate) const HELLO_BYTES_MAX: usize = 1024;
const GREETING_BYTES: usize = 16;
const LABEL: &[u8] = b"sam replicas 1";

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Guest,
    Home,
}

impl End {
    fn other(self) -> Self {
        match self {
            Self::Guest => Self::Home,
            Self::Home => Self::Guest,
        }
    }

    fn label(self, count: u64) -> [u8; 9] {
        let mut label = [0; 9];
        label[0] = u8::from(self == Self::Home);
        label[1..].copy_from_slice(&count.to_be_bytes());
        label
    }
}

pub(crate) struct Sender {
    half: OwnedWriteHalf,
    cipher: Arc<Cipher>,
    end: End,
    count: u64,
}

/// Not to be dropped in the middle of [`Receiver::receive`]: what was read of a frame is lost then.
pub(crate) struct Receiver {
    half: OwnedReadHalf,
    cipher: Arc<Cipher>,
    end: End,
    count: u64,
}

/// Agrees on a key for this connection.
pub(crate) async fn open(
    mut stream: TcpStream,
    key: &[u8; 32],
    end: End,
) -> io::Result<(Sender, Receiver)> {
    stream.set_nodelay(true)?;
    let own: [u8; GREETING_BYTES] = random::bytes();
    stream.write_all(&own).await?;
    let mut theirs = [0; GREETING_BYTES];
    stream.read_exact(&mut theirs).await?;
    let (guest, home) = match end {
        End::Guest => (own, theirs),
        End::Home => (theirs, own),
    };
    let mut digest = Sha256::new();
    for part in [key.as_slice(), LABEL, &guest, &home] {
        digest.update(part);
    }
    let cipher = Arc::new(Cipher::new(&digest.finalize().into()));
    let (read, write) = stream.into_split();
    let sender = Sender { half: write, cipher: Arc::clone(&cipher), end, count: 0 };
    Ok((sender, Receiver { half: read, cipher, end: end.other(), count: 0 }))
}

impl Sender {
    pub(crate) async fn send(&mut self, frame: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(frame).map_err(io::Error::other)?;
        let (nonce, sealed) = self.cipher.seal(&text, &self.end.label(self.count));
        self.count += 1;
        let length = u32::try_from(nonce.len() + sealed.len()).map_err(io::Error::other)?;
        let bytes = [&length.to_be_bytes()[..], &nonce, &sealed].concat();
        // Nobody is there who takes nothing for so long; the kernel at the other end may still be.
        tokio::time::timeout(SILENCE_PERIOD_MAX, self.half.write_all(&bytes)).await?
    }
}

impl Receiver {
    pub(crate) async fn receive<T: DeserializeOwned>(&mut self, bytes_max: usize) -> io::Result<T> {
        let malformed = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let length = usize::try_from(self.half.read_u32().await?).map_err(io::Error::other)?;
        if length < NONCE_BYTES || length > bytes_max {
            return Err(malformed("a frame of no allowed length"));
        }
        // Room is made as bytes come, not as they are announced.
        let mut bytes = Vec::new();
        let mut part = (&mut self.half).take(length as u64);
        if part.read_to_end(&mut bytes).await? < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (nonce, sealed) = bytes.split_at(NONCE_BYTES);
        let text = self.cipher.open(nonce, sealed, &self.end.label(self.count));
        self.count += 1;
        let text = text.ok_or_else(|| malformed("a frame under another key"))?;
        serde_json::from_slice(&text).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::{End, FRAME_BYTES_MAX, HELLO_BYTES_MAX, Receiver, Sender, open};

    async fn pair(guest: [u8; 32], home: [u8; 32]) -> ((Sender, Receiver), (Sender, Receiver)) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calling = async {
            open(TcpStream::connect(address).await.unwrap(), &guest, End::Guest).await.unwrap()
        };
        let called =
            async { open(listener.accept().await.unwrap().0, &home, End::Home).await.unwrap() };
        tokio::join!(calling, called)
    }

    #[tokio::test]
    async fn frames_arrive_in_order_on_both_ways() {
        let ((mut guest, mut to_guest), (mut home, mut to_home)) = pair([1; 32], [1; 32]).await;
        for n in 0..3_u32 {
            guest.send(&n).await.unwrap();
            home.send(&(n + 10)).await.unwrap();
        }
        for n in 0..3_u32 {
            assert_eq!(to_home.receive::<u32>(FRAME_BYTES_MAX).await.unwrap(), n);
            assert_eq!(to_guest.receive::<u32>(FRAME_BYTES_MAX).await.unwrap(), n + 10);
        }
    }

    #[tokio::test]
    async fn who_has_another_key_is_not_understood() {
        let ((mut stranger, _), (_, mut to_home)) = pair([1; 32], [2; 32]).await;
        stranger.send(&"let me in").await.unwrap();
        let refused = to_home.receive::<String>(HELLO_BYTES_MAX).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_frame_that_is_sent_once_more_is_refused() {
        let ((mut guest, _), (_, mut to_home)) = pair([1; 32], [1; 32]).await;
        guest.send(&"once").await.unwrap();
        guest.count = 0;
        guest.send(&"once").await.unwrap();
        assert_eq!(to_home.receive::<String>(HELLO_BYTES_MAX).await.unwrap(), "once");
        assert!(to_home.receive::<String>(HELLO_BYTES_MAX).await.is_err());
    }

    #[tokio::test]
    async fn a_stranger_s_long_frame_is_not_read() {
        let ((mut guest, _), (_, mut to_home)) = pair([1; 32], [1; 32]).await;
        guest.send(&"x".repeat(2 * HELLO_BYTES_MAX)).await.unwrap();
        assert!(to_home.receive::<String>(HELLO_BYTES_MAX).await.is_err());
    }
}
