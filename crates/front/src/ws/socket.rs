//! The receiving side of a WebSocket; the outbox writes.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{self, Poll, ready},
};

use natterjack_wire::ErrorCode;
use tokio::{
    io::{AsyncRead, ReadBuf, copy, sink},
    task::coop::consume_budget,
};

use super::{
    decode::{Broken, Decoder, Message},
    encode,
    outbox::Outbox,
};

use crate::outside::ReadHalf;

/// Read at once, at most.
const READ_BYTES: usize = 16 << 10;
/// The answer to a close that gives no reason.
const CLOSE_NORMAL: u16 = 1000;

thread_local! {
    /// All connections of a thread share it: a connection holds bytes of its own only while a message is incomplete.
    static SPACE: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

pub struct Socket {
    read: ReadHalf,
    outbox: Arc<Outbox>,
    decoder: Decoder,
}

pub enum Incoming {
    Text(String),
    /// A sign of life without content.
    Alive,
    /// The client has closed, or is gone.
    Gone,
    /// The client broke the protocol.
    Broken(ErrorCode),
}

impl Socket {
    /// `begun`: bytes that were read together with the upgrade request.
    pub fn new(read: ReadHalf, begun: &[u8], outbox: Arc<Outbox>, max_bytes: usize) -> Self {
        let mut decoder = Decoder::new(max_bytes);
        decoder.push(begun);
        Self { read, outbox, decoder }
    }

    /// Cancel safe.
    pub async fn next(&mut self) -> Incoming {
        loop {
            // A client that never stops sending must not keep clocks and neighbours from their turn; a message that is here
            // already costs nothing of a task's budget by itself.
            consume_budget().await;
            match self.decoder.next() {
                Ok(Some(message)) => return self.incoming(message),
                Err(Broken::NotText) => return Incoming::Broken(ErrorCode::NotText),
                Err(Broken::TooLarge) => return Incoming::Broken(ErrorCode::FrameTooLarge),
                Err(Broken::Malformed) => return Incoming::Broken(ErrorCode::FrameMalformed),
                Ok(None) => {}
            }
            // Most clients go without a word: a closed tab, a lost network.
            if poll_fn(|context| self.poll_read(context)).await.is_err() {
                return Incoming::Gone;
            }
        }
    }

    fn poll_read(&mut self, context: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        SPACE.with_borrow_mut(|space| {
            let mut space = ReadBuf::new(space);
            ready!(Pin::new(&mut self.read).poll_read(context, &mut space))?;
            if space.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.decoder.push(space.filled());
            Poll::Ready(Ok(()))
        })
    }

    fn incoming(&self, message: Message) -> Incoming {
        match message {
            Message::Text(text) => return Incoming::Text(text),
            // May be lost: a client that does not read must not fill the memory by asking for more.
            Message::Ping(payload) => {
                self.outbox.push_ephemeral(&encode::pong(&payload));
            }
            Message::Pong => {}
            Message::Close(code) => {
                self.outbox.push_ephemeral(&encode::close(code.unwrap_or(CLOSE_NORMAL)));
                return Incoming::Gone;
            }
        }
        Incoming::Alive
    }

    /// Reads and forgets until the client has closed too, so that what was written last is not lost to a reset.
    pub async fn discard(&mut self) {
        loop {
            match self.next().await {
                Incoming::Text(_) | Incoming::Alive => {}
                Incoming::Gone => return,
                // Where its frames begin is not known any more: it has closed when nothing comes.
                Incoming::Broken(_) => return drop(copy(&mut self.read, &mut sink()).await),
            }
        }
    }
}
