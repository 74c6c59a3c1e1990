//! Sockets: pipes that take so many bytes and no more until somebody reads. A real one may take their place in other tests.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::Notify,
};

pub enum ReadHalf {
    Tcp(OwnedReadHalf),
    Pipe(PipeEnd),
}

pub enum WriteHalf {
    Tcp(OwnedWriteHalf),
    Pipe(PipeEnd),
}

/// One end of a pipe: when it is dropped the other one learns of it.
pub struct PipeEnd(Arc<Pipe>);

struct Pipe {
    state: Mutex<State>,
    writable: Notify,
    capacity: usize,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    closed: bool,
    reader: Option<Waker>,
}

/// The end that reads, and the one that writes.
pub fn pipe(capacity: usize) -> (PipeEnd, PipeEnd) {
    let pipe = Arc::new(Pipe { state: Mutex::default(), writable: Notify::new(), capacity });
    (PipeEnd(pipe.clone()), PipeEnd(pipe))
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        self.0.writable.notify_one();
    }
}

impl PipeEnd {
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(self.0.capacity - state.bytes.len());
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.bytes.extend(&bytes[..taken]);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        Ok(taken)
    }

    async fn writable(&self) {
        loop {
            let writable = self.0.writable.notified();
            {
                let state = self.0.state.lock();
                if state.closed || state.bytes.len() < self.0.capacity {
                    return;
                }
            }
            writable.await;
        }
    }

    /// What is there, up to `max` bytes; nothing at the end. Cancel safe.
    pub async fn read(&self, max: usize) -> Vec<u8> {
        std::future::poll_fn(|context| self.poll_read(context, max)).await
    }

    fn poll_read(&self, context: &mut Context<'_>, max: usize) -> Poll<Vec<u8>> {
        let mut state = self.0.state.lock();
        if state.bytes.is_empty() && !state.closed {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let taken = max.min(state.bytes.len());
        let bytes = state.bytes.drain(..taken).collect();
        drop(state);
        self.0.writable.notify_one();
        Poll::Ready(bytes)
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(context, into),
            Self::Pipe(pipe) => pipe.poll_read(context, into.remaining()).map(|bytes| {
                into.put_slice(&bytes);
                Ok(())
            }),
        }
    }
}

impl WriteHalf {
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_write(bytes),
            Self::Pipe(pipe) => pipe.write(bytes),
        }
    }

    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_write_vectored(slices),
            Self::Pipe(pipe) => {
                pipe.write(&slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<_>>())
            }
        }
    }

    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.writable().await,
            Self::Pipe(pipe) => {
                pipe.writable().await;
                Ok(())
            }
        }
    }
}

impl From<OwnedReadHalf> for ReadHalf {
    fn from(tcp: OwnedReadHalf) -> Self {
        Self::Tcp(tcp)
    }
}

impl From<OwnedWriteHalf> for WriteHalf {
    fn from(tcp: OwnedWriteHalf) -> Self {
        Self::Tcp(tcp)
    }
}
