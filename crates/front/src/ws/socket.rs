//! The receiving side of a WebSocket: tungstenite reads, the outbox writes.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::StreamExt;
use natterjack_wire::ErrorCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::tcp::OwnedReadHalf,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        error::{CapacityError, ProtocolError},
        protocol::{Role, WebSocketConfig},
    },
};

use super::outbox::Outbox;

/// Most connections are idle most of the time: what they hold must be small.
const READ_BUFFER_BYTES: usize = 4_096;

/// What tungstenite believes to be the connection. What it writes (pongs, the answer to a close) goes the way of
/// all frames.
pub struct Duplex {
    read: OwnedReadHalf,
    outbox: Arc<Outbox>,
}

pub struct Socket(WebSocketStream<Duplex>);

pub enum Incoming {
    Text(Utf8Bytes),
    /// A sign of life without content.
    Alive,
    /// The client has closed, or is gone.
    Gone,
    /// The client broke the protocol.
    Broken(ErrorCode),
}

impl Socket {
    /// `begun`: bytes that were read together with the upgrade request.
    pub async fn new(read: OwnedReadHalf, begun: Bytes, outbox: Arc<Outbox>, max_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(max_bytes))
            .max_frame_size(Some(max_bytes));
        let duplex = Duplex { read, outbox };
        Self(WebSocketStream::from_partially_read(duplex, begun.into(), Role::Server, Some(config)).await)
    }

    /// Cancel safe.
    pub async fn next(&mut self) -> Incoming {
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Alive,
            Some(Ok(Message::Binary(_)) | Err(Error::Utf8(_))) => Incoming::Broken(ErrorCode::NotText),
            Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                Incoming::Broken(ErrorCode::FrameTooLarge)
            }
            // Most clients go without a word: a closed tab, a lost network.
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => Incoming::Gone,
            Some(Err(Error::Protocol(_))) => Incoming::Broken(ErrorCode::FrameMalformed),
            Some(Ok(Message::Close(_)) | Err(_)) | None => Incoming::Gone,
        }
    }

    /// Reads and forgets until the client has closed too, so that what was written last is not lost to a reset.
    pub async fn discard(&mut self) {
        while !matches!(self.next().await, Incoming::Gone | Incoming::Broken(_)) {}
    }
}

impl AsyncRead for Duplex {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // A pong may be lost: a client that does not read must not fill the memory by asking for more of them.
        self.outbox.push_ephemeral(&Bytes::copy_from_slice(bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
