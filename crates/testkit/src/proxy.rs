//! A link between two parties that misbehaves as networks do, while neither of them ends.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    select,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

/// What one read takes.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks that are on their way in one direction of a connection; beyond them, the sender waits.
const CHUNKS: usize = 64;

/// Which way bytes go: those of the party that connected go to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToTarget,
    FromTarget,
}

/// Passes TCP connections on to a target until it is dropped. Everything that is set holds for the connections that
/// there are and for those to come.
pub struct Proxy {
    address: SocketAddr,
    link: Arc<Link>,
    accepting: JoinHandle<()>,
}

struct Link {
    is_whole: watch::Sender<bool>,
    lanes: [Lane; 2],
}

/// One direction of the link.
struct Lane {
    conditions: watch::Sender<Conditions>,
    /// Bytes that pass until the lane is held; none: any number.
    left: Mutex<Option<u64>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Conditions {
    is_held: bool,
    delay: Duration,
    bytes_per_second: Option<u32>,
}

impl Proxy {
    /// Passes connections on to `target`, a `host:port`.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let lane = || Lane { conditions: watch::Sender::default(), left: Mutex::default() };
        let link = Arc::new(Link { is_whole: watch::Sender::new(true), lanes: [lane(), lane()] });
        let accepting = tokio::spawn(pass_on(listener, target.to_owned(), link.clone()));
        Self { address, link, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops all connections; new ones are dropped as soon as they are made.
    pub fn cut(&self) {
        self.link.is_whole.send_replace(false);
    }

    /// Makes the link as good as new: connections pass, at once and in both directions.
    pub fn heal(&self) {
        for lane in &self.link.lanes {
            *lane.left() = None;
            lane.conditions.send_replace(Conditions::default());
        }
        self.link.is_whole.send_replace(true);
    }

    /// Lets nothing through in one direction; connections stay, and the other direction works.
    pub fn hold(&self, direction: Direction) {
        self.lane(direction).conditions.send_modify(|conditions| conditions.is_held = true);
    }

    /// Holds a direction after exactly so many more bytes, counted over all connections; see [`Proxy::held`].
    pub fn hold_after(&self, direction: Direction, bytes: u64) {
        *self.lane(direction).left() = Some(bytes);
        if bytes == 0 {
            self.hold(direction);
        }
    }

    /// Waits until a direction is held. Cancel safe.
    pub async fn held(&self, direction: Direction) {
        let mut conditions = self.lane(direction).conditions.subscribe();
        // The sender lives as long as this proxy.
        let _ = conditions.wait_for(|conditions| conditions.is_held).await;
    }

    pub fn is_held(&self, direction: Direction) -> bool {
        self.lane(direction).conditions.borrow().is_held
    }

    /// What is sent in a direction arrives so much later.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.lane(direction).conditions.send_modify(|conditions| conditions.delay = delay);
    }

    /// So many bytes pass a second in a direction, on each connection.
    pub fn slow(&self, direction: Direction, bytes_per_second: u32) {
        let limit = Some(bytes_per_second.max(1));
        self.lane(direction).conditions.send_modify(|conditions| conditions.bytes_per_second = limit);
    }

    fn lane(&self, direction: Direction) -> &Lane {
        self.link.lane(direction)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.accepting.abort();
    }
}

impl Link {
    fn lane(&self, direction: Direction) -> &Lane {
        &self.lanes[direction as usize]
    }
}

impl Lane {
    fn left(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until bytes may pass.
    async fn open(&self) -> Conditions {
        let mut conditions = self.conditions.subscribe();
        // The sender lives as long as this lane.
        conditions.wait_for(|conditions| !conditions.is_held).await.map(|now| *now).unwrap_or_default()
    }

    /// How many of `wanted` bytes may pass now; holds the lane when these are the last.
    fn take(&self, wanted: usize) -> usize {
        let mut left = self.left();
        if self.conditions.borrow().is_held {
            return 0;
        }
        let Some(bytes) = *left else { return wanted };
        let taken = wanted.min(usize::try_from(bytes).unwrap_or(usize::MAX));
        *left = Some(bytes - taken as u64).filter(|rest| *rest > 0);
        if left.is_none() {
            self.conditions.send_modify(|conditions| conditions.is_held = true);
        }
        taken
    }
}

async fn pass_on(listener: TcpListener, target: String, link: Arc<Link>) {
    while let Ok((near, _)) = listener.accept().await {
        let (target, link) = (target.clone(), link.clone());
        tokio::spawn(async move {
            let mut is_whole = link.is_whole.subscribe();
            if !*is_whole.borrow_and_update() {
                return;
            }
            let Ok(far) = TcpStream::connect(target).await else { return };
            let ((near_out, near_in), (far_out, far_in)) = (near.into_split(), far.into_split());
            let there = carry(near_out, far_in, link.lane(Direction::ToTarget));
            let back = carry(far_out, near_in, link.lane(Direction::FromTarget));
            select! {
                // However it ended, both parties find out.
                _ = async { tokio::try_join!(there, back) } => {}
                // Cut, or the proxy is gone.
                _ = is_whole.wait_for(|is_whole| !is_whole) => {}
            }
        });
    }
}

/// Passes one direction of a connection on, to its end.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    lane: &Lane,
) -> io::Result<()> {
    let (sender, mut chunks) = mpsc::channel::<(Instant, Bytes)>(CHUNKS);
    let reading = async move {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK_BYTES);
            let ended = from.read_buf(&mut buffer).await? == 0;
            if ended || sender.send((Instant::now(), buffer.split().freeze())).await.is_err() {
                return io::Result::Ok(());
            }
        }
    };
    let writing = async {
        while let Some((read_at, mut chunk)) = chunks.recv().await {
            while !chunk.is_empty() {
                let Conditions { delay, bytes_per_second, .. } = lane.open().await;
                sleep_until(read_at + delay).await;
                // At most a twentieth of a second's worth at once.
                let at_once = bytes_per_second.map_or(chunk.len(), |limit| (limit / 20).max(1) as usize);
                let passing = lane.take(chunk.len().min(at_once));
                to.write_all(&chunk.split_to(passing)).await?;
                if let Some(limit) = bytes_per_second {
                    sleep(Duration::from_secs(passing as u64) / limit).await;
                }
            }
        }
        to.shutdown().await
    };
    tokio::try_join!(reading, writing).map(|_| ())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A server that says back what it hears, and a connection to it by way of the proxy.
    async fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Proxy::to(&listener.local_addr().unwrap().to_string()).await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reading, mut writing) = stream.split();
                    tokio::io::copy(&mut reading, &mut writing).await
                });
            }
        });
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        (proxy, stream)
    }

    async fn read(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        stream.read_exact(&mut read).await.unwrap();
        read
    }

    #[tokio::test]
    async fn a_direction_is_held_to_the_byte_and_goes_on_where_it_was() {
        let (proxy, mut stream) = echo().await;
        proxy.hold_after(Direction::FromTarget, 4);
        stream.write_all(b"newts").await.unwrap();
        assert_eq!(read(&mut stream, 4).await, b"newt");
        proxy.held(Direction::FromTarget).await;
        let more = tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await;
        assert!(more.is_err(), "{more:?}");
        proxy.heal();
        assert_eq!(read(&mut stream, 1).await, b"s");
    }

    #[tokio::test]
    async fn what_is_cut_ends_and_nothing_new_begins_until_it_is_healed() {
        let (proxy, mut stream) = echo().await;
        stream.write_all(b"newt").await.unwrap();
        assert_eq!(read(&mut stream, 4).await, b"newt");
        proxy.cut();
        assert!(!matches!(stream.read(&mut [0]).await, Ok(1..)));
        let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(!matches!(refused.read(&mut [0]).await, Ok(1..)));
        proxy.heal();
        let mut fresh = TcpStream::connect(proxy.address()).await.unwrap();
        fresh.write_all(b"frog").await.unwrap();
        assert_eq!(read(&mut fresh, 4).await, b"frog");
    }

    #[tokio::test]
    async fn a_delay_and_a_pace_are_kept_in_their_direction() {
        let (proxy, mut stream) = echo().await;
        let (delay, begun) = (Duration::from_millis(60), Instant::now());
        proxy.delay(Direction::ToTarget, delay);
        proxy.slow(Direction::FromTarget, 100_000);
        stream.write_all(&[7; 10_000]).await.unwrap();
        read(&mut stream, 10_000).await;
        // The last twentieth of a second's worth is not waited for.
        assert!(begun.elapsed() >= delay + Duration::from_millis(50), "{:?}", begun.elapsed());
    }
}
