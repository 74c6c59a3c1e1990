//! Sending and receiving: closed loops, which keep a number of messages in flight, and open ones, which send at
//! their times however long answers take (and so do not hide what a slow server makes people wait).

use std::{
    fmt::Write as _,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use memchr::memmem::Finder;
use natterjack_domain::RoomId;
use parking_lot::Mutex;
use tokio::{
    select,
    sync::{mpsc, watch},
    task::JoinSet,
};
use uuid::Uuid;

use crate::crowd::Seat;

/// Characters of a message.
pub const TEXT_CHARS: usize = 120;

/// Time zero of all messages.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
static BODY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br#""body":""#));

/// Nanoseconds since the first message.
pub fn now() -> u64 {
    u64::try_from(EPOCH.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// What all connections have seen.
pub struct Board {
    deliveries: AtomicU64,
    /// Events that were sent at this time or later are timed.
    timed_from: AtomicU64,
    latency: Mutex<Histogram<u64>>,
    failed: AtomicBool,
    /// Whether messages are sent at the moment.
    sending: watch::Sender<bool>,
}

/// Latencies in milliseconds, from the moment at which a message was to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Board {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            deliveries: AtomicU64::new(0),
            timed_from: AtomicU64::new(u64::MAX),
            latency: Mutex::new(histogram()),
            failed: AtomicBool::new(false),
            sending: watch::Sender::new(false),
        })
    }

    /// Has the senders begin, or pause: so that two servers can be measured by turns.
    pub fn send(&self, sending: bool) {
        self.sending.send_replace(sending);
    }

    /// Whether messages are to be sent.
    pub fn sending(&self) -> watch::Receiver<bool> {
        self.sending.subscribe()
    }

    /// Times what is sent from now on, or nothing.
    pub fn time(&self, timed: bool) {
        self.timed_from.store(if timed { now() } else { u64::MAX }, Relaxed);
    }

    /// Counts, and times, an event.
    pub fn seen(&self, payload: &[u8]) {
        self.deliveries.fetch_add(1, Relaxed);
        self.time_of(payload);
    }

    fn time_of(&self, payload: &[u8]) {
        let from = self.timed_from.load(Relaxed);
        if let Some(at) = sent_at(payload).filter(|at| *at >= from) {
            self.latency.lock().saturating_record(now().saturating_sub(at));
        }
    }

    pub fn deliveries(&self) -> u64 {
        self.deliveries.load(Relaxed)
    }

    pub fn latency(&self) -> Latency {
        Latency::of(&self.latency.lock())
    }

    /// Counts and times an event; whether it is one.
    pub fn note(&self, payload: &[u8]) -> bool {
        let is_event = is_event(payload);
        if is_event {
            self.seen(payload);
        }
        is_event
    }

    pub fn fail(&self) {
        self.failed.store(true, Relaxed);
    }

    /// A connection was lost: the figures are worth nothing.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }
}

/// For latencies of up to a minute, in nanoseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("the bounds are in order")
}

impl Latency {
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}

/// A `send` of a message that was to be sent at `at`. `n` numbers all messages of this process.
pub fn message(room: RoomId, at: u64, n: u64) -> String {
    message_of(TEXT_CHARS, room, at, n)
}

/// As [`message`], with so many characters.
pub fn message_of(chars: usize, room: RoomId, at: u64, n: u64) -> String {
    let cid = Uuid::from_u64_pair(*RUN, n);
    let mut text = format!(r#"{{"t":"send","id":{n},"room":"{room}","cid":"{cid}","body":"{at:016x}"#);
    let _ = write!(text, r#"{:.<rest$}"}}"#, "", rest = chars - 16);
    text
}

/// Tells this run's messages from another's.
static RUN: LazyLock<u64> = LazyLock::new(rand::random);
static SENT: AtomicU64 = AtomicU64::new(1);

/// A number for each message.
pub fn next_number() -> u64 {
    SENT.fetch_add(1, Relaxed)
}

/// When the message in a frame was to be sent; none for frames that are no message.
fn sent_at(payload: &[u8]) -> Option<u64> {
    let start = BODY.find(payload)? + 8;
    u64::from_str_radix(std::str::from_utf8(payload.get(start..start + 16)?).ok()?, 16).ok()
}

/// The number of the `send` that a frame acknowledges; none for other frames.
pub fn acknowledged(payload: &[u8]) -> Option<u64> {
    let rest = payload.strip_prefix(br#"{"t":"ok","id":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

fn is_event(payload: &[u8]) -> bool {
    payload.starts_with(br#"{"t":"ev""#)
}

/// Has every seat read. The first `senders` of each room send too: each its next message when it sees its last one.
pub fn closed(rooms: Vec<Vec<Seat>>, senders: usize, board: &Arc<Board>) -> JoinSet<()> {
    let mut readers = JoinSet::new();
    for (index, seat) in rooms.into_iter().flat_map(|room| room.into_iter().enumerate()) {
        let board = board.clone();
        if index < senders {
            readers.spawn(async move { ping_pong(seat, &board).await });
        } else {
            readers.spawn(count(seat.reader, board, false, Some(seat.writer)));
        }
    }
    readers
}

async fn ping_pong(mut seat: Seat, board: &Board) {
    let mut sending = board.sending.subscribe();
    let mut own = 0;
    let mut answered = true;
    loop {
        if answered && *sending.borrow_and_update() {
            own = send_next(&seat);
            answered = false;
        }
        let (mut events, mut seen) = (0, false);
        let read = seat.reader.read(|payload| {
            if is_event(payload) {
                events += 1;
                seen |= sent_at(payload) == Some(own);
            }
        });
        let read = select! {
            read = read => read,
            _ = sending.changed(), if answered => Ok(()),
        };
        answered |= seen;
        if read.is_err() {
            board.failed.store(true, Relaxed);
            return;
        }
        board.deliveries.fetch_add(events, Relaxed);
    }
}

/// Gives what stands in the message as its time, which no other message of this process has.
fn send_next(seat: &Seat) -> u64 {
    let n = next_number();
    // A full socket shows as a sender that falls silent, and the figures with it.
    let _ = seat.writer.send(&message(seat.room, n, n));
    n
}

/// Reads and counts. `timed`: also how long each event took. The writing half is kept so that the socket stays open.
pub async fn count<W>(mut reader: crate::client::Reader, board: Arc<Board>, timed: bool, writer: W) {
    loop {
        let mut events = 0;
        let read = reader.read(|payload| {
            if is_event(payload) {
                events += 1;
                if timed {
                    board.time_of(payload);
                }
            }
        });
        if read.await.is_err() {
            board.failed.store(true, Relaxed);
            drop(writer);
            return;
        }
        board.deliveries.fetch_add(events, Relaxed);
    }
}

/// Sends at a steady rate while the board says so, until dropped: the rooms take turns, and within a room its members.
pub struct OpenLoop {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl OpenLoop {
    /// Has every seat read, timing what it gets, and sends `per_second` messages from a thread of its own.
    pub fn start(
        rooms: Vec<Vec<Seat>>,
        per_second: f64,
        board: &Arc<Board>,
        readers: &mut JoinSet<()>,
    ) -> Self {
        let mut writers = Vec::new();
        for room in rooms {
            let mut of_room = Vec::new();
            for seat in room {
                of_room.push((seat.room, seat.writer));
                readers.spawn(count(seat.reader, board.clone(), true, ()));
            }
            writers.push(of_room);
        }
        let mut turn = 0_usize;
        let sending = board.sending();
        Self::every(Duration::from_secs_f64(1.0 / per_second), move |at| {
            if !*sending.borrow() {
                return;
            }
            let room = &writers[turn % writers.len()];
            let (id, writer) = &room[turn / writers.len() % room.len()];
            let _ = writer.send(&message(*id, at, next_number()));
            turn += 1;
        })
    }

    /// Calls `send` once in each interval, with the time at which it was to be called.
    pub fn every(interval: Duration, mut send: impl FnMut(u64) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let thread = thread::spawn(move || {
            let mut due = now();
            while !stopped.load(Relaxed) {
                let early = due.saturating_sub(now());
                if early > 0 {
                    thread::sleep(Duration::from_nanos(early));
                }
                send(due);
                due += interval;
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

/// What a request at a steady rate is made by: a connection, say.
pub trait Worker {
    async fn work(&mut self) -> anyhow::Result<()>;
}

/// Has `workers` work `per_second` times a second for `span`; notes how long each piece took from the moment at which
/// it was to begin, however late a worker was free for it.
pub async fn at_rate(
    workers: &mut [impl Worker],
    per_second: f64,
    span: Duration,
    latency: &mut Histogram<u64>,
) -> anyhow::Result<()> {
    let (sender, due) = mpsc::unbounded_channel();
    let left = (per_second * span.as_secs_f64()) as u64;
    let mut sender = Some(sender).filter(|_| left > 0);
    let mut left = left;
    let _clock = OpenLoop::every(Duration::from_secs_f64(1.0 / per_second), move |at| {
        if let Some(open) = &sender {
            let _ = open.send(at);
            left -= 1;
            if left == 0 {
                sender = None;
            }
        }
    });
    let (due, latency) = (tokio::sync::Mutex::new(due), Mutex::new(latency));
    let turns = workers.iter_mut().map(async |worker| {
        while let Some(at) = { due.lock().await.recv().await } {
            worker.work().await?;
            latency.lock().saturating_record(now().saturating_sub(at));
        }
        anyhow::Ok(())
    });
    try_join_all(turns).await?;
    Ok(())
}

impl Drop for OpenLoop {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
