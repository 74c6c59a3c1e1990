//! What waits to be written to one socket.
//!
//! Whoever has something for a client writes it to the socket right away, without blocking, on its own
//! task. Only what the socket does not take waits here, bounded in bytes. An event that does not fit
//! is not kept: the topic *lags*, and its session fetches it from the log once the socket drains.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use bytes::Bytes;
use natterjack_eventlog::Topic;
use natterjack_wire::frame::ResetReason;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};

use crate::{outside::WriteHalf, position::Reached};

pub struct Outbox {
    socket: WriteHalf,
    queue: Mutex<Queue>,
    /// The backlog has become non-empty, or a topic lags, or the outbox was closed.
    changed: Notify,
    /// The backlog has become small again.
    drained: Notify,
    limit_bytes: usize,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
    lagging: Vec<Lag>,
    closed: bool,
}

/// A topic whose events after `reached` have to be fetched from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    pub topic: Topic,
    /// The incarnation of the stream that `reached` is a place in; none where any will do.
    pub epoch: Option<Arc<str>>,
    pub reached: Reached,
    /// The client starts anew once the topic is attached again: told before, it could take its snapshot too early.
    pub reset: Option<ResetReason>,
}

impl Lag {
    /// Nothing is fetched: the client starts anew.
    pub fn anew(topic: Topic, reason: ResetReason) -> Self {
        Self { topic, epoch: None, reached: Reached::named(0), reset: Some(reason) }
    }
}

impl Outbox {
    pub fn new(socket: WriteHalf, limit_bytes: usize) -> Self {
        Self { socket, queue: Mutex::default(), changed: Notify::new(), drained: Notify::new(), limit_bytes }
    }

    /// Sends events of a topic. `false` when they do not fit: then the topic lags from where `lag` says, and the
    /// caller must send no further events of it; neither when the outbox is closed.
    pub fn push_events(&self, frames: &Bytes, lag: impl FnOnce() -> Lag) -> bool {
        let mut queue = self.queue.lock();
        if queue.closed {
            return false;
        }
        if queue.bytes + frames.len() > self.limit_bytes && !queue.frames.is_empty() {
            queue.lagging.push(lag());
            drop(queue);
            self.changed.notify_one();
            return false;
        }
        self.write(&mut queue, frames);
        true
    }

    /// Sends what may be lost: nothing, when a backlog waits. Answers whether it was sent.
    pub fn push_ephemeral(&self, frame: &Bytes) -> bool {
        let mut queue = self.queue.lock();
        let is_free = queue.frames.is_empty();
        if is_free {
            self.write(&mut queue, frame);
        }
        is_free
    }

    /// Sends an answer, whatever waits. Answers are bounded by the requests in flight, and the session
    /// takes no request while the outbox is [full](Self::ready).
    pub fn push(&self, frame: &Bytes) {
        self.write(&mut self.queue.lock(), frame);
    }

    /// Completes when at least half of the outbox is free. Cancel safe.
    pub async fn ready(&self) {
        loop {
            let drained = self.drained.notified();
            if self.queue.lock().bytes <= self.limit_bytes / 2 {
                return;
            }
            drained.await;
        }
    }

    /// Completes when something lags and the backlog is gone; gives what lags. Cancel safe.
    pub async fn lagging(&self) -> Vec<Lag> {
        loop {
            let drained = self.drained.notified();
            {
                let mut queue = self.queue.lock();
                if queue.frames.is_empty() && !queue.lagging.is_empty() {
                    return std::mem::take(&mut queue.lagging);
                }
            }
            drained.await;
        }
    }

    /// Notes that a topic lags, as [`Self::push_events`] does when the outbox is full.
    pub fn mark_lagging(&self, lag: Lag) {
        self.queue.lock().lagging.push(lag);
        self.changed.notify_one();
    }

    /// The topic is attached again, as its client asked: where it lagged from before is of no interest any more.
    pub fn forget_lag(&self, topic: Topic) {
        self.queue.lock().lagging.retain(|lag| lag.topic != topic);
    }

    /// Writes the backlog whenever the socket takes it; ends when the outbox is closed and empty, with the
    /// socket's error, or with [`io::ErrorKind::TimedOut`] when the socket takes nothing for `stall_limit`.
    /// Runs beside the session for as long as it lives. Cancel safe.
    pub async fn drive(&self, stall_limit: Duration) -> io::Result<()> {
        loop {
            let changed = self.changed.notified();
            let (empty, closed) = {
                let queue = self.queue.lock();
                (queue.frames.is_empty(), queue.closed)
            };
            if !empty {
                // Boxed: most of the time nothing waits, and a future is as large as its largest moment.
                Box::pin(timeout(stall_limit, self.socket.writable())).await??;
                self.write_backlog()?;
            } else if closed {
                return Ok(());
            } else {
                self.drained.notify_waiters();
                changed.await;
            }
        }
    }

    /// Sends these last frames, and takes nothing more; [`Self::drive`] ends once the backlog is written.
    pub fn finish(&self, frames: &[Bytes]) {
        let mut queue = self.queue.lock();
        for frame in frames {
            self.write(&mut queue, frame);
        }
        queue.closed = true;
        drop(queue);
        self.changed.notify_one();
    }

    pub fn backlog_bytes(&self) -> usize {
        self.queue.lock().bytes
    }

    /// The heads after which topics lag.
    #[cfg(test)]
    pub fn lags(&self) -> Vec<u64> {
        self.queue.lock().lagging.iter().map(|lag| lag.reached.up_to).collect()
    }

    fn write(&self, queue: &mut Queue, frame: &Bytes) {
        if queue.closed {
            return;
        }
        let mut rest = frame.clone();
        if queue.frames.is_empty() {
            // Would block, or broken: the driver finds out which.
            if let Ok(written) = self.socket.try_write(frame) {
                rest = frame.slice(written..);
            }
        }
        if !rest.is_empty() {
            queue.bytes += rest.len();
            queue.frames.push_back(rest);
            self.changed.notify_one();
        }
    }

    fn write_backlog(&self) -> io::Result<()> {
        let mut queue = self.queue.lock();
        while !queue.frames.is_empty() {
            let slices: Vec<_> = queue.frames.iter().take(64).map(|f| io::IoSlice::new(f)).collect();
            let mut written = match self.socket.try_write_vectored(&slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            queue.bytes -= written;
            while let Some(first) = queue.frames.front_mut() {
                if written < first.len() {
                    let _ = first.split_to(written);
                    break;
                }
                written -= first.len();
                queue.frames.pop_front();
            }
        }
        if queue.frames.is_empty() {
            // A backlog is rare: its memory goes with it.
            queue.frames = VecDeque::new();
        }
        if queue.bytes <= self.limit_bytes / 2 {
            self.drained.notify_waiters();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use natterjack_domain::RoomId;
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn pair(limit: usize) -> (Arc<Outbox>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (_, write) = server.into_split();
        (Arc::new(Outbox::new(write.into(), limit)), client)
    }

    const LIMIT: Duration = Duration::from_mins(1);

    fn lag(topic: Topic, after: u64) -> Lag {
        Lag { topic, epoch: None, reached: Reached::named(after), reset: None }
    }

    fn topic() -> Topic {
        Topic::Room(RoomId::random())
    }

    /// Pushes until the socket takes no more and the outbox is full.
    fn fill(outbox: &Outbox, topic: Topic, block: &Bytes) -> u64 {
        (1..1_000_000).find(|n| !outbox.push_events(block, || lag(topic, n - 1))).unwrap()
    }

    #[tokio::test]
    async fn a_client_that_reads_gets_everything_without_a_driver() {
        let (outbox, mut client) = pair(1024).await;
        outbox.push(&Bytes::from_static(b"hello "));
        assert!(outbox.push_events(&Bytes::from_static(b"world"), || lag(topic(), 0)));
        assert_eq!(outbox.backlog_bytes(), 0);
        let mut got = [0; 11];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello world");
    }

    #[tokio::test]
    async fn a_full_outbox_lags_and_says_where_once_the_backlog_is_gone() {
        let (outbox, mut client) = pair(256 << 10).await;
        let (topic, block) = (topic(), Bytes::from(vec![7; 64 << 10]));
        let refused = fill(&outbox, topic, &block);
        assert!(outbox.backlog_bytes() <= 256 << 10);
        outbox.push_ephemeral(&Bytes::from_static(b"lost"));

        let reader = tokio::spawn(async move {
            let mut total = 0;
            let mut buffer = vec![0; 1 << 16];
            while total < usize::try_from(refused - 1).unwrap() * (64 << 10) {
                total += client.read(&mut buffer).await.unwrap();
            }
            total
        });
        let driver = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.drive(LIMIT).await }
        });
        assert_eq!(outbox.lagging().await, vec![lag(topic, refused - 1)]);
        assert_eq!(reader.await.unwrap(), usize::try_from(refused - 1).unwrap() * (64 << 10));
        outbox.finish(&[]);
        assert!(!outbox.push_events(&block, || lag(topic, 0)), "a closed outbox takes nothing");
        driver.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_client_that_never_reads_is_given_up() {
        let (outbox, _client) = pair(64 << 10).await;
        fill(&outbox, topic(), &Bytes::from(vec![0; 16 << 10]));
        let error = outbox.drive(Duration::from_millis(20)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_goes_away_ends_the_driver() {
        let (outbox, client) = pair(64 << 10).await;
        fill(&outbox, topic(), &Bytes::from(vec![0; 16 << 10]));
        drop(client);
        assert!(outbox.drive(LIMIT).await.is_err());
    }
}
